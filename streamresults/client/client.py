"""The caller's side: get a result, wait for it, look it up, forget it. Everything here is a thin face of the engine."""

from __future__ import annotations

import logging
import os
import uuid
from threading import Lock
from typing import TYPE_CHECKING, Final, Literal, Self

import msgspec

from streamresults.client.callbacks import Callbacks
from streamresults.client.engine import Engine, EngineOptions
from streamresults.client.fetching import Fetcher
from streamresults.client.lookups import Lookups
from streamresults.client.result import Basis, Result
from streamresults.client.tombstones import Tombstones
from streamresults.client.watermarks import HighestWatermarks
from streamresults.deadline import ANSWER, NOT_STATED, Deadline, OptionalTimeout
from streamresults.errors import (
    ClientClosed,
    ConfigurationError,
    NotYetCovered,
    ServiceUnavailable,
    TopicMissing,
    TopicRecreated,
    TopicUnavailable,
    WaitTimeout,
)
from streamresults.events import states
from streamresults.events.event import TASK_ID_MAX_BYTES, Position
from streamresults.store.keys import wake_channel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from streamresults.client.callbacks import Registration
    from streamresults.client.result import Decoding
    from streamresults.client.waiter import Answer, Waiter
    from streamresults.client.whereabouts import Place, Whereabouts
    from streamresults.store.base import Store
    from streamresults.topic.base import TopicInspector, TopicReader, TopicWriter

_log: Final = logging.getLogger("streamresults.client")
Via = Literal["auto", "topic", "view"]
#: Seconds between two lines of log of a wait that never ends.
_REMIND: Final = 60.0


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
        self._open_writer: Final = open_writer
        self._store: Final = store
        self._options: Final = options or ClientOptions()
        self._begin()
        self._lock: Final = Lock()
        self._engine: Engine | None = None
        self._callbacks: Callbacks | None = None
        self._closed = False
        self._pid: Final = os.getpid()
        whereabouts.listen(self)

    def _begin(self) -> None:
        """Open what belongs to one topic; a topic that is made again gets others."""
        self._fetcher = Fetcher(self._open_reader)
        self._tombstones = Tombstones(self._open_writer)
        #: One for waits and lookups: what the one has seen binds the other.
        self._watermarks = HighestWatermarks()
        self._lookups = Lookups(
            self._decoding,
            self._fetcher,
            self._watermarks,
            self._inspector,
            partition_of=self._whereabouts.partition_of,
            homes=self._whereabouts.homes,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # -- waiting ----------------------------------------------------------------------------------------------------

    def get(self, task_id: str, timeout: OptionalTimeout = NOT_STATED, *, via: Via = "auto") -> object:
        """
        Block until the task has ended, and return its result or raise its exception.

        Raises:
            WaitTimeout: The deadline passed first; says what was seen and where.
            BaseException: What the task raised, if its class is allowed, else RemoteTaskError.
            NoResult, DeadLettered, ClientClosed: See their names.
        """
        return self.wait(task_id, timeout, via=via).value()

    def wait(self, task_id: str, timeout: OptionalTimeout = NOT_STATED, *, via: Via = "auto") -> Result:
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
            TopicRecreated, TopicMissing: The topic was deleted meanwhile, and made again or not.
            ServiceUnavailable: Neither topic nor view could be found, so that there is nothing to wait on.
        """
        self._check_wait(task_id)
        deadline = self._deadline(timeout)
        if deadline.total == 0:
            return self._look_once(task_id)
        place, engine = self._entrance(task_id, _within(deadline))
        done = Lock()  # held until the wait is over: waking by it takes a third of the time that an Event takes
        done.acquire()
        partition = self._whereabouts.partition_of(task_id, place)
        waiter = engine.submit(task_id, partition, done.release, through_topic=self._through_topic(via, engine))
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

    def on_result(self, task_id: str, callback: Callable[[Registration], object], *, via: Via = "auto") -> Registration:
        """
        Have a function called once the task has ended, however it ended, and return at once: no thread waits.

        Blocks only the first time, until topic and view are found. The wait lasts until the task ends, it is
        cancelled, or the client is closed, and holds about 1 KB. All functions are called from one thread of the
        client, one after the other; what they raise is logged.

        Args:
            callback: Called once, with the registration, whose ``result()`` returns the result or raises why there is
                none. Not called when the registration was cancelled in time.
            via: As for :meth:`wait`.

        Raises:
            ClientClosed: See its name; closing the client also ends every registration with it.
            ServiceUnavailable: Neither topic nor view could be found, so that there is nothing to wait on.
        """
        self._check_wait(task_id)
        place, engine = self._entrance(task_id, Deadline(ANSWER))
        partition = self._whereabouts.partition_of(task_id, place)
        callbacks = self._running_callbacks(engine, place)
        return callbacks.register(task_id, partition, callback, through_topic=self._through_topic(via, engine))

    def _check_wait(self, task_id: str) -> None:
        _check_id(task_id)
        if self._pid != os.getpid():
            raise ConfigurationError("this client was opened before a fork: the child must open its own")

    def _block(self, waiter: Waiter, done: Lock, deadline: Deadline) -> None:
        while not done.acquire(timeout=deadline.remaining(_REMIND)) and not deadline.passed():
            _log.info(
                "still waiting for task %s after %.0f s",
                waiter.task_id,
                deadline.elapsed(),
                extra={"action": "waiting"},
            )

    def _look_once(self, task_id: str) -> Result:
        within = Deadline(ANSWER)
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
        timeout: OptionalTimeout = NOT_STATED,
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
            ValueError: ``at_least`` is a position of another task: its partition is not this task's.
        """
        _check_id(task_id)
        deadline = self._deadline(timeout)
        whereabouts = self._whereabouts
        place = (whereabouts.refresh if fresh else whereabouts.find)(_within(deadline))
        if at_least is not None:
            place = self._await_position(task_id, place, at_least, deadline)
        if fresh:
            self._lookups.await_end(task_id, place, whereabouts.homes(task_id, place), deadline)
        result = self._lookups.look([task_id], place, _within(deadline))[0]
        if fresh and len(place.counts) > 1 and not result.found:
            result = self._look_between(task_id, place, deadline)
        if not result.found and result.mark is None and result.basis is not Basis.FULL:
            msg = f"task {task_id!r} was not found, and it may exist: {result.uncovered}"
            raise NotYetCovered(msg, task_id=task_id)
        return result

    def _look_between(self, task_id: str, place: Place, deadline: Deadline) -> Result:
        """Look also where counts between the known ones would put a task: two growths in a row may look like one."""
        place = _between(place)
        self._lookups.await_end(task_id, place, self._whereabouts.homes(task_id, place), deadline)
        return self._lookups.look([task_id], place, _within(deadline))[0]

    def _await_position(self, task_id: str, place: Place, at_least: Position, deadline: Deadline) -> Place:
        """Wait until the view has folded a position; return the place, where its partition may be a new one."""
        homes = self._whereabouts.homes(task_id, place)
        if at_least.partition not in homes and at_least.topic_id in ("", place.topic_id):
            # Under a count that the client has not heard of, or that nobody has seen yet: see _look_between.
            place = _between(self._whereabouts.refresh(_within(deadline)))
            homes = self._whereabouts.homes(task_id, place)
            if self._inspector is not None and at_least.partition not in homes and at_least.topic_id == place.topic_id:
                msg = (
                    f"at_least is a position in partition {at_least.partition}, and task {task_id!r} is in partition "
                    f"{homes[0]}: it is the position of another task"
                )
                raise ValueError(msg)
        self._lookups.await_position(task_id, place, at_least, deadline)
        others = [home for home in homes if home != at_least.partition]
        if others and self._inspector is not None:
            # What came before that position may stand in another home: a forgotten result must not show from there.
            self._lookups.await_end(task_id, place, others, deadline)
        return place

    def lookup_many(self, task_ids: Sequence[str]) -> list[Result]:
        """
        Return what the view knows of each task, in the order asked for, in one round trip.

        A task that was not found has the state UNKNOWN; its ``basis`` is ``partial`` when it may exist all the same.
        A view that is older than one that this process has seen before shows nothing, and ``uncovered`` says so.
        """
        for task_id in task_ids:
            _check_id(task_id)
        return self._lookups.look(task_ids, self._whereabouts.find(Deadline(ANSWER)), Deadline(None))

    # -- forgetting -------------------------------------------------------------------------------------------------

    def forget(self, task_id: str, timeout: OptionalTimeout = NOT_STATED) -> Position:
        """
        Write the task's tombstone; returns where it stands once the brokers hold it.

        Where partitions were added it is written to every partition that can hold events of the task, and the position
        is the one in the newest of them.

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
        if self._inspector is not None:
            place = self._newest(place, deadline)
        written, *_ = self._tombstones.write(task_id, self._whereabouts.homes(task_id, place), deadline)
        return Position(place.topic_id, written.partition, written.offset)

    def _newest(self, place: Place, deadline: Deadline) -> Place:
        """Return the place as the brokers tell it now; where they do not answer, as it was last known."""
        try:
            return self._whereabouts.refresh(Deadline(deadline.remaining(ANSWER) / 2))
        except TopicMissing:
            raise
        except ServiceUnavailable:
            return place  # whether they take the tombstone is theirs to say

    # -- what becomes of the topic ----------------------------------------------------------------------------------

    def grown(self, place: Place) -> None:
        """Have everybody wait in every home; called when partitions were added."""
        _log.info("partitions were added: %s", place.counts, extra={"action": "partitions_added"})
        with self._lock:
            self._tell_homes(self._engine, place)

    def recreated(self, old: Place, new: Place) -> None:
        """End what was for the topic that is gone, and begin anew; called when it was deleted and made again."""

        def why() -> TopicRecreated:
            msg = (
                f"topic {old.topic!r} was deleted and made again: its id was {old.topic_id} and is {new.topic_id}. "
                "What was in the old one is gone; from now on this client uses the new one"
            )
            return TopicRecreated(msg, old_id=old.topic_id, new_id=new.topic_id)

        _log.warning("%s", why(), extra={"action": "topic_recreated"})
        with self._lock:
            if self._closed:
                return
            engine, self._engine = self._engine, None
            callbacks, self._callbacks = self._callbacks, None
            fetcher, tombstones = self._fetcher, self._tombstones
            self._begin()
        if engine is not None:
            engine.end(why)
        if callbacks is not None:
            callbacks.end()  # not waited for: what is being called may ask for the place, which is being told of here
        tombstones.close(Deadline(ANSWER))
        fetcher.close()

    def missing(self, why: TopicMissing) -> None:
        """End every wait; called when the topic is not there any more."""
        with self._lock:
            engine = self._engine
        if engine is not None:
            engine.fail(lambda: TopicMissing(str(why)))

    # -- the end ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End every wait with ClientClosed and release every connection; closing twice is harmless."""
        self._whereabouts.close()
        with self._lock:
            engine, self._engine = self._engine, None
            callbacks, self._callbacks = self._callbacks, None
            self._closed = True
        if engine is not None:
            engine.close()
        if callbacks is not None:
            callbacks.close()
        self._tombstones.close(Deadline(ANSWER))
        self._fetcher.close()
        if self._inspector is not None:
            self._inspector.close()
        if self._store is not None:
            self._store.close()

    def _entrance(self, task_id: str, deadline: Deadline) -> tuple[Place, Engine]:
        """Return where to wait, and the engine that waits there."""
        while True:
            place = self._whereabouts.find(deadline)
            engine = self._running_engine(place, task_id)
            # Between the two the topic may have been made again.
            now = self._whereabouts.place
            if now is place or now is None or now.topic_id == place.topic_id:
                return place, engine

    def _tell_homes(self, engine: Engine | None, place: Place) -> None:
        """Tell an engine which homes tasks have; the lock is held."""
        if engine is not None and (len(place.counts) > 1 or engine.homes.several):
            engine.homes.know(lambda task_id: self._whereabouts.homes(task_id, place))

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
                # As it is known by now: partitions that are added from here on are told of.
                self._tell_homes(self._engine, self._whereabouts.place or place)
            return self._engine

    def _running_callbacks(self, engine: Engine, place: Place) -> Callbacks:
        with self._lock:
            if self._callbacks is not None and engine is self._engine:
                return self._callbacks
            callbacks = Callbacks(engine, lambda waiter: self._ended(waiter, place))
            if engine is self._engine:  # else the topic was made again just now, and nobody can register any more
                self._callbacks = callbacks
            return callbacks

    def _ended(self, waiter: Waiter, place: Place) -> Result:
        """Return the result of a registration that is over."""
        if waiter.answer is not None:
            return self._as_result(waiter, waiter.answer, place, Deadline(ANSWER))
        if waiter.error is not None:
            raise waiter.error
        msg = f"task {waiter.task_id!r}: the registration was cancelled"
        raise WaitTimeout(msg, task_id=waiter.task_id, state=waiter.state_seen)

    def _deadline(self, timeout: OptionalTimeout) -> Deadline:
        return Deadline.of(timeout, self._options.wait_timeout)


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
    return Deadline(deadline.remaining(ANSWER) if deadline.total else ANSWER)


def _between(place: Place) -> Place:
    """Return a place that counts every number of partitions between the known ones as one that there has been."""
    return place._replace(counts=tuple(range(place.counts[0], place.counts[-1] - 1, -1)))
