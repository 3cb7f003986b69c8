"""
Logs of a few records, and what stretches of them amount to: real summaries, merged by the real ``combine``.

One task is enough: values never meet, and for one task every other task's record, like a transaction marker, is an
offset without a record of its own.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Final

from streamresults.events.fold import NEVER, Best, Summary, combine, event_summary, tombstone_summary
from streamresults.events.states import RANK_READY, RANK_SUCCESS, RANK_UNREADY

if TYPE_CHECKING:
    from collections.abc import Sequence

STARTED: Final = "S"
FAILURE: Final = "F"
SUCCESS: Final = "X"
TOMBSTONE: Final = "T"
#: A record of the task that nobody can read.
UNREADABLE: Final = "U"
#: An offset that holds nothing of the task.
NOTHING: Final = "-"
LETTERS: Final = STARTED + FAILURE + SUCCESS + TOMBSTONE + NOTHING

_RANKS: Final = {STARTED: RANK_UNREADY, FAILURE: RANK_READY, SUCCESS: RANK_SUCCESS}


def summary_of(letter: str, offset: int, name: bytes = b"") -> Summary | None:
    """Return what one record amounts to, ``None`` when it changes no value."""
    if letter == TOMBSTONE:
        return tombstone_summary(offset, NEVER)
    if letter in _RANKS:
        return event_summary(Best(_RANKS[letter], offset, 0, NEVER, name))
    return None


def merged(older: Summary | None, newer: Summary | None) -> Summary | None:
    """Return what two neighbouring stretches amount to."""
    if older is None or newer is None:
        return newer if older is None else older
    return combine(older, newer)


@cache
def folded(log: str, begin: int, end: int) -> Summary | None:
    """Return what the offsets [begin, end) of a log of letters amount to."""
    found = None
    for offset in range(begin, end):
        found = merged(found, summary_of(log[offset], offset))
    return found


def rank_of(summary: Summary | None) -> int:
    """Return the rank of what stands, -1 for nothing."""
    return summary.best.rank if summary is not None and summary.best is not None else -1


class Bundles:
    """
    What stretches amount to in *every* log of some length at once: one summary for each way to choose its letters.

    What becomes of coverage never depends on what records say, so that one search serves all these logs. A bundle is
    kept once and stands for itself by its number; 0 is the empty one.

    Args:
        records: How many records are ever published.
        letters: What each of them may be.
    """

    def __init__(self, records: int, letters: str) -> None:
        self.logs: Final = ["".join(log) for log in product(letters, repeat=records)]
        empty: Sequence[Summary | None] = (None,) * len(self.logs)
        self._bundles: Final[list[Sequence[Summary | None]]] = [empty]
        self._numbers: Final[dict[Sequence[Summary | None], int]] = {empty: 0}
        self._stretches: Final[dict[tuple[tuple[int, ...], int], int]] = {}

    def number(self, bundle: Sequence[Summary | None]) -> int:
        """Return the number of a bundle."""
        found = self._numbers.setdefault(bundle, len(self._bundles))
        if found == len(self._bundles):
            self._bundles.append(bundle)
        return found

    def bundle(self, number: int) -> Sequence[Summary | None]:
        """Return the summaries, one for each log."""
        return self._bundles[number]

    def stretch(self, records: tuple[int, ...], begin: int) -> int:
        """Return what these records amount to, the first of which stands at the offset ``begin``; -1 is a marker."""
        key = (records, begin)
        found = self._stretches.get(key)
        if found is None:
            bundle: list[Summary | None] = [None] * len(self.logs)
            for offset, record in enumerate(records, begin):
                if record >= 0:
                    name = b"%d" % record
                    bundle = [
                        merged(earlier, summary_of(log[record], offset, name))
                        for log, earlier in zip(self.logs, bundle, strict=True)
                    ]
            found = self._stretches[key] = self.number(tuple(bundle))
        return found

    def difference(self, one: int, other: int) -> str:
        """Name the first log in which two bundles differ."""
        for log, left, right in zip(self.logs, self._bundles[one], self._bundles[other], strict=True):
            if left != right:
                return f"log {log!r}: {_words(left)}, not {_words(right)}"
        return ""


def _words(summary: Summary | None) -> str:
    if summary is None:
        return "nothing"
    floor = f"forgotten at {summary.floor}" if summary.floor >= 0 else ""
    best = f"rank {summary.best.rank} at {summary.best.offset}" if summary.best is not None else ""
    return " and ".join(filter(None, (floor, best)))
