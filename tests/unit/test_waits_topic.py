"""
A wait through the topic ends when it must, with what it must say.

We test these aspects, with a view that moves when the test says so: a plain look, R, the proof, sleepers; no view and
an incomplete one; a deadline that lets the topic speak; dead letters, and values that are none of ours.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest

from streamresults.client import looking
from streamresults.client.waiter import Phase
from streamresults.compactor.lane import Lane
from streamresults.errors import DeadLettered, WaitTimeout
from streamresults.events.fold import NEVER
from streamresults.store.base import Mark
from tests.unit.desk import SOON, Desk
from tests.waiting import eventually


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
