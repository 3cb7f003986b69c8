"""
What Kafka did not take is kept on disk, and published in order when Kafka is back. It drops nothing in silence.

Direct, spooling, direct: the first event that cannot be published is kept, and from then on every event of this process
is, behind it; when all of them are in the log, events go to Kafka directly again. Segments of processes that have
ended are published too, exactly like late publishes: an event keeps its id, so a second copy is harmless.

Effects have an order: 1. events are appended to a segment and synchronised with the disk, 2. their callers are told,
3. a segment's records are acknowledged by the brokers, 4. the segment is deleted. A crash between 3 and 4 publishes
them twice; one between 1 and 4 leaves them to the next process.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from streamresults.deadline import Deadline
from streamresults.errors import AppendFailed, PublisherClosed, TopicUnavailable
from streamresults.publisher.kept import Kept
from streamresults.publisher.segments import Header, Segment, left_over
from streamresults.publisher.spool_files import SpoolFiles
from streamresults.publisher.spool_replay import SpoolReplay
from streamresults.publisher.spool_waiting import SpoolWaiting

if TYPE_CHECKING:
    from streamresults.events.codec import Codec
    from streamresults.events.event import Event, Position
    from streamresults.publisher.connection import Connection
    from streamresults.publisher.options import PublisherOptions
    from streamresults.publisher.outcomes import Outcomes
    from streamresults.publisher.pending import Pending
    from streamresults.publisher.retrying import Retrying

_log: Final = logging.getLogger("streamresults.publisher")
#: Seconds between looks for segments that another process has left over.
_LOOK_AGAIN: Final = 10.0
#: Seconds that closing, or a caller whose deadline has passed, waits for the disk.
_DISK: Final = 30.0


class Spool:
    """One process's part of a spool directory. Thread-safe; its two threads start with the first use."""

    def __init__(
        self, options: PublisherOptions, codec: Codec, connection: Connection, outcomes: Outcomes, retrying: Retrying
    ) -> None:
        self._directory: Final = Path(options.spool).absolute()
        self._codec: Final = codec
        self._connection: Final = connection
        self._outcomes: Final = outcomes
        self._retrying: Final = retrying
        header = Header(topic=options.schemas_topic, fingerprint=codec.fingerprint.hex(), definition=codec.schema_json)
        self._files: Final = SpoolFiles(self._directory, options.spool_bytes, header)
        self._replay: Final = SpoolReplay(connection, options.schemas_topic, codec.fingerprint, options.publish_timeout)
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        #: Whether events are kept instead of being sent: something before them is not in the log yet.
        self.active = False
        self._changed = threading.Condition()
        self._waiting = SpoolWaiting(self._files, self._codec, self._changed)
        self._threads: list[threading.Thread] = []

    def after_fork(self) -> None:
        """Leave, in a forked child, everything to the parent."""
        self._files.after_fork()
        self._begin()

    @property
    def kept(self) -> int:
        """Events of this process that are kept, or about to be, and not in the log yet."""
        return self._files.count + self._waiting.count

    # -- what callers do --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to publish what other processes have left over; harmless when it has begun."""
        if not self._threads:
            with self._changed:
                self._start()

    def queue(self, event: Event, key: bytes, value: bytes, deadline: Deadline) -> Pending:
        """
        Queue an event for the brokers, or keep it where that cannot be done now.

        Raises:
            RecordTooLarge: The writer's own: nothing was queued or kept.
            PublishFailed: The disk does not keep up; nothing was kept.
            PublisherClosed: It was closed.
        """
        kept = Kept(event, self._outcomes, self.later)
        if self._connection.closed:
            raise PublisherClosed("the publisher is closed: open another one")
        self.start()
        if self.active and self._takes(kept, deadline):
            return kept
        try:
            writer = self._connection.writer or self._connection.opened(deadline)
            while not writer.produce(key, value, kept):
                if not writer.wait_for_room(deadline):
                    kept.refusal = AppendFailed("the queue was full, the brokers do not keep up", written=False)
                    break
            else:
                return kept
        except TopicUnavailable as exc:
            if self._connection.closed:
                raise PublisherClosed("the publisher was closed meanwhile: nothing was queued") from exc
            kept.refusal = AppendFailed(str(exc), written=False)
        self.later(kept)
        return kept

    def _takes(self, kept: Kept, deadline: Deadline) -> bool:
        """Keep an event behind those before it; ``False`` when they are all in the log and it can be sent directly."""
        with self._changed:
            while self.active and self._waiting.full:
                if deadline.passed():
                    why = "not written: Kafka is away and the disk of the spool does not keep up"
                    raise self._outcomes.gave_up(kept.event, why, written=False)
                self._changed.wait(deadline.remaining(1.0))
            if self.active:
                kept.refusal = AppendFailed("events before it are not in the log yet", written=False)
                self._take(kept)
            return self.active

    def later(self, kept: Kept) -> None:
        """Keep an event that could not be published; returns at once, and settles it once the disk has answered."""
        with self._changed:
            if kept.spooling:
                return
            if not self.active:
                self.active = True
                _log.warning(
                    "Kafka does not take events: they are kept in %s until it does",
                    self._directory,
                    extra={"action": "spooling", "directory": str(self._directory)},
                )
            self._take(kept)

    def _take(self, kept: Kept) -> None:
        kept.spooling = True
        self._waiting.put(kept)
        self._start()
        self._changed.notify_all()

    def outcome(self, pending: Pending) -> Position:
        """
        Keep an event that is not acknowledged in time; return its position should it be acknowledged meanwhile.

        Raises:
            Spooled: The disk has it.
            PublishFailed: The disk has not taken it.
        """
        assert isinstance(pending, Kept)
        self.later(pending)
        try:
            return pending.position(_DISK)
        except TimeoutError as exc:
            why = f"outcome unknown: the spool did not take it in {_DISK:g} s"
            raise self._outcomes.gave_up(pending.event, why, written=None) from exc

    def wait_until_published(self, deadline: Deadline) -> int:
        """Block until nothing of this process is kept any more; return how much is when the deadline passes."""
        with self._changed:
            while self.kept and not deadline.passed() and not self._closed:
                self._changed.wait(deadline.remaining(1.0))
        return self.kept

    # -- the threads ------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._threads:
            return
        for name, run in (("spool", self._keep), ("spool-replay", self._publish)):
            thread = threading.Thread(target=run, name=f"streamresults-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Publish no more from the disk; call it before the connection is closed."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def close(self) -> None:
        """Write what waits, and let go of the files: what they hold is left to the next publisher."""
        self.stop()
        deadline = Deadline(_DISK)
        for thread in self._threads:
            thread.join(deadline.remaining(_DISK))
        self._waiting.write()  # what the closing of the connection has brought
        if left := self._files.count:
            _log.warning(
                "%d events stay in %s for the next publisher that is opened with it",
                left,
                self._directory,
                extra={"action": "spool_left", "events": left, "directory": str(self._directory)},
            )
        self._files.close()

    def _keep(self) -> None:
        """Write what waits; one thread."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._waiting.empty or self._closed)
                if self._waiting.empty:
                    return
            self._waiting.write()

    def _publish(self) -> None:
        """Publish what is on the disk; one thread."""
        while not self._closed:
            idle = True
            try:
                idle = self._publish_all()
            except Exception:  # noqa: BLE001 -- a disk in trouble: what it holds is tried again
                _log.exception("the spool %s cannot be read", self._directory, extra={"action": "spool_failed"})
            with self._changed:
                if idle and not self._closed and not self._files.count:
                    self._changed.wait(_LOOK_AGAIN)

    def _publish_all(self) -> bool:
        """Publish the oldest segments of others, then our oldest; ``True`` when there was nothing to do."""
        for path in left_over(self._directory):
            if path in self._replay.strangers or self._files.owns(path):
                continue
            left = Segment.claim(path)
            if left is not None and not self._until_published(left):
                left.release()
                return False
        segment = self._files.oldest()
        if segment is not None:
            if self._until_published(segment):
                self._files.published(segment)
            return False
        with self._changed:
            if self.active and not self.kept:
                self.active = False
                _log.info("Kafka takes events again", extra={"action": "spool_empty"})
            self._changed.notify_all()
        return True

    def _until_published(self, segment: Segment) -> bool:
        """Publish a segment, again and again until it is in the log; ``False`` when the spool is closed before that."""
        for pause in self._retrying.for_ever():
            if self._closed or self._replay.publish(segment):
                break
            with self._changed:
                self._changed.wait_for(lambda: self._closed, pause)
        return segment.released
