"""The logs of the in-memory broker, and what they have in common with Kafka's. Knows no reader and no writer."""

from __future__ import annotations

import threading
import uuid
from bisect import bisect_left
from typing import TYPE_CHECKING, Final, NamedTuple

from streamresults.errors import TopicMissing, TopicUnavailable
from streamresults.topic.base import POLL_MAX
from streamresults.topic.records import Headers, Polled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: What Kafka calls a time that the broker set.
LOG_APPEND_TIME: Final = 2

_WORD: Final = 0xFFFFFFFF


def murmur2(key: bytes, partitions: int) -> int:
    """
    Return the partition of a key as Kafka's Java clients choose it.

    Source: Apache Kafka, ``org.apache.kafka.common.utils.Utils.murmur2`` and ``toPositive``.
    """
    factor, length = 0x5BD1E995, len(key)
    result = (0x9747B28C ^ length) & _WORD
    for at in range(0, length - length % 4, 4):
        word = int.from_bytes(key[at : at + 4], "little") * factor & _WORD
        word = (word ^ word >> 24) * factor & _WORD
        result = (result * factor & _WORD) ^ word
    if length % 4:
        result = (result ^ int.from_bytes(key[length - length % 4 :], "little")) * factor & _WORD
    result = (result ^ result >> 13) * factor & _WORD
    return ((result ^ result >> 15) & 0x7FFFFFFF) % partitions


class MemoryRecord(NamedTuple):
    """One record, with the methods of a Kafka message."""

    partition_: int
    offset_: int
    key_: bytes
    value_: bytes | None
    headers_: Headers | None
    milliseconds: int

    def partition(self) -> int:
        """Return the partition."""
        return self.partition_

    def offset(self) -> int:
        """Return the offset."""
        return self.offset_

    def key(self) -> bytes:
        """Return the key."""
        return self.key_

    def value(self) -> bytes | None:
        """Return the value."""
        return self.value_

    def timestamp(self) -> tuple[int, int]:
        """Return when it was appended."""
        return LOG_APPEND_TIME, self.milliseconds

    def headers(self) -> Headers | None:
        """Return the headers."""
        return self.headers_


class Partition:
    """Records at growing offsets; the oldest may be gone."""

    __slots__ = ("high", "low", "records")

    def __init__(self) -> None:
        self.low = 0
        self.high = 0
        self.records: list[MemoryRecord] = []

    def since(self, offset: int, most: int) -> list[MemoryRecord]:
        """Return up to ``most`` records from an offset on."""
        begin = bisect_left(self.records, offset, key=MemoryRecord.offset)
        return self.records[begin : begin + most]

    def since_time(self, milliseconds: int) -> int:
        """Return the first offset at or after a time; the end when there is none."""
        return next((record.offset_ for record in self.records if record.milliseconds >= milliseconds), self.high)

    def trim(self, low: int) -> None:
        """Drop what is older than ``low``."""
        self.low = max(self.low, min(low, self.high))
        self.records = [record for record in self.records if record.offset_ >= self.low]


class MemoryLog:
    """One topic; the broker's condition guards it."""

    def __init__(self, partitions: int, config: Mapping[str, str]) -> None:
        self.topic_id = uuid.uuid4().hex
        self.config = dict(config)
        self.partitions = [Partition() for _ in range(partitions)]

    def append(
        self, partition: int, key: bytes, value: bytes | None, headers: Headers | None, milliseconds: int
    ) -> int:
        """Append a record; return its offset."""
        log = self.partitions[partition]
        log.records.append(MemoryRecord(partition, log.high, key, value, headers, milliseconds))
        log.high += 1
        return log.high - 1


class Cluster:
    """All state of one broker, and the one condition that guards it and tells of every change."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.id = f"memory-{uuid.uuid4().hex}"
        self.clock = clock
        self.changed = threading.Condition()
        self.topics: dict[str, MemoryLog] = {}
        #: Raised by every question and read, and handed to every append, while it is set.
        self.outage: str | None = None
        #: While set, records wait in their writers.
        self.held = False

    def find(self, topic: str) -> MemoryLog | None:
        """Return a topic, ``None`` when it is not there; raise ``TopicUnavailable`` during an outage."""
        if self.outage is not None:
            raise TopicUnavailable(self.outage)
        return self.topics.get(topic)

    def log(self, topic: str) -> MemoryLog:
        """Return a topic; raise ``TopicMissing`` when it is not there."""
        log = self.find(topic)
        if log is None:
            msg = f"topic {topic!r} does not exist in memory; create it: streamresults init"
            raise TopicMissing(msg)
        return log

    def milliseconds(self) -> int:
        """Return the broker's time."""
        return int(self.clock() * 1000)


class Cursor:
    """Where each assigned partition is being read; finds what is next. The cluster's condition guards it."""

    def __init__(self, cluster: Cluster, topic: str) -> None:
        self._cluster = cluster
        self._topic = topic
        self.offsets: dict[int, int] = {}
        self.paused: set[int] = set()
        #: At which end each partition was reported to be, so that one end is reported once.
        self._told: dict[int, int] = {}

    def put(self, offsets: Mapping[int, int]) -> None:
        """Read partitions on from given offsets."""
        self.offsets.update(offsets)
        for partition in offsets:
            self._told.pop(partition, None)

    def drop(self, partition: int) -> None:
        """Read a partition no more."""
        self.offsets.pop(partition, None)
        self._told.pop(partition, None)
        self.paused.discard(partition)

    def take(self) -> Polled:
        """Return what there is now, and move behind it."""
        logs = self._cluster.log(self._topic).partitions
        records: list[MemoryRecord] = []
        ends: dict[int, int] = {}
        out_of_range: dict[int, int] = {}
        for partition in [at for at in self.offsets if at not in self.paused and at < len(logs)]:
            log, offset = logs[partition], self.offsets[partition]
            if not log.low <= offset <= log.high:
                out_of_range[partition] = offset
                self.drop(partition)
                continue
            found = log.since(offset, POLL_MAX - len(records))
            records += found
            room = len(records) < POLL_MAX
            if found:
                self.offsets[partition] = found[-1].offset_ + 1
            if room:  # everything there is was taken: what lies before the end holds no records, as markers do
                self.offsets[partition] = log.high
            if self.offsets[partition] == log.high and self._told.get(partition) != log.high:
                self._told[partition] = ends[partition] = log.high
        return Polled(records, ends, out_of_range)
