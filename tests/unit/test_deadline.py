"""One budget, handed down: what is left of it, whoever asks."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamresults.deadline import NOT_STATED, Deadline


@given(seconds=st.floats(0, 1e6))
def test_never_more_is_left_than_was_granted(seconds: float) -> None:
    """What remains lies between nothing and the whole budget."""
    deadline = Deadline(seconds)

    assert 0 <= deadline.remaining() <= seconds


@given(seconds=st.floats(0, 1e6), at_most=st.floats(0, 1e6))
def test_a_slice_is_never_longer_than_the_rest(seconds: float, at_most: float) -> None:
    """A part of the budget is bounded by both."""
    assert Deadline(seconds).remaining(at_most) <= min(seconds, at_most)


def test_nothing_is_left_of_zero() -> None:
    """A budget of 0 has passed at once: one look is taken."""
    deadline = Deadline(0)

    assert (True, 0.0, 0.0) == (deadline.passed(), deadline.remaining(), deadline.total)


def test_none_never_passes() -> None:
    """No timeout means for ever."""
    deadline = Deadline(None)

    assert (False, math.inf, math.inf) == (deadline.passed(), deadline.remaining(), deadline.total)


def test_a_timedelta_means_its_seconds() -> None:
    """Both ways to state a duration mean the same."""
    assert Deadline(1.5).total == Deadline(timedelta(milliseconds=1500)).total


@pytest.mark.parametrize("timeout", [-1, -0.001, math.nan, timedelta(seconds=-1)])
def test_a_negative_timeout_is_refused(timeout: float | timedelta) -> None:
    """It is an error at the call, not a wait that ends at once."""
    with pytest.raises(ValueError, match="number of seconds from 0 up"):
        Deadline(timeout)


def test_what_was_not_stated_takes_the_default_and_nothing_else_does() -> None:
    """None means for ever here too, 0 one look, and a negative number is refused."""
    totals = [Deadline.of(timeout, 7.0).total for timeout in (NOT_STATED, None, 0, 3)]

    assert [7.0, math.inf, 0.0, 3.0] == totals
    with pytest.raises(ValueError, match="-1"):
        Deadline.of(-1, 7.0)
