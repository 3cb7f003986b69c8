"""
Progress is thinned out, and its last word is never lost.

We test these aspects: what goes at once and what is held, the turn of what is held, that nothing comes behind the event
that ends the task, flushing and closing, tasks apart, and what is refused.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamresults.publisher.progress import Progress
from tests.unit.publisher_desk import SOON, Desk, in_thread, publisher_desks
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.events.event import Event

#: An interval that does not pass while a test runs.
LONG = 1000.0

open_desk = pytest.fixture(publisher_desks)


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    """Give a desk whose intervals never pass."""
    return open_desk(progress_interval=LONG)


def values(desk: Desk) -> list[tuple[str, bytes | None]]:
    """Return the states and results that the topic holds."""
    return [(event.state, event.payload.body) for event in desk.events()]


def test_the_last_report_stands_before_the_end(desk: Desk) -> None:
    """The first goes at once, those between are left out, the last one goes with the result."""
    for done in range(5):
        desk.publisher.progress("t", done)
    desk.publisher.succeeded("t", "end")

    assert [("PROGRESS", b"0"), ("PROGRESS", b"4"), ("SUCCESS", b'"end"')] == values(desk)


def test_every_way_to_end_a_task_lets_the_last_report_go_first(desk: Desk) -> None:
    """Whatever the state, and by whatever method it is published."""
    endings: list[Callable[[str], object]] = [
        lambda task: desk.publisher.failed_with(task, ValueError()),
        desk.publisher.revoked,
        desk.publisher.rejected,
        desk.publisher.ignored,
        lambda task: desk.publisher.publish(desk.publisher.event(task, "ABORTED", terminal=True)),
        lambda task: desk.publisher.send(desk.publisher.event(task, "SUCCESS")).position(SOON),
        lambda task: desk.publisher.publish_many([desk.publisher.event(task, "SUCCESS")]),
    ]
    for number, end in enumerate(endings):
        desk.publisher.progress(f"t{number}", "first")
        desk.publisher.progress(f"t{number}", "last")
        end(f"t{number}")
    told = [[event.payload.body for event in desk.events() if event.task_id == f"t{n}"] for n in range(len(endings))]

    assert [[b'"first"', b'"last"']] * len(endings) == [bodies[:2] for bodies in told]
    assert [3] * len(endings) == [len(bodies) for bodies in told]


def test_what_is_held_goes_when_its_turn_comes(open_desk: Callable[..., Desk]) -> None:
    """Nobody has to end the task for it."""
    desk = open_desk(progress_interval=0.02)
    desk.publisher.progress("t", 1)
    desk.publisher.progress("t", 2)
    eventually(lambda: values(desk) == [("PROGRESS", b"1"), ("PROGRESS", b"2")], SOON)
    eventually(lambda: not desk.publisher._progress.tasks, SOON, "a task that is silent is forgotten")
    desk.publisher.progress("t", 3)

    eventually(lambda: values(desk)[-1] == ("PROGRESS", b"3"), SOON)


def test_without_an_interval_everything_goes(open_desk: Callable[..., Desk]) -> None:
    """0 lets all of them through."""
    desk = open_desk(progress_interval=0.0)
    for done in range(5):
        desk.publisher.progress("t", done)
    desk.publisher.flush(SOON)

    assert [("PROGRESS", b"%d" % done) for done in range(5)] == values(desk)


@pytest.mark.parametrize("end", ["flush", "close"])
def test_what_is_held_is_not_left_behind(desk: Desk, end: str) -> None:
    """Flushing and closing send it."""
    desk.publisher.progress("t", 1)
    desk.publisher.progress("t", 2)
    getattr(desk.publisher, end)(SOON)

    assert [("PROGRESS", b"1"), ("PROGRESS", b"2")] == values(desk)


def test_tasks_do_not_thin_out_each_other(desk: Desk) -> None:
    """Each task has its own first report; a custom state is a report like any other."""
    for task in ("a", "b"):
        desk.publisher.progress(task, {"done": 1}, state="UPLOADING", name="shop.upload")
        desk.publisher.progress(task, {"done": 2}, state="CONVERTING")
    desk.publisher.flush(SOON)

    assert [("a", "UPLOADING"), ("b", "UPLOADING")] == desk.told()[:2]
    assert {("a", "CONVERTING"), ("b", "CONVERTING")} == set(desk.told()[2:])


@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE", "RETRY", "REVOKED", "REJECTED", "IGNORED"])
def test_a_state_that_says_more_is_no_progress(desk: Desk, state: str) -> None:
    """It would be held, or lose its exception."""
    with pytest.raises(ValueError, match="is no progress"):
        desk.publisher.progress("t", state=state)


class Slow:
    """A queue that is full until the test lets go."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.free = threading.Event()
        self.entered = threading.Event()

    def __call__(self, event: Event) -> None:
        self.entered.set()
        assert self.free.wait(SOON)
        self.events.append(event)


def test_the_end_waits_for_a_report_that_is_being_queued(desk: Desk) -> None:
    """Else it would come behind: the queue is full, and the report's turn had come."""
    queue = Slow()
    progress = Progress(0.001, queue)
    first = desk.publisher.event("t", "PROGRESS")
    reporting, _ = in_thread(lambda: progress.report(first))
    assert queue.entered.wait(SOON)

    def end() -> int:
        progress.before_end("t")
        return len(queue.events)

    ending, outcome = in_thread(end)
    ending.join(0.05)

    assert ending.is_alive()

    queue.free.set()
    reporting.join(SOON)
    ending.join(SOON)
    progress.close()

    assert [1] == outcome


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_the_last_report_of_every_task_is_always_queued(steps: list[tuple[str, bool]]) -> None:
    """Whatever tasks report and end in whatever order: the last one before an end is queued, in the tasks' order."""
    queued: list[tuple[str, Any]] = []
    progress = Progress(LONG, queued.append)  # type: ignore[arg-type]
    last: dict[str, Any] = {}
    for number, (task, ends) in enumerate(steps):
        if ends:
            progress.before_end(task)
            said = [value for name, value in queued if name == task]
            assert [last[task]] == said[-1:] if task in last else not said
        else:
            last[task] = number
            progress.report(Reported(task, number))  # type: ignore[arg-type]
    progress.close()
    for task, number in last.items():
        said = [value for name, value in queued if name == task]

        assert number == said[-1]
        assert sorted(said) == said


class Reported(NamedTuple):
    """As much of an event as is looked at here."""

    task_id: str
    value: int
