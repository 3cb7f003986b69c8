"""
A wait ends when it must, with what it must say, and leaves nothing behind.

We test these aspects: every clause of waiting through the topic (a plain look, R, the proof, sleepers, resets), with a
view that moves when the test says so; no view, an incomplete one, an older one; waiting through the view; services
that are away; deadlines, closing, giving up.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from streamresults.client import engine as engine_module
from streamresults.client.waiter import Phase
from streamresults.compactor.lane import Lane
from streamresults.deadline import Deadline
from streamresults.errors import ClientClosed, DeadLettered, StreamResultsError, WaitTimeout
from streamresults.events.event import Event
from streamresults.events.fold import NEVER, Best, event_summary, tombstone_summary
from streamresults.events.states import rank
from streamresults.settings import Settings
from streamresults.store.base import LiveBatch, Mark
from streamresults.store.memory import MemoryStore
from streamresults.store.value import pack_entry
from streamresults.topic.memory import MemoryBroker
from streamresults.wiring import Wiring
from tests.conftest import create_topics
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamresults.client import Client
    from streamresults.client.engine import Engine
    from streamresults.client.result import Result
    from streamresults.client.waiter import Waiter, Watch
    from streamresults.store.memory import MemoryView

#: Seconds in which anything here happens on a loaded machine.
SOON = 10.0


class Wait:
    """One wait in a thread of its own."""

    def __init__(self, client: Client, task: str, timeout: float | None, via: Any) -> None:
        self._call: Callable[[], Result] = lambda: client.wait(task, timeout, via=via)
        self._found: Result | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._found = self._call()
        except Exception as exc:  # noqa: BLE001 -- raised where the test asks
            self._error = exc

    def result(self) -> Result:
        self._thread.join(SOON)
        assert not self._thread.is_alive(), "the wait does not end"
        if self._error is not None:
            raise self._error
        assert self._found is not None
        return self._found

    @property
    def told(self) -> tuple[str, str]:
        found = self.result()
        return found.state, str(found.basis)


class Desk:
    """One partition in memory, a client, and a compactor that moves by hand."""

    def __init__(self, **settings: Any) -> None:
        self.broker, self.store = MemoryBroker(), MemoryStore()
        self.wiring = Wiring(Settings(**settings), broker=self.broker, store=self.store)
        create_topics(self.wiring, 1)
        self.client = self.wiring.client()
        self.writer = self.broker.writer("results")
        self.codec = self.wiring.codec()
        self.lane = Lane(0, 0, 0, from_low=True)
        self.waits: list[Wait] = []

    @property
    def engine(self) -> Engine:
        place = self.client._whereabouts.find(Deadline(SOON))
        return self.client._running_engine(place, "")

    @property
    def view(self) -> MemoryView:
        return cast("MemoryView", self.client._whereabouts.find(Deadline(SOON)).view)

    @property
    def watch(self) -> Watch:
        return self.engine._watches[0]

    def publish(self, task: str, state: str | None) -> int:
        """Append a record, a tombstone for ``None``; return its offset."""
        value = None if state is None else self.codec.encode(Event(task_id=task, state=state))
        return self.append(task.encode(), value)

    def append(self, key: bytes, value: bytes | None) -> int:
        offsets: list[int] = []
        self.writer.produce(key, value, lambda answer: offsets.append(answer.offset))
        assert self.writer.flush(Deadline(SOON)) == 0
        return offsets[0]

    def fold(self, end: int | None = None, *, begin: int | None = None, marks: Any = ()) -> None:
        """Fold everything up to ``end``, the log's end when not stated, as a compactor does."""
        log = self.broker._cluster.topics["results"].partitions[0]
        for record in list(log.records):
            if self.lane.position <= record.offset_ < (log.high if end is None else end):
                self._apply(record.offset_ + 1, [self._entry(record)])
        self._apply(max(self.lane.position, log.high if end is None else end), [], begin=begin, marks=marks)

    def _entry(self, record: Any) -> tuple[str, bytes]:
        if record.value_ is None:
            return record.key_.decode(), pack_entry(tombstone_summary(record.offset_, NEVER))
        state = self.codec.decode_prefix(record.value_).state
        best = Best(rank(state, terminal=False), record.offset_, record.milliseconds, NEVER, record.value_)
        return record.key_.decode(), pack_entry(event_summary(best))

    def _apply(self, end: int, entries: Any, *, begin: int | None = None, marks: Any = ()) -> None:
        claim = self.lane.claim(self.lane.position if begin is None else begin, end, 1_000_000)
        (reply,) = self.view.apply([LiveBatch(0, claim, entries, marks)])
        self.lane.replied(reply.coverage)

    def wait(self, task: str = "t", timeout: float | None = SOON, via: str = "topic") -> Wait:
        self.waits.append(Wait(self.client, task, timeout, via))
        return self.waits[-1]

    def waiter(self, task: str = "t") -> Waiter | None:
        watch = self.engine._watches.get(0)
        found = watch.waiters.get(task.encode()) if watch else None
        return found[0] if found else None

    def in_phase(self, phase: Phase, task: str = "t") -> None:
        """Return once the wait of a task has come to a phase."""
        eventually(lambda: (w := self.waiter(task)) is not None and w.phase is phase, SOON, f"{task} is {phase}")

    def close(self) -> None:
        self.store.outage()
        self.broker.fail(None)
        self.client.close()
        self.writer.close(Deadline(SOON))
        self.wiring.close()
        for wait in self.waits:
            wait._thread.join(SOON)


@pytest.fixture
def open_desk() -> Iterator[Callable[..., Desk]]:
    """Give a function that opens a desk; safety re-reads are off."""
    desks: list[Desk] = []

    def opened(**settings: Any) -> Desk:
        desks.append(Desk(**{"safety_rereads": False, **settings}))
        return desks[-1]

    yield opened
    for desk in desks:
        desk.close()


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    """Give a desk."""
    return open_desk()


# -- through the topic ----------------------------------------------------------------------------------------------


def test_what_is_ready_before_the_wait_costs_no_reader(desk: Desk) -> None:
    """A plain look ends it."""
    desk.publish("t", "FAILURE")
    desk.fold()

    assert ("FAILURE", "full") == desk.wait().told
    assert desk.engine._reader is None


def test_a_sleeper_is_woken_by_any_end(desk: Desk) -> None:
    """With the proof that nothing was missed, a FAILURE needs no view."""
    desk.fold()
    waits = [desk.wait("a"), desk.wait("b")]
    desk.in_phase(Phase.ASLEEP, "a")
    desk.in_phase(Phase.ASLEEP, "b")
    desk.publish("a", "FAILURE")
    desk.publish("b", "SUCCESS")

    assert [("FAILURE", "topic"), ("SUCCESS", "topic")] == [wait.told for wait in waits]


def test_progress_does_not_wake_a_sleeper(desk: Desk) -> None:
    """Nor does a tombstone."""
    desk.fold()
    wait = desk.wait()
    desk.in_phase(Phase.ASLEEP)
    desk.publish("t", "STARTED")
    desk.publish("t", None)
    desk.publish("t", "SUCCESS")

    assert ("SUCCESS", "topic") == wait.told


def test_the_proof_is_measured_at_the_readers_place_when_the_wait_begins(desk: Desk) -> None:
    """Between the reader's start and there, records have passed unmatched: only the view can show them."""
    desk.fold()
    desk.wait("first")
    desk.in_phase(Phase.ASLEEP, "first")
    end = desk.publish("t", "FAILURE") + 1
    eventually(lambda: desk.watch.next_offset == end, SOON)
    wait = desk.wait()
    desk.in_phase(Phase.UNPROVEN)
    desk.fold()

    assert ("FAILURE", "full") == wait.told


def test_an_end_that_comes_before_the_proof_moves_the_proof(desk: Desk) -> None:
    """The view must have folded it first: an earlier SUCCESS may stand below."""
    desk.publish("t", "SUCCESS")
    desk.fold(0)
    wait = desk.wait()
    desk.in_phase(Phase.UNPROVEN)
    end = desk.publish("t", "FAILURE") + 1
    eventually(lambda: (w := desk.waiter()) is not None and w.next_offset == end, SOON)
    desk.fold()

    assert ("SUCCESS", "full") == wait.told


def test_a_success_needs_no_proof(desk: Desk) -> None:
    """It is right whatever else there is; no compactor is needed at all."""
    wait = desk.wait()
    desk.in_phase(Phase.UNPROVEN)
    desk.publish("t", "SUCCESS")

    assert ("SUCCESS", "topic") == wait.told


def test_an_unheard_view_lets_the_topic_speak(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compactor a FAILURE ends the wait after a while, and the answer says what it is based on."""
    monkeypatch.setattr(engine_module, "UNHEARD_AFTER", 0.3)
    wait = desk.wait()
    desk.in_phase(Phase.UNPROVEN)
    desk.publish("t", "FAILURE")

    assert ("FAILURE", "topic") == wait.told


def test_a_deadline_lets_the_topic_speak(desk: Desk) -> None:
    """What was delivered is better than a timeout."""
    wait = desk.wait(timeout=0.5)
    desk.in_phase(Phase.UNPROVEN)
    desk.publish("t", "STARTED")
    desk.publish("t", "FAILURE")

    assert ("FAILURE", "topic") == wait.told


def test_a_forgotten_failure_does_not_speak_at_the_deadline(desk: Desk) -> None:
    """The best delivered record is kept by the fold's order: a tombstone takes it away."""
    wait = desk.wait(timeout=0.5)
    desk.in_phase(Phase.UNPROVEN)
    desk.publish("t", "FAILURE")
    desk.publish("t", None)

    with pytest.raises(WaitTimeout):
        wait.result()


def test_incomplete_coverage_marks_what_is_not_a_success(desk: Desk) -> None:
    """A better event may lie below what the view covers."""
    for task in ("t", "u"):
        desk.publish(task, "STARTED")
    desk.lane = Lane(0, 2, 0, from_low=False)
    desk.publish("t", "FAILURE")
    desk.publish("u", "SUCCESS")
    desk.fold()

    assert [("FAILURE", "partial"), ("SUCCESS", "full")] == [desk.wait("t").told, desk.wait("u").told]


def test_incomplete_coverage_proves_no_miss(desk: Desk) -> None:
    """The wait stays awake, and what the view folds next still ends it."""
    desk.publish("t", "STARTED")
    desk.lane = Lane(0, 1, 0, from_low=False)
    desk.fold()
    wait = desk.wait()
    desk.in_phase(Phase.UNPROVEN)
    desk.publish("t", "FAILURE")
    desk.fold()

    assert ("FAILURE", "partial") == wait.told


def _mark() -> Mark:
    return Mark(offset=0, reason="BadMagic: no", place="results.dlq[0]@0", keep_until_ms=NEVER)


@pytest.mark.parametrize("via", ["topic", "view"])
def test_a_dead_letter_ends_a_wait(desk: Desk, via: str) -> None:
    """The reader cannot judge a record that it cannot read; the compactor's mark can."""
    desk.fold()
    wait = desk.wait(via=via)
    desk.in_phase(Phase.ASLEEP)
    offset = desk.append(b"t", b"garbage")
    desk._apply(offset + 1, [], marks=[("t", _mark())])

    with pytest.raises(DeadLettered, match="BadMagic"):
        wait.result().value()


def test_a_value_that_is_none_of_ours_hurts_its_own_wait_only(desk: Desk) -> None:
    """Somebody wrote to the view's keys; others still get their results."""
    desk.publish("good", "SUCCESS")
    desk.fold()
    partition = desk.view.partitions[0]
    coverage = partition.coverage
    assert coverage is not None
    whole = desk.view._value
    desk.view._value = lambda at, task, now: b"?" if task == "bad" else whole(at, task, now)  # type: ignore[method-assign, assignment]
    engine, told = desk.engine, [threading.Event(), threading.Event()]
    waiters = [engine.submit(task, 0, event.set, through_topic=True) for task, event in zip(("bad", "good"), told)]  # noqa: B905
    for event in told:
        assert event.wait(SOON)

    assert ["MalformedRecord", "NoneType"] == [type(waiter.error).__name__ for waiter in waiters]


# -- resets ---------------------------------------------------------------------------------------------------------


def test_a_reader_whose_offset_is_gone_starts_again(desk: Desk) -> None:
    """Retention took what it was about to read; everybody is sent back to step 1."""
    desk.fold()
    wait = desk.wait()
    desk.in_phase(Phase.ASLEEP)
    reader = desk.engine._reader
    assert reader is not None
    desk.broker.skip_offsets("results", 0, 10)
    reader.assign({0: 99})
    reader.wake()
    eventually(lambda: desk.watch.next_offset == 10, SOON)
    desk.fold()
    desk.publish("t", "FAILURE")
    desk.fold()

    assert "FAILURE" == wait.told[0]


def test_a_reader_that_breaks_is_replaced(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait goes on with the next one."""
    monkeypatch.setattr(engine_module, "_RETRY", 0.01)
    desk.fold()
    wait = desk.wait()
    desk.in_phase(Phase.ASLEEP)
    broken = desk.engine._reader
    assert broken is not None
    broken.close()
    eventually(lambda: desk.engine._reader is not broken and desk.watch.is_read, SOON)
    desk.in_phase(Phase.ASLEEP)
    desk.publish("t", "FAILURE")

    assert ("FAILURE", "topic") == wait.told


def test_an_idle_partition_is_released_and_read_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traffic that nobody waits for is not read, and the next wait finds nothing amiss."""
    monkeypatch.setattr(engine_module, "_IDLE_AFTER", 0.05)
    desk.fold()
    for _ in range(3):
        wait = desk.wait()
        desk.in_phase(Phase.ASLEEP)
        desk.publish("t", "FAILURE")

        assert ("FAILURE", "topic") == wait.told
        eventually(lambda: not desk.watch.is_read, SOON, "the partition is released")

        desk.publish("t", None)
        desk.fold()


# -- older views ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("via", ["topic", "view"])
def test_an_older_view_is_never_answered_from(desk: Desk, via: str) -> None:
    """Below the highest watermark that was seen, an answer may be a forgotten one."""
    desk.publish("t", "FAILURE")
    desk.fold()
    partition = desk.view.partitions[0]
    older = partition.coverage, dict(partition.values)
    desk.publish("t", None)
    desk.fold()
    newer = partition.coverage, dict(partition.values)
    wait = desk.wait("other", via=via)
    desk.in_phase(Phase.ASLEEP, "other")
    partition.coverage = older[0]
    partition.values.clear()
    partition.values.update(older[1])
    late = desk.wait("t", via=via)
    desk.in_phase(Phase.UNPROVEN if via == "topic" else Phase.ASLEEP, "t")
    partition.coverage = newer[0]
    partition.values.clear()
    partition.values.update(newer[1])
    desk.publish("t", "SUCCESS")
    desk.publish("other", "SUCCESS")
    desk.fold()

    assert ["SUCCESS"] * 2 == [late.told[0], wait.told[0]]


def test_a_look_at_an_older_view_does_not_count_as_a_look(desk: Desk) -> None:
    """Once the view is whole again it is looked at anew: what the reader had passed is only there."""
    desk.fold()
    desk.wait("first")
    desk.in_phase(Phase.ASLEEP, "first")
    for number in range(3):
        desk.publish(f"x{number}", "STARTED")
    desk.fold()
    partition = desk.view.partitions[0]
    older = partition.coverage
    desk.publish("t", "FAILURE")
    desk.fold()
    newer = partition.coverage
    eventually(lambda: desk.watch.next_offset == 4, SOON)
    desk.watch.highest_watermark = 4
    desk.watch.next_offset = 2  # a reader that lags behind the view
    partition.coverage = older
    value = partition.values.pop("t")
    wait = desk.wait()
    desk.in_phase(Phase.UNPROVEN)
    partition.coverage = newer
    partition.values["t"] = value
    desk.publish("more", "STARTED")
    desk.fold()

    assert ("FAILURE", "full") == wait.told


# -- through the view -----------------------------------------------------------------------------------------------


def test_a_wait_through_the_view_is_woken_by_a_message(desk: Desk) -> None:
    """No re-read helps; the fold tells who has left word."""
    desk.fold()
    wait = desk.wait(via="view")
    desk.in_phase(Phase.ASLEEP)
    desk.publish("t", "FAILURE")
    desk.fold()

    assert ("FAILURE", "full") == wait.told
    assert desk.engine._reader is None


def test_word_can_be_left_before_there_is_a_view(desk: Desk) -> None:
    """The generation that begins tells those who waited for it."""
    wait = desk.wait(via="view")
    desk.in_phase(Phase.ASLEEP)
    desk.publish("t", "SUCCESS")
    desk.fold()

    assert ("SUCCESS", "full") == wait.told


def test_a_lost_subscription_is_a_reason_to_look(desk: Desk) -> None:
    """Messages may have been missed: everybody who sleeps looks again."""
    desk.fold()
    wait = desk.wait(via="view")
    desk.in_phase(Phase.ASLEEP)
    desk.view.partitions[0].interests.clear()
    desk.publish("t", "SUCCESS")
    desk.fold()
    desk.engine._hear(None)

    assert ("SUCCESS", "full") == wait.told


def test_safety_rereads_cover_a_lost_message(open_desk: Callable[..., Desk]) -> None:
    """The polling interval finds what no message told."""
    desk = open_desk(safety_rereads=True, wait_interval=0.05)
    desk.fold()
    wait = desk.wait(via="view")
    desk.in_phase(Phase.ASLEEP)
    desk.store._listeners.clear()
    desk.publish("t", "SUCCESS")
    desk.fold()

    assert ("SUCCESS", "full") == wait.told


def test_many_waits_without_a_reader_are_looked_at_together(desk: Desk) -> None:
    """One pass over the values of a partition serves everybody, not one wait a second."""
    desk.fold()
    desk.broker.fail("away")
    waits = [desk.wait(f"t{number}", timeout=SOON) for number in range(20)]
    for number in range(20):
        desk.in_phase(Phase.UNPROVEN, f"t{number}")
    desk.store._listeners.clear()
    desk.broker._cluster.outage = None
    desk.engine._inspector.ends = _away  # type: ignore[method-assign, union-attr]
    for number in range(20):
        desk.publish(f"t{number}", "FAILURE")
    desk.fold()
    begun = Deadline(None)

    assert {"FAILURE"} == {wait.told[0] for wait in waits}
    assert begun.elapsed() < 5


# -- services that are away -----------------------------------------------------------------------------------------


def test_without_redis_the_topic_still_answers(desk: Desk) -> None:
    """A view that does not answer holds nobody up."""
    desk.fold()
    desk.client._whereabouts.find(Deadline(SOON))
    desk.store.outage(down=True)
    wait = desk.wait()
    desk.in_phase(Phase.UNPROVEN)
    desk.publish("t", "SUCCESS")

    assert ("SUCCESS", "topic") == wait.told


def test_without_kafka_waits_go_through_the_view(desk: Desk) -> None:
    """Who cannot be served by the topic leaves word with the fold."""
    desk.fold()
    desk.client._whereabouts.find(Deadline(SOON))
    desk.broker.fail("away")
    wait = desk.wait()
    desk.in_phase(Phase.UNPROVEN)
    desk.broker._cluster.outage = None
    desk.engine._inspector.ends = _away  # type: ignore[method-assign, union-attr]
    desk.publish("t", "FAILURE")
    desk.fold()

    assert ("FAILURE", "full") == wait.told


def _away(*_: object) -> dict[int, int]:
    raise StreamResultsError("away")


def test_a_view_that_comes_back_ends_the_waits_through_it(desk: Desk) -> None:
    """With safety re-reads off, a look that failed is repeated all the same."""
    desk.fold()
    desk.client._whereabouts.find(Deadline(SOON))
    desk.store.outage(down=True)
    wait = desk.wait(via="view")
    desk.in_phase(Phase.ASLEEP)
    desk.store.outage()
    desk.publish("t", "SUCCESS")
    desk.fold()

    assert ("SUCCESS", "full") == wait.told


# -- deadlines and ends ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("via", ["topic", "view"])
def test_a_deadline_is_kept(desk: Desk, via: str) -> None:
    """To some milliseconds, even of a store that has gone away; the error says what was seen, and where."""
    desk.publish("t", "STARTED")
    desk.fold()
    desk.wait("warm", timeout=0.01, via=via)
    began = time.monotonic()
    wait = desk.wait(timeout=0.2, via=via)
    with pytest.raises(WaitTimeout, match=r"STARTED.*partition 0.*folded up to 1") as caught:
        wait.result()
    took = time.monotonic() - began

    assert 0.2 <= took < 0.4
    assert ("t", "STARTED") == (caught.value.task_id, caught.value.state)


def test_a_timeout_of_0_looks_once(desk: Desk) -> None:
    """It is a WaitTimeout whatever is missing, and a result when it is there."""
    with pytest.raises(WaitTimeout, match="no view"):
        desk.client.wait("t", 0)
    desk.publish("t", "SUCCESS")
    desk.fold()

    assert "SUCCESS" == desk.client.wait("t", 0).state


def test_a_remote_timeout_is_not_a_timeout_of_the_wait(desk: Desk) -> None:
    """A task that failed with a TimeoutError has ended."""
    with desk.wiring.publisher() as publisher:
        publisher.failed_with("t", TimeoutError("theirs"))
    desk.fold()
    with pytest.raises(Exception, match="theirs") as caught:
        desk.client.get("t", SOON)

    assert not isinstance(caught.value, TimeoutError)


@pytest.mark.parametrize("via", ["topic", "view"])
def test_close_wakes_everybody(desk: Desk, via: str) -> None:
    """With an error of its own; whoever comes later gets the same."""
    desk.fold()
    waits = [desk.wait(f"t{number}", None, via=via) for number in range(5)]
    for number in range(5):
        desk.in_phase(Phase.ASLEEP, f"t{number}")
    desk.client.close()

    for wait in waits:
        with pytest.raises(ClientClosed):
            wait.result()
    with pytest.raises(ClientClosed):
        desk.client.wait("t", SOON)


def test_a_thousand_waits_use_a_handful_of_threads(desk: Desk) -> None:
    """One looker, one assigner, one reader, one listener."""
    desk.fold()
    told = threading.Semaphore(0)
    waiters = [
        desk.engine.submit(f"t{number}", 0, told.release, through_topic=number % 2 == 0) for number in range(1000)
    ]
    eventually(lambda: all(waiter.phase is Phase.ASLEEP for waiter in waiters), SOON)

    assert {"streamresults-looker", "streamresults-assigner", "streamresults-reader", "streamresults-listener"} == {
        thread.name for thread in desk.engine._threads
    }
    assert len(desk.engine._threads) == 4

    for number in range(1000):
        desk.publish(f"t{number}", "SUCCESS")
    desk.fold()
    for _ in waiters:
        assert told.acquire(timeout=SOON)


@pytest.mark.parametrize("via", ["topic", "view"])
def test_waits_that_were_given_up_leave_nothing_behind(desk: Desk, via: str) -> None:
    """Nor do those that have ended."""
    desk.fold()
    for number in range(50):
        with pytest.raises(WaitTimeout):
            desk.client.wait(f"t{number}", 0.001, via=cast("Any", via))
    wait = desk.wait(via=via)
    desk.in_phase(Phase.ASLEEP)
    desk.publish("t", "SUCCESS")
    desk.fold()
    wait.result()
    engine = desk.engine
    eventually(lambda: not engine._new and not engine._wanted, SOON)

    assert ({}, set(), []) == (desk.watch.waiters, desk.watch.unproven, list(engine._rereads))


def test_traffic_that_has_ended_counts_no_more(desk: Desk) -> None:
    """Else one busy minute would send every later wait to the view."""
    desk.fold()
    desk.wait()
    desk.in_phase(Phase.ASLEEP)
    for _ in range(50):
        desk.publish("noise", "STARTED")
    eventually(lambda: desk.engine.traffic > 0, SOON)
    eventually(lambda: desk.engine.traffic == 0, SOON)
