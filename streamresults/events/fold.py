"""
What a segment of one task's events amounts to. One rule, used wherever events are folded; it reads no clock.

A contiguous range of one task's events is summarised as (floor, best): the offset of its last tombstone, and the best
event after it. ``combine`` is associative, and harmless where two ranges overlap, so that a log may be folded
forwards, in chunks, newest chunk first, or in parallel, with one answer. Expiry is no part of it: putting it in breaks
associativity. Readers hide what has expired.
"""

from __future__ import annotations

from typing import Final

import msgspec

from streamresults.events.states import RANK_SUCCESS

#: Stands for "no offset": no tombstone was seen.
NONE: Final = -1
#: Milliseconds since 1970 that never come: what nothing ever takes away.
NEVER: Final = 2**53 - 1


class Best(msgspec.Struct, frozen=True, gc=False):
    """The event that stands for a task, as the log holds it."""

    rank: int
    offset: int
    #: The broker's clock when it was appended.
    appended_ms: int
    #: From then on readers hide it; :data:`NEVER` if retention is unlimited.
    expires_ms: int
    #: The record's value as it stands in the log; ``None`` when it is too large to be kept outside of it.
    value: bytes | None


class Summary(msgspec.Struct, frozen=True, gc=False):
    """What a contiguous range of one task's events amounts to."""

    #: Offset of the last tombstone, :data:`NONE` without one.
    floor: int
    #: The best event after the floor.
    best: Best | None
    #: Offset of the first event or tombstone in the range.
    first: int
    #: Offset of the last one.
    last: int
    #: Until when the summary must be kept, so that nothing it hides comes back.
    keep_until_ms: int


def event_summary(best: Best) -> Summary:
    """Return the summary of a range that holds one event."""
    return Summary(NONE, best, best.offset, best.offset, best.expires_ms)


def tombstone_summary(offset: int, keep_until_ms: int) -> Summary:
    """Return the summary of a range that holds one tombstone."""
    return Summary(offset, None, offset, offset, keep_until_ms)


def better(older: Best | None, newer: Best | None) -> Best | None:
    """Return the higher rank; at equal rank the later one, except that the first SUCCESS stays."""
    if older is None or newer is None:
        return newer if older is None else older
    if older.rank > newer.rank or older.rank == newer.rank == RANK_SUCCESS:
        return older
    return newer


def combine(older: Summary, newer: Summary) -> Summary:
    """
    Return the summary of two neighbouring ranges of one task's events in one partition.

    Args:
        older: The range with the lower offsets.
        newer: The range that follows it, or overlaps its end.
    """
    forgotten = newer.floor != NONE
    return Summary(
        newer.floor if forgotten else older.floor,
        newer.best if forgotten else better(older.best, newer.best),
        min(older.first, newer.first),
        max(older.last, newer.last),
        max(older.keep_until_ms, newer.keep_until_ms),
    )
