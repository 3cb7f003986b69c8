"""
What the reader of streamresults.topic.base promises, asked of every implementation.

We test these aspects: reading from explicit offsets without loss, also of what is appended meanwhile; partitions that
are added, taken away and assigned anew while another thread polls; ends and lost offsets; what ends a poll.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from streamresults.deadline import Deadline
from streamresults.errors import TopicUnavailable
from tests.contract.topic_desk import PARTITIONS, SOON, append, keys, read

if TYPE_CHECKING:
    from streamresults.topic.base import Broker, TopicReader, TopicWriter
    from tests.contract.topic_harness import Harness


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
    harness: Harness, writer: TopicWriter, reader: TopicReader, topic: str
) -> None:
    """Neither records nor silence: the partition is named, and reads again once assigned to what there is."""
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
