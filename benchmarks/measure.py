"""Pairs of figures taken turn by turn, and what they amount to."""

from __future__ import annotations

import gc
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Row(NamedTuple):
    """One line of the table, and one entry of ``latest.json`` but for the note."""

    name: str
    #: ``None`` when it could not be measured; the note says why.
    value: float | None
    unit: str
    reference: float | None = None
    ratio: float | None = None
    #: Least and greatest ratio of the pairs, or of the values where there is no reference.
    spread: tuple[float, float] | None = None
    note: str = ""


class Pairs(NamedTuple):
    """Figures of ours and of the reference; the same index was measured one after the other."""

    ours: Sequence[float]
    reference: Sequence[float]

    def row(self, name: str, unit: str, note: str = "") -> Row:
        """Return the medians, and the median of the ratios pair by pair."""
        ratios = [one / other for one, other in zip(self.ours, self.reference, strict=True)]
        spread = (min(ratios), max(ratios))
        return Row(name, median(self.ours), unit, median(self.reference), median(ratios), spread, note)


def alternately(rounds: int, *figures: Callable[[], float]) -> list[list[float]]:
    """
    Take each figure in turn, that many times.

    Garbage of one turn is not collected during another, and what stands in memory from before, other rows' records
    among it, is not looked through for garbage: that would come upon one side or the other, by chance.
    """
    found: list[list[float]] = [[] for _ in figures]
    try:
        for _ in range(rounds):
            for figure, values in zip(figures, found, strict=True):
                gc.unfreeze()
                gc.collect()
                gc.freeze()
                values.append(figure())
    finally:
        gc.unfreeze()
    return found


def values_row(name: str, values: Sequence[float], unit: str, note: str = "") -> Row:
    """Return the row of a figure that has no reference."""
    return Row(name, median(values), unit, spread=(min(values), max(values)), note=note)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * percent / 100))]
