"""
Which partition counts of a topic can still hold live results, and which partitions a task may therefore be in.

A key's partition follows from the number of partitions that its writer knew. When partitions are added, events of one
task may stand in several partitions, its homes: one for each count that the topic had. A count is forgotten once
nothing that was written under it can still be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamresults.store.base import Descriptor

#: Milliseconds for which writers may go on with an old count after partitions were added: until they ask the brokers
#: again, which librdkafka does every five minutes at the latest. Smaller loses what a slow one writes, larger keeps
#: readers looking into partitions that hold nothing.
STALE_WRITERS_MS: Final = 86_400_000


def homes(key: bytes, counts: Sequence[int], partition_of: Callable[[bytes, int], int]) -> tuple[int, ...]:
    """Return the partitions that can hold a key, that of the newest count first, each once."""
    return tuple(dict.fromkeys(partition_of(key, count) for count in counts))


def merged(
    known: Descriptor | None, ours: Descriptor, now_ms: int, retention_ms: int, *, told_apart: bool = True
) -> Descriptor:
    """
    Return the descriptor that says what both say of the counts; pure, so that it may be tried again.

    Counts only grow, so several compactors may do this in any order, and one whose knowledge is old takes nothing back.

    Args:
        known: What is published; ``None`` when nothing is.
        ours: What this process knows; everything but the counts is taken from it.
        now_ms: Milliseconds since 1970.
        retention_ms: How long a record can be read. A count leaves when the last record under it is older.
        told_apart: Whether the topic id tells a topic from one that was made again under its name.
    """
    if known is None or (known.cluster_id, known.topic_id) != (ours.cluster_id, ours.topic_id):
        return ours
    if not told_apart and known.partition_counts[:1] > ours.partition_counts[:1]:
        return ours  # partitions never become fewer: the topic was made again
    newest, *older = sorted({*known.partition_counts, *ours.partition_counts}, reverse=True)
    since = _superseded(known) | _superseded(ours)
    kept = [count for count in older if now_ms - since.get(count, now_ms) < retention_ms + STALE_WRITERS_MS]
    return replace(
        ours,
        partition_counts=(newest, *kept),
        superseded_ms=tuple(since.get(count, now_ms) for count in kept),
    )


def _superseded(descriptor: Descriptor) -> dict[int, int]:
    """Return since when each older count is an old one, as far as it is known."""
    return dict(zip(descriptor.partition_counts[1:], descriptor.superseded_ms, strict=False))
