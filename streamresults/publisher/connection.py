"""The publisher's connection: opened once, with its schema registered, and never shared with a forked child."""

from __future__ import annotations

import logging
import os
from threading import TIMEOUT_MAX, Lock
from typing import TYPE_CHECKING, Final

from streamresults.deadline import Deadline
from streamresults.errors import AppendFailed, PublisherClosed, TopicUnavailable
from streamresults.topic.sent import send

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.events.codec import Codec
    from streamresults.topic.base import TopicWriter

_log: Final = logging.getLogger("streamresults.publisher")


class Connection:
    """
    One writer per process. Thread-safe.

    Args:
        open_writer: Opens a writer on the topic; called again in a forked child.
        codec: Whose schema readers must be able to find.
    """

    def __init__(self, open_writer: Callable[[], TopicWriter], codec: Codec, schemas_topic: str) -> None:
        self._open_writer: Final = open_writer
        self._codec: Final = codec
        self._schemas_topic: Final = schemas_topic
        #: Guards opening and closing; held while the opening blocks on the network.
        self.lock = Lock()
        #: ``None`` until it is open, and again in a forked child.
        self.writer: TopicWriter | None = None
        self.closed = False
        self._abandoned: Final[list[TopicWriter]] = []

    def after_fork(self) -> None:
        """Let go, in a forked child, of the parent's connection, and of what another thread may have held."""
        self.lock = Lock()
        if self.writer is not None:
            # librdkafka's threads did not come along. Not even its destructor may run here.
            self._abandoned.append(self.writer)
            self.writer = None

    def opened(self, deadline: Deadline) -> TopicWriter:
        """
        Return the writer; blocks while it is opened and the schema is not acknowledged.

        Raises:
            TopicUnavailable: Kafka did not answer in time.
            PublisherClosed: It was closed.
        """
        writer = self.writer
        if writer is not None:
            return writer
        if not self.lock.acquire(timeout=deadline.remaining(TIMEOUT_MAX)):
            msg = f"another thread has not been able to open the connection to Kafka in {deadline.total:g} s"
            raise TopicUnavailable(msg)
        try:
            if self.closed:
                raise PublisherClosed("the publisher is closed: open another one")
            if self.writer is None:
                self.writer = self._open(deadline)
            return self.writer
        finally:
            self.lock.release()

    def _open(self, deadline: Deadline) -> TopicWriter:
        writer = self._open_writer()
        try:
            self._register_schema(writer, deadline)
        except BaseException:
            writer.close(Deadline(0))
            raise
        _log.info("publisher opened", extra={"action": "publisher_opened", "pid": os.getpid()})
        return writer

    def _register_schema(self, writer: TopicWriter, deadline: Deadline) -> None:
        """
        Make sure that a reader who meets our fingerprint can find the schema: before the first event, every time.

        Raises:
            TopicUnavailable: The brokers do not hold it in time, or the queue stayed full.
        """
        schema = self._codec.schema_json.encode()
        try:
            send(writer, self._codec.fingerprint, schema, deadline, topic=self._schemas_topic).wait(deadline)
        except AppendFailed as exc:
            msg = (
                f"Kafka did not acknowledge the schema, for topic {self._schemas_topic!r}: {exc}. Is it running, and "
                "are the topics there (streamresults init makes them)? Try: streamresults doctor"
            )
            raise TopicUnavailable(msg) from exc

    def urge(self) -> None:
        """Say that somebody waits for an acknowledgement from now on."""
        writer = self.writer
        if writer is not None:
            writer.urge()

    def attend(self, done: Callable[[], bool], seconds: float) -> None:
        """Say that this thread waits for an acknowledgement from now on; see :meth:`TopicWriter.attend`."""
        writer = self.writer
        if writer is not None:
            writer.attend(done, seconds)

    def flush(self, deadline: Deadline) -> int:
        """Block until everything queued is acknowledged or has failed; return how much is not when it passes."""
        return self.writer.flush(deadline) if self.writer is not None else 0

    def close(self, deadline: Deadline) -> int:
        """Flush and close; return how much was not acknowledged. Closing twice is harmless."""
        with self.lock:
            writer, self.writer, self.closed = self.writer, None, True
        return writer.close(deadline) if writer is not None else 0
