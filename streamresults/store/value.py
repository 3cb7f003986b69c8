"""
A task's summary as the bytes that rest in the view: a binary header, then the record's value verbatim.

Nothing is re-encoded: what a reader finds behind the header is what the worker wrote. ``live.lua`` reads and merges
the same bytes; a property test holds the two together.
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError  # noqa: N812 -- it is an exception, whatever struct calls it
from typing import Final

import msgspec

from streamresults.events.fold import NONE, Best, Summary
from streamresults.store.coverage import FORMAT, GENERATION_BYTES

#: format, rank, flags, then best, floor, first, last as offsets, then appended, expires, keep-until as milliseconds.
_HEADER: Final = Struct(">BBBqqqqqqq")
_HEADER_END: Final = GENERATION_BYTES + _HEADER.size
#: Generation and header, of which only the best event is read: format, rank, flags, offset, appended, expires.
_BEST: Final = Struct(f">{GENERATION_BYTES}xBBBq24xqq8x")
#: The record's value is too large to be kept here: it is fetched from the log by its position.
_NOT_INLINE: Final = 1


class StoredValue(msgspec.Struct, frozen=True, gc=False):
    """One task's value in the view."""

    #: The generation that it was folded in; of another generation than the coverage's it counts as absent.
    generation: bytes
    summary: Summary
    #: Whether the best event's bytes are here; if not, they are in the log at ``summary.best.offset``.
    inline: bool


def pack_entry(summary: Summary) -> bytes:
    """Return a summary as an entry of a batch: a stored value without its generation, which the script knows."""
    best = summary.best
    if best is None:
        return _HEADER.pack(FORMAT, 0, 0, NONE, summary.floor, summary.first, summary.last, 0, 0, summary.keep_until_ms)
    head = _HEADER.pack(
        FORMAT,
        best.rank,
        0 if best.value is not None else _NOT_INLINE,
        best.offset,
        summary.floor,
        summary.first,
        summary.last,
        best.appended_ms,
        best.expires_ms,
        summary.keep_until_ms,
    )
    return head if best.value is None else head + best.value


def pack(generation: bytes, summary: Summary) -> bytes:
    """Return the whole stored value."""
    return generation + pack_entry(summary)


def unpack(data: bytes) -> StoredValue:
    """
    Undo :func:`pack`.

    Raises:
        ValueError: The bytes are no stored value: somebody else wrote to this key.
    """
    if len(data) < _HEADER_END or data[GENERATION_BYTES] != FORMAT:
        raise _no_value(data)
    _, rank, flags, offset, floor, first, last, appended, expires, keep = _HEADER.unpack_from(data, GENERATION_BYTES)
    inline = not flags & _NOT_INLINE
    best = None
    if offset != NONE:
        best = Best(rank, offset, appended, expires, data[_HEADER_END:] if inline else None)
    return StoredValue(data[:GENERATION_BYTES], Summary(floor, best, first, last, keep), inline)


def unpack_best(data: bytes, now_ms: int) -> Best | None:
    """
    Return the best event alone, as :func:`unpack` finds it: what a lookup needs, in a third of the time.

    ``None`` without one, and for one that has expired by then.

    Raises:
        ValueError: As :func:`unpack` does.
    """
    try:
        layout, rank, flags, offset, appended, expires = _BEST.unpack_from(data)
    except StructError:
        raise _no_value(data) from None
    if layout != FORMAT:
        raise _no_value(data)
    if offset == NONE or expires <= now_ms:
        return None
    return Best(rank, offset, appended, expires, None if flags & _NOT_INLINE else data[_HEADER_END:])


def _no_value(data: bytes) -> ValueError:
    return ValueError(f"{len(data)} bytes are no stored value: something else writes to the view's keys")
