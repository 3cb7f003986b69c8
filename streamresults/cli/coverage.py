"""How far the view of each partition is, beside where the log begins and ends: read by lag and doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from streamresults.deadline import ANSWER, Deadline

if TYPE_CHECKING:
    from streamresults.store.base import View
    from streamresults.store.coverage import Coverage
    from streamresults.topic.base import TopicInspector
    from streamresults.topic.records import Watermarks


class PartitionLag(NamedTuple):
    """One partition of the log and its view."""

    partition: int
    marks: Watermarks
    #: ``None``: there is no view of it.
    coverage: Coverage | None
    #: Redis's clock when it was read, in milliseconds.
    now_ms: int

    @property
    def lag(self) -> int:
        """Offsets that the view has not folded."""
        folded = self.marks.low if self.coverage is None else self.coverage.watermark
        return max(0, self.marks.high - folded)

    @property
    def to_fill(self) -> int | None:
        """Offsets below the view that back-fill has to bring yet; ``None`` without a view."""
        if self.coverage is None:
            return None
        return max(0, self.coverage.start - max(self.coverage.target, self.marks.low))

    @property
    def covered(self) -> int:
        """Offsets that the log holds and the view has folded."""
        if self.coverage is None:
            return 0
        low, high = self.marks
        return max(0, min(self.coverage.watermark, high) - max(self.coverage.start, low))

    @property
    def complete(self) -> bool:
        """Whether the view holds everything that can still be read below its watermark."""
        return self.coverage is not None and self.coverage.complete

    @property
    def age(self) -> float | None:
        """Seconds since the view was last written; ``None`` without a view."""
        return None if self.coverage is None else max(0.0, (self.now_ms - self.coverage.as_of_ms) / 1000)


def read_lag(inspector: TopicInspector, view: View, partitions: int) -> list[PartitionLag]:
    """
    Return every partition: the view first, so that a lag is never too small.

    Raises:
        ServiceUnavailable: Kafka or Redis did not answer.
    """
    numbers = list(range(partitions))
    looked = view.look(dict.fromkeys(numbers, ()))
    marks = inspector.watermarks(numbers, Deadline(ANSWER))
    return [PartitionLag(p, marks[p], looked[p].coverage, looked[p].now_ms) for p in numbers]
