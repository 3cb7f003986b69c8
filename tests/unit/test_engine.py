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

from streamresults.client import looking, waits
from streamresults.client.result import Basis
from streamresults.client.waiter import Answer, Phase
from streamresults.compactor.lane import Lane
from streamresults.deadline import Deadline
from streamresults.errors import ClientClosed, DeadLettered, StreamResultsError, WaitTimeout
from streamresults.events.fold import NEVER
from streamresults.store.base import Mark
from tests.unit.desk import SOON, Desk, desks
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def open_desk() -> Iterator[Callable[..., Desk]]:
    """Give a function that opens a desk; safety re-reads are off."""
    yield from desks()


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
    assert desk.engine.reader.connection is None


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


def test_a_result_that_comes_before_the_reader_is_found_without_any_fold(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No compactor has ever run, so that no view can show it: the log is read from when the wait began."""
    read, published = desk.engine.assigner._read, list[int]()

    def late(unread: Any) -> None:
        if unread and not published:
            published.append(desk.publish("t", "SUCCESS"))
        read(unread)

    monkeypatch.setattr(desk.engine.assigner, "_read", late)

    assert ("SUCCESS", "topic") == desk.wait().told
    assert published


def test_a_success_needs_no_proof(desk: Desk) -> None:
    """It is right whatever else there is; no compactor is needed at all."""
    wait = desk.wait()
    desk.in_phase(Phase.UNPROVEN)
    desk.publish("t", "SUCCESS")

    assert ("SUCCESS", "topic") == wait.told


def test_an_unheard_view_lets_the_topic_speak(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compactor a FAILURE ends the wait after a while, and the answer says what it is based on."""
    monkeypatch.setattr(looking, "UNHEARD_AFTER", 0.3)
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
    reader = desk.engine.reader.connection
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
    monkeypatch.setattr(waits, "_RETRY", 0.01)
    desk.fold()
    wait = desk.wait()
    desk.in_phase(Phase.ASLEEP)
    broken = desk.engine.reader.connection
    assert broken is not None
    broken.close()
    eventually(lambda: desk.engine.reader.connection is not broken and desk.watch.is_read, SOON)
    desk.in_phase(Phase.ASLEEP)
    desk.publish("t", "FAILURE")

    assert ("FAILURE", "topic") == wait.told


def test_an_idle_partition_is_released_and_read_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traffic that nobody waits for is not read, and the next wait finds nothing amiss."""
    monkeypatch.setattr(waits, "_IDLE_AFTER", 0.05)
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
    desk.client._watermarks.saw(0, 4)
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
    assert desk.engine.reader.connection is None


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
    desk.engine.listener.hear(None)

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
    desk.engine.assigner.inspector.ends = _away  # type: ignore[method-assign, union-attr]
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
    desk.engine.assigner.inspector.ends = _away  # type: ignore[method-assign, union-attr]
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


def test_a_look_that_begins_as_the_engine_is_closed_ends(desk: Desk) -> None:
    """Closing rings once; the looker that comes to its wait behind that must not wait for another ring."""
    desk.engine.close()
    looking = threading.Thread(target=desk.engine.looker._look_once, daemon=True)
    looking.start()
    looking.join(SOON)

    assert not looking.is_alive()


def test_a_reset_after_the_end_brings_nobody_back(desk: Desk) -> None:
    """A thread that has not noticed that the client was closed may still reset the reader."""
    desk.fold()
    told: list[bool] = []
    engine = desk.engine
    waiter = engine.submit("t", 0, lambda: told.append(True), through_topic=True)
    desk.in_phase(Phase.ASLEEP)
    desk.client.close()
    with engine.waits.lock:
        engine.waits.send_to_step_1({0: 0})
        engine.waits.over(waiter, Answer(None, -1, 0, Basis.FULL))

    assert (Phase.OVER, [True]) == (waiter.phase, told)
    assert isinstance(waiter.error, ClientClosed)


def test_a_thousand_waits_use_a_handful_of_threads(desk: Desk) -> None:
    """One looker, one assigner, one reader, one listener."""
    desk.fold()
    told = threading.Semaphore(0)
    waiters = [
        desk.engine.submit(f"t{number}", 0, told.release, through_topic=number % 2 == 0) for number in range(1000)
    ]
    eventually(lambda: all(waiter.phase is Phase.ASLEEP for waiter in waiters), SOON)

    assert ["assigner", "listener", "looker", "reader"] == sorted(desk.engine.threads._threads)

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
    table = desk.engine.waits
    eventually(lambda: not table.new and not table.wanted, SOON)

    assert ({}, set(), []) == (desk.watch.waiters, desk.watch.unproven, list(table.rereads))


def test_traffic_that_has_ended_counts_no_more(desk: Desk) -> None:
    """Else one busy minute would send every later wait to the view."""
    desk.fold()
    desk.wait()
    desk.in_phase(Phase.ASLEEP)
    for _ in range(50):
        desk.publish("noise", "STARTED")
    eventually(lambda: desk.engine.traffic > 0, SOON)
    eventually(lambda: desk.engine.traffic == 0, SOON)
