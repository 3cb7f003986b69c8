"""Fetches records from the log by their positions: values too large for the view."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Final

from streamresults.deadline import ANSWER, Deadline
from streamresults.errors import (
    ClientClosed,
    ConfigurationError,
    RecordGone,
    SignatureRefused,
    StreamResultsError,
    TopicMissing,
    TopicUnavailable,
)
from streamresults.topic.refused import RefusedRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from streamresults.topic.base import TopicReader
    from streamresults.topic.records import Polled

#: Seconds of one poll; closing wakes it.
_POLL: Final = 0.5
#: Offsets that are read over to the next wanted one. Smaller asks the brokers anew, which takes up to 50 ms each time;
#: larger reads what nobody wants.
_READ_OVER: Final = 200

Spot = tuple[int, int]


class Fetcher:
    """
    Reads records over a reader of its own. Thread-safe; fetches wait for each other.

    Args:
        open_reader: ``None`` in a process without Kafka.
    """

    def __init__(self, open_reader: Callable[[], TopicReader] | None) -> None:
        self._open_reader: Final = open_reader
        self._lock: Final = Lock()
        self._reader: TopicReader | None = None
        self._closed = False

    def fetch(self, partition: int, offset: int, deadline: Deadline) -> bytes | None:
        """
        Block until the record is read, within the deadline and ten seconds; return its value.

        Raises:
            TopicUnavailable: It was not read in time.
            RecordGone: The log does not hold it any more.
            SignatureRefused: It is not signed as it has to be.
            ConfigurationError: This process has no Kafka.
            ClientClosed: Closed meanwhile.
        """
        (found,) = self.fetch_many([(partition, offset)], deadline).values()
        if isinstance(found, Exception):
            raise found
        return found

    def fetch_many(self, wanted: Iterable[Spot], deadline: Deadline) -> dict[Spot, bytes | Exception | None]:
        """
        Block until all of these records were read, each (partition, offset), all partitions at the same time.

        Ends at the deadline, or when none of them has come for ten seconds. Returns each one's value, or why it could
        not be read: what :meth:`fetch` raises.
        """
        run = _Run(wanted)
        try:
            if self._open_reader is None:
                raise ConfigurationError(
                    "the value is too large for the view and stands in the log alone: set kafka_bootstrap"
                )
            patience = Deadline(deadline.remaining(ANSWER))
            if not self._lock.acquire(timeout=patience.remaining()):
                return run.late(patience)
            try:
                return self._read(run, deadline)
            finally:
                self._lock.release()
        except StreamResultsError as exc:
            return run.failed(exc)

    def _read(self, run: _Run, deadline: Deadline) -> dict[Spot, bytes | Exception | None]:
        """Read until nothing is missing; the lock is held."""
        assert self._open_reader is not None
        self._check_open()
        self._reader = reader = self._reader or self._open_reader()
        reader.assign(run.begin())
        try:
            patience = Deadline(deadline.remaining(ANSWER))
            while run.left and not patience.passed():
                self._check_open()
                polled = reader.poll(patience.remaining(_POLL))
                if run.take(polled):
                    patience = Deadline(deadline.remaining(ANSWER))
                further, done = run.next()
                if further:
                    reader.assign(further)
                if done:
                    reader.unassign(done)
        except TopicUnavailable:
            self._reader = None  # one that has failed is not asked again
            reader.close()
            raise
        except BaseException:
            reader.unassign(list(run.left))
            raise
        reader.unassign(list(run.left))
        return run.late(patience)

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosed("the client was closed while a value was fetched from the log", task_id="")

    def close(self) -> None:
        """Release the reader; fetches under way end with ClientClosed."""
        self._closed = True
        reader = self._reader
        if reader is not None:
            reader.wake()
        with self._lock:
            if self._reader is not None:
                self._reader.close()
                self._reader = None


def may_come(error: object) -> bool:
    """Tell whether a value that was not read for this reason may be read later."""
    return isinstance(error, TopicUnavailable) and not isinstance(error, TopicMissing | RecordGone)


class _Run:
    """What one call fetches, and how far it is. Not thread-safe."""

    def __init__(self, wanted: Iterable[Spot]) -> None:
        self.found: Final[dict[Spot, bytes | Exception | None]] = dict.fromkeys(wanted)
        #: By partition, what is still missing, highest offset first.
        self.left: Final[dict[int, list[int]]] = {}
        for partition, offset in sorted(self.found, reverse=True):
            self.left.setdefault(partition, []).append(offset)
        #: Where each partition is read.
        self._at: Final[dict[int, int]] = {}
        self._moved: Final[set[int]] = set()

    def begin(self) -> dict[int, int]:
        """Return where to read first."""
        self._at.update({partition: offsets[-1] for partition, offsets in self.left.items()})
        return dict(self._at)

    def take(self, polled: Polled) -> bool:
        """Keep what is wanted; tell whether anything was."""
        before = sum(map(len, self.left.values()))
        for record in polled.records:
            partition, offset = record.partition() or 0, record.offset() or 0
            missing = self.left.get(partition)
            # Nothing but the very offset counts: what was fetched for an earlier assignment may still arrive.
            if missing and missing[-1] == offset:
                value = record.error if isinstance(record, RefusedRecord) else record.value()
                self.found[partition, missing.pop()] = value if isinstance(value, bytes | SignatureRefused) else None
                self._at[partition] = offset + 1
                self._moved.add(partition)
        for partition in polled.out_of_range:
            missing = self.left.get(partition)
            if missing:
                self._gone(partition, missing.pop())
                self._at[partition] = -1  # it delivers nothing until it is assigned anew
                self._moved.add(partition)
        return sum(map(len, self.left.values())) < before

    def _gone(self, partition: int, offset: int) -> None:
        msg = f"the log does not hold partition {partition}, offset {offset} any more: retention has taken it"
        self.found[partition, offset] = RecordGone(msg)

    def next(self) -> tuple[dict[int, int], list[int]]:
        """Return where partitions have to be read instead, and which ones not any more."""
        further: dict[int, int] = {}
        done = []
        for partition in self._moved:
            missing = self.left[partition]
            if not missing:
                del self.left[partition]
                done.append(partition)
            elif not 0 <= missing[-1] - self._at[partition] <= _READ_OVER or self._at[partition] < 0:
                further[partition] = self._at[partition] = missing[-1]
        self._moved.clear()
        return further, done

    def late(self, deadline: Deadline) -> dict[Spot, bytes | Exception | None]:
        """Return what was found; what is missing is late."""
        for partition, offsets in self.left.items():
            for offset in offsets:
                msg = (
                    f"the value is too large for the view, and its record at partition {partition}, offset {offset} "
                    f"was not read from the log in {deadline.total:.3g} s"
                )
                self.found[partition, offset] = TopicUnavailable(msg)
        return self.found

    def failed(self, exc: Exception) -> dict[Spot, bytes | Exception | None]:
        """Return what was found; what is missing failed for one reason."""
        for partition, offsets in self.left.items():
            for offset in offsets:
                self.found[partition, offset] = exc
        return self.found
