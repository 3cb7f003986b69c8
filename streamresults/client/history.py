"""One task's records from the log, read by whoever asks, between offsets that the view's header bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from streamresults.deadline import ANSWER, Deadline
from streamresults.errors import ClientClosed, ConfigurationError, ServiceUnavailable, TopicUnavailable
from streamresults.events.fold import NONE
from streamresults.store.value import unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from threading import Event

    from streamresults.client.watermarks import HighestWatermarks
    from streamresults.client.whereabouts import Place
    from streamresults.store.coverage import Coverage
    from streamresults.topic.base import TopicInspector, TopicReader
    from streamresults.topic.records import Record

_POLL: Final = 0.5

Span = tuple[int, int]


class Header(NamedTuple):
    """What the view says of where a task's events stand."""

    coverage: Coverage
    #: Offsets of its first and last event; -1 when it holds none.
    first: int = NONE
    last: int = NONE
    #: Offset of its last tombstone, -1 without one.
    floor: int = NONE


def spans(header: Header | None, begin: int, end: int) -> list[Span]:
    """
    Return what has to be read of [begin, end) so that no event of a task is missed and none that was forgotten shows.

    Args:
        header: ``None``: the view says nothing, and all of it has to be read.
    """
    if header is None:
        return [(begin, end)] if begin < end else []
    coverage = header.coverage
    low = begin if coverage.complete else min(coverage.start, end)
    found = [] if coverage.complete else [(begin, low)]
    if header.first != NONE:
        found.append((header.first, header.last + 1))
    found.append((coverage.watermark, end))
    cut = [(max(a, begin, header.floor + 1), min(b, end)) for a, b in found]
    return [(a, b) for a, b in cut if a < b]


class LogHistory:
    """
    Reads the records of one task. Used by one thread.

    Args:
        closing: Set when the client is closed.
    """

    def __init__(
        self,
        open_reader: Callable[[], TopicReader] | None,
        inspector: TopicInspector | None,
        watermarks: HighestWatermarks,
        closing: Event,
    ) -> None:
        if open_reader is None or inspector is None:
            raise ConfigurationError("a task's history stands in the log: set kafka_bootstrap")
        self._open_reader: Final = open_reader
        self._inspector: Final = inspector
        self._watermarks: Final = watermarks
        self._closing: Final = closing

    def header(self, task_id: str, partition: int, place: Place) -> Header | None:
        """Return what the view says; ``None`` without a view, or while that does not answer."""
        if place.view is None:
            return None
        try:
            sight = self._watermarks.look(place.view, {partition: [task_id]})[partition]
        except ServiceUnavailable:
            return None
        coverage, value = sight.looked.coverage, sight.looked.values[0]
        if coverage is None or sight.is_older or place.evicting:
            return None
        if value is None:
            return Header(coverage)
        summary = unpack(value).summary
        return Header(coverage, summary.first, summary.last, summary.floor)

    def low(self, partition: int, deadline: Deadline) -> int:
        """Return the oldest offset that can be read."""
        return self._inspector.watermarks([partition], Deadline(deadline.remaining(ANSWER)))[partition].low

    def end(self, partition: int, deadline: Deadline) -> int:
        """Return where the log ends now."""
        return self._inspector.ends([partition], Deadline(deadline.remaining(ANSWER)))[partition]

    def read(self, task_id: str, partition: int, span: Span, deadline: Deadline) -> Iterator[Record]:
        """
        Read the records of a task between two offsets, tombstones too.

        Raises:
            TopicUnavailable: They were not read in time.
            ClientClosed: Closed meanwhile.
        """
        key, (begin, end) = task_id.encode(), span
        # One of its own for each stretch: what an earlier one had fetched must not be taken for this one's.
        reader = self._open_reader()
        try:
            reader.assign({partition: begin})
            while begin < end:
                if self._closing.is_set():
                    raise ClientClosed("the client was closed", task_id=task_id)
                if deadline.passed():
                    msg = f"task {task_id!r}: partition {partition} was not read up to {end} in {deadline.total:g} s"
                    raise TopicUnavailable(msg)
                polled = reader.poll(deadline.remaining(_POLL))
                for record in polled.records:
                    offset = record.offset() or 0
                    if record.partition() == partition and begin <= offset < end:
                        begin = offset + 1
                        if record.key() == key:
                            yield record
                    elif record.partition() == partition and offset >= end:
                        begin = end  # what is missing before it are marks of transactions
                begin = max(begin, polled.ends.get(partition, 0))
                if partition in polled.out_of_range:  # retention went on meanwhile
                    begin = max(begin, self.low(partition, deadline))
                    reader.assign({partition: begin})
        finally:
            reader.close()
