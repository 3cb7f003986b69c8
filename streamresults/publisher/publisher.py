"""
The worker's side: a task's state becomes an event in the log, acknowledged by the brokers. It never meets the view.

Effects have an order: 1. the value is encoded, 2. the schema stands in the schemas topic, 3. the event is queued,
4. the brokers acknowledge, 5. a ready event's call returns. What fails before 3 has sent nothing.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, Final, Self
from weakref import WeakSet

import msgspec

from streamresults.deadline import NOT_STATED, Deadline
from streamresults.errors import PublisherClosed, RecordTooLarge, TopicUnavailable
from streamresults.events import states
from streamresults.events.event import Event, Payload, Position
from streamresults.events.exceptions import capture
from streamresults.publisher.checks import checked_key, expiry_ms
from streamresults.publisher.connection import Connection
from streamresults.publisher.outcomes import Flushed, Outcomes
from streamresults.publisher.pending import Pending
from streamresults.publisher.task_run import TaskRun

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta
    from types import TracebackType

    from streamresults.deadline import OptionalTimeout, Timeout
    from streamresults.events.codec import Codec
    from streamresults.events.payloads import Serializer
    from streamresults.topic.base import TopicWriter

_log: Final = logging.getLogger("streamresults.publisher")
#: Seconds that closing waits for what is queued when its caller does not say.
_CLOSE_TIMEOUT: Final = 30.0
#: Those of this process, to be told of a fork.
_PUBLISHERS: Final[WeakSet[Publisher]] = WeakSet()


class PublisherOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a publisher behaves; durations are seconds."""

    schemas_topic: str
    publish_timeout: float = 30.0
    result_expires: float = 86_400.0
    longest_expiry: float = 604_800.0
    #: Who publishes, such as ``w-7@host-3``.
    worker: str = ""


class Publisher:
    """
    Publishes what becomes of tasks. Thread-safe; in a forked child it opens a connection of its own.

    Order: events of one task arrive in the order of the calls that published them. Duplicates: none from one call,
    whatever is retried underneath. Durability: when a call for a ready event returns, all in-sync replicas hold it.

    Args:
        open_writer: Opens a writer on the topic; called again in a forked child.
        topic_id: Finds the topic's id, which only positions need; ``""`` where nobody can tell. Called at most once,
            after a first acknowledgement.
        redact: Sees every event before it is encoded and returns what is published in its place.
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
    ) -> None:
        self._connection: Final = Connection(open_writer, codec, options.schemas_topic)
        self._outcomes: Final = Outcomes(topic_id)
        self._encode: Final = codec.encode
        self._serializer: Final = serializer
        self._options: Final = options
        self._redact: Final = redact
        self._expires_ms: Final = expiry_ms(options.result_expires)
        self._longest_expiry_ms: Final = options.longest_expiry * 1000
        _PUBLISHERS.add(self)

    def after_fork(self) -> None:
        """Replace, in a forked child, what belongs to the parent."""
        self._connection.after_fork()
        self._outcomes.after_fork()

    @property
    def topic_id(self) -> str:
        """The topic id that positions carry; asked for once."""
        return self._outcomes.topic_id

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
        self._connection.opened(deadline).warm(deadline)
        _ = self.topic_id

    def _deadline(self, timeout: OptionalTimeout) -> Deadline:
        return Deadline.of(timeout, self._options.publish_timeout)

    # -- events -----------------------------------------------------------------------------------------------------

    def send(self, event: Event, timeout: OptionalTimeout = NOT_STATED) -> Pending:
        """
        Queue an event and return at once with what will become of it.

        Blocks only while the queue is full or the connection is opened, up to ``timeout`` seconds: ``None`` is for
        ever, and the publish timeout holds when it is not stated.

        Raises:
            PublishFailed: The queue stayed full, or Kafka could not be reached to open the publisher.
            RecordTooLarge, MalformedRecord, PublisherClosed: See their names; nothing was queued.
            ValueError: The timeout is negative.
        """
        if timeout is not NOT_STATED:
            timeout = self._deadline(timeout).total  # refused at once, not only where the queue is full
        return self._queue(event, timeout)

    def _queue(self, event: Event, timeout: OptionalTimeout) -> Pending:
        if self._redact is not None:
            event = self._redact(event)
        key = checked_key(event, self._longest_expiry_ms)
        value = self._encode(event)
        pending = Pending(event, self._outcomes)
        writer = self._connection.writer or self._opened_for(event, timeout)
        try:
            if not writer.produce(key, value, pending):
                self._wait_and_produce(writer, key, value, pending, timeout)
        except RecordTooLarge as exc:
            raise self._outcomes.refused(event, exc) from exc
        except TopicUnavailable as exc:
            if self._connection.closed:
                raise PublisherClosed("the publisher was closed meanwhile: nothing was queued") from exc
            raise self._outcomes.gave_up(event, f"not written: {exc}", written=False) from exc
        return pending

    def publish(self, event: Event, timeout: OptionalTimeout = NOT_STATED) -> Position | None:
        """
        Publish an event; one that ends the task blocks until the brokers hold it and returns its position.

        An unready event is queued and ``None`` is returned; should it fail later, that is counted and logged.
        ``timeout`` is as with :meth:`send`; what waits for ever still fails when the producer gives the event up.

        Raises:
            PublishFailed: Refused (``written`` is ``False``), or not acknowledged in time (``None``: nobody knows).
                Publishing the same event again is safe: it keeps its id.
        """
        budget = self._deadline(timeout)
        pending = self._queue(event, budget.remaining())
        if not states.is_terminal(event.state, terminal=event.terminal):
            return None
        try:
            return pending.position(budget.remaining())
        except TimeoutError as exc:
            error = self._outcomes.gave_up(
                event, f"outcome unknown: not acknowledged in {budget.total:g} s", written=None
            )
            pending.give_up(error)
            raise error from exc

    def started(self, task_id: str, **fields: Any) -> None:
        """Publish STARTED; fields are those of :class:`~streamresults.events.event.Event` and :meth:`event`."""
        self.publish(self.event(task_id, states.STARTED, **fields))

    def succeeded(self, task_id: str, result: object = None, **fields: Any) -> Position:
        """Publish SUCCESS with a result and return where it stands; blocks until the brokers hold it."""
        return self._confirmed(self.event(task_id, states.SUCCESS, result=result, **fields))

    def failed_with(self, task_id: str, exc: BaseException, **fields: Any) -> Position:
        """
        Publish FAILURE with an exception and return where it stands; blocks until the brokers hold it.

        Raises:
            TypeError: It is no exception, such as its text alone.
        """
        if not isinstance(exc, BaseException):
            msg = f"a task fails with an exception, not with {type(exc).__name__}: {exc!r:.60}"
            raise TypeError(msg)
        nodes, text = capture(exc, self._serializer)
        return self._confirmed(self.event(task_id, states.FAILURE, exception=nodes, traceback=text, **fields))

    def event(
        self,
        task_id: str,
        state: str,
        *,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        expires: float | timedelta | None = None,
        **fields: Any,
    ) -> Event:
        """
        Make an event with this publisher's serializer and defaults.

        Args:
            args: The call's positional arguments, recorded when stated.
            kwargs: The call's keyword arguments, recorded when stated.
            expires: Seconds or a timedelta after which readers hide the event; 0 until retention takes it.
            fields: ``result`` (any value; ``None`` is a result too) and the fields of an Event.

        Raises:
            PayloadNotEncodable: Names the path inside the value.
        """
        if "result" in fields:
            result = self._serializer.encode(fields.pop("result"), path="result")
            fields["payload"] = Payload(content_type=self._serializer.content_type, body=result)
        if args is not None:
            fields["args"] = self._serializer.encode(list(args), path="args")
            fields["call_content_type"] = self._serializer.content_type
        if kwargs is not None:
            fields["kwargs"] = self._serializer.encode(dict(kwargs), path="kwargs")
            fields["call_content_type"] = self._serializer.content_type
        if "worker" not in fields:
            fields["worker"] = self._options.worker
        expires_ms = self._expires_ms if expires is None else expiry_ms(expires)
        return Event(task_id=task_id, state=state, expires_after_ms=expires_ms, **fields)

    def run(self, task_id: str, **fields: Any) -> TaskRun:
        """
        Record a block: STARTED when it is entered, then SUCCESS or FAILURE with its timing when it is left.

        Example::

            with publisher.run("order-7", name="shop.charge") as run:
                run.result = charge("card_9")
        """
        return TaskRun(self, task_id, fields)

    # -- the end ----------------------------------------------------------------------------------------------------

    def flush(self, timeout: Timeout = None) -> Flushed:
        """Block until everything queued is acknowledged or has failed, ``None`` for ever; say what is not by then."""
        return Flushed(self._connection.flush(Deadline(timeout)), self._outcomes.failed)

    def close(self, timeout: Timeout = _CLOSE_TIMEOUT) -> Flushed:
        """Flush, then close; what was not acknowledged by then fails and is logged. Closing twice is harmless."""
        left = self._connection.close(Deadline(timeout))
        if left:
            _log.error(
                "%d events were not acknowledged when the publisher was closed",
                left,
                extra={"action": "publisher_closed", "unacknowledged": left},
            )
        return Flushed(left, self._outcomes.failed)

    # -- within -----------------------------------------------------------------------------------------------------

    def _confirmed(self, event: Event) -> Position:
        position = self.publish(event)
        assert position is not None
        return position

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


def _after_fork() -> None:
    for publisher in _PUBLISHERS:
        publisher.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
