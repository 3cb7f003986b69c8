"""Fetches single records from the log by their position: values too large for the view."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Final

from streamresults.deadline import ANSWER, Deadline
from streamresults.errors import ConfigurationError, TopicUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.topic.base import TopicReader


class Fetcher:
    """
    Reads one record at a time over a reader of its own. Thread-safe; fetches wait for each other.

    Args:
        open_reader: ``None`` in a process without Kafka.
    """

    def __init__(self, open_reader: Callable[[], TopicReader] | None) -> None:
        self._open_reader: Final = open_reader
        self._lock: Final = Lock()
        self._reader: TopicReader | None = None

    def fetch(self, partition: int, offset: int, deadline: Deadline) -> bytes | None:
        """
        Block until the record is read, within the deadline and ten seconds; return its value.

        Raises:
            TopicUnavailable: It was not read in time, or the log does not hold it any more.
            ConfigurationError: This process has no Kafka.
        """
        if self._open_reader is None:
            raise ConfigurationError(
                "the value is too large for the view and stands in the log alone: set kafka_bootstrap"
            )
        within = Deadline(deadline.remaining(ANSWER))
        if not self._lock.acquire(timeout=within.remaining()):
            raise _late(partition, offset, within)
        try:
            self._reader = reader = self._reader or self._open_reader()
            reader.assign({partition: offset})
            try:
                return self._read(reader, partition, offset, within)
            finally:
                reader.unassign([partition])
        finally:
            self._lock.release()

    @staticmethod
    def _read(reader: TopicReader, partition: int, offset: int, deadline: Deadline) -> bytes | None:
        while not deadline.passed():
            polled = reader.poll(deadline.remaining(0.5))
            for record in polled.records:
                if (record.partition(), record.offset()) == (partition, offset):
                    value = record.value()
                    return value if isinstance(value, bytes) else None
            if partition in polled.out_of_range:
                msg = f"the log does not hold partition {partition}, offset {offset} any more: retention has taken it"
                raise TopicUnavailable(msg)
        raise _late(partition, offset, deadline)

    def close(self) -> None:
        """Release the reader."""
        with self._lock:
            if self._reader is not None:
                self._reader.close()
                self._reader = None


def _late(partition: int, offset: int, deadline: Deadline) -> TopicUnavailable:
    msg = (
        f"the value is too large for the view, and its record at partition {partition}, offset {offset} was not read "
        f"from the log in {deadline.total:.3g} s"
    )
    return TopicUnavailable(msg)
