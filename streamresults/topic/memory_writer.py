"""Appends records to the in-memory broker, with a queue and a thread of its own as a real writer has."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from streamresults.errors import AppendFailed, RecordTooLarge, TopicMissing, TopicUnavailable
from streamresults.topic.base import TopicWriter
from streamresults.topic.memory_log import murmur2
from streamresults.topic.records import Acknowledgement

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.deadline import Deadline
    from streamresults.topic.memory_log import Cluster
    from streamresults.topic.records import Headers

log: Final = logging.getLogger(__name__)


class _Queued(NamedTuple):
    key: bytes
    value: bytes | None
    on_ack: Callable[[Acknowledgement], None] | None
    headers: Headers | None
    partition: int
    topic: str


class MemoryWriter(TopicWriter):
    """
    A bounded queue, and a thread that appends what is in it and runs the callbacks.

    Args:
        queue_records: Most records in the queue.
        record_bytes: Largest record, key and value together.
    """

    def __init__(self, cluster: Cluster, topic: str, *, queue_records: int, record_bytes: int) -> None:
        self._cluster = cluster
        self._topic = topic
        self._capacity = queue_records
        self._limit = record_bytes
        self._queue: deque[_Queued] = deque()
        #: Records whose callback is running are neither queued nor done.
        self._unfinished = 0
        self._closed = False
        self._purging = False
        self._thread: threading.Thread | None = None

    def produce(
        self,
        key: bytes,
        value: bytes | None,
        on_ack: Callable[[Acknowledgement], None] | None,
        *,
        headers: Headers | None = None,
        partition: int = -1,
        topic: str | None = None,
    ) -> bool:
        """Queue a record."""
        size = len(key) + len(value or b"")
        if size > self._limit:
            msg = f"a record of {size} bytes is too large: the writer takes {self._limit}"
            raise RecordTooLarge(msg, task_id=key.decode("utf-8", "replace"), size=size, limit=self._limit)
        with self._cluster.changed:
            self._refuse_when_closed()
            if self._unfinished >= self._capacity:
                return False
            self._queue.append(_Queued(key, value, on_ack, headers, partition, topic or self._topic))
            self._unfinished += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="streamresults-memory-writer", daemon=True)
                self._thread.start()
            self._cluster.changed.notify_all()
        return True

    def wait_for_room(self, deadline: Deadline) -> bool:
        """Wait until the queue is not full."""
        return self._wait(lambda: self._unfinished < self._capacity, deadline)

    def flush(self, deadline: Deadline) -> int:
        """Wait until the queue is empty."""
        self._wait(lambda: not self._unfinished, deadline)
        return self._unfinished

    def _wait(self, done: Callable[[], bool], deadline: Deadline) -> bool:
        with self._cluster.changed:
            remaining = deadline.remaining()
            return self._cluster.changed.wait_for(done, remaining if remaining < threading.TIMEOUT_MAX else None)

    def warm(self, deadline: Deadline) -> None:
        """Look the topic up; there is nothing to connect to."""
        del deadline
        with self._cluster.changed:
            self._refuse_when_closed()
            self._cluster.log(self._topic)

    def close(self, deadline: Deadline) -> int:
        """Flush, fail what is left, end the thread."""
        with self._cluster.changed:
            if self._closed:
                return 0
            self._closed = True
        left = self.flush(deadline)
        with self._cluster.changed:
            self._purging = True
            self._cluster.changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()
        return left

    def _refuse_when_closed(self) -> None:
        if self._closed:
            msg = f"the writer of topic {self._topic!r} is closed"
            raise TopicUnavailable(msg)

    def _serve(self) -> None:
        """Append and acknowledge until closed; the only thread that runs callbacks."""
        while True:
            with self._cluster.changed:
                self._cluster.changed.wait_for(self._has_work)
                if not self._queue:
                    return
                queued = self._queue.popleft()
                acknowledgement = self._append(queued)
            try:
                if queued.on_ack is not None:
                    queued.on_ack(acknowledgement)
            except Exception:
                log.exception("a callback of a produced record failed", extra={"action": "ack_callback_failed"})
            with self._cluster.changed:
                self._unfinished -= 1
                self._cluster.changed.notify_all()

    def _has_work(self) -> bool:
        return self._purging or bool(self._queue and not self._cluster.held)

    def _append(self, queued: _Queued) -> Acknowledgement:
        if self._purging:
            return Acknowledgement(AppendFailed("the writer was closed", written=False), queued.partition, -1)
        try:
            log_ = self._cluster.log(queued.topic)
        except TopicUnavailable as exc:
            # As with librdkafka: only a topic that is known to be missing is a definite refusal.
            written = False if isinstance(exc, TopicMissing) else None
            return Acknowledgement(AppendFailed(str(exc), written=written), queued.partition, -1)
        count = len(log_.partitions)
        partition = murmur2(queued.key, count) if queued.partition < 0 else queued.partition
        if partition >= count:
            failure = AppendFailed(f"topic {queued.topic!r} has no partition {partition}", written=False)
            return Acknowledgement(failure, partition, -1)
        offset = log_.append(partition, queued.key, queued.value, queued.headers, self._cluster.milliseconds())
        return Acknowledgement(None, partition, offset)
