"""
What streamresults.topic.base promises, asked of every implementation.

We test these aspects: order and exactly-once of appends, bounded queues, reading from explicit offsets without loss,
ends and lost offsets, consumer groups, questions about topics.
"""

from __future__ import annotations

import threading
import uuid
from abc import ABC, abstractmethod
from collections import Counter
from typing import TYPE_CHECKING, Self

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka import murmur2 as librdkafka_murmur2
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions
from hypothesis import given
from hypothesis import strategies as st

from streamresults.deadline import Deadline
from streamresults.errors import AppendFailed, RecordTooLarge, TopicMissing, TopicUnavailable
from streamresults.events.signatures import SIGNATURE, Keyring
from streamresults.topic.base import NO_TOPIC_ID, RECORD_BYTES, Acknowledgement, Broker, TopicSettings
from streamresults.topic.kafka import KafkaBroker, WriterSettings
from streamresults.topic.memory import MemoryBroker
from streamresults.topic.memory_log import murmur2
from streamresults.topic.signed import SignedBroker
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from streamresults.topic.base import Record, TopicGroup, TopicReader, TopicWriter

#: Seconds in which anything here happens on a loaded machine.
SOON = 30.0

PARTITIONS = 4


class Harness(ABC):
    """A broker, one with small limits on the same cluster, and what only a test may do to it."""

    broker: Broker
    small: Broker

    def topic(self, partitions: int = PARTITIONS, config: Mapping[str, str] | None = None) -> str:
        """Make a topic by the broker's own means."""
        name = f"t-{uuid.uuid4().hex[:12]}"
        settings = TopicSettings(
            partitions=partitions, config={"message.timestamp.type": "LogAppendTime", **(config or {})}
        )

        assert self.broker.create_topics({name: settings}, Deadline(SOON)) == {name: True}

        return name

    @abstractmethod
    def trim(self, topic: str, partition: int, low: int) -> None:
        """Drop what is older than ``low``."""

    @abstractmethod
    def add_partitions(self, topic: str, partitions: int) -> None:
        """Give a topic ``partitions`` in all."""

    @abstractmethod
    def delete(self, topic: str) -> None:
        """Delete a topic."""

    def create_again(self, topic: str, partitions: int) -> None:
        """Create another topic by the name of one that was deleted."""
        settings = TopicSettings(partitions=partitions, config={"message.timestamp.type": "LogAppendTime"})
        # Kafka may say for a moment that the old one is still there.
        eventually(lambda: self.broker.create_topics({topic: settings}, Deadline(SOON))[topic], SOON, "it is created")

    @abstractmethod
    def committed(self, topic: str, group: str) -> dict[int, int]:
        """Return what a group has committed."""


class MemoryHarness(Harness):
    """The in-memory broker has test helpers of its own."""

    def __init__(self) -> None:
        self.broker = self.memory = MemoryBroker()
        self.small = MemoryBroker(queue_records=5, record_bytes=1000)
        self.small._cluster = self.memory._cluster

    def trim(self, topic: str, partition: int, low: int) -> None:
        self.memory.trim(topic, partition, low)

    def add_partitions(self, topic: str, partitions: int) -> None:
        self.memory.add_partitions(topic, partitions)

    def delete(self, topic: str) -> None:
        self.memory.delete_topic(topic)

    def committed(self, topic: str, group: str) -> dict[int, int]:
        return self.memory.committed(topic, group)


class SignedHarness(MemoryHarness):
    """The in-memory broker with signatures around it: they change nothing that an interface promises."""

    def __init__(self) -> None:
        super().__init__()
        keyring = Keyring({"k1": "b7e1" * 16}, sign_with="k1")
        self.broker = SignedBroker(self.memory, keyring, _Every())
        self.small = SignedBroker(self.small, keyring, _Every())


class _Every:
    """A container of every name."""

    def __contains__(self, _topic: object) -> bool:
        return True


class KafkaHarness(Harness):
    """Does to Kafka what an operator would."""

    def __init__(self, bootstrap: str) -> None:
        fast = {"topic.metadata.refresh.interval.ms": "300"}
        self.broker = KafkaBroker(bootstrap, properties=fast)
        # The queue is small, and its records wait for company, so that it stays full for a while.
        writing = WriterSettings(queue_records=5, record_bytes=1000, linger=0.05)
        self.small = KafkaBroker(bootstrap, writing=writing)
        self.admin = AdminClient({"bootstrap.servers": bootstrap})

    def trim(self, topic: str, partition: int, low: int) -> None:
        [future] = self.admin.delete_records([TopicPartition(topic, partition, low)]).values()
        future.result(SOON)

    def add_partitions(self, topic: str, partitions: int) -> None:
        self.admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(SOON)

    def delete(self, topic: str) -> None:
        self.admin.delete_topics([topic])[topic].result(SOON)

    def committed(self, topic: str, group: str) -> dict[int, int]:
        [future] = self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
        return {at.partition: at.offset for at in future.result(SOON).topic_partitions if at.topic == topic}


@pytest.fixture(params=["memory", "signed", pytest.param("kafka", marks=pytest.mark.kafka)])
def harness(request: pytest.FixtureRequest) -> Harness:
    """Each implementation in turn."""
    if request.param != "kafka":
        return MemoryHarness() if request.param == "memory" else SignedHarness()
    return KafkaHarness(request.getfixturevalue("kafka_bootstrap"))


@pytest.fixture
def broker(harness: Harness) -> Broker:
    return harness.broker


@pytest.fixture
def topic(harness: Harness) -> str:
    return harness.topic()


@pytest.fixture
def writer(broker: Broker, topic: str) -> Iterator[TopicWriter]:
    writer = broker.writer(topic)
    writer.warm(Deadline(SOON))
    yield writer
    writer.close(Deadline(SOON))


@pytest.fixture
def reader(broker: Broker, topic: str) -> Iterator[TopicReader]:
    reader = broker.reader(topic)
    yield reader
    reader.close()


class Acks:
    """Collects acknowledgements by name."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Acknowledgement]] = []

    def __call__(self, name: str) -> Callable[[Acknowledgement], None]:
        return lambda ack: self.seen.append((name, ack))


def append(writer: TopicWriter, key: str, value: bytes | None = b"v", partition: int = -1) -> Acknowledgement:
    """Append one record and wait for its acknowledgement."""
    done = threading.Event()
    acks: list[Acknowledgement] = []

    def on_ack(ack: Acknowledgement) -> None:
        acks.append(ack)
        done.set()

    assert writer.produce(key.encode(), value, on_ack, partition=partition)
    assert done.wait(SOON)

    return acks[0]


def read(reader: TopicReader | TopicGroup, count: int) -> list[Record]:
    """Return the next ``count`` records."""
    deadline = Deadline(SOON)
    records: list[Record] = []
    while len(records) < count and not deadline.passed():
        records += reader.poll(1.0).records
    return records


def keys(records: Sequence[Record]) -> list[str]:
    return [bytes(record.key() or b"").decode() for record in records]  # type: ignore[arg-type]


# --- appending ---------------------------------------------------------------------------------------------------


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


def test_missing_topic_is_said(broker: Broker) -> None:
    """Warming and asking name the topic and what to do."""
    writer, inspector = broker.writer("nobody-made-this"), broker.inspector("nobody-made-this")
    with pytest.raises(TopicUnavailable, match=r"'nobody-made-this' does not exist.*streamresults init"):
        writer.warm(Deadline(SOON))
    for question in (inspector.describe, lambda deadline: inspector.ends([0], deadline)):
        with pytest.raises(TopicUnavailable, match=r"'nobody-made-this' does not exist.*streamresults init"):
            question(Deadline(SOON))
    writer.close(Deadline(SOON))
    inspector.close()


# --- reading -----------------------------------------------------------------------------------------------------


def test_reads_everything_from_the_assigned_offset(writer: TopicWriter, reader: TopicReader) -> None:
    """Nothing before it, nothing left out, in order."""
    for number in range(50):
        writer.produce(b"k", b"%d" % number, None, partition=1)
    writer.flush(Deadline(SOON))
    reader.assign({1: 20})

    assert list(range(20, 50)) == [record.offset() for record in read(reader, 30)]


def test_record_appended_after_the_end_was_resolved_is_never_lost(
    writer: TopicWriter, reader: TopicReader, broker: Broker, topic: str
) -> None:
    """The join race: resolve, assign, append at once; the append may win against the assign."""
    inspector = broker.inspector(topic)
    for turn in range(30):
        partition = turn % PARTITIONS
        reader.assign(inspector.ends([partition], Deadline(SOON)))
        writer.produce(b"k", b"%d" % turn, None, partition=partition)

        assert [b"%d" % turn] == [record.value() for record in read(reader, 1)]

        reader.unassign([partition])
    inspector.close()


def test_partition_added_from_another_thread_while_polling(writer: TopicWriter, reader: TopicReader) -> None:
    """A poll under way delivers what was assigned meanwhile, without a wake and without an end to its timeout."""
    reader.assign({0: 0})
    got = threading.Event()
    stop = threading.Event()

    def poll() -> None:
        while not stop.is_set():
            if reader.poll(SOON).records:
                got.set()

    thread = threading.Thread(target=poll)
    thread.start()
    writer.produce(b"k", b"v", None, partition=2)
    writer.flush(Deadline(SOON))
    reader.assign({2: 0})

    assert got.wait(SOON)

    stop.set()
    reader.wake()
    thread.join(SOON)

    assert not thread.is_alive()


@pytest.mark.parametrize("assigned", [False, True])
def test_wake_ends_a_poll(reader: TopicReader, *, assigned: bool) -> None:
    """Far before the timeout, with and without something to read; a wake before the poll counts too."""
    if assigned:
        reader.assign({0: 0})
        while not reader.poll(SOON).ends:
            pass
    polling, ended = threading.Event(), threading.Event()

    def poll() -> None:
        polling.set()
        reader.poll(SOON)
        ended.set()

    thread = threading.Thread(target=poll)
    thread.start()
    polling.wait(SOON)
    reader.wake()

    assert ended.wait(SOON / 3)

    thread.join()


def test_close_ends_a_poll(broker: Broker, topic: str) -> None:
    """A poll under way returns nothing; a later one says why it cannot."""
    reader = broker.reader(topic)
    reader.assign({0: 0})
    while not reader.poll(SOON).ends:
        pass
    polled = []
    polling = threading.Event()

    def poll() -> None:
        polling.set()
        polled.append(reader.poll(SOON))

    thread = threading.Thread(target=poll)
    thread.start()
    polling.wait(SOON)
    reader.close()
    thread.join(SOON / 3)

    assert not thread.is_alive()
    assert not polled[0].records
    with pytest.raises(TopicUnavailable, match="closed"):
        reader.poll(0)


def test_unassigned_partition_is_read_no_more(writer: TopicWriter, reader: TopicReader) -> None:
    """Another one goes on; unassigning what is not assigned is harmless."""
    reader.assign({0: 0, 1: 0})
    append(writer, "before", partition=0)

    assert keys(read(reader, 1)) == ["before"]

    reader.unassign([0, 3])
    reader.poll(0)
    append(writer, "silent", partition=0)
    append(writer, "heard", partition=1)

    assert keys(read(reader, 1)) == ["heard"]


def test_assigning_again_moves(writer: TopicWriter, reader: TopicReader) -> None:
    """Backwards and forwards."""
    for number in range(5):
        append(writer, f"k{number}", partition=0)
    reader.assign({0: 0})

    assert keys(read(reader, 5)) == ["k0", "k1", "k2", "k3", "k4"]

    reader.assign({0: 3})

    assert keys(read(reader, 2)) == ["k3", "k4"]


def test_ends_are_reported_with_the_next_offset(writer: TopicWriter, reader: TopicReader) -> None:
    """Also of an empty partition."""
    append(writer, "k", partition=0)
    append(writer, "k", partition=0)
    reader.assign({0: 0, 1: 0})
    ends: dict[int, int] = {}
    deadline = Deadline(SOON)
    while {0, 1} - ends.keys() and not deadline.passed():
        ends.update(reader.poll(1.0).ends)

    assert ends == {0: 2, 1: 0}


def test_offset_that_retention_took_is_reported_until_assigned_anew(
    harness: Harness, writer: TopicWriter, reader: TopicReader
) -> None:
    """Neither records nor silence: the partition is named, and reads again once assigned to what there is."""
    topic = writer._topic  # type: ignore[attr-defined]
    for number in range(5):
        append(writer, f"k{number}", partition=0)
    harness.trim(topic, 0, 3)
    reader.assign({0: 1, 1: 7})
    lost: dict[int, int] = {}
    deadline = Deadline(SOON)
    while len(lost) < 2 and not deadline.passed():
        polled = reader.poll(1.0)
        lost.update(polled.out_of_range)

        assert not polled.records

    assert lost == {0: 1, 1: 7}

    reader.assign({0: 3})

    assert keys(read(reader, 2)) == ["k3", "k4"]


def test_new_partition_can_be_read_soon(harness: Harness, reader: TopicReader, topic: str) -> None:
    """Without opening the reader anew."""
    reader.assign({0: 0})
    reader.poll(0)
    harness.add_partitions(topic, PARTITIONS + 1)
    deadline = Deadline(SOON)
    inspector = harness.broker.inspector(topic)
    while inspector.describe(deadline).partitions == PARTITIONS:
        assert not deadline.passed()
    inspector.ends([PARTITIONS], deadline)
    writer = harness.broker.writer(topic)
    append(writer, "new", partition=PARTITIONS)
    reader.assign({PARTITIONS: 0})

    assert keys(read(reader, 1)) == ["new"]

    writer.close(Deadline(SOON))
    inspector.close()


# --- groups ------------------------------------------------------------------------------------------------------


class Member:
    """Polls a group on a thread of its own, as a compactor does, and remembers what it was told."""

    def __init__(self, group: TopicGroup, start: Mapping[int, int] | None = None) -> None:
        self.group = group
        self.start = start or {}
        self.owned: set[int] = set()
        self.told: list[tuple[str, list[int]]] = []
        self.records: list[Record] = []
        self.changed = threading.Condition()
        self.failures: list[BaseException] = []
        self._stop = False
        self._thread = threading.Thread(target=self._run)

    def on_assigned(self, partitions: Sequence[int]) -> dict[int, int]:
        self._tell("assigned", partitions)
        self.owned.update(partitions)
        return {partition: self.start.get(partition, 0) for partition in partitions}

    def on_revoked(self, partitions: Sequence[int]) -> None:
        self._tell("revoked", partitions)
        self.owned.difference_update(partitions)

    def on_lost(self, partitions: Sequence[int]) -> None:
        self._tell("lost", partitions)
        self.owned.difference_update(partitions)

    def _tell(self, event: str, partitions: Sequence[int]) -> None:
        with self.changed:
            self.told.append((event, list(partitions)))

    def _run(self) -> None:
        try:
            self.group.join(self)
            while not self._stop:
                records = self.group.poll(0.1).records
                with self.changed:
                    self.records += records
                    self.changed.notify_all()
        except BaseException as exc:  # noqa: BLE001 - shown by the test
            self.failures.append(exc)
        finally:
            self.group.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        self._thread.join(SOON)

        assert not self.failures

    def owns(self, count: int) -> bool:
        """Wait until this member owns so many partitions."""
        with self.changed:
            return self.changed.wait_for(lambda: len(self.owned) == count, SOON)

    def has(self, count: int) -> bool:
        """Wait until so many records arrived."""
        with self.changed:
            return self.changed.wait_for(lambda: len(self.records) >= count, SOON)


@pytest.fixture
def group_id() -> str:
    return f"g-{uuid.uuid4().hex[:8]}"


def test_single_member_reads_from_the_offsets_it_answers_with(
    writer: TopicWriter, broker: Broker, topic: str, group_id: str
) -> None:
    """The group's own offsets decide nothing."""
    for number in range(5):
        append(writer, f"k{number}", partition=0)
    with Member(broker.group(topic, group_id), {0: 3}) as member:
        assert member.owns(PARTITIONS)
        assert member.has(2)

    assert keys(member.records) == ["k3", "k4"]
    assert [("assigned", list(range(PARTITIONS)))] == member.told


def test_two_members_share_and_the_one_that_stays_takes_over(
    writer: TopicWriter, broker: Broker, topic: str, group_id: str
) -> None:
    """Revoked before the other is assigned; after one left, all records reach the other."""
    with Member(broker.group(topic, group_id)) as first:
        assert first.owns(PARTITIONS)
        with Member(broker.group(topic, group_id)) as second:
            assert second.owns(PARTITIONS // 2)
            assert first.owns(PARTITIONS // 2)
            assert not first.owned & second.owned
            assert "revoked" in [event for event, _ in first.told]
            for partition in range(PARTITIONS):
                append(writer, f"k{partition}", partition=partition)

            assert first.has(2)
            assert second.has(2)
            assert {f"k{partition}" for partition in first.owned} == set(keys(first.records))
        assert first.owns(PARTITIONS)


def test_seek_pause_and_resume(writer: TopicWriter, broker: Broker, topic: str, group_id: str) -> None:
    """A paused partition delivers nothing, the others go on; seek repeats or skips."""
    for number in range(4):
        append(writer, f"k{number}", partition=0)
    group = broker.group(topic, group_id)
    member = Member(group)
    group.join(member)

    assert keys(read(group, 4)) == ["k0", "k1", "k2", "k3"]

    group.seek(0, 2)

    assert keys(read(group, 2)) == ["k2", "k3"]

    group.pause([0])
    append(writer, "held", partition=0)
    append(writer, "other", partition=1)

    assert keys(read(group, 1)) == ["other"]

    group.resume([0])

    assert keys(read(group, 1)) == ["held"]

    group.close()


def test_a_group_knows_ends_without_asking(writer: TopicWriter, broker: Broker, topic: str, group_id: str) -> None:
    """Of what it has fetched, at least as far as that went."""
    append(writer, "k", partition=0)
    group = broker.group(topic, group_id)
    group.join(Member(group))
    read(group, 1)

    assert group.ends([0])[0] == 1
    group.close()


def test_committed_offsets_are_visible(harness: Harness, writer: TopicWriter, topic: str, group_id: str) -> None:
    """To lag tools; with and without waiting."""
    append(writer, "k", partition=0)
    group = harness.broker.group(topic, group_id)
    group.join(Member(group))
    read(group, 1)
    group.commit({0: 1}, wait=True)

    assert harness.committed(topic, group_id)[0] == 1

    group.commit({0: 0, 1: 0}, wait=False)
    deadline = Deadline(SOON)
    while harness.committed(topic, group_id).get(1) != 0:
        assert not deadline.passed()
        group.poll(0.01)
    group.commit({}, wait=True)
    group.close()
    with pytest.raises(TopicUnavailable, match="left"):
        group.poll(0)


@pytest.mark.parametrize("event", ["on_assigned", "on_revoked"])
def test_what_an_event_raises_comes_out_of_poll(broker: Broker, topic: str, group_id: str, event: str) -> None:
    """Nothing that a member's own code raises is lost."""

    class Failing(Member):
        pass

    group = broker.group(topic, group_id)
    member = Failing(group)

    def fail(_: Sequence[int]) -> dict[int, int]:
        raise ZeroDivisionError(event)

    setattr(member, event, fail)
    group.join(member)

    def poll_on() -> None:
        deadline = Deadline(SOON)
        while not deadline.passed():
            group.poll(0.1)

    if event == "on_assigned":
        with pytest.raises(ZeroDivisionError, match=event):
            poll_on()
    else:
        deadline = Deadline(SOON)
        while len(member.owned) < PARTITIONS and not deadline.passed():
            group.poll(0.1)
        # Not until the other owns its share: that waits for this member's own revocation.
        other = Member(broker.group(topic, group_id))
        with other, pytest.raises(ZeroDivisionError, match=event):
            poll_on()
    group.close()


def test_a_member_is_given_partitions_that_were_added(harness: Harness, topic: str, group_id: str) -> None:
    """Within the interval at which topics are looked up; what was written before that is not left out."""
    with Member(harness.broker.group(topic, group_id)) as member:
        assert member.owns(PARTITIONS)
        harness.add_partitions(topic, PARTITIONS + 2)
        newer = harness.broker.writer(topic)
        append(newer, "early", partition=PARTITIONS + 1)
        newer.close(Deadline(SOON))

        assert member.owns(PARTITIONS + 2)
        assert member.has(1)


def test_a_member_gives_up_a_topic_that_is_deleted_and_is_given_the_one_made_again(
    harness: Harness, writer: TopicWriter, topic: str, group_id: str
) -> None:
    """It is asked anew where to begin: offsets of the one mean nothing in the other."""
    append(writer, "old", partition=0)
    with Member(harness.broker.group(topic, group_id)) as member:
        assert member.owns(PARTITIONS)
        assert member.has(1)
        harness.delete(topic)
        harness.create_again(topic, 2)
        eventually(lambda: len(member.told) > 1 and len(member.owned) == 2, SOON, "it has the new partitions")
        newer = harness.broker.writer(topic)
        append(newer, "new", partition=0)
        newer.close(Deadline(SOON))

        assert member.has(2)
        assert [b"old", b"new"] == [record.key() for record in member.records]
        assert ("revoked", [0, 1, 2, 3]) in member.told or ("lost", [0, 1, 2, 3]) in member.told


# --- questions ---------------------------------------------------------------------------------------------------


def test_watermarks_and_ends(harness: Harness, writer: TopicWriter, topic: str) -> None:
    """Low moves with retention, high with appends."""
    for number in range(3):
        append(writer, f"k{number}", partition=1)
    harness.trim(topic, 1, 2)
    inspector = harness.broker.inspector(topic)

    assert inspector.watermarks([0, 1], Deadline(SOON)) == {0: (0, 0), 1: (2, 3)}
    assert inspector.ends([0, 1], Deadline(SOON)) == {0: 0, 1: 3}
    assert inspector.ends([], Deadline(SOON)) == {}

    inspector.close()


def test_description_tells_topics_apart(harness: Harness) -> None:
    """Same cluster, other topic, other id; the same each time."""
    one, two = harness.topic(2), harness.topic(3)
    first, second = harness.broker.inspector(one), harness.broker.inspector(two)
    described, other = first.describe(Deadline(SOON)), second.describe(Deadline(SOON))

    assert described == first.describe(Deadline(SOON))
    assert (one, 2, 3) == (described.topic, described.partitions, other.partitions)
    assert described.cluster_id == other.cluster_id != ""
    assert described.topic_id != other.topic_id
    assert described.topic_id != NO_TOPIC_ID

    first.close()
    second.close()


def test_description_follows_growth_and_tells_a_topic_that_was_made_again(harness: Harness, topic: str) -> None:
    """The same id while partitions are added; another one for another topic of the same name."""
    inspector = harness.broker.inspector(topic)
    first = inspector.describe(Deadline(SOON))
    harness.add_partitions(topic, PARTITIONS + 3)
    eventually(lambda: inspector.describe(Deadline(SOON)).partitions == PARTITIONS + 3, SOON, "the brokers know")
    grown = inspector.describe(Deadline(SOON))
    harness.delete(topic)
    with pytest.raises(TopicMissing):
        eventually(lambda: inspector.describe(Deadline(SOON)) is None, SOON)
    harness.create_again(topic, 2)
    again = inspector.describe(Deadline(SOON))
    inspector.close()

    assert (first.topic_id, first.cluster_id) == (grown.topic_id, grown.cluster_id)
    assert first.topic_id != again.topic_id != NO_TOPIC_ID
    assert again.partitions == 2


def test_creating_is_idempotent_and_keeps_settings(harness: Harness) -> None:
    """A second call changes nothing; the settings are as asked."""
    topic = harness.topic(2, {"retention.ms": "86400000"})
    again = harness.broker.create_topics({topic: TopicSettings(partitions=9)}, Deadline(SOON))
    inspector = harness.broker.inspector(topic)
    config = inspector.topic_config(Deadline(SOON))

    assert {topic: False} == again
    assert inspector.describe(Deadline(SOON)).partitions == 2
    assert config is not None
    assert (config["retention.ms"], config["message.timestamp.type"]) == ("86400000", "LogAppendTime")

    inspector.close()


@given(key=st.binary(max_size=64), partitions=st.integers(1, 200))
def test_all_agree_on_the_partition_of_a_key(key: bytes, partitions: int) -> None:
    """The murmur2 written here is the one of librdkafka."""
    assert librdkafka_murmur2(key, partitions) == murmur2(key, partitions)
