"""What one record of the log says to the fold: the one way from bytes to a summary. Reads no clock, folds nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from streamresults.events.envelope import task_id_of
from streamresults.events.fold import NEVER, Best, event_summary, tombstone_summary

if TYPE_CHECKING:
    from streamresults.events.fold import Summary


class Ranks(Protocol):
    """What the fold needs of a codec."""

    def rank_and_expiry(self, task_id: str, key: bytes, value: bytes) -> tuple[int, int]:
        """Do what :meth:`~streamresults.events.codec.Codec.rank_and_expiry` does."""


def summarize(
    key: bytes | str | None,
    value: bytes | str | None,
    offset: int,
    appended_ms: int,
    codec: Ranks,
    *,
    retention_ms: int,
    inline_max: int,
) -> tuple[str, Summary]:
    """
    Return the task that a record belongs to, and the summary of a range that holds this record alone.

    Args:
        appended_ms: The broker's clock when it was appended.
        retention_ms: The topic's retention; :data:`~streamresults.events.fold.NEVER` when it is unlimited.
        inline_max: A longer value is left out of the summary, which then names its offset alone.

    Raises:
        RecordError: The record cannot be an event: it takes no part in the fold.
        TopicUnavailable: It names a schema that is not built in, and the schemas topic cannot be read.
    """
    task_id = task_id_of(key)
    kept_until = min(appended_ms + retention_ms, NEVER)
    if value is None:
        return task_id, tombstone_summary(offset, kept_until)
    assert isinstance(value, bytes)
    assert key is not None
    rank, expires_after_ms = codec.rank_and_expiry(task_id, task_id.encode() if isinstance(key, str) else key, value)
    expires = min(appended_ms + expires_after_ms, kept_until) if expires_after_ms else kept_until
    kept = value if len(value) <= inline_max else None
    return task_id, event_summary(Best(rank, offset, appended_ms, expires, kept))
