"""Compares one task: what the log was folded to, and what the view says of it. Decisions alone; it reads nothing."""

from __future__ import annotations

from enum import Enum, auto
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

from streamresults.events.fold import NONE, Best, Summary, better

if TYPE_CHECKING:
    from streamresults.store.base import Mark

#: Bytes of the digest that stands for a value while the log is folded. Fewer lets a wrong value pass for the right one.
_DIGEST: Final = 16


class Outcome(Enum):
    """What a comparison of one task has come to; :class:`~streamresults.replay.verdict.Verdict` counts them."""

    MATCHED = auto()
    DIFFERING = auto()
    MISSING = auto()
    EXPIRED = auto()
    OLDER = auto()
    DEAD_LETTERED = auto()


class Found(NamedTuple):
    """What the view says of one task."""

    #: ``None`` for a miss.
    summary: Summary | None
    #: Whether the summary's best has its value beside it.
    inline: bool
    mark: Mark | None
    now_ms: int
    #: Why the stored bytes are no value, ``""`` if they are one.
    broken: str = ""


def digested(summary: Summary) -> Summary:
    """Return a summary with the digest of its value in the value's place."""
    best = summary.best
    if best is None or best.value is None:
        return summary
    digest = blake2b(best.value, digest_size=_DIGEST).digest()
    small = Best(best.rank, best.offset, best.appended_ms, best.expires_ms, digest)
    return Summary(summary.floor, small, summary.first, summary.last, summary.keep_until_ms)


def outcome_of(expected: Summary, found: Found, begin: int) -> Outcome:
    """Compare the fold of the log from ``begin`` on with what the view says."""
    best = expected.best
    expires = expected.keep_until_ms if best is None else best.expires_ms
    if expires <= found.now_ms:
        return Outcome.EXPIRED
    outcome = _compared(expected, found, begin)
    suspects = (expected.last, best.offset if best is not None else NONE)
    if outcome in (Outcome.DIFFERING, Outcome.MISSING) and found.mark and found.mark.offset in suspects:
        # Its schema was published after the compactor met it: the fold of then had no such record.
        return Outcome.DEAD_LETTERED
    return outcome


def _compared(expected: Summary, found: Found, begin: int) -> Outcome:
    if found.summary is None:
        return Outcome.DIFFERING if found.broken else Outcome.MISSING
    best, stored = expected.best, found.summary.best
    if found.summary.last != expected.last:
        return Outcome.DIFFERING
    if stored is not None and stored.offset < begin and expected.floor == NONE:
        # From before what was folded: all that can be said is that nothing folded here is better.
        return Outcome.OLDER if better(stored, best) is stored else Outcome.DIFFERING
    if best is None or stored is None:
        return Outcome.MATCHED if best is stored and found.summary.floor == expected.floor else Outcome.DIFFERING
    same = (best.rank, best.offset, best.appended_ms) == (stored.rank, stored.offset, stored.appended_ms)
    return Outcome.MATCHED if same and (not found.inline or best.value == stored.value) else Outcome.DIFFERING


def words(summary: Summary | None) -> str:
    """Return what a summary says, for people."""
    if summary is None:
        return "nothing"
    best = summary.best
    what = f"forgotten at {summary.floor}" if best is None else f"offset {best.offset} (rank {best.rank})"
    return f"{what}, last {summary.last}" + (f", digest {best.value.hex()[:8]}" if best and best.value else "")
