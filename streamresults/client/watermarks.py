"""
The highest watermark that this process has seen of each partition: what is below it is an older view.

A view goes back in time when Redis fails over to a replica that lagged, or is restored from a backup. Until it has
caught up its answers may be forgotten ones, and nobody answers from it.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamresults.store.base import Interest, Looked, View

#: Nothing was seen yet.
_NONE: Final = -1


class Sight(NamedTuple):
    """One look at a partition's view, and what was known of it before."""

    looked: Looked
    #: The highest watermark that had been seen when the look began: two looks that are under way at once may well
    #: arrive in the other order.
    highest: int

    @property
    def is_older(self) -> bool:
        """Whether the view is an older moment than one that was seen before."""
        return self.looked.coverage is not None and self.looked.coverage.watermark < self.highest


class HighestWatermarks:
    """
    Looks at the view and remembers how far it was, in whatever generation. Thread-safe.

    One per client, shared by waits and lookups: neither answers from a view that the other knows to be old.
    """

    def __init__(self) -> None:
        #: Never held while anything blocks.
        self._lock: Final = Lock()
        self._highest: Final[dict[int, int]] = {}

    def of(self, partition: int) -> int:
        """Return the highest watermark seen, -1 for none."""
        return self._highest.get(partition, _NONE)

    def look(
        self, view: View, wanted: Mapping[int, Sequence[str]], interest: Interest | None = None
    ) -> dict[int, Sight]:
        """Do :meth:`View.look`, and say of each partition what was known before."""
        before = {partition: self.of(partition) for partition in wanted}
        found = view.look(wanted, interest)
        for partition, looked in found.items():
            if looked.coverage is not None:
                self.saw(partition, looked.coverage.watermark)
        return {partition: Sight(looked, before[partition]) for partition, looked in found.items()}

    def saw(self, partition: int, watermark: int) -> None:
        """Remember a watermark."""
        with self._lock:
            self._highest[partition] = max(self.of(partition), watermark)

    def log_ends(self, partition: int, end: int) -> bool:
        """
        Take note of where the log itself ends; tell whether that ends the doubt about an older view.

        Where it ends below the highest watermark, records were lost, and that watermark means nothing any more.
        """
        with self._lock:
            lost = end < self.of(partition)
            if lost:
                del self._highest[partition]
        return lost
