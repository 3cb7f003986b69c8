"""Reads a bounded range of the log again, for whoever wants to see what was. No group, no commit, no write anywhere."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final, Self

import msgspec

from streamresults.deadline import Deadline
from streamresults.errors import ConfigurationError, RecordError, StoreUnavailable, TopicMismatch, TopicRecreated
from streamresults.events.envelope import check_key, task_id_of
from streamresults.replay.bounds import Bound, offsets_of, parse_bound, parse_range, partitions_of
from streamresults.replay.scan import ANSWER, Covered, Progress, scan
from streamresults.replay.verdict import Verified
from streamresults.replay.verify import Verification
from streamresults.store.descriptor import absent, mismatch, refuse
from streamresults.store.partition_counts import homes
from streamresults.topic.refused import RefusedRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from streamresults.events.codec import Codec
    from streamresults.events.event import Event
    from streamresults.store.base import Store, View
    from streamresults.topic.base import TopicInspector, TopicReader
    from streamresults.topic.records import Record, TopicDescription

_log: Final = logging.getLogger("streamresults.replay")


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """One record of the log."""

    partition: int
    offset: int
    #: The broker's clock when it was appended.
    appended_ms: int
    #: ``None`` when the key is no task id, or the record was refused for its signature: whose it is nobody knows.
    task_id: str | None
    #: As it stands in the log; ``None`` is a tombstone: *forget this task*.
    value: bytes | None
    #: ``None`` for a tombstone and for what cannot be read.
    event: Event | None
    #: Why it cannot be read.
    error: RecordError | None


class Replay:
    """
    Re-reads a bounded range of the log, and verifies the view against it.

    One thread at a time; each read opens a reader of its own and closes it at its end.

    Args:
        store: ``None`` in a process without Redis: nothing can be verified.
        namespace: Of the view; empty for Kafka's cluster id.
        partition_of: The partition of a key among so many.
        retention_ms: The topic's retention, asked for when something is verified.
        clock: Seconds since 1970, for times that are stated as ago.
    """

    def __init__(
        self,
        *,
        open_reader: Callable[[], TopicReader],
        inspector: TopicInspector,
        codec: Codec,
        store: Store | None,
        namespace: str,
        partition_of: Callable[[bytes, int], int],
        retention_ms: Callable[[], int],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._open_reader: Final = open_reader
        self._inspector: Final = inspector
        self._codec: Final = codec
        self._store: Final = store
        self._namespace: Final = namespace
        self._partition_of: Final = partition_of
        self._retention_ms: Final = retention_ms
        self._clock: Final = clock
        self._ranges: list[Progress] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Release the connections; closing twice is harmless."""
        self._inspector.close()
        if self._store is not None:
            self._store.close()

    # -- reading ----------------------------------------------------------------------------------------------------

    def read(self, begin: str = "earliest", end: str = "end", *, task_id: str | None = None) -> Iterator[Replayed]:
        """
        Read the range [begin, end) of every partition; both ends are fixed before this returns.

        Records of one partition come in the order of their offsets; partitions mix. :attr:`ranges` tells what was
        covered, at any time.

        Args:
            begin: ``earliest``, ``end``, an offset (``1234``), offsets by partition (``0:1234``), a time
                (``2026-02-14T10:00:00Z``, ``@2026-02-14``), a time ago by this machine's clock (``@-48h``), or both
                ends in one (``@-48h:-24h``).
            end: The same; the first offset or time that is not read.
            task_id: Yield this task's records alone, and read only the partitions that it can be in: one, or several
                where partitions were added. The view says how many there were; where it does not, every partition is
                read that the task would be in if there had ever been fewer.

        Raises:
            ConfigurationError: A bound cannot be read; the message names what can.
            TopicUnavailable: Kafka did not say what it holds; also while iterating.
            TopicRecreated: At the end of the iteration: the topic was deleted and made again meanwhile.
        """
        first, last = parse_range(begin, end)
        about = self._inspector.describe(Deadline(ANSWER))
        partitions: Sequence[int] = range(about.partitions)
        key = None
        if task_id is not None:
            key = task_id.encode()
            partitions = sorted(homes(key, self._counts(about), self._partition_of))
        self._ranges = self._resolve(first, last, partitions)
        return self._read(about, self._ranges, key)

    def _counts(self, about: TopicDescription) -> Sequence[int]:
        """Return how many partitions the topic has and had, as far as results of then can be read."""
        try:
            found = self._store and self._store.read_descriptor(self._namespace or about.cluster_id, about.topic)
        except (StoreUnavailable, TopicMismatch) as exc:
            _log.warning("how many partitions the topic had is not known: %s", exc, extra={"action": "counts_unknown"})
            found = None
        if not found or (found.cluster_id, found.topic_id) != (about.cluster_id, about.topic_id):
            return range(about.partitions, 0, -1)
        return sorted({about.partitions, *(n for n in found.partition_counts if n <= about.partitions)}, reverse=True)

    @property
    def ranges(self) -> tuple[Covered, ...]:
        """What the read that was begun last has covered so far, by partition."""
        return tuple(progress.covered() for progress in self._ranges)

    def _resolve(self, first: Bound, last: Bound, partitions: Sequence[int]) -> list[Progress]:
        chosen = partitions_of(first, last, partitions)
        deadline = Deadline(ANSWER)
        now_ms = int(self._clock() * 1000)
        marks = self._inspector.watermarks(chosen, deadline)
        begins = offsets_of(first, marks, self._inspector, now_ms, deadline)
        ends = offsets_of(last, marks, self._inspector, now_ms, deadline)
        ranges = []
        for partition in chosen:
            low, high = marks[partition]
            begin = min(max(begins[partition], low), high)
            note = _cut(first, begins[partition], low)
            ranges.append(Progress(partition, begin, min(ends[partition], high), low, note))
        return ranges

    def _read(self, about: TopicDescription, ranges: Sequence[Progress], key: bytes | None) -> Iterator[Replayed]:
        reader = self._open_reader()
        try:
            for progress, record in scan(reader, self._inspector, ranges):
                original = record.original if isinstance(record, RefusedRecord) else record
                if key is not None and original.key() != key:
                    continue
                replayed = self._replayed(record)
                progress.matched += 1
                if replayed.error is not None:
                    progress.unreadable += 1
                    progress.refused += original is not record
                yield replayed
        finally:
            reader.close()
        self._make_sure_of(about)

    def _make_sure_of(self, about: TopicDescription) -> None:
        """Refuse to pass off what was read as one topic's if it was made again meanwhile: readers do not notice."""
        now = self._inspector.describe(Deadline(ANSWER))
        if now.topic_id != about.topic_id:
            msg = (
                f"topic {about.topic!r} was deleted and made again while it was read: its id was {about.topic_id} and "
                f"is {now.topic_id}. What was read may be of both: read it again"
            )
            raise TopicRecreated(msg, old_id=about.topic_id, new_id=now.topic_id)

    def _replayed(self, record: Record) -> Replayed:
        if isinstance(record, RefusedRecord):
            return _refused(record)
        task_id, event, error = None, None, None
        value = record.value()
        assert value is None or isinstance(value, bytes)
        try:
            task_id = task_id_of(record.key())
            event = None if value is None else self._event(task_id, value)
        except RecordError as exc:
            error = exc
        return Replayed(
            partition=record.partition() or 0,
            offset=record.offset() or 0,
            appended_ms=record.timestamp()[1],
            task_id=task_id,
            value=value,
            event=event,
            error=error,
        )

    def _event(self, task_id: str, value: bytes) -> Event:
        event = self._codec.decode(value)
        if event.task_id != task_id:
            check_key(task_id, self._codec.decode_prefix(value))
        return event

    # -- verifying --------------------------------------------------------------------------------------------------

    def verify(self, begin: str = "earliest") -> Verified:
        """
        Fold the log within what the view says it covers, and compare task by task.

        Compared are the event that stands for a task (its offset, rank and append time, its bytes where the view holds
        them) and the last offset that was folded. Not compared are expiry times, which follow from the retention that
        the topic had when the compactor met the record, and keys of the view that belong to no record: nothing here
        lists the view's keys, so extra ones are not found.

        The view may move meanwhile: a task that was folded further than the log was read is compared at the very
        offset that its value names, after reading on to there. A generation that begins meanwhile makes its partition
        begin again, a few times.

        Memory: one partition at a time, a few hundred bytes for each of its tasks, whatever the size of their results.

        Args:
            begin: Fold from there on only, as in :meth:`read`; tasks whose best event is older are skipped.

        Raises:
            ConfigurationError: This process has no Redis, or the bound cannot be read.
            StoreUnavailable: Redis did not answer, or holds no view of this topic.
            TopicMismatch: The view belongs to another cluster or format.
            TopicRecreated: The view is that of a topic that is gone, or the topic was made again meanwhile.
            TopicUnavailable: Kafka did not answer.
        """
        bound = parse_bound(begin)
        about = self._inspector.describe(Deadline(ANSWER))
        view = self._view(about)
        partitions = partitions_of(bound, bound, range(about.partitions))
        marks = self._inspector.watermarks(partitions, Deadline(ANSWER))
        begins = offsets_of(bound, marks, self._inspector, int(self._clock() * 1000), Deadline(ANSWER))
        reader = self._open_reader()
        try:
            verification = Verification(view, reader, self._inspector, self._codec, self._retention_ms())
            verdicts = tuple(verification.partition(partition, begins[partition]) for partition in partitions)
        finally:
            reader.close()
        self._make_sure_of(about)
        return Verified(partitions=verdicts, differences=tuple(verification.differences))

    def _view(self, about: TopicDescription) -> View:
        if self._store is None:
            raise ConfigurationError("no Redis is configured: there is no view to verify. Set STREAMRESULTS_REDIS_URL")
        namespace = self._namespace or about.cluster_id
        descriptor = self._store.read_descriptor(namespace, about.topic)
        if descriptor is None:
            raise absent(self._store, namespace, about.topic)
        refuse(mismatch(descriptor, namespace, about.cluster_id))
        if descriptor.topic_id != about.topic_id:
            msg = (
                f"the view {namespace!r} is that of a topic {about.topic!r} that is gone: its id was "
                f"{descriptor.topic_id} and is {about.topic_id}. A compactor that is started now begins a new view"
            )
            raise TopicRecreated(msg, old_id=descriptor.topic_id, new_id=about.topic_id)
        return self._store.view(namespace, about.topic_id)


def _refused(record: RefusedRecord) -> Replayed:
    """Return a record that was refused for its signature: it is no task's, and its bytes stand in the log."""
    return Replayed(
        partition=record.partition() or 0,
        offset=record.offset() or 0,
        appended_ms=record.timestamp()[1],
        task_id=None,
        value=_bytes(record.original.value()),
        event=None,
        error=record.error,
    )


def _bytes(value: bytes | str | None) -> bytes | None:
    return value if isinstance(value, bytes) else None


def _cut(first: Bound, asked: int, low: int) -> str:
    """Return what retention has taken of the beginning."""
    if first.kind in ("offset", "partitions") and asked < low:
        return f"retention took [{asked}, {low})"
    if first.kind in ("earliest", "time", "ago") and asked == low > 0:
        # Which offsets a time had is not known any more once they are gone.
        return f"the log begins at {low}: retention took what was before it"
    return ""
