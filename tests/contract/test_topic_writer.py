"""
What the writer of streamresults.topic.base promises, asked of every implementation.

We test these aspects: order and exactly-once of appends, and their partition; bounded queues; records that are too
large or have no place to go; what callbacks are told, and what they raise; a writer that is closed.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import murmur2 as librdkafka_murmur2
from hypothesis import given
from hypothesis import strategies as st

from streamresults.deadline import Deadline
from streamresults.errors import AppendFailed, RecordTooLarge, TopicUnavailable
from streamresults.events.signatures import SIGNATURE
from streamresults.topic.memory import MemoryBroker
from streamresults.topic.memory_log import murmur2
from streamresults.topic.records import RECORD_BYTES, Acknowledgement
from tests.contract.topic_desk import PARTITIONS, SOON, append, keys, read
from tests.contract.topic_harness import MemoryHarness

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.topic.base import Broker, TopicReader, TopicWriter
    from tests.contract.topic_harness import Harness


class Acks:
    """Collects acknowledgements by name."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Acknowledgement]] = []

    def __call__(self, name: str) -> Callable[[Acknowledgement], None]:
        return lambda ack: self.seen.append((name, ack))


def test_every_record_is_acknowledged_once_with_its_position(
    writer: TopicWriter, reader: TopicReader, broker: Broker
) -> None:
    """What a callback is told is where the record is read."""
    acks = Acks()
    for number in range(200):
        assert writer.produce(f"k{number}".encode(), b"v", acks(f"k{number}"))
    assert writer.flush(Deadline(SOON)) == 0
    reader.assign(dict.fromkeys(range(PARTITIONS), 0))

    expected = {(record.partition(), record.offset()): key for record in [*read(reader, 200)] for key in keys([record])}

    assert dict.fromkeys((f"k{number}" for number in range(200)), 1) == Counter(name for name, _ in acks.seen)
    assert expected == {(ack.partition, ack.offset): name for name, ack in acks.seen}
    assert all(ack.partition == broker.partition_of(name.encode(), PARTITIONS) for name, ack in acks.seen)


def test_records_of_one_key_keep_their_order(writer: TopicWriter, reader: TopicReader) -> None:
    """Appended in the order of the calls, from several threads with a key each."""

    def work(key: bytes) -> None:
        for number in range(300):
            writer.produce(key, b"%d" % number, None)

    threads = [threading.Thread(target=work, args=(b"key%d" % number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.flush(Deadline(SOON))
    reader.assign(dict.fromkeys(range(PARTITIONS), 0))
    records = read(reader, 1200)

    for key in range(4):
        values = [record.value() for record in records if keys([record]) == [f"key{key}"]]
        assert [b"%d" % number for number in range(300)] == values


def test_key_value_headers_and_time_are_read_as_written(
    writer: TopicWriter, reader: TopicReader, broker: Broker, topic: str
) -> None:
    """A null value stays null, headers keep order and repetition, the time is the broker's."""
    headers: list[tuple[str, bytes | None]] = [("a", b"1"), ("b", None), ("a", b"2")]
    writer.produce(b"\xff\x00", None, None, headers=headers, partition=3)
    writer.flush(Deadline(SOON))
    reader.assign({3: 0})
    [record] = read(reader, 1)
    kind, milliseconds = record.timestamp()

    found = [header for header in record.headers() or () if header[0] != SIGNATURE]
    assert (b"\xff\x00", None, headers) == (record.key(), record.value(), found)
    assert kind == 2
    inspector = broker.inspector(topic)
    assert inspector.offsets_at([3], milliseconds, Deadline(SOON)) == {3: 0}
    assert inspector.offsets_at([3], milliseconds + 1, Deadline(SOON)) == {3: 1}
    inspector.close()


def test_another_topic_over_the_same_writer(harness: Harness, writer: TopicWriter) -> None:
    """``topic`` redirects one record."""
    other, reader = harness.topic(), None
    writer.produce(b"k", b"elsewhere", None, topic=other)
    writer.flush(Deadline(SOON))
    reader = harness.broker.reader(other)
    reader.assign(dict.fromkeys(range(PARTITIONS), 0))

    assert [record.value() for record in read(reader, 1)] == [b"elsewhere"]
    reader.close()


def test_full_queue_refuses_and_loses_nothing(harness: Harness, topic: str) -> None:
    """False queued nothing; after room was waited for, everything arrives once and in order."""
    writer, acks, refused = harness.small.writer(topic), Acks(), 0
    if isinstance(harness, MemoryHarness):
        harness.memory.hold()
        threading.Timer(0.05, harness.memory.release).start()
    writer.warm(Deadline(SOON))
    for number in range(50):
        while not writer.produce(b"same", b"%d" % number, acks(str(number))):
            refused += 1
            assert writer.wait_for_room(Deadline(SOON))
    assert writer.close(Deadline(SOON)) == 0
    reader = harness.broker.reader(topic)
    reader.assign(dict.fromkeys(range(PARTITIONS), 0))

    assert refused > 0
    assert [str(number) for number in range(50)] == [name for name, _ in acks.seen]
    assert [b"%d" % number for number in range(50)] == [record.value() for record in read(reader, 50)]
    reader.close()


def test_waiting_for_room_ends_with_its_deadline(topic: str) -> None:
    """Nothing is acknowledged, so there is no room."""
    memory = MemoryBroker({topic: 1}, queue_records=1)
    memory.hold()
    writer = memory.writer(topic)

    assert writer.produce(b"k", b"v", None)
    assert not writer.produce(b"k", b"v", None)
    assert not writer.wait_for_room(Deadline(0.01))
    assert writer.flush(Deadline(0)) == 1
    assert writer.close(Deadline(0)) == 1


def test_too_large_is_refused_at_once_and_queues_nothing(harness: Harness, topic: str) -> None:
    """The error names size and limit."""
    writer = harness.small.writer(topic)
    with pytest.raises(RecordTooLarge) as caught:
        writer.produce(b"key", b"x" * 2000, None)

    assert (
        caught.value.task_id,
        caught.value.size,
        caught.value.limit,
        caught.value.written,
    ) == ("key", 2003, 1000, False)
    assert writer.close(Deadline(SOON)) == 0


def test_largest_record_is_taken_by_writer_and_topic_alike(writer: TopicWriter) -> None:
    """What the error names is the limit to the byte, and a topic with Kafka's own settings takes it."""
    key, value = b"k", bytes(RECORD_BYTES - 1)

    assert append(writer, "k", value).error is None
    with pytest.raises(RecordTooLarge) as caught:
        writer.produce(key, value + b"\0", None)
    assert (RECORD_BYTES + 1, RECORD_BYTES) == (caught.value.size, caught.value.limit)


@pytest.mark.kafka
def test_too_large_for_the_topic_is_told_to_the_callback(harness: Harness) -> None:
    """The broker's limit may be lower than the writer's."""
    if isinstance(harness, MemoryHarness):
        pytest.skip("in memory there is one limit")
    writer = harness.broker.writer(harness.topic(config={"max.message.bytes": "1000"}))
    error = append(writer, "key", b"x" * 5000).error

    assert isinstance(error, RecordTooLarge)
    assert (error.task_id, error.size, error.written) == ("key", 5003, False)
    writer.close(Deadline(SOON))


def test_partition_that_is_not_there_is_definitely_not_written(writer: TopicWriter) -> None:
    """Either at once or through the callback."""
    try:
        error = append(writer, "key", partition=99).error
    except AppendFailed as exc:
        error = exc

    assert isinstance(error, AppendFailed)
    assert error.written is False


def test_closed_writer_refuses(broker: Broker, topic: str) -> None:
    """After close, used or unused, nothing is queued; closing twice is harmless."""
    for used in (True, False):
        writer = broker.writer(topic)
        if used:
            append(writer, "k")

        assert writer.close(Deadline(SOON)) == 0
        assert writer.close(Deadline(SOON)) == 0
        with pytest.raises(TopicUnavailable, match="closed"):
            writer.produce(b"k", b"v", None)


def test_failing_callback_stops_nothing(writer: TopicWriter) -> None:
    """The next record is acknowledged all the same."""

    def fail(_: Acknowledgement) -> None:
        raise ZeroDivisionError

    writer.produce(b"k", b"v", fail)

    assert append(writer, "k").error is None
    assert writer.flush(Deadline(SOON)) == 0


@given(key=st.binary(max_size=64), partitions=st.integers(1, 200))
def test_all_agree_on_the_partition_of_a_key(key: bytes, partitions: int) -> None:
    """The murmur2 written here is the one of librdkafka."""
    assert librdkafka_murmur2(key, partitions) == murmur2(key, partitions)
