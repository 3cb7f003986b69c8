"""What a look and a record amount to for one wait: pure functions. Nothing here decodes a payload."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamresults.client.decisions import AfterLook, Seen
from streamresults.client.provenance import Basis
from streamresults.client.waiter import Answer
from streamresults.errors import RecordError
from streamresults.events.fold import NEVER, Best, Summary, event_summary, tombstone_summary
from streamresults.store.value import unpack

if TYPE_CHECKING:
    from streamresults.events.codec import Codec
    from streamresults.store.base import Looked
    from streamresults.topic.records import Record


def seen_in(looked: Looked, index: int) -> Seen | None:
    """Return what a look brought for the task at ``index``; ``None`` without a view."""
    coverage = looked.coverage
    if coverage is None:
        return None
    value = looked.values[index]
    best = unpack(value).summary.best if value is not None else None
    alive = best is not None and best.expires_ms > looked.now_ms
    return Seen(
        watermark=coverage.watermark,
        complete=coverage.complete,
        rank=best.rank if best is not None and alive else -1,
        marked=looked.marks[index] is not None,
    )


def answer_in(looked: Looked, index: int, verdict: AfterLook) -> Answer:
    """Return the answer that a look brought, after a verdict that says that it did."""
    assert looked.coverage is not None
    as_of = max(0.0, (looked.now_ms - looked.coverage.as_of_ms) / 1000)
    basis = Basis.PARTIAL if verdict is AfterLook.DONE_PARTIAL else Basis.FULL
    mark = looked.marks[index]
    if verdict is AfterLook.DEAD_LETTERED:
        return Answer(None, basis, as_of, mark)
    value = looked.values[index]
    assert value is not None
    best = unpack(value).summary.best
    assert best is not None
    return Answer(best, basis, as_of, mark)


def state_in(looked: Looked, index: int, codec: Codec) -> str:
    """Return the state that a look showed, for people; empty for none."""
    value = looked.values[index]
    return state_of(unpack(value).summary if value is not None else None, codec)


def state_of(summary: Summary | None, codec: Codec) -> str:
    """Return the state of what is known of a task, for people; empty for none."""
    best = summary.best if summary is not None else None
    if best is None or best.value is None:
        return ""
    try:
        return codec.decode_prefix(best.value).state
    except RecordError:
        return ""


def delivered_summary(record: Record, task_id: str, offset: int, codec: Codec) -> Summary | None:
    """Return what one record amounts to; ``None`` when it cannot be read: the compactor will say why."""
    key, value = record.key(), record.value()
    if value is None:
        return tombstone_summary(offset, NEVER)
    try:
        assert isinstance(key, bytes)
        assert isinstance(value, bytes)
        if not codec.is_known(value):
            return None
        place, _ = codec.rank_and_expiry(task_id, key, value)
    except RecordError:
        return None
    return event_summary(Best(place, offset, record.timestamp()[1], NEVER, value))
