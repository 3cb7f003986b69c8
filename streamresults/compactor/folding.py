"""Records of one partition, folded per task into the batches that a script takes. No connection is met here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from streamresults.errors import RecordError
from streamresults.events.envelope import task_id_of
from streamresults.events.fold import NEVER, Summary, combine
from streamresults.events.summarize import summarize
from streamresults.store.value import pack_entry
from streamresults.topic.refused import RefusedRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamresults.events.summarize import Ranks
    from streamresults.topic.records import Record


class FoldLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What bounds a fold and its batches."""

    #: The topic's retention: nothing outlives it. :data:`~streamresults.events.fold.NEVER` when it is unlimited.
    retention_ms: int
    inline_max: int
    batch_events: int
    batch_bytes: int


class Unreadable(NamedTuple):
    """A record that cannot be an event, and why."""

    record: Record
    error: RecordError
    #: Whose key it has, ``None`` when the key is no task id, or nobody knows who has written it there.
    task_id: str | None
    keep_until_ms: int


class Segment(NamedTuple):
    """The offsets up to ``end``, folded per task."""

    end: int
    entries: list[tuple[str, bytes]]
    unreadable: list[Unreadable]


def fold_records(records: Sequence[Record], codec: Ranks, limits: FoldLimits) -> Iterator[Segment]:
    """
    Fold neighbouring records of one partition into segments, each small enough for one script, one by one.

    Raises:
        TopicUnavailable: A record names a schema that is not built in, and the schemas topic cannot be read.
    """
    summaries: dict[str, Summary] = {}
    unreadable: list[Unreadable] = []
    events = size = end = 0
    retention_ms, inline_max = limits.retention_ms, limits.inline_max
    events_max, bytes_max = limits.batch_events, limits.batch_bytes
    for record in records:
        offset = record.offset() or 0
        value = record.value()
        length = len(value) if value is not None else 0
        if events and (events >= events_max or size + length > bytes_max):
            yield _segment(end, summaries, unreadable)
            summaries, unreadable, events, size = {}, [], 0, 0
        try:
            task_id, summary = summarize(
                record.key(),
                value,
                offset,
                record.timestamp()[1],
                codec,
                retention_ms=retention_ms,
                inline_max=inline_max,
            )
        except RecordError as exc:
            unreadable.append(_unreadable(record, exc, limits))
        else:
            earlier = summaries.get(task_id)
            summaries[task_id] = summary if earlier is None else combine(earlier, summary)
        events, size, end = events + 1, size + length, offset + 1
    yield _segment(end, summaries, unreadable)


def _segment(end: int, summaries: dict[str, Summary], unreadable: list[Unreadable]) -> Segment:
    return Segment(end, [(task_id, pack_entry(summary)) for task_id, summary in summaries.items()], unreadable)


def _unreadable(record: Record, error: RecordError, limits: FoldLimits) -> Unreadable:
    keep_until_ms = min(record.timestamp()[1] + limits.retention_ms, NEVER)
    if isinstance(record, RefusedRecord):
        # Of no task, whatever its key says: a mark beside the task would end the waits for it.
        return Unreadable(record.original, record.error, None, keep_until_ms)
    try:
        task_id = task_id_of(record.key())
    except RecordError:
        task_id = None
    return Unreadable(record, error, task_id, keep_until_ms)
