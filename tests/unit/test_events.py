"""
A task's events: what the log holds, then what comes, none left out and none twice.

We test these aspects: history with a view, without one and with half of one; what was forgotten; live events; the end;
a reader that loses its place, a slow consumer; closing; several homes; attempts.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.aio import AsyncClient
from streamresults.client.history import Header, spans
from streamresults.errors import ClientClosed, WaitTimeout
from streamresults.store.coverage import Coverage
from streamresults.topic.records import Polled
from tests.unit.desk import SOON, Desk
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.client import Client


class Follows:
    """Follows a task in a thread of its own."""

    def __init__(self, client: Client, task: str = "t", hold: threading.Event | None = None) -> None:
        self.states: list[str] = []
        self.error: Exception | None = None
        self._client, self._task, self._hold = client, task, hold
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            for event in self._client.events(self._task):
                self.states.append(event.state)
                if self._hold is not None:
                    assert self._hold.wait(SOON)
        except Exception as exc:  # noqa: BLE001 -- looked at by the test
            self.error = exc

    def have(self, count: int) -> None:
        eventually(lambda: len(self.states) >= count, SOON, f"{count} events, not {self.states}")

    def ended(self) -> list[str]:
        self._thread.join(SOON)
        assert not self._thread.is_alive(), f"it goes on after {self.states}"
        if self.error is not None:
            raise self.error
        return self.states


def _not_folded(_: Desk) -> None:
    pass


def _folded(desk: Desk) -> None:
    desk.fold()


def _half_folded(desk: Desk) -> None:
    desk.fold(3)


@pytest.mark.parametrize("fold", [_not_folded, _folded, _half_folded])
def test_history_comes_first_and_the_end_stops_it(desk: Desk, fold: Callable[[Desk], None]) -> None:
    """Whatever the view knows of it; events of other tasks are not shown."""
    for task, state in (("t", "PENDING"), ("o", "STARTED"), ("t", "STARTED"), ("o", "SUCCESS"), ("t", "SUCCESS")):
        desk.publish(task, state)
    fold(desk)
    found = list(desk.client.events("t", SOON))

    assert ["PENDING", "STARTED", "SUCCESS"] == [event.state for event in found]
    assert [0, 2, 4] == [event.position.offset for event in found if event.position is not None]
    assert ["topic"] * 3 == [str(event.basis) for event in found]


def test_what_happens_is_given_as_it_comes(desk: Desk) -> None:
    """Without a compactor too; nothing comes twice."""
    desk.publish("t", "PENDING")
    follows = Follows(desk.client)
    follows.have(1)
    for count, state in enumerate(["STARTED", "PROGRESS", "RETRY", "STARTED"], 2):
        desk.publish("t", state)
        desk.publish("o", "SUCCESS")
        follows.have(count)
    desk.publish("t", "FAILURE")

    assert ["PENDING", "STARTED", "PROGRESS", "RETRY", "STARTED", "FAILURE"] == follows.ended()
    assert {} == desk.watch.followers


def test_a_timeout_of_0_gives_what_there_is(desk: Desk) -> None:
    """And ends, however the task is."""
    desk.publish("t", "STARTED")

    assert ["STARTED"] == [event.state for event in desk.client.events("t", 0)]
    assert [] == list(desk.client.events("never", 0))


def test_a_task_that_does_not_end_ends_with_the_deadline(desk: Desk) -> None:
    """After all that there was."""
    desk.publish("t", "STARTED")
    states: list[str] = []
    began = time.monotonic()
    with pytest.raises(
        WaitTimeout, match=r"not ended after 0\.2 s; it is STARTED \(partition 0; view: .*topic: "
    ) as late:
        states.extend(event.state for event in desk.client.events("t", 0.2))

    assert 0.2 <= time.monotonic() - began < 2
    assert (["STARTED"], "STARTED") == (states, late.value.state)


async def _of_never(desk: Desk) -> None:
    async for _ in AsyncClient(desk.client).events("never", 0.05):
        raise AssertionError


@pytest.mark.parametrize(
    "follow",
    [lambda desk: list(desk.client.events("never", 0.05)), lambda desk: asyncio.run(_of_never(desk))],
    ids=["events", "async for"],
)
def test_a_task_of_which_nothing_was_seen_is_unknown_to_its_error(desk: Desk, follow: Callable[[Desk], object]) -> None:
    """As to that of a wait."""
    with pytest.raises(
        WaitTimeout, match=r"no event of it was seen \(partition 0; view: not looked at yet; topic"
    ) as late:
        follow(desk)

    assert late.value.state == "UNKNOWN"


@pytest.mark.parametrize("folded", [True, False])
def test_what_was_forgotten_is_not_shown(desk: Desk, *, folded: bool) -> None:
    """Where the view knows that it was; the log keeps it until retention takes it."""
    for state in ("STARTED", "SUCCESS", None, "PENDING"):
        desk.publish("t", state)
    if folded:
        desk.fold()
    states = [event.state for event in desk.client.events("t", 0)]

    assert (["PENDING"] if folded else ["STARTED", "SUCCESS", "PENDING"]) == states


def test_a_record_that_nobody_can_read_is_passed_over(desk: Desk) -> None:
    """It is a dead letter; the others are events."""
    desk.publish("t", "STARTED")
    desk.append(b"t", b"no event")
    desk.publish("t", "SUCCESS")

    assert ["STARTED", "SUCCESS"] == [event.state for event in desk.client.events("t", SOON)]


def test_a_reader_that_loses_its_place_leaves_nothing_out(desk: Desk) -> None:
    """What came meanwhile is read from the log."""
    desk.publish("t", "PENDING")
    follows = Follows(desk.client)
    follows.have(1)
    eventually(lambda: desk.watch.is_read, SOON)
    reader = desk.engine.reader
    match, held = reader._match, list[Any]()
    reader._match = held.append  # type: ignore[method-assign, assignment]
    desk.publish("t", "STARTED")
    eventually(lambda: held, SOON)
    reader._match = match  # type: ignore[method-assign]
    reader._dispatch(Polled([], {}, {0: 0}))
    follows.have(2)
    desk.publish("t", "SUCCESS")

    assert ["PENDING", "STARTED", "SUCCESS"] == follows.ended()


def test_a_slow_consumer_holds_little_and_misses_nothing(desk: Desk) -> None:
    """What it is too slow for is dropped, and read from the log."""
    go_on = threading.Event()
    desk.publish("t", "PENDING")
    follows = Follows(desk.client, hold=go_on)
    follows.have(1)
    eventually(lambda: desk.watch.is_read, SOON)
    (follower,) = desk.watch.followers[b"t"]
    for number in range(1000):
        desk.publish("t", f"STEP{number}")
    eventually(lambda: desk.watch.next_offset == 1001, SOON)
    held = len(follower._items)
    go_on.set()
    desk.publish("t", "SUCCESS")

    assert held <= 257
    assert ["PENDING", *(f"STEP{number}" for number in range(1000)), "SUCCESS"] == follows.ended()


def test_closing_ends_it(desk: Desk) -> None:
    """With an error, as it has not ended."""
    desk.publish("t", "PENDING")
    follows = Follows(desk.client)
    follows.have(1)
    desk.client.close()

    with pytest.raises(ClientClosed):
        follows.ended()


def test_leaving_early_leaves_nothing_behind(desk: Desk) -> None:
    """Whoever has seen enough."""
    desk.publish("t", "PENDING")
    for _ in desk.client.events("t"):
        assert [b"t"] == list(desk.watch.followers)
        break
    eventually(lambda: desk.watch.followers == {}, SOON)


GENERATION = b"g" * 16


def _coverage(start: int, watermark: int, target: int = 0) -> Any:
    return Coverage(generation=GENERATION, start=start, watermark=watermark, target=target, as_of_ms=0)


@pytest.mark.parametrize(
    ("header", "read"),
    [
        (None, [(5, 100)]),
        (Header(_coverage(0, 80)), [(80, 100)]),
        (Header(_coverage(0, 80), 10, 20), [(10, 21), (80, 100)]),
        (Header(_coverage(0, 80), 2, 20), [(5, 21), (80, 100)]),
        (Header(_coverage(0, 80), 10, 20, 15), [(16, 21), (80, 100)]),
        (Header(_coverage(40, 80), 50, 60), [(5, 40), (50, 61), (80, 100)]),
        (Header(_coverage(0, 120), 10, 20), [(10, 21)]),
        (Header(_coverage(0, 120), 110, 115), []),
    ],
)
def test_the_header_bounds_what_is_read(header: Header | None, read: list[tuple[int, int]]) -> None:
    """A task's two events are not worth a partition, and nothing that may hold one is left out."""
    assert read == spans(header, 5, 100)


def test_attempts_are_told_by_the_events(desk: Desk) -> None:
    """One entry for each run, as its last event has it."""
    with desk.wiring.publisher(worker="w-1") as publisher:
        for state, attempt in (("STARTED", 1), ("RETRY", 1), ("STARTED", 2), ("SUCCESS", 2)):
            event = publisher.event("t", state, attempt=attempt)
            desk.append(b"t", desk.codec.encode(event))
    first, second = desk.client.result("t").attempts()

    assert (1, "RETRY", 2, "w-1") == (first.number, first.state, first.events, first.worker)
    assert (2, "SUCCESS", 2) == (second.number, second.state, second.events)
    assert first.started_at is not None
    assert first.started_at <= first.last_at <= second.last_at


def test_events_that_do_not_say_their_run_belong_to_the_one_before(desk: Desk) -> None:
    """Such as reports of progress; of an event whose body is broken the state is known, and the others are whole."""
    with desk.wiring.publisher(worker="w-1") as publisher:
        for state, attempt in (("RECEIVED", 0), ("STARTED", 1), ("PRINTING", 0), ("RETRY", 1), ("STARTED", 2)):
            desk.append(b"t", desk.codec.encode(publisher.event("t", state, attempt=attempt)))
        whole = desk.codec.encode(publisher.event("t", "FAILURE", attempt=2, labels={"a": "b"}))
    desk.append(b"t", whole[:-8])
    unsaid, first, second = desk.client.result("t").attempts()

    assert (0, "RECEIVED", 1) == (unsaid.number, unsaid.state, unsaid.events)
    assert (1, "RETRY", 3) == (first.number, first.state, first.events)
    assert (2, "FAILURE", 2, "w-1") == (second.number, second.state, second.events, second.worker)
    assert second.last_at.tzinfo is not None
