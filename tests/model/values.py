"""What a partition's values look like in every log at once, each stamped with the generation it was folded in."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.model.records import merged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamresults.events.fold import Summary
    from tests.model.records import Bundles


class Stamped(NamedTuple):
    """A value as it rests in the view."""

    generation: bytes
    summary: Summary


class Values:
    """
    Keeps every vector of values once, and names it by its number; 0 holds nothing.

    Args:
        stamped: A value of another generation counts as absent, for scripts and for readers.
    """

    def __init__(self, bundles: Bundles, *, stamped: bool) -> None:
        self._bundles: Final = bundles
        self._stamped: Final = stamped
        empty: Sequence[Stamped | None] = (None,) * len(bundles.logs)
        self._vectors: Final[list[Sequence[Stamped | None]]] = [empty]
        self._numbers: Final[dict[Sequence[Stamped | None], int]] = {empty: 0}
        self.fold_in: Final = cache(self._fold_in)
        self.shown: Final = cache(self._shown)
        self.generations: Final = cache(self._generations)

    def _fold_in(self, values: int, generation: bytes, segment: int, *, backwards: bool) -> int:
        """Merge a batch's entries with what is present; where there is no entry, nothing is touched."""
        vector: list[Stamped | None] = []
        for stored, entry in zip(self._vectors[values], self._bundles.bundle(segment), strict=True):
            if entry is None:
                vector.append(stored)
                continue
            present = self._present(stored, generation)
            found = merged(entry, present) if backwards else merged(present, entry)
            assert found is not None
            vector.append(Stamped(generation, found))
        key = tuple(vector)
        number = self._numbers.setdefault(key, len(self._vectors))
        if number == len(self._vectors):
            self._vectors.append(key)
        return number

    def _present(self, stored: Stamped | None, generation: bytes) -> Summary | None:
        if stored is None or (self._stamped and stored.generation != generation):
            return None
        return stored.summary

    def _shown(self, values: int, generation: bytes) -> int:
        """Return the number of the bundle that readers see."""
        return self._bundles.number(tuple(self._present(stored, generation) for stored in self._vectors[values]))

    def _generations(self, values: int) -> frozenset[bytes]:
        """Return the stamps that are there."""
        return frozenset(stored.generation for stored in self._vectors[values] if stored is not None)
