"""
Holds the view against the log, one partition at a time. Writes nothing and repairs nothing.

The log is folded over [start, watermark), the coverage that the view has at the start, by the very function that the
compactor folds with. Then the view is read. A value that was folded beyond that watermark meanwhile names the last
offset that is in it: the log is read on to there, and the two are compared at that offset, so that no amount of traffic
makes a difference.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from streamresults.deadline import Deadline
from streamresults.errors import RecordError
from streamresults.events.fold import combine
from streamresults.events.summarize import summarize
from streamresults.replay.comparing import Found, Outcome, digested, outcome_of, words
from streamresults.replay.scan import ANSWER, Progress, scan
from streamresults.replay.verdict import Difference, Verdict
from streamresults.store.value import unpack
from streamresults.topic.refused import RefusedRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.events.codec import Codec
    from streamresults.events.fold import Summary
    from streamresults.store.base import Looked, View
    from streamresults.store.coverage import Coverage
    from streamresults.topic.base import TopicInspector, TopicReader
    from streamresults.topic.records import Record

#: Most differences that are told one by one. More costs memory when a whole view is wrong, fewer tells less.
DIFFERENCES_KEPT: Final = 1000
#: Task ids in one look. Larger blocks Redis for longer, smaller pays the round trip more often.
_LOOK: Final = 500
#: Times that a partition is begun again. More hides a view that never settles, fewer gives up on one that was flushed
#: twice in a row.
_ATTEMPTS: Final = 3
#: No value is too large to be compared: the digest is kept, not the value.
_ANY_SIZE: Final = 2**62


class _Moved(Exception):
    """The partition must be begun again: its generation changed, or retention cut what was being folded."""


class Verification:
    """
    Compares partitions of one view with their log.

    Args:
        reader: Of this verification alone; its owner closes it.
        retention_ms: The topic's retention.
    """

    def __init__(
        self, view: View, reader: TopicReader, inspector: TopicInspector, codec: Codec, retention_ms: int
    ) -> None:
        self._view: Final = view
        self._reader: Final = reader
        self._inspector: Final = inspector
        self._codec: Final = codec
        self._retention_ms: Final = retention_ms
        #: The first that were found.
        self.differences: Final[list[Difference]] = []

    def partition(self, partition: int, begin: int) -> Verdict:
        """Compare one partition; ``begin`` is the first offset to be folded, unless coverage begins above it."""
        for _ in range(_ATTEMPTS):
            coverage = self._view.look({partition: ()})[partition].coverage
            low, high = self._inspector.watermarks([partition], Deadline(ANSWER))[partition]
            if coverage is None:
                return Verdict(
                    partition=partition, not_covered=(low, high), notes=("there is no view of this partition",)
                )
            attempt = _Attempt(self, partition, coverage, max(begin, low), high)
            try:
                attempt.run()
            except _Moved as exc:
                reason = str(exc)
                continue
            self.differences.extend(attempt.differences[: DIFFERENCES_KEPT - len(self.differences)])
            return attempt.verdict(low, high)
        return Verdict(partition=partition, finished=False, notes=(f"begun {_ATTEMPTS} times and given up: {reason}",))

    # -- what an attempt needs ---------------------------------------------------------------------------------------

    def scan(self, progress: Progress) -> Iterator[tuple[Progress, Record]]:
        """Read a range."""
        return scan(self._reader, self._inspector, [progress])

    def end(self, partition: int) -> int:
        """Return where the log ends now."""
        return self._inspector.ends([partition], Deadline(ANSWER))[partition]

    def look(self, partition: int, ids: tuple[str, ...]) -> Looked:
        """Read values."""
        return self._view.look({partition: ids})[partition]

    def summarize(self, record: Record) -> tuple[str, Summary]:
        """Return a record's summary with the digest of its value in the value's place."""
        task_id, summary = summarize(
            record.key(),
            record.value(),
            record.offset() or 0,
            record.timestamp()[1],
            self._codec,
            retention_ms=self._retention_ms,
            inline_max=_ANY_SIZE,
        )
        return task_id, digested(summary)


class _Attempt:
    """One pass over one partition within one generation."""

    def __init__(self, owner: Verification, partition: int, coverage: Coverage, begin: int, high: int) -> None:
        self._owner: Final = owner
        self._partition: Final = partition
        self._coverage: Final = coverage
        until = min(coverage.watermark, high)
        first = min(max(coverage.start, begin), until)
        self._progress: Final = Progress(partition, first, until, low=0)
        self._begin = first
        self._counts: Final = dict.fromkeys(Outcome, 0)
        self._unreadable = self._refused = 0
        self._notes: Final[list[str]] = []
        self.differences: Final[list[Difference]] = []
        if coverage.watermark > high:
            self._notes.append(f"the view has folded up to {coverage.watermark}, the log ends at {high}")

    def run(self) -> None:
        """Fold, look, and read on for what moved."""
        folded = self._fold()
        moved: dict[str, tuple[Summary, Found]] = {}
        ids = iter(folded)
        while chunk := tuple(islice(ids, _LOOK)):
            for task_id, found in self._found(chunk):
                if found.summary is not None and found.summary.last >= self._progress.until:
                    moved[task_id] = folded[task_id], found
                else:
                    self._compare(task_id, folded[task_id], found)
        if moved:
            folded.clear()
            self._read_on(moved)

    def verdict(self, low: int, high: int) -> Verdict:
        """Return what was found, given what the log held at the start."""
        coverage, counts = self._coverage, self._counts
        return Verdict(
            partition=self._partition,
            begin=self._begin,
            end=self._progress.position,
            records=self._progress.records,
            unreadable=self._unreadable,
            refused=self._refused,
            matched=counts[Outcome.MATCHED],
            differing=counts[Outcome.DIFFERING],
            missing=counts[Outcome.MISSING],
            expired=counts[Outcome.EXPIRED],
            older=counts[Outcome.OLDER],
            dead_lettered=counts[Outcome.DEAD_LETTERED],
            not_covered=(max(coverage.target, low), max(coverage.start, low, coverage.target)),
            behind=max(0, high - coverage.watermark),
            notes=(*self._progress.notes, *self._notes),
        )

    def _fold(self) -> dict[str, Summary]:
        folded: dict[str, Summary] = {}
        cuts = 0
        for progress, record in self._owner.scan(self._progress):
            if progress.cuts != cuts:
                # A summary is only of a contiguous range: what was folded before the cut does not count.
                cuts, self._begin = progress.cuts, progress.low
                folded.clear()
            try:
                task_id, summary = self._owner.summarize(record)
            except RecordError:
                if isinstance(record, RefusedRecord):
                    self._refused += 1
                else:
                    self._unreadable += 1
            else:
                older = folded.get(task_id)
                folded[task_id] = summary if older is None else combine(older, summary)
        if self._progress.cuts != cuts:
            self._begin = self._progress.position
            folded.clear()
        return folded

    def _found(self, ids: tuple[str, ...]) -> Iterator[tuple[str, Found]]:
        """Return what the view says now, of the same generation."""
        looked = self._owner.look(self._partition, ids)
        if looked.coverage is None or looked.coverage.generation != self._coverage.generation:
            raise _Moved("the view was begun afresh meanwhile")
        for task_id, value, mark in zip(ids, looked.values, looked.marks, strict=True):
            if value is None:
                yield task_id, Found(None, inline=False, mark=mark, now_ms=looked.now_ms)
                continue
            try:
                stored = unpack(value)
            except ValueError as exc:
                yield task_id, Found(None, inline=False, mark=mark, now_ms=looked.now_ms, broken=str(exc))
            else:
                yield task_id, Found(digested(stored.summary), stored.inline, mark, looked.now_ms)

    def _read_on(self, moved: dict[str, tuple[Summary, Found]]) -> None:
        """Compare each task at the last offset that its value names."""
        goal = max(found.summary.last for _, found in moved.values() if found.summary is not None) + 1
        begin = self._progress.until
        progress = Progress(self._partition, begin, min(goal, self._owner.end(self._partition)), low=0)
        for _, record in self._owner.scan(progress):
            if progress.cuts:
                break
            try:
                task_id, summary = self._owner.summarize(record)
            except RecordError:
                continue
            older = moved.get(task_id)
            if older is None:
                continue
            folded, found = combine(older[0], summary), older[1]
            if found.summary is not None and summary.last >= found.summary.last:
                del moved[task_id]
                self._compare(task_id, folded, found)
            else:
                moved[task_id] = folded, found
        if progress.cuts:
            raise _Moved("retention took what was being read")
        for task_id, (folded, found) in moved.items():
            self._compare(task_id, folded, found)

    def _compare(self, task_id: str, expected: Summary, found: Found) -> None:
        outcome = outcome_of(expected, found, self._begin)
        self._counts[outcome] += 1
        if outcome in (Outcome.DIFFERING, Outcome.MISSING) and len(self.differences) < DIFFERENCES_KEPT:
            self.differences.append(
                Difference(
                    partition=self._partition,
                    task_id=task_id,
                    kind="differing" if outcome is Outcome.DIFFERING else "missing",
                    reason=f"the log says {words(expected)}, the view {found.broken or words(found.summary)}",
                )
            )
