"""
The worker's side: a task's state becomes an event in the log, acknowledged by the brokers. It never meets the view.

Effects have an order: 1. the value is encoded, 2. the schema stands in the schemas topic, 3. the event is queued,
4. the brokers acknowledge, 5. a ready event's call returns. What fails before 3 has sent nothing.
"""

from __future__ import annotations

import logging
import os
import time
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from threading import TIMEOUT_MAX, Lock
from threading import Event as Signal
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from weakref import WeakSet

import msgspec

from streamresults.deadline import Deadline
from streamresults.errors import PayloadNotEncodable, PublisherClosed, PublishFailed, RecordTooLarge, TopicUnavailable
from streamresults.events import states
from streamresults.events.event import GROUP_PREFIX, TASK_ID_MAX_BYTES, Event, Payload, Position
from streamresults.events.exceptions import capture

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta
    from types import TracebackType

    from streamresults.deadline import Timeout
    from streamresults.events.codec import Codec
    from streamresults.events.payloads import Serializer
    from streamresults.topic.base import Acknowledgement, TopicWriter

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


class Flushed(NamedTuple):
    """What a flush found."""

    #: Events that the brokers had not acknowledged when the time was over.
    unacknowledged: int
    #: Events given up since the publisher was opened: each was reported to its caller, or logged if nobody asked.
    failed: int


class Pending:
    """
    One event on its way: answers when the brokers have spoken.

    Made by :meth:`Publisher.send`. Costs a tenth of a concurrent Future; :meth:`future` gives one on request.
    """

    __slots__ = ("_callbacks", "_error", "_owner", "_place", "_signal", "event")

    def __init__(self, event: Event, owner: Publisher) -> None:
        #: The event that is published.
        self.event = event
        self._owner = owner
        #: Partition and offset, once the brokers hold it.
        self._place: tuple[int, int] | None = None
        self._error: Exception | None = None
        self._signal: Signal | None = None
        self._callbacks: list[Callable[[Pending], None]] | None = None

    def __call__(self, acknowledgement: Acknowledgement) -> None:
        """Take the brokers' answer; the writer calls this once, on its own thread."""
        if acknowledgement.error is None:
            self._place = acknowledgement.partition, acknowledgement.offset
        elif self._error is None:
            self._error = self._owner.failed(self.event, acknowledgement.error)
        # The order matters: a waiter first leaves its signal and then looks at the answer, so one of us sees the other.
        if self._signal is not None:
            self._signal.set()
        for callback in self._callbacks or ():
            callback(self)

    @property
    def done(self) -> bool:
        """Whether the brokers have spoken."""
        return self._place is not None or self._error is not None

    def position(self, timeout: Timeout = None) -> Position:
        """
        Block until the brokers hold the event and return where it stands.

        Raises:
            PublishFailed: It was refused, or its outcome is unknown.
            TimeoutError: The timeout passed first; the event is still under way.
        """
        if not self.done:
            with self._owner.counting:
                self._signal = self._signal or Signal()
            if not self.done and not self._signal.wait(None if timeout is None else Deadline(timeout).remaining()):
                msg = f"task {self.event.task_id!r}: not acknowledged yet"
                raise TimeoutError(msg)
        if self._error is not None:
            raise self._error
        assert self._place is not None
        return Position(self._owner.topic_id, *self._place)

    def give_up(self, error: Exception) -> None:
        """Take the outcome from a caller who waits no longer; what the brokers say later changes nothing."""
        self._error = error

    def future(self) -> Future[Position]:
        """Return a concurrent Future of the same outcome."""
        future: Future[Position] = Future()

        def settle(pending: Pending) -> None:
            # Both the writer's thread and this one may come here: the first one settles it.
            with suppress(InvalidStateError):
                if pending._error is not None:
                    future.set_exception(pending._error)
                else:
                    future.set_result(pending.position())

        with self._owner.counting:
            self._callbacks = [*(self._callbacks or ()), settle]
        if self.done:
            settle(self)
        return future


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
        self._open_writer: Final = open_writer
        self._codec: Final = codec
        self._serializer: Final = serializer
        self._options: Final = options
        self._find_topic_id: Final = topic_id
        self._topic_id: str | None = None
        self._redact: Final = redact
        self._expires_ms: Final = _milliseconds(options.result_expires)
        #: Guards opening and closing; held while the opening blocks on the network.
        self._lock = Lock()
        #: Guards the count of failures and who waits for a pending event; never held while anything blocks.
        self.counting = Lock()
        self._writer: TopicWriter | None = None
        self._pid = 0
        self._abandoned: Final[list[TopicWriter]] = []
        self._failed = 0
        self._closed = False
        _PUBLISHERS.add(self)

    def after_fork(self) -> None:
        """Replace, in a forked child, what another thread of the parent may have held at that moment."""
        self._lock, self.counting = Lock(), Lock()
        self._failed = 0

    @property
    def topic_id(self) -> str:
        """The topic id that positions carry; asked for once."""
        if self._topic_id is None:
            self._topic_id = self._find_topic_id()
        return self._topic_id

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # -- opening ----------------------------------------------------------------------------------------------------

    def warm(self, timeout: Timeout = None) -> None:
        """
        Connect, and register the schema; blocks until a first event would be sent at once.

        Call it when a worker's process starts: an idempotent producer's first acknowledgement takes half a second.

        Raises:
            TopicUnavailable: Kafka did not answer in time.
        """
        self._ready_writer(self._deadline(timeout))
        _ = self.topic_id

    def _deadline(self, timeout: Timeout) -> Deadline:
        return Deadline(self._options.publish_timeout if timeout is None else timeout)

    def _ready_writer(self, deadline: Deadline) -> TopicWriter:
        writer = self._writer
        if writer is not None and self._pid == os.getpid():
            return writer
        if not self._lock.acquire(timeout=deadline.remaining(TIMEOUT_MAX)):
            msg = f"another thread has not been able to open the connection to Kafka in {deadline.total:g} s"
            raise TopicUnavailable(msg)
        try:
            if self._closed:
                raise PublisherClosed("the publisher is closed: open another one")
            if self._writer is not None and self._pid == os.getpid():
                return self._writer
            if self._writer is not None:
                # A forked child: librdkafka's threads did not come along. Not even its destructor may run here.
                self._abandoned.append(self._writer)
                self._writer = None
            writer = self._open_writer()
            try:
                self._register_schema(writer, deadline)
            except BaseException:
                writer.close(Deadline(0))
                raise
            self._writer, self._pid = writer, os.getpid()
        finally:
            self._lock.release()
        return writer

    def _register_schema(self, writer: TopicWriter, deadline: Deadline) -> None:
        """Make sure that a reader who meets our fingerprint can find the schema: before the first event, every time."""
        done = Signal()
        answers: list[Acknowledgement] = []

        def acknowledged(answer: Acknowledgement) -> None:
            answers.append(answer)
            done.set()

        schema = self._codec.schema_json.encode()
        writer.produce(self._codec.fingerprint, schema, acknowledged, topic=self._options.schemas_topic)
        if not done.wait(deadline.remaining()):
            msg = (
                f"Kafka did not acknowledge the schema in {deadline.total:g} s. Is it running? "
                "Try: streamresults doctor"
            )
            raise TopicUnavailable(msg)
        if answers[0].error is not None:
            raise answers[0].error
        _log.info("publisher opened", extra={"action": "publisher_opened", "pid": os.getpid()})

    # -- events -----------------------------------------------------------------------------------------------------

    def send(self, event: Event, timeout: Timeout = None) -> Pending:
        """
        Queue an event and return at once with what will become of it.

        Blocks only while the queue is full, up to ``timeout`` seconds (the publish timeout when it is not stated).

        Raises:
            PublishFailed: The queue stayed full, or Kafka could not be reached to open the publisher.
            RecordTooLarge, MalformedRecord, PublisherClosed: See their names; nothing was queued.
        """
        if self._redact is not None:
            event = self._redact(event)
        self._check(event)
        value = self._codec.encode(event)
        pending = Pending(event, self)
        writer = self._writer
        if writer is None or self._pid != os.getpid():
            writer = self._opened_for(event, timeout)
        key = event.task_id.encode()
        try:
            if not writer.produce(key, value, pending):
                self._wait_and_produce(writer, key, value, pending, timeout)
        except RecordTooLarge as exc:
            raise self.failed(event, exc) from exc
        except TopicUnavailable as exc:
            if self._closed:
                raise PublisherClosed("the publisher was closed meanwhile: nothing was queued") from exc
            raise self._gave_up(event, f"not written: {exc}", written=False) from exc
        return pending

    def publish(self, event: Event, timeout: Timeout = None) -> Position | None:
        """
        Publish an event; one that ends the task blocks until the brokers hold it and returns its position.

        An unready event is queued and ``None`` is returned; should it fail later, that is counted and logged.

        Raises:
            PublishFailed: Refused (``written`` is ``False``), or not acknowledged in time (``None``: nobody knows).
                Publishing the same event again is safe: it keeps its id.
        """
        budget = Deadline(self._options.publish_timeout if timeout is None else timeout)
        pending = self.send(event, budget.remaining())
        if not states.is_terminal(event.state, terminal=event.terminal):
            return None
        try:
            return pending.position(budget.remaining())
        except TimeoutError as exc:
            error = self._gave_up(event, f"outcome unknown: not acknowledged in {budget.total:g} s", written=None)
            pending.give_up(error)
            raise error from exc

    def started(self, task_id: str, **fields: Any) -> None:
        """Publish STARTED; fields are those of :class:`~streamresults.events.event.Event` and :meth:`event`."""
        self.publish(self.event(task_id, states.STARTED, **fields))

    def succeeded(self, task_id: str, result: object = None, **fields: Any) -> Position:
        """Publish SUCCESS with a result and return where it stands; blocks until the brokers hold it."""
        return self._confirmed(self.event(task_id, states.SUCCESS, result=result, **fields))

    def failed_with(self, task_id: str, exc: BaseException, **fields: Any) -> Position:
        """Publish FAILURE with an exception and return where it stands; blocks until the brokers hold it."""
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
        expires_ms = self._expires_ms if expires is None else _milliseconds(expires)
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
        """Block until everything queued is acknowledged or has failed; say what is not when the time is over."""
        writer = self._writer if self._pid == os.getpid() else None
        left = writer.flush(Deadline(timeout)) if writer else 0
        return Flushed(left, self._failed)

    def close(self, timeout: Timeout = _CLOSE_TIMEOUT) -> Flushed:
        """Flush, then close; what was not acknowledged by then fails and is logged. Closing twice is harmless."""
        with self._lock:
            writer = self._writer if self._pid == os.getpid() else None
            self._closed, self._writer = True, None
        left = writer.close(Deadline(timeout)) if writer else 0
        if left:
            _log.error(
                "%d events were not acknowledged when the publisher was closed",
                left,
                extra={"action": "publisher_closed", "unacknowledged": left},
            )
        return Flushed(left, self._failed)

    def failed(self, event: Event, error: Exception) -> PublishFailed:
        """Count an event that the brokers did not take, log it and return the error its caller gets."""
        if isinstance(error, RecordTooLarge):
            return self._too_large(event, error)
        written = getattr(error, "written", None)
        outcome = "not written" if written is False else "outcome unknown"
        return self._gave_up(event, f"{outcome}: {error}", written=written)

    # -- within -----------------------------------------------------------------------------------------------------

    def _too_large(self, event: Event, error: RecordTooLarge) -> RecordTooLarge:
        limit = f"the {error.limit} bytes" if error.limit else "what"
        msg = (
            f"task {event.task_id!r}, {event.state}: not written: the record has {error.size} bytes, more than {limit} "
            "that the topic takes. Publish a smaller result, or raise max.message.bytes of the topic and "
            "message.max.bytes here"
        )
        self._count(event, msg)
        return RecordTooLarge(
            msg, task_id=event.task_id, event_id=event.event_id.hex(), size=error.size, limit=error.limit
        )

    def _count(self, event: Event, message: str) -> None:
        with self.counting:
            self._failed += 1
        _log.error(message, extra={"action": "publish_failed", "task_id": event.task_id, "state": event.state})

    def _confirmed(self, event: Event) -> Position:
        position = self.publish(event)
        assert position is not None
        return position

    def _opened_for(self, event: Event, timeout: Timeout) -> TopicWriter:
        try:
            return self._ready_writer(self._deadline(timeout))
        except TopicUnavailable as exc:
            raise self._gave_up(event, f"not written: {exc}", written=False) from exc

    def _wait_and_produce(
        self, writer: TopicWriter, key: bytes, value: bytes, pending: Pending, timeout: Timeout
    ) -> None:
        deadline = self._deadline(timeout)
        while writer.wait_for_room(deadline):
            if writer.produce(key, value, pending):
                return
        msg = f"not written: the queue was full for {deadline.total:g} s, the brokers do not keep up"
        raise self._gave_up(pending.event, msg, written=False)

    def _gave_up(self, event: Event, why: str, *, written: bool | None) -> PublishFailed:
        msg = f"task {event.task_id!r}, {event.state}: {why}"
        self._count(event, msg)
        return PublishFailed(msg, task_id=event.task_id, event_id=event.event_id.hex(), written=written)

    def _check(self, event: Event) -> None:
        """Refuse what no reader could make sense of, before anything is sent."""
        task_id = event.task_id
        if not isinstance(task_id, str) or not task_id:
            msg = f"a task id is a string of at least one character: {task_id!r}"
            raise PublishFailed(msg, task_id=str(task_id), written=False)
        try:
            size = len(task_id if task_id.isascii() else task_id.encode())
        except UnicodeEncodeError as exc:
            msg = f"a task id is text that UTF-8 can hold: {task_id[:40]!r}"
            raise PublishFailed(msg, task_id=repr(task_id), written=False) from exc
        if size > TASK_ID_MAX_BYTES:
            msg = f"a task id has at most {TASK_ID_MAX_BYTES} bytes: {task_id[:40]!r}..."
            raise PublishFailed(msg, task_id=task_id, written=False)
        if event.kind == "task" and task_id.startswith(GROUP_PREFIX):
            msg = f"task ids that begin with {GROUP_PREFIX!r} are reserved for saved groups: {task_id!r}"
            raise PublishFailed(msg, task_id=task_id, written=False)
        if event.expires_after_ms > self._options.longest_expiry * 1000:
            msg = (
                f"task {task_id!r}: expires after {event.expires_after_ms / 1000:g} s, longer than the longest "
                f"expiry of {self._options.longest_expiry:g} s. Ask for less, or raise longest_expiry and the topic's "
                "retention"
            )
            raise PublishFailed(msg, task_id=task_id, written=False)


class TaskRun:
    """One run of a task as a block; see :meth:`Publisher.run`."""

    def __init__(self, publisher: Publisher, task_id: str, fields: dict[str, Any]) -> None:
        self.task_id = task_id
        #: What SUCCESS carries when the block is left.
        self.result: object = None
        #: Where the final event stands, once the block is left.
        self.position: Position | None = None
        self._publisher = publisher
        self._fields = fields
        self._started_us = 0
        self._clock = 0.0

    def __enter__(self) -> Self:
        self._started_us = time.time_ns() // 1000
        self._publisher.started(self.task_id, started_at_us=self._started_us, **self._fields)
        self._clock = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        timing = {"started_at_us": self._started_us, "runtime": time.perf_counter() - self._clock}
        if exc is not None:
            self.position = self._publisher.failed_with(self.task_id, exc, **timing, **self._fields)
            return
        try:
            self.position = self._publisher.succeeded(self.task_id, self.result, **timing, **self._fields)
        except (PayloadNotEncodable, RecordTooLarge) as unusable:
            # The task has ended and this result will never be there: whoever waits is told why.
            self.position = self._publisher.failed_with(self.task_id, unusable, **timing, **self._fields)
            raise


def _after_fork() -> None:
    for publisher in _PUBLISHERS:
        publisher.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _milliseconds(seconds: float | timedelta) -> int:
    total = seconds if isinstance(seconds, int | float) else seconds.total_seconds()
    if total < 0:
        msg = f"an expiry is 0 or more seconds: {seconds!r}"
        raise ValueError(msg)
    return max(1, int(total * 1000)) if total else 0  # 0 would mean the opposite of very soon
