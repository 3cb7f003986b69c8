"""The order among states is the one that "The fold" in docs/architecture.md names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamresults.events import states
from streamresults.events.states import is_terminal, rank

UNREADY = ("STARTED", "RETRY", "SAVED", "PROGRESS", "", "success", "UNKNOWN")
READY = ("FAILURE", "REVOKED", "REJECTED", "IGNORED")
EVERY = ("PENDING", "RECEIVED", *UNREADY, *READY, "SUCCESS")


def test_ranks_rise_from_pending_to_success() -> None:
    """PENDING < RECEIVED < unready < ready < SUCCESS."""
    ladder = ["PENDING", "RECEIVED", "STARTED", "FAILURE", "SUCCESS"]

    ranks = [rank(state, terminal=False) for state in ladder]

    assert [0, 1, 2, 3, 4] == ranks


@pytest.mark.parametrize("state", UNREADY)
def test_every_other_unready_state_ranks_alike(state: str) -> None:
    """A custom state, a retry and a start are equals: the later one stands."""
    assert states.RANK_UNREADY == rank(state, terminal=False)


@pytest.mark.parametrize("state", READY)
@pytest.mark.parametrize("terminal", [False, True])
def test_every_ready_state_but_success_ranks_alike(state: str, terminal: bool) -> None:  # noqa: FBT001 - a parameter
    """A failure, a revocation, a rejection and an ignored task are equals, whatever the record's flag says."""
    assert states.RANK_READY == rank(state, terminal=terminal)


@pytest.mark.parametrize("state", ["PENDING", "RECEIVED", *UNREADY])
def test_the_terminal_flag_makes_any_state_ready(state: str) -> None:
    """What was published as terminal ranks as ready, a saved group and a custom state too."""
    assert states.RANK_READY == rank(state, terminal=True)


@pytest.mark.parametrize("terminal", [False, True])
def test_success_is_the_highest_with_or_without_the_flag(terminal: bool) -> None:  # noqa: FBT001 - a parameter
    """Nothing ranks above SUCCESS, and no flag lifts another state to it."""
    others = {rank(state, terminal=True) for state in EVERY if state != "SUCCESS"}

    assert states.RANK_SUCCESS == rank("SUCCESS", terminal=terminal)
    assert max(others) < states.RANK_SUCCESS


@given(state=st.text(), terminal=st.booleans())
def test_terminal_and_ready_ranks_say_the_same(state: str, terminal: bool) -> None:  # noqa: FBT001 - drawn
    """A state is terminal exactly when its rank is that of a ready state or above."""
    assert is_terminal(state, terminal=terminal) == (rank(state, terminal=terminal) >= states.RANK_READY)


@pytest.mark.parametrize("state", EVERY)
def test_terminal_is_known_of_every_named_state(state: str) -> None:
    """The five final states are terminal without a flag, the others are not."""
    final = {"SUCCESS", "FAILURE", "REVOKED", "REJECTED", "IGNORED"}

    assert (state in final) == is_terminal(state, terminal=False)


def test_the_sets_of_states_nest() -> None:
    """What propagates is ready and an exception; what is ready is terminal; a retry is an exception and not ready."""
    assert frozenset({"SUCCESS", "FAILURE", "REVOKED"}) == states.READY
    assert states.PROPAGATE == states.EXCEPTION & states.READY
    assert states.READY < states.ALWAYS_TERMINAL
    assert {"RETRY"} == states.EXCEPTION - states.READY
