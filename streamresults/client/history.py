"""The records of tasks from the log, read by whoever asks, between offsets that the view's header bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from streamresults.deadline import ANSWER, Deadline
from streamresults.errors import ClientClosed, ConfigurationError, ServiceUnavailable, TopicUnavailable
from streamresults.events.fold import NONE
from streamresults.store.value import unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from threading import Event

    from streamresults.client.watermarks import HighestWatermarks
    from streamresults.client.whereabouts import Place
    from streamresults.store.coverage import Coverage
    from streamresults.topic.base import TopicInspector, TopicReader
    from streamresults.topic.records import Polled, Record

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
    Reads the records of tasks. Used by one thread.

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
        (found,) = self.headers({partition: [task_id]}, place)[partition]
        return found

    def headers(self, wanted: Mapping[int, Sequence[str]], place: Place) -> dict[int, list[Header | None]]:
        """Do the same for many tasks of each partition in one round trip, in the order asked for."""
        unknown: dict[int, list[Header | None]] = {p: [None] * len(task_ids) for p, task_ids in wanted.items()}
        if place.view is None or place.evicting:
            return unknown
        try:
            sights = self._watermarks.look(place.view, wanted)
        except ServiceUnavailable:
            return unknown
        return unknown | {
            partition: [_header(sight.looked.coverage, value) for value in sight.looked.values]
            for partition, sight in sights.items()
            if not sight.is_older
        }

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
        key = task_id.encode()
        return (record for record in self.read_all({partition: span}, deadline) if record.key() == key)

    def read_all(self, wanted: Mapping[int, Span], deadline: Deadline) -> Iterator[Record]:
        """
        Read whatever stands between two offsets of each partition, all partitions at the same time.

        Raises:
            TopicUnavailable, ClientClosed: As :meth:`read` does.
        """
        left = {partition: span for partition, span in wanted.items() if span[0] < span[1]}
        if not left:
            return
        # One of its own for each stretch: what an earlier one had fetched must not be taken for this one's.
        reader = self._open_reader()
        try:
            reader.assign({partition: begin for partition, (begin, _) in left.items()})
            while left:
                if self._closing.is_set():
                    raise ClientClosed("the client was closed while the log was read", task_id="")
                if deadline.passed():
                    partition, (_, end) = next(iter(left.items()))
                    msg = f"partition {partition} was not read up to {end} in {deadline.total:g} s"
                    raise TopicUnavailable(msg)
                polled = reader.poll(deadline.remaining(_POLL))
                yield from _taken(polled, left)
                for partition in polled.out_of_range.keys() & left:  # retention went on meanwhile
                    begin, end = left[partition]
                    begin = max(begin, self.low(partition, deadline))
                    left[partition] = begin, end
                    reader.assign({partition: begin})
                done = [partition for partition, (begin, end) in left.items() if begin >= end]
                for partition in done:
                    del left[partition]
                if done and left:
                    reader.unassign(done)
        finally:
            reader.close()


def _header(coverage: Coverage | None, value: bytes | None) -> Header | None:
    if coverage is None:
        return None
    if value is None:
        return Header(coverage)
    summary = unpack(value).summary
    return Header(coverage, summary.first, summary.last, summary.floor)


def _taken(polled: Polled, left: dict[int, Span]) -> Iterator[Record]:
    """Give those records of a poll that are wanted, and note in ``left`` how far each partition is read by them."""
    for record in polled.records:
        partition, offset = record.partition() or 0, record.offset() or 0
        begin, end = left.get(partition, (0, 0))
        if begin <= offset < end:
            left[partition] = offset + 1, end
            yield record
        elif partition in left and offset >= end:
            left[partition] = end, end  # what is missing before it are marks of transactions
    for partition, reached in polled.ends.items():
        if partition in left:
            begin, end = left[partition]
            left[partition] = max(begin, reached), end
