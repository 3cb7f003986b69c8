"""
Replay and verification, on the topic and store in memory and on real Kafka and Redis alike.

We test these aspects: ranges are bounded, by offset, time, partition and task; what was covered is told truthfully,
also when stopped early or cut by retention; unreadable records are handed over and pass; nothing is committed. And a
verification finds what is wrong, and only that, also while a compactor and publishers are at work.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest
import redis
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from streamresults.compactor.backfill import Backfill
from streamresults.compactor.live import LiveLanes
from streamresults.deadline import Deadline
from streamresults.errors import (
    BadMagic,
    ConfigurationError,
    KeyMismatch,
    MalformedRecord,
    StoreUnavailable,
    VerificationMismatch,
)
from streamresults.events.fold import NEVER, NONE, Best
from streamresults.replay import verify
from streamresults.replay.verify import Verification
from streamresults.store.keys import Keys
from streamresults.store.memory import MemoryStore, MemoryView
from streamresults.store.value import pack, unpack
from streamresults.topic.memory import MemoryBroker
from tests.compacting import compacting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamresults.events.event import Position
    from streamresults.replay import Replay, Replayed
    from streamresults.topic.base import Record
    from streamresults.wiring import Wiring

PARTITIONS = 4


@pytest.fixture
def replay(wiring: Wiring) -> Iterator[Replay]:
    """Give a replay."""
    with wiring.replay() as opened:
        yield opened


def publish(wiring: Wiring, ids: list[str], state: str = "SUCCESS", **fields: Any) -> list[Position]:
    """Publish one event of each task, and wait for all acknowledgements."""
    publisher = wiring.publisher()
    try:
        pending = [publisher.send(publisher.event(task_id, state, **fields)) for task_id in ids]
        return [one.future().result(30) for one in pending]
    finally:
        publisher.close()


def produce(wiring: Wiring, key: bytes, value: bytes | None, partition: int) -> None:
    """Append any bytes."""
    writer = wiring.broker().writer(wiring.settings.topic)
    writer.produce(key, value, None, partition=partition)
    writer.close(Deadline(20))


def one_partition(wiring: Wiring, count: int, partition: int = 1) -> list[str]:
    """Return task ids that share a partition."""
    names = (f"task-{number}" for number in range(count * 50))
    place = wiring.broker().partition_of
    return list(islice((name for name in names if place(name.encode(), PARTITIONS) == partition), count))


def compact(wiring: Wiring, *, from_earliest: bool = True) -> None:
    """Fold all that there is."""
    wiring.compactor(from_earliest=from_earliest).run_once(threading.Event(), 40)


def trim(wiring: Wiring, partition: int, low: int) -> None:
    """Drop the oldest records, as retention does."""
    broker, topic = wiring.broker(), wiring.settings.topic
    if isinstance(broker, MemoryBroker):
        broker.trim(topic, partition, low)
        return
    admin = AdminClient({"bootstrap.servers": wiring.settings.kafka_bootstrap})
    for future in admin.delete_records([TopicPartition(topic, partition, low)]).values():
        future.result(20)


def stored(wiring: Wiring, task_id: str, change: Callable[[bytes], bytes | None]) -> None:
    """Change what the view holds of a task behind everybody's back."""
    inspector, broker = wiring.inspector(), wiring.broker()
    about = inspector.describe(Deadline(20))
    inspector.close()
    partition = broker.partition_of(task_id.encode(), PARTITIONS)
    store = wiring.store()
    if isinstance(store, MemoryStore):
        view = store.view(wiring.namespace(about), about.topic_id)
        assert isinstance(view, MemoryView)
        values = view.partitions[partition].values
        changed = change(values.pop(task_id))
        if changed is not None:
            values[task_id] = changed
        return
    store.close()
    key = Keys(wiring.namespace(about), about.topic_id).value_prefix(partition) + task_id
    with redis.Redis.from_url(wiring.settings.redis_url) as client:
        found = client.get(key)
        assert isinstance(found, bytes)
        changed = change(found)
        if changed is None:
            client.delete(key)
        else:
            client.set(key, changed, keepttl=True)


def by_task(records: Iterator[Replayed]) -> dict[str | None, list[int]]:
    """Read everything; return the offsets by task."""
    found: dict[str | None, list[int]] = {}
    for record in records:
        found.setdefault(record.task_id, []).append(record.offset)
    return found


# -- reading ----------------------------------------------------------------------------------------------------


def test_a_range_ignores_what_comes_later(wiring: Wiring, replay: Replay) -> None:
    """The end is fixed when the read is asked for, not when it gets there."""
    ids = [f"task-{number}" for number in range(40)]
    publish(wiring, ids, result={"paid": True})
    records = replay.read()
    publish(wiring, ["late"], "STARTED")
    seen = list(records)

    assert set(ids) == {record.task_id for record in seen}
    assert {"SUCCESS"} == {record.event.state for record in seen if record.event}
    assert [40, 0, 0] == [
        sum(part) for part in zip(*((c.records, c.missing, c.unreadable) for c in replay.ranges), strict=True)
    ]
    assert all(covered.finished and covered.note == "" for covered in replay.ranges)
    assert all(replay_order(seen, partition) for partition in range(PARTITIONS))
    assert {"late"} <= {record.task_id for record in replay.read()}


def replay_order(records: list[Replayed], partition: int) -> bool:
    """Tell whether the records of a partition are in the order of their offsets."""
    offsets = [record.offset for record in records if record.partition == partition]
    return offsets == sorted(set(offsets))


def test_a_range_of_offsets(wiring: Wiring, replay: Replay) -> None:
    """Offsets bound every partition, or only those that are named."""
    ids = one_partition(wiring, 10)
    publish(wiring, ids)

    assert dict(zip(ids[2:5], ([2], [3], [4]), strict=True)) == by_task(replay.read("2", "5"))
    assert dict(zip(ids[7:], ([7], [8], [9]), strict=True)) == by_task(replay.read("1:7"))
    assert [(1, 7, 10, 3)] == [(c.partition, c.begin, c.end, c.records) for c in replay.ranges]
    assert {} == by_task(replay.read("99"))
    with pytest.raises(ConfigurationError, match="partition 4"):
        replay.read("4:0")


def test_a_range_of_time(wiring: Wiring, replay: Replay) -> None:
    """A time bounds by when the broker appended."""
    publish(wiring, ["old-1", "old-2"])
    last = max(record.appended_ms for record in replay.read())
    while time.time_ns() // 1_000_000 <= last:
        pass
    publish(wiring, ["new-1", "new-2"])
    moment = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=last + 1)).isoformat()

    assert {"new-1", "new-2"} == by_task(replay.read(moment)).keys()
    assert {"old-1", "old-2"} == by_task(replay.read("@-1h", moment)).keys()
    assert {"old-1", "old-2", "new-1", "new-2"} == by_task(replay.read("@-1h:end")).keys()
    assert {} == by_task(replay.read("@-2d:-1d"))
    assert 4 == len(list(replay.read("1901-01-01")))


def test_one_task(wiring: Wiring, replay: Replay) -> None:
    """A task's whole history, from the partitions that it can be in; a tombstone is part of it."""
    ids = one_partition(wiring, 5)
    publish(wiring, ids, "STARTED")
    publish(wiring, ids)
    produce(wiring, ids[0].encode(), None, 1)
    seen = list(replay.read(task_id=ids[0]))

    assert [0, 5, 10] == [record.offset for record in seen]
    assert ["STARTED", "SUCCESS", None] == [record.event.state if record.event else None for record in seen]
    assert (None, None) == (seen[2].value, seen[2].error)
    assert [(1, 11, 3)] == [(c.partition, c.records, c.matched) for c in replay.ranges if c.matched]


def test_stopping_early_is_told(wiring: Wiring, replay: Replay) -> None:
    """Covered is what was handed over, not what was fetched."""
    publish(wiring, one_partition(wiring, 30))
    records = replay.read("1:3")
    assert [3, 4, 5] == [record.offset for record in islice(records, 3)]
    del records

    (covered,) = replay.ranges
    assert (3, 6, 30, 3, 0, False) == (
        covered.begin,
        covered.end,
        covered.until,
        covered.records,
        covered.missing,
        covered.finished,
    )


def test_unreadable_records_pass(wiring: Wiring, replay: Replay) -> None:
    """What cannot be read comes with its bytes and its error, and the rest goes on."""
    first, second, third = one_partition(wiring, 3)
    publish(wiring, [first])
    (good,) = replay.read(task_id=first)
    produce(wiring, second.encode(), b"no record", 1)
    produce(wiring, second.encode(), good.value, 1)
    produce(wiring, b"\xff", good.value, 1)
    publish(wiring, [third])
    seen = list(replay.read("1:0"))

    assert [first, second, second, None, third] == [record.task_id for record in seen]
    assert [type(None), BadMagic, KeyMismatch, MalformedRecord, type(None)] == [type(record.error) for record in seen]
    assert [True, False, False, False, True] == [record.event is not None for record in seen]
    assert (b"no record", good.value) == (seen[1].value, seen[2].value)
    assert [(5, 3)] == [(c.records, c.unreadable) for c in replay.ranges]


def test_what_retention_took_is_told(wiring: Wiring, replay: Replay) -> None:
    """A beginning that is gone is not passed off as covered."""
    ids = one_partition(wiring, 10)
    publish(wiring, ids)
    trim(wiring, 1, 4)

    assert set(ids[4:]) == by_task(replay.read("1:2")).keys()
    (covered,) = replay.ranges
    assert (4, 10, 4, 0) == (covered.begin, covered.end, covered.low, covered.missing)
    assert "retention took [2, 4)" == covered.note
    assert set(ids[4:]) == by_task(replay.read()).keys()
    assert "the log begins at 4" in replay.ranges[1].note
    assert "" == replay.ranges[0].note


def test_a_beginning_cut_between_asking_and_reading(wiring: Wiring, replay: Replay) -> None:
    """Retention may be quicker than the reader: it goes on where the log begins now."""
    ids = one_partition(wiring, 10)
    publish(wiring, ids)
    records = replay.read("1:0")
    trim(wiring, 1, 6)

    assert set(ids[6:]) == by_task(records).keys()
    assert "retention took [0, 6)" in replay.ranges[0].note


def test_a_range_that_ends_in_markers(real_wiring: Wiring) -> None:
    """A transaction's end takes an offset and is no record, in the middle of a range as at the end of the log."""
    topic, (task_id,) = real_wiring.settings.topic, one_partition(real_wiring, 1)
    bootstrap = real_wiring.settings.kafka_bootstrap
    writer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"{topic}-writer"})
    writer.init_transactions(20)
    for ending in (writer.commit_transaction, writer.abort_transaction, writer.commit_transaction):
        writer.begin_transaction()
        writer.produce(topic, b"x", task_id, 1)
        writer.flush(20)
        ending(20)
    with real_wiring.replay() as replay:
        assert [0, 4] == [record.offset for record in replay.read("1:0")]
        assert [(0, 6, 2, 4, True)] == [(c.begin, c.end, c.records, c.missing, c.finished) for c in replay.ranges]
        assert [0] == [record.offset for record in replay.read("1:0", "1:2")]
        assert [(0, 2, 1, 1, True)] == [(c.begin, c.end, c.records, c.missing, c.finished) for c in replay.ranges]
        compact(real_wiring)
        assert replay.verify().clean


def test_nothing_is_committed(real_wiring: Wiring) -> None:
    """No group appears on the brokers, whatever is read or verified."""
    publish(real_wiring, ["a", "b"])
    compact(real_wiring)
    admin = AdminClient({"bootstrap.servers": real_wiring.settings.kafka_bootstrap})

    def groups() -> set[str]:
        return {group.group_id for group in admin.list_consumer_groups().result(20).valid}

    before = groups()
    with real_wiring.replay() as replay:
        assert 2 == len(list(replay.read()))
        assert replay.verify().clean
        records = replay.read()
        next(records)
        # Other tests of the same run may have groups of their own; a replay's would be new, and not a compactor's.
        assert not {group for group in groups() - before if not group.endswith(".compactor")}


# -- verifying --------------------------------------------------------------------------------------------------


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


def test_clean_while_everything_moves(wiring: Wiring, replay: Replay) -> None:
    """A busy system verifies clean: tasks that are folded further meanwhile are compared where they are."""
    stop = threading.Event()
    ids = [f"task-{number}" for number in range(60)]

    def busy() -> None:
        publisher = wiring.publisher()
        number = 0
        while not stop.is_set():
            number += 1
            state = ("STARTED", "FAILURE")[number % 2]
            pending = [publisher.send(publisher.event(task_id, state, result=number)) for task_id in ids]
            pending[-1].future().result(30)
        publisher.close()

    publish(wiring, ids, "STARTED")
    compact(wiring)
    with compacting(wiring):
        thread = threading.Thread(target=busy)
        thread.start()
        try:
            founds = [replay.verify() for _ in range(4)]
        finally:
            stop.set()
            thread.join(30)
    compact(wiring)

    assert [()] * 4 == [found.differences for found in founds]
    assert [(True, 60)] * 4 == [(found.clean, found.matched) for found in founds]
    assert replay.verify().clean


def test_a_task_that_moved_is_compared_further_on(
    wiring: Wiring, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between folding the log and reading the view, a task changes: it is compared at its new offset."""
    first, second, third = one_partition(wiring, 3)
    publish(wiring, [first, second, third], "STARTED")
    compact(wiring)
    look = Verification.look
    moved: list[str] = []

    def late(self: Verification, partition: int, ids: tuple[str, ...]) -> Any:
        if not moved:
            moved.append("once")
            publish(wiring, [first, second], "RETRY")
            publish(wiring, [first])
            compact(wiring)
            stored(wiring, second, lambda data: data[:-1] + bytes([data[-1] ^ 1]))
        return look(self, partition, ids)

    monkeypatch.setattr(Verification, "look", late)
    found = replay.verify()

    assert [second] == [difference.task_id for difference in found.differences]
    assert 2 == found.matched


def test_a_task_that_goes_on_moving_is_compared_where_it_was(
    wiring: Wiring, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes after the offset that a value names is not folded into what it is compared with."""
    first, second = one_partition(wiring, 2)
    publish(wiring, [first, second], "STARTED")
    compact(wiring)
    look = Verification.look

    def late(self: Verification, partition: int, ids: tuple[str, ...]) -> Any:
        publish(wiring, [first, second], "RETRY")
        compact(wiring)
        return look(self, partition, ids)

    monkeypatch.setattr(Verification, "look", late)
    monkeypatch.setattr(verify, "_LOOK", 1)
    found = replay.verify()

    assert (True, 2) == (found.clean, found.matched)


def test_retention_while_verifying(memory_wiring: Wiring, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was folded before a cut is no contiguous range with what is behind it, and is not compared."""
    first, second = one_partition(memory_wiring, 2)
    publish(memory_wiring, [first])
    publish(memory_wiring, [second] * 1400, "STARTED")
    produce(memory_wiring, first.encode(), None, 1)
    publish(memory_wiring, [second] * 1000, "STARTED")
    compact(memory_wiring)
    summarize = Verification.summarize

    def cut(self: Verification, record: Record) -> Any:
        if record.offset() == 0:
            trim(memory_wiring, 1, 2000)
        return summarize(self, record)

    monkeypatch.setattr(Verification, "summarize", cut)
    with memory_wiring.replay() as replay:
        found = replay.verify()

    assert (True, 1) == (found.clean, found.matched)
    assert 2000 == found.partitions[1].begin
    assert "retention took [1000, 2000)" in found.partitions[1].note


def test_a_generation_that_begins_meanwhile(wiring: Wiring, replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    """A view that is begun afresh is compared afresh; one that never stays is given up, and that is not clean."""
    publish(wiring, one_partition(wiring, 3))
    compact(wiring)
    look = Verification.look
    flushes = 1

    def flushed(self: Verification, partition: int, ids: tuple[str, ...]) -> Any:
        nonlocal flushes
        if flushes:
            flushes -= 1
            flush(wiring)
            compact(wiring)
        return look(self, partition, ids)

    monkeypatch.setattr(Verification, "look", flushed)
    once = replay.verify()
    flushes = 99
    never = replay.verify()

    assert (True, 3) == (once.clean, once.matched)
    assert (False, [1]) == (never.clean, [part.partition for part in never.partitions if not part.finished])
    with pytest.raises(VerificationMismatch, match="partition 1"):
        never.raise_if_unclean()


def flush(wiring: Wiring) -> None:
    """Lose the view."""
    store = wiring.store()
    if isinstance(store, MemoryStore):
        store.flush()
        return
    store.close()
    with redis.Redis.from_url(wiring.settings.redis_url) as client:
        for key in list(client.scan_iter(match=f"{wiring.settings.namespace}:*", count=1000)):
            client.delete(key)
