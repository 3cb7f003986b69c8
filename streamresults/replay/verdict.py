"""What a verification found: plain values. Compares nothing and opens nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from streamresults.errors import VerificationMismatch

if TYPE_CHECKING:
    from collections.abc import Iterable


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One task for which the view does not say what the log says."""

    partition: int
    task_id: str
    kind: Literal["differing", "missing"]
    #: In words: what the log says and what the view says.
    reason: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of one partition. Counts are tasks unless they say otherwise."""

    partition: int
    #: The offsets [begin, end) were folded: all that the view says it covers and the log holds, from where was asked.
    begin: int = 0
    end: int = 0
    #: Records in it, and how many of them cannot be events: those take no part in the fold.
    records: int = 0
    unreadable: int = 0
    #: Records in it that were refused for their signature: those take no part in it either.
    refused: int = 0
    matched: int = 0
    differing: int = 0
    missing: int = 0
    #: Skipped: what the log says of them has expired.
    expired: int = 0
    #: Skipped: the view's event is better and from before ``begin``, where the log was not read or holds nothing.
    older: int = 0
    #: Skipped: the record in question was a dead letter when the compactor met it, and can be read now.
    dead_lettered: int = 0
    #: The readable offsets [first, second) that the view does not cover: misses there are NotYetCovered.
    not_covered: tuple[int, int] = (0, 0)
    #: Offsets at the log's end that were not folded into the view yet.
    behind: int = 0
    #: Whether the comparison came to its end.
    finished: bool = True
    notes: tuple[str, ...] = ()

    @property
    def skipped(self) -> int:
        """Tasks of which nothing can be said."""
        return self.expired + self.older + self.dead_lettered

    @property
    def note(self) -> str:
        """All that is to be said beside the counts, ``""`` for nothing."""
        first, last = self.not_covered
        uncovered = (f"offsets [{first},{last}) not covered by the view",) if first < last else ()
        return "; ".join((*uncovered, *self.notes))


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What a verification found."""

    partitions: tuple[Verdict, ...]
    #: The first of them; the counts know all.
    differences: tuple[Difference, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing differs or is missing within what the view says it covers, and all of that was compared."""
        return all(part.finished and not part.differing and not part.missing for part in self.partitions)

    @property
    def complete(self) -> bool:
        """Whether the view says it covers all that the log holds, up to the compactor's lag."""
        return all(first >= last for first, last in (part.not_covered for part in self.partitions))

    @property
    def records(self) -> int:
        """Records read."""
        return sum(part.records for part in self.partitions)

    @property
    def refused(self) -> int:
        """Records that were refused for their signature."""
        return sum(part.refused for part in self.partitions)

    @property
    def matched(self) -> int:
        """Tasks for which view and log agree."""
        return sum(part.matched for part in self.partitions)

    @property
    def differing(self) -> int:
        """Tasks for which they do not."""
        return sum(part.differing for part in self.partitions)

    @property
    def missing(self) -> int:
        """Tasks that the view lacks."""
        return sum(part.missing for part in self.partitions)

    @property
    def skipped(self) -> int:
        """Tasks of which nothing can be said."""
        return sum(part.skipped for part in self.partitions)

    def raise_if_unclean(self) -> None:
        """
        Return if it is clean.

        Raises:
            VerificationMismatch: It is not; the message names the first difference.
        """
        if not self.clean:
            msg = f"{self.differing} tasks differ, {self.missing} are missing{_first(self.differences)}"
            unfinished = [str(part.partition) for part in self.partitions if not part.finished]
            if unfinished:
                msg += f"; not compared to the end: partition {', '.join(unfinished)}"
            raise VerificationMismatch(msg)


def _first(differences: Iterable[Difference]) -> str:
    return next((f"; task {found.task_id!r}: {found.reason}" for found in differences), "")
