"""The compacted topic in which every schema in use stands, keyed by its fingerprint, so that no registry is needed."""

from __future__ import annotations

import logging
import os
from threading import Lock
from typing import TYPE_CHECKING, Final

from streamresults.deadline import Deadline
from streamresults.errors import TopicUnavailable

if TYPE_CHECKING:
    from streamresults.topic.base import Broker, TopicInspector

_log: Final = logging.getLogger("streamresults.schemas")
#: Seconds that a reader gives the schemas topic. It is small: one record per release and publisher start.
_READ_TIMEOUT: Final = 10.0


class SchemaTopic:
    """
    Finds schemas by their fingerprint. Thread-safe.

    The topic is read anew for every fingerprint that was not found before: a record of a new release can arrive at
    any time. What was found is remembered.
    """

    def __init__(self, broker: Broker, topic: str) -> None:
        self._broker = broker
        self._topic = topic
        self._lock = Lock()
        self._pid = os.getpid()
        self._found: Final[dict[bytes, str]] = {}
        self._read_to: Final[dict[int, int]] = {}
        self._inspector: TopicInspector | None = None

    def find(self, fingerprint: bytes) -> str | None:
        """
        Return the JSON of a schema, ``None`` when the topic does not hold it; blocks while it is read.

        Raises:
            TopicUnavailable: The topic could not be read to its end.
        """
        with self._own_lock():
            if fingerprint not in self._found:
                self._read_on(Deadline(_READ_TIMEOUT))
            return self._found.get(fingerprint)

    def close(self) -> None:
        """Release the connection; finding again opens another."""
        with self._own_lock():
            if self._inspector is not None:
                self._inspector.close()
                self._inspector = None

    def _own_lock(self) -> Lock:
        if self._pid != os.getpid():  # a forked child: the connection is the parent's, and so may the lock have been
            self._lock, self._inspector, self._pid = Lock(), None, os.getpid()
        return self._lock

    def _read_on(self, deadline: Deadline) -> None:
        """Read what was added since the last time, to the end as it is now."""
        # Kept open: a flood of records with unknown schemas then costs a millisecond each, not a connection each.
        self._inspector = self._inspector or self._broker.inspector(self._topic)
        partitions = range(self._inspector.describe(deadline).partitions)
        marks = self._inspector.watermarks(list(partitions), deadline)
        wanted = {p: (max(marks[p].low, self._read_to.get(p, 0)), marks[p].high) for p in partitions}
        open_to = {p: high for p, (start, high) in wanted.items() if start < high}
        if not open_to:
            return
        reader = self._broker.reader(self._topic)
        try:
            reader.assign({p: wanted[p][0] for p in open_to})
            while open_to:
                if deadline.passed():
                    msg = f"topic {self._topic!r} could not be read to its end in {deadline.total:g} s"
                    raise TopicUnavailable(msg)
                polled = reader.poll(deadline.remaining(0.5))
                for record in polled.records:
                    key, value = record.key(), record.value()
                    if isinstance(key, bytes) and isinstance(value, bytes):
                        self._found[key] = value.decode(errors="replace")
                    self._read_to[record.partition() or 0] = (record.offset() or 0) + 1
                for partition, end in polled.ends.items():
                    self._read_to[partition] = max(self._read_to.get(partition, 0), end)
                open_to = {p: high for p, high in open_to.items() if self._read_to.get(p, 0) < high}
        finally:
            reader.close()
        _log.info("schemas read", extra={"action": "schemas_read", "count": len(self._found)})
