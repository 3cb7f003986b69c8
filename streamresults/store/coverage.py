"""
What a live batch does with a partition's coverage: pure decisions, made alike by ``live.lua`` and the in-memory store.

Coverage is [start, watermark) of one generation: the offsets that the view has folded. It says what an answer is
based on, and it is what makes a batch a compare-and-set, so that a crash, a zombie and a second compactor do no harm.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

import msgspec

#: Raised whenever coverage, value or key change their meaning; part of the key space, so nothing is ever misread.
FORMAT: Final = 1
GENERATION_BYTES: Final = 8

_LAYOUT: Final = Struct(">B8sqqqq")


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """What the view of one partition has folded: the offsets [start, watermark)."""

    #: Random bytes, drawn whenever a partition's view is begun afresh; values of another generation do not count.
    generation: bytes
    #: The offset where the view begins: nothing below it is folded.
    start: int
    #: The offset where it ends: nothing from here on is folded.
    watermark: int
    #: The oldest offset there was when the generation began.
    target: int
    #: Redis TIME of the last script on this partition, in milliseconds.
    as_of_ms: int

    @property
    def complete(self) -> bool:
        """Whether everything that can still be read from the log up to the watermark is folded."""
        return self.start <= self.target

    def pack(self) -> bytes:
        """Return the bytes that stand in Redis; ``live.lua`` reads and writes the same."""
        return _LAYOUT.pack(FORMAT, self.generation, self.start, self.watermark, self.target, self.as_of_ms)

    @classmethod
    def unpack(cls, data: bytes) -> Coverage:
        """Undo :meth:`pack`."""
        _, generation, start, watermark, target, as_of = _LAYOUT.unpack(data)
        return cls(generation=generation, start=start, watermark=watermark, target=target, as_of_ms=as_of)


class LiveClaim(NamedTuple):
    """What a live batch says of itself: the part that the decision needs."""

    #: b: the end of the previous batch, not its first record's offset.
    begin: int
    #: e: one past the last offset that the batch covers.
    end: int
    #: The lowest watermark that may be continued: below it the log is gone or the way back too long.
    least: int
    #: Where a generation begins if one must; ``begin``, unless the compactor was told to start from the beginning.
    fresh_start: int
    #: The target of a generation that begins here.
    target: int
    #: Bytes for a generation that begins here.
    fresh_generation: bytes
    #: A generation whose watermark is proved to lie above the log's end, and that end; ``b""`` in ordinary batches.
    #: The proof was made by asking the brokers after the watermark was read, so that a zombie's old knowledge counts
    #: for nothing.
    lost_generation: bytes = b""
    log_end: int = 0
    #: The generation that the sender expects to go on with, so that a store may prepare for it; decides nothing.
    expected_generation: bytes = b""


class Outcome(IntEnum):
    """What a live batch did."""

    #: Its records are in the view.
    APPLIED = 0
    #: Another compactor has folded them, all or the first of them: go on at the watermark.
    BEHIND = 1
    #: The view lacks what is before the batch: go back to the watermark.
    AHEAD = 2


class LiveDecision(NamedTuple):
    """What becomes of a partition's coverage, and whether the batch's entries are written."""

    outcome: Outcome
    coverage: Coverage
    began: bool


def decide_live(current: Coverage | None, claim: LiveClaim, now_ms: int) -> LiveDecision:
    """
    Decide what a live batch does; the one rule for every case, the table under "The view" in docs/architecture.md.

    No view, or one that cannot be continued: a generation begins. Then, by where the watermark A is: A = b applies the
    batch and A becomes e; A < b applies nothing (a failover to an older replica, a restored backup: go back to A);
    A > b applies nothing (another compactor went on: go on at A). The watermark never moves down within a generation.
    """
    began = current is None or current.watermark < claim.least or _lost(current, claim)
    if current is None or began:
        start = claim.log_end if current is not None and _lost(current, claim) else claim.fresh_start
        current = Coverage(
            generation=claim.fresh_generation, start=start, watermark=start, target=claim.target, as_of_ms=now_ms
        )
    watermark = current.watermark
    if watermark == claim.begin:
        outcome, watermark = Outcome.APPLIED, claim.end
    else:
        outcome = Outcome.AHEAD if watermark < claim.begin else Outcome.BEHIND
    coverage = Coverage(
        generation=current.generation,
        start=current.start,
        watermark=watermark,
        target=current.target,
        as_of_ms=now_ms,
    )
    return LiveDecision(outcome, coverage, began)


class BackfillClaim(NamedTuple):
    """What a back-fill batch says of itself."""

    begin: int
    #: Where the view begins, as the lane knows it.
    end: int
    #: The generation that was folded for.
    generation: bytes


def decide_backfill(current: Coverage | None, claim: BackfillClaim, now_ms: int) -> Coverage | None:
    """
    Return the coverage after a back-fill batch, ``None`` when the batch must not be applied.

    A compare-and-set on (generation, start), refused too where the view is complete already: what lies below the
    target is known to be gone, or to be folded.
    """
    if current is None or current.generation != claim.generation or current.start != claim.end or current.complete:
        return None
    return Coverage(
        generation=current.generation,
        start=claim.begin,
        watermark=current.watermark,
        target=current.target,
        as_of_ms=now_ms,
    )


def _lost(current: Coverage, claim: LiveClaim) -> bool:
    return (
        bool(claim.lost_generation)
        and claim.lost_generation == current.generation
        and (current.watermark > claim.log_end)
    )
