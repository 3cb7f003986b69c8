"""The caller's side: get a result, wait for it, look it up, forget it. Everything here is a thin face of the engine."""

from __future__ import annotations

import logging
import os
import uuid
from threading import Event as Signal
from threading import Lock
from typing import TYPE_CHECKING, Final, Literal, Self

import msgspec

from streamresults.client.engine import Engine, EngineOptions
from streamresults.client.fetching import Fetcher
from streamresults.client.lookups import Lookups
from streamresults.client.result import Basis, Result
from streamresults.client.tombstones import Tombstones
from streamresults.client.watermarks import HighestWatermarks
from streamresults.deadline import Deadline, Timeout
from streamresults.errors import (
    ClientClosed,
    ConfigurationError,
    NotYetCovered,
    TopicUnavailable,
    WaitTimeout,
)
from streamresults.events import states
from streamresults.events.event import TASK_ID_MAX_BYTES, Position
from streamresults.store.keys import wake_channel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from streamresults.client.result import Decoding
    from streamresults.client.waiter import Answer, Waiter
    from streamresults.client.whereabouts import Place, Whereabouts
    from streamresults.store.base import Store
    from streamresults.topic.base import TopicInspector, TopicReader, TopicWriter

_log: Final = logging.getLogger("streamresults.client")
Via = Literal["auto", "topic", "view"]
#: The default of a timeout that was not stated: the client's own.
_DEFAULT: Final = -1.0
#: Seconds between two lines of log of a wait that never ends.
_REMIND: Final = 60.0
#: Seconds for a question to the brokers or the store outside of any caller's deadline.
_ANSWER: Final = 10.0


class ClientOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a client behaves; durations are seconds."""

    wait_timeout: float = 30.0
    wait_interval: float = 1.0
    safety_rereads: bool = True
    #: Bytes a second that this process may read of the topic before ``via="auto"`` takes the view.
    join_budget: float = 5_000_000.0


class Client:
    """
    Waits for results and looks them up. Thread-safe, however many threads wait: one reader, one looker per client.

    Args:
        whereabouts: Finds topic and view on first use.
        open_reader: Opens a reader of the topic; ``None`` without Kafka.
        open_writer: Opens a writer of the topic, to forget tasks; ``None`` without Kafka.
    """

    def __init__(
        self,
        whereabouts: Whereabouts,
        decoding: Decoding,
        *,
        inspector: TopicInspector | None,
        open_reader: Callable[[], TopicReader] | None,
        open_writer: Callable[[], TopicWriter] | None,
        store: Store | None,
        options: ClientOptions | None = None,
    ) -> None:
        self._whereabouts: Final = whereabouts
        self._decoding: Final = decoding
        self._inspector: Final = inspector
        self._open_reader: Final = open_reader
        self._store: Final = store
        self._options: Final = options or ClientOptions()
        self._fetcher: Final = Fetcher(open_reader)
        self._tombstones: Final = Tombstones(open_writer)
        #: One for waits and lookups: what the one has seen binds the other.
        self._watermarks: Final = HighestWatermarks()
        self._lookups: Final = Lookups(
            decoding, self._fetcher, self._watermarks, inspector, partition_of=whereabouts.partition_of
        )
        self._lock: Final = Lock()
        self._engine: Engine | None = None
        self._closed = False
        self._pid: Final = os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # -- waiting ----------------------------------------------------------------------------------------------------

    def get(self, task_id: str, timeout: Timeout = _DEFAULT, *, via: Via = "auto") -> object:
        """
        Block until the task has ended, and return its result or raise its exception.

        Raises:
            WaitTimeout: The deadline passed first; says what was seen and where.
            BaseException: What the task raised, if its class is allowed, else RemoteTaskError.
            NoResult, DeadLettered, ClientClosed: See their names.
        """
        return self.wait(task_id, timeout, via=via).value()

    def wait(self, task_id: str, timeout: Timeout = _DEFAULT, *, via: Via = "auto") -> Result:
        """
        Block until the task has ended, however it ended.

        Args:
            task_id: Need not be known to anybody yet.
            timeout: Seconds or a timedelta; 0 looks once; ``None`` waits for ever and logs every minute; not stated:
                the client's own, 30 s by default.
            via: ``"topic"`` reads the topic itself; ``"view"`` waits for the fold to tell; ``"auto"`` takes the topic
                while Kafka is configured and what has to be read of it stays within the budget.

        Raises:
            WaitTimeout, ClientClosed: See their names.
            ServiceUnavailable: Neither topic nor view could be found, so that there is nothing to wait on.
        """
        _check_id(task_id)
        if self._pid != os.getpid():
            raise ConfigurationError("this client was opened before a fork: the child must open its own")
        deadline = self._deadline(timeout)
        if deadline.total == 0:
            return self._look_once(task_id)
        place = self._whereabouts.find(_within(deadline))
        done = Signal()
        engine = self._running_engine(place, task_id)
        partition = self._whereabouts.partition_of(task_id, place)
        waiter = engine.submit(task_id, partition, done.set, through_topic=self._through_topic(via, engine))
        try:
            self._block(waiter, done, deadline)
        except BaseException:
            engine.give_up(waiter)
            raise
        answer = waiter.answer or engine.give_up(waiter)
        if answer is not None:
            return self._as_result(waiter, answer, place, deadline)
        if waiter.error is not None:
            raise waiter.error
        raise self._timed_out(waiter, deadline, engine)

    def _block(self, waiter: Waiter, done: Signal, deadline: Deadline) -> None:
        while not done.wait(deadline.remaining(_REMIND)) and not deadline.passed():
            _log.info(
                "still waiting for task %s after %.0f s",
                waiter.task_id,
                deadline.elapsed(),
                extra={"action": "waiting"},
            )

    def _look_once(self, task_id: str) -> Result:
        within = Deadline(_ANSWER)
        found = self._lookups.look([task_id], self._whereabouts.find(within), within)[0]
        if found.ready or found.mark is not None:
            return found
        uncovered = f" ({found.uncovered})" if found.uncovered and not found.found else ""
        msg = f"task {task_id!r} is {found.state}: not ready at the one look that timeout=0 takes{uncovered}"
        raise WaitTimeout(msg, task_id=task_id, state=found.state)

    def _through_topic(self, via: Via, engine: Engine) -> bool:
        if via not in {"auto", "topic", "view"}:
            msg = f'via is "auto", "topic" or "view": {via!r}'
            raise ValueError(msg)
        if via == "topic" and self._open_reader is None:
            raise ConfigurationError('via="topic" needs Kafka: set kafka_bootstrap')
        if via == "view" and self._store is None:
            raise ConfigurationError('via="view" needs Redis: set redis_url')
        if via != "auto" or self._open_reader is None or self._store is None:
            return via == "topic" or (via == "auto" and self._open_reader is not None)
        return engine.traffic <= self._options.join_budget

    def _timed_out(self, waiter: Waiter, deadline: Deadline, engine: Engine) -> WaitTimeout:
        # What the wait itself has seen: another look could block for longer than the caller has time.
        state = waiter.state_seen or states.UNKNOWN
        seen = "no record of it was seen" if state == states.UNKNOWN else f"it is {state}"
        msg = (
            f"task {waiter.task_id!r}: not ready after {deadline.total:g} s; {seen} "
            f"(partition {waiter.partition}; {engine.describe(waiter.partition)})"
        )
        return WaitTimeout(msg, task_id=waiter.task_id, state=state)

    def _as_result(self, waiter: Waiter, answer: Answer, place: Place, deadline: Deadline) -> Result:
        task_id, partition = waiter.task_id, waiter.partition
        value = answer.value
        if value is None and answer.offset >= 0:
            try:
                value = self._fetcher.fetch(partition, answer.offset, deadline)
            except TopicUnavailable as exc:
                if not deadline.passed():
                    raise
                msg = f"task {task_id!r} has ended, but not all was there after {deadline.total:g} s: {exc}"
                raise WaitTimeout(msg, task_id=task_id, state=waiter.state_seen) from exc
        return Result(
            task_id,
            self._decoding,
            basis=answer.basis,
            value=value,
            position=Position(place.topic_id, partition, answer.offset) if answer.offset >= 0 else None,
            appended_ms=answer.appended_ms,
            mark=answer.mark,
            as_of=answer.as_of,
        )

    # -- looking up -------------------------------------------------------------------------------------------------

    def lookup(
        self,
        task_id: str,
        *,
        fresh: bool = False,
        at_least: Position | None = None,
        timeout: Timeout = _DEFAULT,
    ) -> Result:
        """
        Return what the view knows of a task; its age is ``as_of``.

        Args:
            fresh: First ask the brokers where the partition ends, and wait until the view has folded up to there: only
                then is UNKNOWN authoritative.
            at_least: Wait until the view has folded this position: the cheap form for who has published it.
            timeout: Bounds all of it; 0 looks once; not stated: the client's own.

        Raises:
            NotYetCovered: Not found, in a view that does not cover the whole log; or the view is older than one that
                this process has seen before, or did not get far enough.
            StoreUnavailable, TopicUnavailable: See their names.
            TopicMismatch: ``at_least`` is a position in another topic.
        """
        _check_id(task_id)
        deadline = self._deadline(timeout)
        place = self._whereabouts.find(_within(deadline))
        partition = self._whereabouts.partition_of(task_id, place)
        if at_least is not None:
            self._lookups.await_position(task_id, place, partition, at_least, deadline)
        if fresh:
            self._lookups.await_end(task_id, place, partition, deadline)
        result = self._lookups.look([task_id], place, _within(deadline))[0]
        if not result.found and result.mark is None and result.basis is not Basis.FULL:
            msg = f"task {task_id!r} was not found, and it may exist: {result.uncovered}"
            raise NotYetCovered(msg, task_id=task_id)
        return result

    def lookup_many(self, task_ids: Sequence[str]) -> list[Result]:
        """
        Return what the view knows of each task, in the order asked for, in one round trip.

        A task that was not found has the state UNKNOWN; its ``basis`` is ``partial`` when it may exist all the same.
        A view that is older than one that this process has seen before shows nothing, and ``uncovered`` says so.
        """
        for task_id in task_ids:
            _check_id(task_id)
        return self._lookups.look(task_ids, self._whereabouts.find(Deadline(_ANSWER)), Deadline(None))

    # -- forgetting -------------------------------------------------------------------------------------------------

    def forget(self, task_id: str, timeout: Timeout = _DEFAULT) -> Position:
        """
        Write the task's tombstone; returns where it stands once the brokers hold it.

        The view forgets as soon as it has folded it: ``lookup(id, at_least=position)`` waits for that. The log keeps
        the task's history until retention takes it.

        Raises:
            PublishFailed: Not acknowledged in time.
            ClientClosed: See its name.
            ConfigurationError: This process has no Kafka.
        """
        _check_id(task_id)
        deadline = self._deadline(timeout)
        place = self._whereabouts.find(_within(deadline))
        partition = self._whereabouts.partition_of(task_id, place)
        written = self._tombstones.write(task_id, partition, deadline)
        return Position(place.topic_id, written.partition, written.offset)

    # -- the end ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End every wait with ClientClosed and release every connection; closing twice is harmless."""
        with self._lock:
            engine, self._engine = self._engine, None
            self._closed = True
        if engine is not None:
            engine.close()
        self._tombstones.close(Deadline(_ANSWER))
        self._fetcher.close()
        if self._inspector is not None:
            self._inspector.close()
        if self._store is not None:
            self._store.close()

    def _running_engine(self, place: Place, task_id: str) -> Engine:
        with self._lock:
            if self._closed:
                raise ClientClosed("the client is closed: open another one", task_id=task_id)
            if self._engine is None:
                channel = wake_channel(place.namespace, uuid.uuid4().hex)
                store = self._store
                self._engine = Engine(
                    place.view,
                    self._decoding.codec,
                    self._watermarks,
                    open_reader=self._open_reader,
                    inspector=self._inspector,
                    subscribe=(lambda: store.subscribe(channel)) if store is not None else None,
                    channel=channel,
                    options=EngineOptions(self._options.wait_interval, self._options.safety_rereads),
                    trouble=place.trouble,
                )
            return self._engine

    def _deadline(self, timeout: Timeout) -> Deadline:
        return Deadline(self._options.wait_timeout if timeout == _DEFAULT else timeout)


def _check_id(task_id: str) -> None:
    try:
        size = len(task_id.encode()) if isinstance(task_id, str) else 0
    except UnicodeEncodeError:
        size = 0  # half of a surrogate pair: no record can have this key
    if not 0 < size <= TASK_ID_MAX_BYTES:
        msg = f"a task id is a string of 1 to {TASK_ID_MAX_BYTES} bytes: {str(task_id)[:60]!r}"
        raise ValueError(msg)


def _within(deadline: Deadline) -> Deadline:
    """Return the deadline of one question; a timeout of 0 asks once, and takes as long as that takes."""
    return Deadline(deadline.remaining(_ANSWER) if deadline.total else _ANSWER)
