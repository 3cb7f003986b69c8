"""A broker inside one process, for tests of programs that use streamresults. Nothing outlives it, nothing sleeps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from streamresults.topic.base import Broker, TopicInspector, TopicReader, TopicWriter
from streamresults.topic.memory_log import Cluster, MemoryLog, Partition, murmur2
from streamresults.topic.memory_reader import GroupState, MemoryGroup, MemoryReader
from streamresults.topic.memory_writer import MemoryWriter
from streamresults.topic.records import RECORD_BYTES, ClusterDescription, TopicDescription, TopicSettings, Watermarks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from streamresults.deadline import Deadline

Answer = TypeVar("Answer")


class MemoryBroker(Broker):
    """
    Topics in memory, with everything that the interface promises and some switches for tests.

    Args:
        topics: Partitions of the topics that are there from the start.
        clock: Says the time that records get, in seconds since 1970.
        queue_records: Most records in a writer's queue.
        record_bytes: Largest record, key and value together.
    """

    def __init__(
        self,
        topics: Mapping[str, int] | None = None,
        *,
        clock: Callable[[], float] = time.time,
        queue_records: int = 100_000,
        record_bytes: int = RECORD_BYTES,
    ) -> None:
        self._cluster = Cluster(clock)
        self._cluster.topics.update({name: MemoryLog(partitions, {}) for name, partitions in (topics or {}).items()})
        self._groups: dict[tuple[str, str], GroupState] = {}
        self._queue_records = queue_records
        self._record_bytes = record_bytes

    def writer(self, topic: str) -> TopicWriter:
        """Open a writer."""
        return MemoryWriter(self._cluster, topic, queue_records=self._queue_records, record_bytes=self._record_bytes)

    def reader(self, topic: str, *, bulk: bool = False) -> TopicReader:
        """Open a reader."""
        del bulk
        return MemoryReader(self._cluster, topic)

    def group(self, topic: str, group: str) -> MemoryGroup:
        """Open a group's member."""
        return MemoryGroup(self._cluster, topic, self._group(topic, group))

    def inspector(self, topic: str) -> TopicInspector:
        """Open an inspector."""
        return MemoryInspector(self._cluster, topic)

    def cluster(self, deadline: Deadline) -> ClusterDescription:
        """Return what there is."""
        del deadline
        with self._cluster.changed:
            topics = {name: (len(log.partitions), 1) for name, log in self._cluster.topics.items()}
        return ClusterDescription(1, embedded=False, topics=topics)

    def create_topics(self, topics: Mapping[str, TopicSettings], deadline: Deadline) -> dict[str, bool]:
        """Create what is missing."""
        del deadline
        created = {}
        with self._cluster.changed:
            for name, settings in topics.items():
                created[name] = name not in self._cluster.topics
                if created[name]:
                    self._cluster.topics[name] = MemoryLog(settings.partitions, settings.config)
            self._cluster.changed.notify_all()
        return created

    def partition_of(self, key: bytes, partitions: int) -> int:
        """Return what Kafka would."""
        return murmur2(key, partitions)

    def _group(self, topic: str, group: str) -> GroupState:
        with self._cluster.changed:
            return self._groups.setdefault((topic, group), GroupState())

    def committed(self, topic: str, group: str) -> dict[int, int]:
        """Return what a group has committed."""
        with self._cluster.changed:
            return dict(self._group(topic, group).committed)

    def trim(self, topic: str, partition: int, low: int) -> None:
        """Drop what is older than ``low``, as retention does."""
        with self._cluster.changed:
            self._cluster.log(topic).partitions[partition].trim(low)
            self._cluster.changed.notify_all()

    def skip_offsets(self, topic: str, partition: int, count: int) -> None:
        """Take offsets without records, as transaction markers do."""
        with self._cluster.changed:
            self._cluster.log(topic).partitions[partition].high += count
            self._cluster.changed.notify_all()

    def add_partitions(self, topic: str, partitions: int) -> None:
        """Give a topic ``partitions`` in all."""
        with self._cluster.changed:
            log = self._cluster.log(topic)
            log.partitions += [Partition() for _ in range(partitions - len(log.partitions))]
            self._cluster.changed.notify_all()

    def delete_topic(self, topic: str) -> None:
        """Drop a topic; one created again by that name has another id."""
        with self._cluster.changed:
            del self._cluster.topics[topic]
            self._cluster.changed.notify_all()

    def hold(self) -> None:
        """Acknowledge nothing until :meth:`release`: queues fill up."""
        with self._cluster.changed:
            self._cluster.held = True

    def release(self) -> None:
        """Acknowledge again."""
        with self._cluster.changed:
            self._cluster.held = False
            self._cluster.changed.notify_all()

    def fail(self, message: str | None) -> None:
        """Fail every append, read and question with ``TopicUnavailable(message)``, until called with ``None``."""
        with self._cluster.changed:
            self._cluster.outage = message
            self._cluster.changed.notify_all()


class MemoryInspector(TopicInspector):
    """Questions about one topic."""

    def __init__(self, cluster: Cluster, topic: str) -> None:
        self._cluster = cluster
        self._topic = topic

    def describe(self, deadline: Deadline) -> TopicDescription:
        """Return which topic this is."""
        del deadline
        with self._cluster.changed:
            log = self._cluster.log(self._topic)
            return TopicDescription(
                cluster_id=self._cluster.id, topic=self._topic, topic_id=log.topic_id, partitions=len(log.partitions)
            )

    def watermarks(self, partitions: Sequence[int], deadline: Deadline) -> dict[int, Watermarks]:
        """Return low and high."""
        return self._each(partitions, lambda log: Watermarks(log.low, log.high), deadline)

    def ends(self, partitions: Sequence[int], deadline: Deadline) -> dict[int, int]:
        """Return high alone."""
        return self._each(partitions, lambda log: log.high, deadline)

    def offsets_at(self, partitions: Sequence[int], milliseconds: int, deadline: Deadline) -> dict[int, int]:
        """Return the first offset at or after a time."""
        return self._each(partitions, lambda log: log.since_time(milliseconds), deadline)

    def _each(
        self, partitions: Sequence[int], answer: Callable[[Partition], Answer], deadline: Deadline
    ) -> dict[int, Answer]:
        del deadline
        with self._cluster.changed:
            logs = self._cluster.log(self._topic).partitions
            return {partition: answer(logs[partition]) for partition in partitions}

    def topic_config(self, deadline: Deadline) -> dict[str, str] | None:
        """Return the settings that it was created with."""
        del deadline
        with self._cluster.changed:
            return dict(self._cluster.log(self._topic).config)

    def close(self) -> None:
        """Release nothing."""
