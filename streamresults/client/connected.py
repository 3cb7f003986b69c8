"""
What every face of a client stands on: its connections, its engine, and what becomes of them.

They belong to one process and one topic. A forked child gets its own, and never touches its parent's; a topic that was
made again gets others; closing ends them for good.
"""

from __future__ import annotations

import logging
import os
import uuid
from threading import Event, Lock
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypeVar
from weakref import WeakSet

from streamresults.client.engine import Engine, EngineOptions
from streamresults.client.fetching import Fetcher
from streamresults.client.lookups import Lookups
from streamresults.client.options import ClientOptions
from streamresults.client.result_cache import ResultCache
from streamresults.client.tombstones import Tombstones
from streamresults.client.watermarks import HighestWatermarks
from streamresults.deadline import ANSWER, Deadline, OptionalTimeout
from streamresults.errors import ClientClosed, TopicMissing, TopicRecreated
from streamresults.events.event import TASK_ID_MAX_BYTES
from streamresults.store.keys import wake_channel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from streamresults.client.callbacks import Callbacks
    from streamresults.client.provenance import Decoding
    from streamresults.client.whereabouts import Place, Whereabouts
    from streamresults.store.base import Store
    from streamresults.topic.base import TopicInspector, TopicReader, TopicWriter
    from streamresults.topic.refusals import Refusals

T = TypeVar("T")

_log: Final = logging.getLogger("streamresults.client")
#: Those of this process, to be told of a fork.
_CLIENTS: Final[WeakSet[Connected]] = WeakSet()


class Services(NamedTuple):
    """What one process asks and looks into; opening connects to nothing."""

    #: Finds topic and view on first use.
    whereabouts: Whereabouts
    #: ``None`` without Kafka.
    inspector: TopicInspector | None
    #: ``None`` without Redis.
    store: Store | None


class Connected:
    """
    The connections of a client. Thread-safe.

    Args:
        open_services: Called once in each process.
        open_reader: Opens a reader of the topic; ``None`` without Kafka.
        open_writer: Opens a writer of the topic, for tombstones; ``None`` without Kafka.
        refusals: What was refused for its signature; ``None`` where none is demanded.
    """

    def __init__(
        self,
        open_services: Callable[[], Services],
        decoding: Decoding,
        *,
        open_reader: Callable[[], TopicReader] | None,
        open_writer: Callable[[], TopicWriter] | None,
        options: ClientOptions | None = None,
        refusals: Refusals | None = None,
    ) -> None:
        self._refusals: Final = refusals
        self._open_services: Final = open_services
        self._decoding: Final = decoding
        self._open_reader: Final = open_reader
        self._open_writer: Final = open_writer
        self._options: Final = options or ClientOptions()
        #: What handles have read of tasks that succeeded.
        self._cache: Final = ResultCache(self._options.result_cache_max)
        self._closed = False
        #: Whether nothing needs to be looked at before it is used: neither closed nor inherited.
        self._usable = True
        #: Guards the first use in a forked child.
        self._entering = Lock()
        #: What a parent had opened: not even a destructor of it may run in the child.
        self._abandoned: Final[list[object]] = []
        self._enter_process()
        _CLIENTS.add(self)

    @property
    def refused(self) -> dict[str, int]:
        """How many records were read and refused for their signature, by :attr:`SignatureRefused.why`."""
        return {} if self._refusals is None else self._refusals.counts

    def _enter_process(self) -> None:
        """Open what belongs to one process."""
        self._lock = Lock()
        #: Set by closing, for whoever sleeps.
        self._closing = Event()
        self._engine: Engine | None = None
        self._callbacks: Callbacks | None = None
        self._whereabouts, self._inspector, self._store = self._open_services()
        self._begin()
        self._whereabouts.listen(self)

    def _begin(self) -> None:
        """Open what belongs to one topic; a topic that is made again gets others."""
        self._cache.clear()
        self._fetcher = Fetcher(self._open_reader)
        self._tombstones = Tombstones(self._open_writer)
        #: One for waits and lookups: what the one has seen binds the other.
        self._watermarks = HighestWatermarks()
        self._lookups = Lookups(
            self._decoding,
            self._fetcher,
            self._watermarks,
            self._inspector,
            partitions_of=self._whereabouts.partitions_of,
            homes=self._whereabouts.homes,
            closing=self._closing,
        )

    def after_fork(self) -> None:
        """Leave everything to the parent; called in a forked child, which opens its own when it first needs it."""
        self._usable, self._entering = False, Lock()
        callbacks = self._callbacks
        if callbacks is not None:
            callbacks.abandon()
        old = (self._whereabouts, self._inspector, self._store, self._engine, callbacks, self._lock)
        self._abandoned.extend((*old, self._fetcher, self._tombstones, self._lookups))
        self._engine = self._callbacks = None

    def _check_open(self, task_id: str) -> None:
        """
        Make sure that the client can be used.

        Raises:
            ClientClosed: It cannot.
        """
        if self._usable:
            return
        with self._entering:
            if self._closed:
                raise ClientClosed("the client is closed: open another one", task_id=task_id)
            if not self._usable:
                self._enter_process()
                self._usable = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # -- the engine -------------------------------------------------------------------------------------------------

    def _entrance(self, task_id: str, deadline: Deadline) -> tuple[Place, Engine]:
        """Return where to wait, and the engine that waits there."""
        while True:
            if not self._usable:
                self._check_open(task_id)
            place = self._whereabouts.find(deadline)
            engine = self._running_engine(place, task_id)
            # Between the two the topic may have been made again.
            now = self._whereabouts.place
            if now is place or now is None or now.topic_id == place.topic_id:
                return place, engine

    def _running_engine(self, place: Place, task_id: str) -> Engine:
        with self._lock:
            self._check_open(task_id)
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
                    forgotten=self._cache.evict,
                    fetcher=self._fetcher if self._open_reader is not None else None,
                )
                self._engine.waits.topic_trouble = place.topic_trouble
                # As it is known by now: partitions that are added from here on are told of.
                self._tell_homes(self._engine, self._whereabouts.place or place)
            return self._engine

    def _tell_homes(self, engine: Engine | None, place: Place) -> None:
        """Tell an engine which homes tasks have; the lock is held."""
        if engine is not None and (len(place.counts) > 1 or engine.homes.several):
            engine.homes.know(lambda task_id: self._whereabouts.homes(task_id, place))

    def _deadline(self, timeout: OptionalTimeout) -> Deadline:
        return Deadline.of(timeout, self._options.wait_timeout)

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

    def awaited(self) -> Sequence[int]:
        """Return the partitions that are read because somebody waits on them."""
        engine = self._engine
        return () if engine is None else engine.waits.awaited()

    def heard(self, why_not: str) -> None:
        """Take note, for the errors of waits, that the brokers have answered, or why they have not."""
        engine = self._engine
        if engine is not None:
            engine.waits.topic_trouble = why_not

    # -- the end ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """
        End every wait and every lookup that waits with ClientClosed, and release every connection.

        Closing twice is harmless. Every other method raises ClientClosed from then on.
        """
        with self._entering:
            inherited = not (self._usable or self._closed)
            self._usable, self._closed = False, True
        if inherited:
            return
        with self._lock:
            engine, self._engine = self._engine, None
            callbacks, self._callbacks = self._callbacks, None
        self._closing.set()
        if engine is not None:
            engine.close()  # first: it wakes whoever waits, while a question under way may hold up the rest
        if callbacks is not None:
            callbacks.close()
        self._whereabouts.close()
        self._tombstones.close(Deadline(ANSWER))
        self._fetcher.close()
        if self._inspector is not None:
            self._inspector.close()
        if self._store is not None:
            self._store.close()


def _after_fork() -> None:
    for client in list(_CLIENTS):
        client.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def is_id(task_id: str) -> bool:
    """Tell whether :func:`check_id` lets this pass; for ids that records name."""
    try:
        check_id(task_id)
    except ValueError:
        return False
    return True


def check_id(task_id: str) -> None:
    """
    Refuse what is no task id.

    Raises:
        ValueError: See :data:`~streamresults.events.event.TASK_ID_MAX_BYTES`.
    """
    try:
        size = len(task_id.encode()) if isinstance(task_id, str) else 0
    except UnicodeEncodeError:
        size = 0  # half of a surrogate pair: no record can have this key
    if not 0 < size <= TASK_ID_MAX_BYTES:
        msg = f"a task id is a string of 1 to {TASK_ID_MAX_BYTES} bytes: {str(task_id)[:60]!r}"
        raise ValueError(msg)


def check_many(members: T) -> T:
    """
    Refuse one task id where many are asked for: each of its characters would be taken for one.

    Raises:
        TypeError: It is one.
    """
    if isinstance(members, str | bytes):
        msg = f"several task ids are a list of them, also where it is one: [{members[:60]!r}]"
        raise TypeError(msg)
    return members


def within(deadline: Deadline) -> Deadline:
    """Return the deadline of one question; a timeout of 0 asks once, and takes as long as that takes."""
    return Deadline(deadline.remaining(ANSWER) if deadline.total else ANSWER)
