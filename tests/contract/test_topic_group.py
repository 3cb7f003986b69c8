"""
What the consumer group of streamresults.topic.base promises, asked of every implementation.

We test these aspects: members begin at the offsets they answer with, and share; seek, pause and resume; ends; committed
offsets; what a member's own code raises; partitions that are added, and a topic that is deleted and made again.
"""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING, Self

import pytest

from streamresults.deadline import Deadline
from streamresults.errors import TopicUnavailable
from tests.contract.topic_desk import PARTITIONS, SOON, append, keys, read
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamresults.topic.base import Broker, TopicGroup, TopicWriter
    from streamresults.topic.records import Record
    from tests.contract.topic_harness import Harness


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
