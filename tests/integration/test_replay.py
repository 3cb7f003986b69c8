"""
Replay, on the topic and store in memory and on real Kafka and Redis alike.

We test these aspects: ranges are bounded, by offset, time, partition and task; what was covered is told truthfully,
also when stopped early or cut by retention; unreadable records are handed over and pass; nothing is committed.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from streamresults.errors import BadMagic, ConfigurationError, KeyMismatch, MalformedRecord
from tests.integration.replay_desk import PARTITIONS, by_task, compact, one_partition, produce, publish, trim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.replay import Replay, Replayed
    from streamresults.wiring import Wiring


@pytest.fixture
def replay(wiring: Wiring) -> Iterator[Replay]:
    """Give a replay."""
    with wiring.replay() as opened:
        yield opened


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
