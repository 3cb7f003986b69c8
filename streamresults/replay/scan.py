"""
Reads ranges of partitions to their ends, whatever the log holds inside them. Decodes nothing, commits nothing.

A range ends where the reader's position has reached its end, not where the record before the end was seen: markers of
transactions and compaction leave offsets without a record, at the end of a range too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from streamresults.deadline import Deadline
from streamresults.errors import TopicUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from streamresults.topic.base import TopicInspector, TopicReader
    from streamresults.topic.records import Record

#: Seconds that brokers get to answer a question. Smaller gives up during an election, larger delays the bad news.
ANSWER: Final = 15.0
#: Seconds of one poll. Larger delays nothing but the next look at the clock, smaller burns processor.
_POLL: Final = 0.5
#: Seconds without a record after which the brokers are asked whether they are there. Smaller asks for nothing during a
#: slow fetch, larger leaves the reader in the dark for as long while Kafka is away.
_QUIET: Final = 10.0
#: Times in a row that they may say yes while no record comes. More hides a range that cannot be read, fewer gives up
#: on a broker that is busy.
_PATIENCE: Final = 6


class Covered(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of one partition: the offsets [begin, end)."""

    partition: int
    begin: int
    end: int
    #: Where it was to end, fixed before the first record was read.
    until: int
    #: The oldest offset that the log held.
    low: int
    #: Records read, those of other tasks and unreadable ones included.
    records: int
    #: Records handed out: all of them, unless one task was asked for.
    matched: int
    #: Of those, records that cannot be events, those that were refused for their signature included.
    unreadable: int
    #: Of those, records that were refused for their signature.
    refused: int
    #: What retention took of the range, and what else is to be said; ``""`` for nothing.
    note: str

    @property
    def missing(self) -> int:
        """Offsets in [begin, end) without a record: transaction markers, compaction, or what the note says."""
        return self.end - self.begin - self.records

    @property
    def finished(self) -> bool:
        """Whether it was read to where it was to end."""
        return self.end >= self.until


class Progress:
    """How far one partition is. One thread reads; what it says is true at any moment between two records."""

    __slots__ = (
        "begin",
        "cuts",
        "low",
        "matched",
        "notes",
        "partition",
        "position",
        "records",
        "refused",
        "unreadable",
        "until",
    )

    def __init__(self, partition: int, begin: int, until: int, low: int, note: str = "") -> None:
        self.partition: Final = partition
        self.begin = begin
        self.until: Final = max(begin, until)
        self.low = low
        #: The next offset to be read.
        self.position = begin
        self.records = self.matched = self.unreadable = self.refused = 0
        #: Times that retention took what was next: the records read are not one contiguous range.
        self.cuts = 0
        self.notes: Final = [note] if note else []

    def covered(self) -> Covered:
        """Return what was read so far."""
        return Covered(
            partition=self.partition,
            begin=self.begin,
            end=self.position,
            until=self.until,
            low=self.low,
            records=self.records,
            matched=self.matched,
            unreadable=self.unreadable,
            refused=self.refused,
            note="; ".join(self.notes),
        )


def scan(
    reader: TopicReader, inspector: TopicInspector, ranges: Iterable[Progress]
) -> Iterator[tuple[Progress, Record]]:
    """
    Yield every record of the ranges, of each partition in the order of its offsets; block for as long as it takes.

    Raises:
        TopicUnavailable: Kafka is away, or it is there and delivers nothing.
    """
    return _Scan(reader, inspector, ranges).run()


class _Scan:
    """One pass over some ranges."""

    def __init__(self, reader: TopicReader, inspector: TopicInspector, ranges: Iterable[Progress]) -> None:
        self._reader: Final = reader
        self._inspector: Final = inspector
        self._active: Final = {
            progress.partition: progress for progress in ranges if progress.position < progress.until
        }
        self._quiet = Deadline(_QUIET)
        self._asked = 0

    def run(self) -> Iterator[tuple[Progress, Record]]:
        active = self._active
        if active:
            self._reader.assign({partition: progress.position for partition, progress in active.items()})
        while active:
            polled = self._reader.poll(_POLL)
            for record in polled.records:
                progress = active.get(record.partition() or 0)
                offset = record.offset() or 0
                # One poll more may bring records of a partition that is done, or from before it was sent elsewhere.
                if progress is None or offset < progress.position:
                    continue
                if offset < progress.until:
                    progress.position = offset + 1
                    progress.records += 1
                    yield progress, record
                if offset >= progress.until - 1:
                    self._finish(progress)
            if polled.records:
                self._quiet, self._asked = Deadline(_QUIET), 0
            for partition in active.keys() & polled.ends.keys():
                self._at_end(active[partition], polled.ends[partition])
            for partition in active.keys() & polled.out_of_range.keys():
                self._out_of_range(active[partition])
            self._ask_when_quiet()

    def _finish(self, progress: Progress) -> None:
        progress.position = progress.until
        self._leave(progress)

    def _leave(self, progress: Progress) -> None:
        del self._active[progress.partition]
        self._reader.unassign([progress.partition])

    def _ask_when_quiet(self) -> None:
        """Make sure that Kafka is there: the reader itself waits for it for ever."""
        if not self._active or not self._quiet.passed():
            return
        self._inspector.watermarks(list(self._active), Deadline(ANSWER))
        self._quiet = Deadline(_QUIET)
        self._asked += 1
        if self._asked >= _PATIENCE:
            places = ", ".join(f"{progress.partition}@{progress.position}" for progress in self._active.values())
            msg = f"Kafka answers, but sent no record for {_QUIET * self._asked:g} s; still to read: {places}"
            raise TopicUnavailable(msg)

    def _at_end(self, progress: Progress, end: int) -> None:
        """Finish at the end of the log, which may have no record just before it."""
        if end >= progress.until:
            self._finish(progress)
            return
        # A broker that lags says the same; the end of the log itself never goes down unless records are lost.
        now = self._inspector.ends([progress.partition], Deadline(ANSWER))[progress.partition]
        if now < progress.until:
            self._lost(progress, now)

    def _lost(self, progress: Progress, end: int) -> None:
        progress.notes.append(f"the log held {progress.until} and now ends at {end}: acknowledged records were lost")
        self._leave(progress)

    def _out_of_range(self, progress: Progress) -> None:
        """Go on where the log begins now, and say what is gone."""
        partition = progress.partition
        low, high = self._inspector.watermarks([partition], Deadline(ANSWER))[partition]
        if progress.position > high:
            self._lost(progress, high)
            return
        if low > progress.position:
            gone = min(low, progress.until)
            progress.notes.append(f"retention took [{progress.position}, {gone}) while it was being read")
            progress.cuts += 1
            progress.low = low
            if progress.position == progress.begin:
                progress.begin = gone
            progress.position = gone
        if progress.position < progress.until:
            self._reader.assign({partition: progress.position})
        else:
            self._leave(progress)
