"""
The worker's side: a task's state becomes an event in the log, acknowledged by the brokers. It never meets the view.

Effects have an order: 1. the value is encoded, 2. the schema stands in the schemas topic, 3. the event is queued,
4. the brokers acknowledge, 5. a ready event's call returns. What fails before 3 has sent nothing.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final, Self
from weakref import WeakSet

from streamresults.deadline import NOT_STATED, Deadline
from streamresults.errors import PublishFailed, Spooled
from streamresults.events import states
from streamresults.payload_store.bodies import Packing
from streamresults.publisher.batches import publish_many
from streamresults.publisher.confirming import Confirming
from streamresults.publisher.connection import Connection
from streamresults.publisher.making import Making
from streamresults.publisher.outcomes import Flushed, Outcomes
from streamresults.publisher.preparing import Preparing
from streamresults.publisher.progress import Progress
from streamresults.publisher.queueing import Queueing
from streamresults.publisher.retrying import Retrying
from streamresults.publisher.saying import Saying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from streamresults.deadline import OptionalTimeout, Timeout
    from streamresults.events.codec import Codec
    from streamresults.events.event import Event, Position
    from streamresults.events.payloads import Serializer
    from streamresults.publisher.options import PublisherOptions
    from streamresults.publisher.pending import Pending
    from streamresults.publisher.spool import Spool
    from streamresults.topic.base import TopicWriter

_log: Final = logging.getLogger("streamresults.publisher")
#: Seconds that closing waits for what is queued when its caller does not say.
CLOSE_TIMEOUT: Final = 30.0
#: Those of this process, to be told of a fork.
_PUBLISHERS: Final[WeakSet[Publisher]] = WeakSet()


class Publisher(Saying):
    """
    Publishes what becomes of tasks. Thread-safe; in a forked child it opens a connection of its own.

    Order: events of one task arrive in the order of the calls that published them; one that is retried or spooled may
    be passed by another one meanwhile, which the fold allows for. Duplicates: none from one call, unless its first
    outcome was unknown: then one with the same event id. Durability: when a call for a ready event returns a position,
    all in-sync replicas hold it; where it returns ``None``, the disk of the spool does.

    Args:
        open_writer: Opens a writer on the topic; called again in a forked child.
        topic_id: Finds the topic's id, which only positions need; ``""`` where nobody can tell. Called at most once,
            after a first acknowledgement.
        redact: Sees every event before it is encoded and returns what is published in its place.
        packing: Compresses and keeps elsewhere what is too large for the log.
        safe_to_retry: Decides of an error whether the event is published again;
            :func:`~streamresults.publisher.retrying.exception_safe_to_retry` when not stated.
    """

    def __init__(
        self,
        open_writer: Callable[[], TopicWriter],
        codec: Codec,
        serializer: Serializer,
        options: PublisherOptions,
        *,
        topic_id: Callable[[], str] = str,
        redact: Callable[[Event], Event] | None = None,
        packing: Packing | None = None,
        safe_to_retry: Callable[[BaseException], bool] | None = None,
    ) -> None:
        self._connection: Final = Connection(open_writer, codec, options.schemas_topic)
        self._outcomes: Final = Outcomes(topic_id, self._connection.urge, self._connection.attend)
        self._publish_timeout: Final = options.publish_timeout
        self._making = Making(
            serializer,
            worker=options.worker,
            expires=options.result_expires,
            task_expires=options.task_expires,
            extended=options.extended_metadata,
            limits=options.exception_limits,
            allowlist=options.allowlist,
        )
        # One call less for each event than through the method, which says what it does.
        self.event = self._making.event  # type: ignore[method-assign]
        preparing = Preparing(packing or Packing(None), redact, extended=options.extended_metadata)
        #: ``None`` where events are published as they are.
        self._prepare: Final = preparing if preparing.needed else None
        self._progress = Progress(options.progress_interval, self._queue_prepared)
        retrying = Retrying(options.retry, safe_to_retry)
        self._spool: Final = _opened_spool(options, codec, self._connection, self._outcomes, retrying)
        queueing = Queueing(
            codec,
            options,
            connection=self._connection,
            outcomes=self._outcomes,
            preparing=preparing,
            progress=self._progress,
            spool=self._spool,
        )
        # Bound once: a method of that name here would be one call more for each event.
        self._queue: Final = queueing.queue
        self._confirming: Final = Confirming(self._queue, self._outcomes, preparing, retrying, self._spool)
        _PUBLISHERS.add(self)

    def after_fork(self) -> None:
        """Replace, in a forked child, what belongs to the parent."""
        self._connection.after_fork()
        self._outcomes.after_fork()
        self._progress.after_fork()
        if self._spool is not None:
            self._spool.after_fork()
        self._confirming.after_fork()

    @property
    def topic_id(self) -> str:
        """The topic id that positions carry; asked for once."""
        return self._outcomes.topic_id

    @property
    def spooled(self) -> int:
        """Events of this process that rest in the spool and are not in the log yet."""
        return self._spool.kept if self._spool is not None else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # -- opening ----------------------------------------------------------------------------------------------------

    def warm(self, timeout: OptionalTimeout = NOT_STATED) -> None:
        """
        Connect, and register the schema; blocks until a first event would be sent at once.

        Call it when a worker's process starts: an idempotent producer's first acknowledgement takes half a second.

        Raises:
            TopicUnavailable: Kafka did not answer in time.
            TopicMissing: Nobody has created the topic.
        """
        deadline = self._deadline(timeout)
        if self._spool is not None:
            self._spool.start()
        self._connection.opened(deadline).warm(deadline)
        _ = self.topic_id

    def _deadline(self, timeout: OptionalTimeout) -> Deadline:
        return Deadline.of(timeout, self._publish_timeout)

    # -- events -----------------------------------------------------------------------------------------------------

    def send(self, event: Event, timeout: OptionalTimeout = NOT_STATED) -> Pending:
        """
        Queue an event and return at once with what will become of it; it is not tried again when that is a failure.

        Blocks only while the queue is full, the connection is opened or a large payload is written to the payload
        store, up to ``timeout`` seconds: ``None`` is for ever, and the publish timeout holds when it is not stated.

        Raises:
            PublishFailed: The queue stayed full, or Kafka could not be reached to open the publisher.
            RecordTooLarge, MalformedRecord, PublisherClosed, PayloadTooLarge, PayloadStoreUnavailable: See their
                names; nothing was queued.
            ValueError: The timeout is negative.
        """
        if timeout is not NOT_STATED:
            timeout = self._deadline(timeout).total  # refused at once, not only where the queue is full
        if self._prepare is not None:
            event = self._prepare(event)
        return self._queue(event, timeout)

    def _queue_prepared(self, event: Event) -> Pending:
        return self._queue(event if self._prepare is None else self._prepare(event), NOT_STATED)

    def publish(self, event: Event, timeout: OptionalTimeout = NOT_STATED) -> Position | None:
        """
        Publish an event; one that ends the task blocks until the brokers hold it and returns its position.

        An unready event is queued and ``None`` is returned; should it fail later, that is counted and logged.
        ``timeout`` is as with :meth:`send`. Inside it, an event that ends the task is tried again when it failed in a
        way that allows for it. With a spool nothing is: what Kafka does not take is kept, and ``None`` is returned.

        Raises:
            PublishFailed: Refused (``written`` is ``False``), or not acknowledged in time (``None``: nobody knows).
                Publishing the same event again is safe: it keeps its id.
            RetriesExhausted: The same, after it was tried again.
        """
        budget = self._deadline(timeout)
        if self._prepare is not None:
            event = self._prepare(event)
        if not states.is_terminal(event.state, terminal=event.terminal):
            self._queue(event, budget.remaining())
            return None
        try:
            return self._confirming.confirmed(self._queue(event, budget.remaining()), budget)
        except Spooled:
            return None
        except PublishFailed as exc:
            return self._confirming.try_again(event, exc, budget)

    def publish_many(self, events: Iterable[Event], timeout: OptionalTimeout = NOT_STATED) -> list[Position | None]:
        """
        Publish events in their order and block until the brokers hold all of them, whatever their states.

        Returns:
            Their positions in the same order; ``None`` for one that rests in the spool.

        Raises:
            BatchFailed: Some failed; it says which, why, and where the others stand. None of them was tried again.
        """
        return publish_many(events, self._deadline(timeout), send=self.send, confirm=self._confirming.confirmed)

    # -- the end ----------------------------------------------------------------------------------------------------

    def flush(self, timeout: Timeout = None) -> Flushed:
        """
        Block until everything queued is acknowledged or has failed, ``None`` for ever; say what is not by then.

        Progress that was held back is queued first; what rests in the spool counts as not acknowledged.
        """
        deadline = Deadline(timeout)
        self._progress.send_all()
        left = self._connection.flush(deadline)
        if self._spool is not None:
            left += self._spool.wait_until_published(deadline)
        return Flushed(left, self._outcomes.failed)

    def close(self, timeout: Timeout = CLOSE_TIMEOUT) -> Flushed:
        """
        Flush, then close; what was not acknowledged by then fails and is logged. Closing twice is harmless.

        With a spool it is kept there instead, with all that rests there already, for the next publisher.
        """
        deadline = Deadline(timeout)
        if self._connection.closed:
            return Flushed(0, self._outcomes.failed)
        self._progress.close()
        self._confirming.close()
        if self._spool is not None:
            self._spool.stop()
        left = self._connection.close(deadline)
        if self._spool is not None:
            self._spool.close()
        elif left:
            _log.error(
                "%d events were not acknowledged when the publisher was closed",
                left,
                extra={"action": "publisher_closed", "unacknowledged": left},
            )
        return Flushed(left, self._outcomes.failed)


def _opened_spool(
    options: PublisherOptions, codec: Codec, connection: Connection, outcomes: Outcomes, retrying: Retrying
) -> Spool | None:
    if not options.spool:
        return None
    from streamresults.publisher.spool import Spool  # noqa: PLC0415 -- needs a POSIX system

    return Spool(options, codec, connection, outcomes, retrying)


def _after_fork() -> None:
    for publisher in _PUBLISHERS:
        publisher.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
