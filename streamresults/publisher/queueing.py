"""One event to the queue of the brokers: encoded, then taken at once, or when there is room, or kept elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streamresults.deadline import Deadline
from streamresults.errors import PublisherClosed, RecordTooLarge, TopicUnavailable
from streamresults.events import states
from streamresults.publisher.checks import checked_key
from streamresults.publisher.pending import Pending

if TYPE_CHECKING:
    from streamresults.deadline import OptionalTimeout
    from streamresults.events.codec import Codec
    from streamresults.events.event import Event
    from streamresults.publisher.connection import Connection
    from streamresults.publisher.options import PublisherOptions
    from streamresults.publisher.outcomes import Outcomes
    from streamresults.publisher.preparing import Preparing
    from streamresults.publisher.progress import Progress
    from streamresults.publisher.spool import Spool
    from streamresults.topic.base import TopicWriter


class Queueing:
    """
    Queues the events of one publisher. Thread-safe.

    Args:
        progress: Asked for what it holds of a task before the event that ends it.
        spool: Takes what Kafka does not take; ``None`` without one.
    """

    def __init__(
        self,
        codec: Codec,
        options: PublisherOptions,
        *,
        connection: Connection,
        outcomes: Outcomes,
        preparing: Preparing,
        progress: Progress,
        spool: Spool | None,
    ) -> None:
        self._encode: Final = codec.encode
        self._longest_expiry_ms: Final = options.longest_expiry * 1000
        self._timeout: Final = options.publish_timeout
        self._connection: Final = connection
        self._outcomes: Final = outcomes
        self._preparing: Final = preparing
        self._progress: Final = progress
        self._spool: Final = spool

    def queue(self, event: Event, timeout: OptionalTimeout) -> Pending:
        """Queue an event that is prepared already; blocks and raises as :meth:`Publisher.send`."""
        key = checked_key(event, self._longest_expiry_ms)
        value = self._encode(event)
        if self._progress.tasks and states.is_terminal(event.state, terminal=event.terminal):
            self._progress.before_end(event.task_id)
        if self._spool is not None:
            return self._queue_or_keep(self._spool, event, key, value, timeout)
        pending = Pending(event, self._outcomes)
        writer = self._connection.writer or self._opened_for(event, timeout)
        try:
            if not writer.produce(key, value, pending):
                self._wait_and_produce(writer, key, value, pending, timeout)
        except RecordTooLarge as exc:
            return self._queue_outside(event, exc, timeout)
        except TopicUnavailable as exc:
            if self._connection.closed:
                raise PublisherClosed("the publisher was closed meanwhile: nothing was queued") from exc
            raise self._outcomes.gave_up(event, f"not written: {exc}", written=False) from exc
        return pending

    def _deadline(self, timeout: OptionalTimeout) -> Deadline:
        return Deadline.of(timeout, self._timeout)

    def _queue_outside(self, event: Event, exc: RecordTooLarge, timeout: OptionalTimeout) -> Pending:
        """Queue an event that is too large for the log, with its payload in the payload store."""
        if not self._preparing.can_keep_outside(event):
            raise self._outcomes.refused(event, exc) from exc
        return self.queue(self._preparing.kept_outside(event), timeout)

    def _queue_or_keep(self, spool: Spool, event: Event, key: bytes, value: bytes, timeout: OptionalTimeout) -> Pending:
        try:
            return spool.queue(event, key, value, self._deadline(timeout))
        except RecordTooLarge as exc:
            return self._queue_outside(event, exc, timeout)

    def _opened_for(self, event: Event, timeout: OptionalTimeout) -> TopicWriter:
        try:
            return self._connection.opened(self._deadline(timeout))
        except TopicUnavailable as exc:
            raise self._outcomes.gave_up(event, f"not written: {exc}", written=False) from exc

    def _wait_and_produce(
        self, writer: TopicWriter, key: bytes, value: bytes, pending: Pending, timeout: OptionalTimeout
    ) -> None:
        deadline = self._deadline(timeout)
        while writer.wait_for_room(deadline):
            if writer.produce(key, value, pending):
                return
        msg = f"not written: the queue was full for {deadline.total:g} s, the brokers do not keep up"
        raise self._outcomes.gave_up(pending.event, msg, written=False)
