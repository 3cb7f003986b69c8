"""
A verification finds what is wrong, and only that, in memory and on real Kafka and Redis alike.

We test these aspects: a view that is right; a wrong value and a missing one; what is not covered, is older than the
log, or is not there at all.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from streamresults.compactor.backfill import Backfill
from streamresults.compactor.live import LiveLanes
from streamresults.errors import StoreUnavailable, VerificationMismatch
from streamresults.events.fold import NEVER, NONE, Best
from streamresults.store.value import pack, unpack
from tests.integration.replay_desk import PARTITIONS, compact, one_partition, produce, publish, stored, trim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.replay import Replay
    from streamresults.wiring import Wiring


@pytest.fixture
def replay(wiring: Wiring) -> Iterator[Replay]:
    """Give a replay."""
    with wiring.replay() as opened:
        yield opened


def test_a_view_that_is_right_is_clean(wiring: Wiring, replay: Replay) -> None:
    """Every kind of task: overtaken, forgotten, expired, too large to be inline, dead-lettered."""
    publish(wiring, [f"task-{number}" for number in range(50)], "STARTED")
    publish(wiring, [f"task-{number}" for number in range(30)], "FAILURE")
    publish(wiring, [f"task-{number}" for number in range(10)], result={"paid": True})
    publish(wiring, ["large"], result="x" * 100_000)
    publish(wiring, ["gone"], expires=timedelta(milliseconds=1))
    produce(wiring, b"task-3", None, wiring.broker().partition_of(b"task-3", PARTITIONS))
    produce(wiring, b"task-4", b"no record", wiring.broker().partition_of(b"task-4", PARTITIONS))
    compact(wiring)
    found = replay.verify()

    assert () == found.differences
    assert (True, True, 51, 1, 0) == (found.clean, found.complete, found.matched, found.skipped, found.missing)
    assert (94, 1) == (found.records, sum(part.unreadable for part in found.partitions))
    found.raise_if_unclean()


def test_a_wrong_value_is_found(wiring: Wiring, replay: Replay) -> None:
    """One byte of one result, one rank, one lost event, and bytes that are no value at all: each is told by name."""
    ids = [f"task-{number}" for number in range(20)]
    publish(wiring, ids, "STARTED")
    publish(wiring, ids, result={"paid": True})
    compact(wiring)

    def changed(data: bytes, rank: int = 0, last: int = 0) -> bytes:
        value = unpack(data)
        old, summary = value.summary.best, value.summary
        assert old is not None
        best = Best(old.rank - rank, old.offset, old.appended_ms, old.expires_ms, old.value)
        return pack(value.generation, type(summary)(NONE, best, summary.first, summary.last - last, NEVER))

    stored(wiring, "task-3", lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    stored(wiring, "task-5", lambda data: changed(data, rank=1))
    stored(wiring, "task-7", lambda data: changed(data, last=1))
    found = replay.verify()

    assert {"task-3", "task-5", "task-7"} == {difference.task_id for difference in found.differences}
    assert {"differing"} == {difference.kind for difference in found.differences}
    assert (False, 3, 17) == (found.clean, found.differing, found.matched)
    with pytest.raises(VerificationMismatch, match="3 tasks differ"):
        found.raise_if_unclean()


def test_a_value_that_claims_the_future_is_found(wiring: Wiring, replay: Replay) -> None:
    """A value that names a last event the log does not hold is read on for, and then told."""
    publish(wiring, ["a", "b"])
    compact(wiring)

    def ahead(data: bytes) -> bytes:
        value = unpack(data)
        summary = value.summary
        return pack(value.generation, type(summary)(NONE, summary.best, summary.first, 10**6, NEVER))

    stored(wiring, "a", ahead)
    found = replay.verify()

    assert ["a"] == [difference.task_id for difference in found.differences]
    assert "1000000" in found.differences[0].reason


def test_a_missing_value_is_found(wiring: Wiring, replay: Replay) -> None:
    """A task that the log has and the view lacks, within what it says it covers."""
    publish(wiring, ["a", "b", "c"])
    compact(wiring)
    stored(wiring, "b", lambda _: None)
    found = replay.verify()

    assert [("b", "missing")] == [(difference.task_id, difference.kind) for difference in found.differences]
    assert (False, 1, 2) == (found.clean, found.missing, found.matched)


def test_what_is_not_covered_is_told(wiring: Wiring, replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    """A view that begins in the middle is clean about its part, and the other part is named."""
    monkeypatch.setattr(Backfill, "update", lambda *_: None)  # it would cover the rest
    monkeypatch.setattr(LiveLanes, "incomplete", lambda _: [])
    ids = one_partition(wiring, 12)
    publish(wiring, ids[:8], "STARTED")
    compact(wiring, from_earliest=False)
    publish(wiring, ids[4:])
    compact(wiring, from_earliest=False)
    found = replay.verify()

    verdict = found.partitions[1]
    assert (True, False, 8) == (found.clean, found.complete, found.matched)
    assert (8, 16, 8) == (verdict.begin, verdict.end, verdict.records)
    assert "offsets [0,8) not covered by the view" in verdict.note


def test_what_is_older_than_the_log_is_skipped(wiring: Wiring, replay: Replay) -> None:
    """A result whose record retention has taken stands in the view, and a later lesser event does not condemn it."""
    first, second = one_partition(wiring, 2)
    publish(wiring, [first])
    publish(wiring, [first, second], "STARTED")
    compact(wiring)
    trim(wiring, 1, 1)
    found = replay.verify()

    assert (True, True, 1, 1) == (found.clean, found.complete, found.matched, found.partitions[1].older)
    assert [0, 1, 1] == [found.skipped - 1, found.partitions[1].begin, len(replay.verify("1:2").partitions)]


def test_without_a_view_there_is_nothing_to_verify(wiring: Wiring, replay: Replay) -> None:
    """No compactor has run: that is said, and not that all is well."""
    publish(wiring, ["a"])

    with pytest.raises(StoreUnavailable, match="compactor run"):
        replay.verify()
