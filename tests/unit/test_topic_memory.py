"""What streamresults.topic.memory offers to tests, beyond the contract that it shares with Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from streamresults.deadline import Deadline
from streamresults.errors import AppendFailed, TopicUnavailable
from streamresults.topic.memory import MemoryBroker
from streamresults.topic.records import Acknowledgement

if TYPE_CHECKING:
    from collections.abc import Sequence


class Told:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, list[int]]] = []

    def on_assigned(self, partitions: Sequence[int]) -> dict[int, int]:
        self.told.append(("assigned", list(partitions)))
        return dict.fromkeys(partitions, 0)

    def on_revoked(self, partitions: Sequence[int]) -> None:
        self.told.append(("revoked", list(partitions)))

    def on_lost(self, partitions: Sequence[int]) -> None:
        self.told.append(("lost", list(partitions)))


def test_time_comes_from_the_clock() -> None:
    """Of the broker, when it appends."""
    now = [5.0]
    broker = MemoryBroker({"t": 1}, clock=lambda: now[0])
    writer, reader, inspector = broker.writer("t"), broker.reader("t"), broker.inspector("t")
    for now[0] in (5.0, 7.0):
        writer.produce(b"k", b"v", None)
        writer.flush(Deadline(5))
    reader.assign({0: 0})

    assert [record.timestamp()[1] for record in reader.poll(5).records] == [5000, 7000]
    assert inspector.offsets_at([0], 5001, Deadline(5)) == {0: 1}
    assert inspector.offsets_at([0], 7001, Deadline(5)) == {0: 2}
    writer.close(Deadline(5))


def test_outage_fails_everything_until_it_ends() -> None:
    """Appends with an unknown outcome, as silent brokers leave it; reads and questions with the message given."""
    broker, acks = MemoryBroker({"t": 1}), list[Acknowledgement]()
    writer, reader = broker.writer("t"), broker.reader("t")
    reader.assign({0: 0})
    broker.fail("gone")
    writer.produce(b"k", b"v", acks.append)
    writer.flush(Deadline(5))

    assert isinstance(acks[0].error, AppendFailed)
    assert acks[0].error.written is None
    for failing in (lambda: reader.poll(0), lambda: broker.inspector("t").describe(Deadline(1))):
        with pytest.raises(TopicUnavailable, match="gone"):
            failing()

    broker.fail(None)
    writer.produce(b"k", b"v", acks.append)
    writer.flush(Deadline(5))

    assert len(reader.poll(5).records) == 1
    writer.close(Deadline(5))


def test_skipped_offsets_move_the_end() -> None:
    """As transaction markers do: an end without a record before it."""
    broker = MemoryBroker({"t": 1})
    reader = broker.reader("t")
    reader.assign({0: 0})
    assert reader.poll(0).ends == {0: 0}
    broker.skip_offsets("t", 0, 2)

    assert reader.poll(5).out_of_range == {}
    assert broker.inspector("t").ends([0], Deadline(1)) == {0: 2}


def test_topic_made_again_has_another_id() -> None:
    """And the old one is gone meanwhile."""
    broker = MemoryBroker({"t": 1})
    before = broker.inspector("t").describe(Deadline(1)).topic_id
    broker.delete_topic("t")
    with pytest.raises(TopicUnavailable, match="does not exist"):
        broker.inspector("t").describe(Deadline(1))
    again = MemoryBroker({"t": 1})

    assert again.inspector("t").describe(Deadline(1)).topic_id != before


def test_expelled_member_is_told_that_it_lost_its_partitions() -> None:
    """On its next poll, and then takes part again."""
    broker, told = MemoryBroker({"t": 2}), Told()
    group = broker.group("t", "g")
    group.join(told)
    group.poll(0)
    group.expel()
    group.poll(0)
    group.poll(0)

    assert told.told == [("assigned", [0, 1]), ("lost", [0, 1]), ("assigned", [0, 1])]


def test_partition_has_no_two_members_while_it_moves() -> None:
    """A newcomer gets its share only after the other has given it up in a poll of its own."""
    broker, first_told, second_told = MemoryBroker({"t": 2}), Told(), Told()
    first, second = broker.group("t", "g"), broker.group("t", "g")
    first.join(first_told)
    first.poll(0)
    second.join(second_told)
    second.poll(0)

    assert second_told.told == []

    first.poll(0)
    second.poll(0)

    assert first_told.told == [("assigned", [0, 1]), ("revoked", [1])]
    assert second_told.told == [("assigned", [1])]
