"""How back-fill gets on: what the views still lack, and from two readings or more how long that will take."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamresults.cli.coverage import PartitionLag

#: Readings that a rate is taken over. More make it steadier, fewer make it follow a change sooner.
_READINGS: Final = 10


class Filling(NamedTuple):
    """What back-fill has before it, over all partitions."""

    #: Offsets that the views lack below where they begin.
    left: int
    #: The part of the log that the views have folded, from 0 to 1.
    covered: float
    #: Offsets a second; ``None`` before a second reading.
    rate: float | None

    @property
    def seconds(self) -> float | None:
        """How long it will take at this rate; ``None`` when nobody can tell."""
        if not self.left:
            return 0.0
        return self.left / self.rate if self.rate else None

    def __str__(self) -> str:
        # Rounded down: 100 % is said of a log that is covered, and of no other.
        said = f"{self.left} offsets to back-fill, {int(self.covered * 100)} % of the log covered"
        if not self.left or self.rate is None:
            return said
        if self.seconds is None:
            return f"{said}, standing still"
        return f"{said}, {self.rate:.0f}/s, about {self.seconds:.0f} s to go"


class FillWatch:
    """Compares readings of all partitions with those before."""

    def __init__(self) -> None:
        self._before: dict[int, PartitionLag] = {}
        #: When each reading was taken, and all that was filled since the first.
        self._readings: Final[deque[tuple[float, int]]] = deque(maxlen=_READINGS)
        self._filled = 0

    def read(self, found: Sequence[PartitionLag], at: float) -> Filling:
        """
        Take a reading.

        Args:
            found: Every partition.
            at: When it was taken, in seconds of a monotonic clock.
        """
        self._filled += sum(self._step(one) for one in found)
        self._before = {one.partition: one for one in found}
        self._readings.append((at, self._filled))
        held = sum(one.marks.high - one.marks.low for one in found)
        covered = sum(one.covered for one in found)
        return Filling(sum(one.to_fill or 0 for one in found), covered / held if held else 1.0, self._rate())

    def _step(self, one: PartitionLag) -> int:
        """Return what was filled since the last reading; a generation that is new has nothing to compare with."""
        before = self._before.get(one.partition)
        if before is None or before.coverage is None or one.coverage is None:
            return 0
        if before.coverage.generation != one.coverage.generation:
            return 0
        return max(0, (before.to_fill or 0) - (one.to_fill or 0))

    def _rate(self) -> float | None:
        (first, before), (last, after) = self._readings[0], self._readings[-1]
        return (after - before) / (last - first) if last > first else None
