"""
What failed is published again where that is safe and may help, and never for longer than its caller waits.

We test these aspects: the pauses, the predicate, what a retried publish does and counts, and what is raised at the end.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamresults.deadline import Deadline
from streamresults.errors import (
    AppendFailed,
    PublishFailed,
    RecordTooLarge,
    RetriesExhausted,
    Spooled,
    TopicUnavailable,
)
from streamresults.publisher.retrying import Retrying, RetryOptions, exception_safe_to_retry
from tests.unit.publisher_desk import SOON, Desk, in_thread, publisher_desks
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

open_desk = pytest.fixture(publisher_desks)


def failure(*causes: BaseException, written: bool | None = None) -> PublishFailed:
    """Return a failed publish with a chain of causes."""
    error = PublishFailed("x", task_id="t", written=written)
    for above, below in itertools.pairwise([error, *causes]):
        above.__cause__ = below
    return error


@given(st.integers(0, 20), st.integers(1, 5000), st.integers(1, 20_000), st.floats(0, 1, exclude_max=True))
def test_pauses_double_up_to_the_longest_with_full_jitter(retries: int, base: int, longest: int, drawn: float) -> None:
    """Each is drawn between 0 and what has doubled so far."""
    options = RetryOptions(max_retries=retries, base_sleep_ms=base, max_sleep_ms=longest)
    found = list(Retrying(options, drawn=lambda: drawn).pauses(Deadline(None)))

    assert [drawn * min(longest, base * 2**number) / 1000 for number in range(retries)] == found


def test_pauses_end_before_the_deadline() -> None:
    """A pause that would outlast it is not begun."""
    options = RetryOptions(base_sleep_ms=1000, max_sleep_ms=8000)

    assert [] == list(Retrying(options, drawn=lambda: 1.0).pauses(Deadline(0.9)))
    assert [1.0, 2.0, 4.0, 8.0, 8.0] == list(itertools.islice(Retrying(options, drawn=lambda: 1.0).for_ever(), 5))


@pytest.mark.parametrize(
    ("error", "safe"),
    [
        (failure(), True),
        (failure(AppendFailed("timed out", written=None)), True),
        (failure(TopicUnavailable("schema"), AppendFailed("timed out", written=None), written=False), True),
        (failure(written=False), False),
        (failure(AppendFailed("not allowed", written=False), written=False), False),
        (failure(TopicUnavailable("schema"), AppendFailed("not allowed", written=False), written=False), False),
        (failure(TopicUnavailable("closed"), written=False), False),
        (RecordTooLarge("x", task_id="t", size=2, limit=1), False),
        (Spooled("x", task_id="t"), False),
        (ValueError(), False),
    ],
    ids=repr,
)
def test_only_what_may_pass_by_itself_is_tried_again(error: Exception, safe: bool) -> None:  # noqa: FBT001 -- an example
    """Silence is; a refusal is not."""
    assert safe is exception_safe_to_retry(error)


def test_a_publish_survives_an_outage_within_its_deadline(open_desk: Callable[..., Desk]) -> None:
    """It returns a position, the event has kept its id, and nothing counts as given up."""
    desk = open_desk(retry_max_sleep_ms=20)
    desk.publisher.warm()
    desk.broker.fail("away")
    event = desk.publisher.event("t", "SUCCESS", result=1)
    thread, outcome = in_thread(lambda: desk.publisher.publish(event, timeout=SOON))
    eventually(lambda: desk.publisher._outcomes.failed)
    desk.broker.fail(None)
    thread.join(SOON)

    assert [(0, 0)] == [(p.partition, p.offset) for p in outcome]  # type: ignore[attr-defined]
    assert [event.event_id] == [found.event_id for found in desk.events()]
    assert (0, 0) == desk.publisher.flush(SOON)


def test_what_is_tried_in_vain_says_so(open_desk: Callable[..., Desk]) -> None:
    """Task, state, how often and why; it counts as one event that was given up."""
    desk = open_desk(max_retries=3, retry_max_sleep_ms=1)
    desk.publisher.warm()
    desk.broker.fail("away")
    with pytest.raises(RetriesExhausted, match=r"tried again 3 times: task 't', SUCCESS: .*away") as caught:
        desk.publisher.succeeded("t")

    assert ("t", "SUCCESS", 3, None) == (
        caught.value.task_id,
        caught.value.state,
        caught.value.retries,
        caught.value.written,
    )
    assert isinstance(caught.value.__cause__, PublishFailed)
    assert isinstance(caught.value.last.__cause__, AppendFailed)
    assert 1 == desk.publisher.flush(0).failed


def test_retrying_can_be_turned_off(open_desk: Callable[..., Desk]) -> None:
    """Then the first failure is the caller's."""
    desk = open_desk(always_retry=False)
    desk.publisher.warm()
    desk.broker.fail("away")
    with pytest.raises(PublishFailed) as caught:
        desk.publisher.succeeded("t")

    assert PublishFailed is type(caught.value)


def test_the_user_decides_what_is_safe(open_desk: Callable[..., Desk]) -> None:
    """The predicate gets the error, and its word is the last."""
    desk = open_desk(retry_max_sleep_ms=1)
    asked: list[BaseException] = []

    def twice(exc: BaseException) -> bool:
        asked.append(exc)
        return len(asked) < 3

    with desk.open(exception_safe_to_retry=twice) as publisher:
        publisher.warm()
        desk.broker.fail("away")
        with pytest.raises(RetriesExhausted) as caught:
            publisher.succeeded("t")
        desk.broker.fail(None)

    assert 2 == caught.value.retries
    assert ["t"] * 3 == [exc.task_id for exc in asked if isinstance(exc, PublishFailed)]


def test_closing_ends_the_pause_of_a_retry(open_desk: Callable[..., Desk]) -> None:
    """Nobody waits ten seconds for a process to end."""
    desk = open_desk(retry_base_sleep_ms=1_000_000, retry_max_sleep_ms=1_000_000)
    desk.publisher.warm()
    desk.broker.fail("away")
    event = desk.publisher.event("t", "SUCCESS")
    thread, outcome = in_thread(lambda: desk.publisher.publish(event, timeout=None))
    eventually(lambda: desk.publisher._outcomes.failed)
    desk.publisher.close(SOON)
    thread.join(SOON)

    assert [PublishFailed] == [type(error) for error in outcome]
