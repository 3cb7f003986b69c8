"""What every librdkafka handle here has in common: settings, its log, and what becomes of it in a forked child."""

from __future__ import annotations

import ctypes
import logging
import os
import re
import threading
import time
import weakref
from abc import ABC, abstractmethod
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from confluent_kafka import KafkaError, KafkaException

from streamresults.errors import StreamResultsError, TopicUnavailable
from streamresults.topic.kafka_errors import describe, error_of, translate
from streamresults.topic.kafka_hubs import cooperative
from streamresults.topic.kafka_threads import hold_fork

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, ClusterMetadata  # type: ignore[attr-defined]  # public by its documentation

    from streamresults.deadline import Deadline

Opened = TypeVar("Opened")
Settings = dict[str, Any]

#: Everything that librdkafka says goes here, and nothing to standard error.
log: Final = logging.getLogger("streamresults.librdkafka")

#: Seconds for which a line is not repeated. Smaller floods a log while a broker is down (librdkafka complains on every
#: attempt to connect, of every handle); larger hides that it is still down.
REPEAT_AFTER: Final = 30.0

#: Different lines that are remembered at most. Smaller forgets lines that are being repeated; larger costs memory.
LINES_KEPT: Final = 256

#: The request of the newer group protocol, in the words of librdkafka's log and errors.
GROUP_REQUEST: Final = "ConsumerGroupHeartbeat"

#: Settings of every handle. A smaller first back-off turns a missing broker into a busy loop, a larger last one
#: delays the return of a broker that is back.
COMMON: Final[Mapping[str, Any]] = {
    "reconnect.backoff.ms": 100,
    "reconnect.backoff.max.ms": 5000,
    "socket.nagle.disable": True,
}


class RepetitionFilter(logging.Filter):
    """
    Lets a line of librdkafka through once in a while, whatever handle or port it names.

    It has no lock, which a forked child would inherit held: at worst two threads both let a line through.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether this line is to be logged."""
        line = re.sub(r"\d+", "#", record.getMessage())
        if line.startswith("CONFWARN") or GROUP_REQUEST in line:
            # One set of properties serves producers and consumers alike, and each warns of what is meant for the
            # other. That brokers refuse the newer group protocol is expected of old ones, and said by the group.
            return False
        now = self._clock()
        before = self._seen.get(line)
        if before is not None and now - before < REPEAT_AFTER:
            return False
        if len(self._seen) >= LINES_KEPT:
            self._seen.clear()
        self._seen[line] = now
        return True


# The null handler: without any handler Python prints warnings to standard error by itself.
log.addHandler(logging.NullHandler())
log.addFilter(RepetitionFilter())


class LastError:
    """Keeps what librdkafka said last about its connections, to explain a timeout with."""

    __slots__ = ("_error",)

    def __init__(self) -> None:
        self._error: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        """Serve as librdkafka's ``error_cb``."""
        # "All brokers are down" says less than the reason that came just before it.
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001
            self._error = error

    def explain(self, words: str) -> str:
        """Return the words, with the reason behind them when there is one."""
        return words if self._error is None else f"{words}: {describe(self._error)}"


def open_handle(kind: Callable[[Settings], Opened], settings: Settings, doing: str) -> Opened:
    """Open a handle of librdkafka; raise ``ConfigurationError`` in its own words when it refuses a setting."""
    try:
        return cooperative(kind({**settings, "logger": log}))
    except KafkaException as exc:
        raise translate(error_of(exc), doing) from exc


def retry(
    deadline: Deadline, doing: str, attempt: Callable[[float], Opened], *, fatal: frozenset[int], last: LastError
) -> Opened:
    """
    Call ``attempt(seconds)`` until it succeeds, the deadline passes or an error is in ``fatal``.

    Raises:
        TopicUnavailable: The deadline passed, or the error is one that waiting does not help.
    """
    while True:
        try:
            return attempt(seconds(deadline))
        except KafkaException as exc:
            error = error_of(exc)
            if error.code() in fatal:
                raise translate(error, doing) from exc
            if deadline.remaining() <= RETRY_PAUSE:
                raise TopicUnavailable(last.explain(f"{doing} within {deadline.total:g} s: {describe(error)}")) from exc
        except TimeoutError as exc:  # of a future: this process was suspended, or got no processor, for long
            if deadline.remaining() <= RETRY_PAUSE:
                raise TopicUnavailable(last.explain(f"{doing} within {deadline.total:g} s")) from exc
        time.sleep(RETRY_PAUSE)


#: Seconds between two attempts. Smaller keeps a broker busy that is electing a leader, larger adds to every wait.
RETRY_PAUSE: Final = 0.02

#: Seconds of one attempt at most, so that a deadline of "never" still notices a connection that died silently.
ATTEMPT_AT_MOST: Final = 30.0

#: Seconds of one attempt at least: "one look" still needs a round trip.
ATTEMPT_AT_LEAST: Final = 0.05


def list_topics(handle: AdminClient | Producer, limit: float, topic: str | None = None) -> ClusterMetadata:
    """
    Ask for the metadata of a topic, or of all; blocks for at most ``limit`` seconds.

    librdkafka blocks the thread that asks, and Python serves signals, such as Ctrl-C, in the main one alone. So that
    one has another thread ask, and waits for it.

    Raises:
        KafkaException: Nobody answered.
    """
    if threading.current_thread() is not threading.main_thread():
        return handle.list_topics(topic, limit)
    answer: Future[ClusterMetadata] = Future()

    def ask() -> None:
        try:
            answer.set_result(handle.list_topics(topic, limit))
        except BaseException as exc:  # noqa: BLE001 -- raised where it is waited for
            answer.set_exception(exc)

    try:
        threading.Thread(target=ask, name="streamresults-metadata", daemon=True).start()
    except RuntimeError:  # there may be no thread more, or the interpreter ends
        return handle.list_topics(topic, limit)
    return answer.result()


def seconds(deadline: Deadline) -> float:
    """Return how long one request may take."""
    return max(ATTEMPT_AT_LEAST, deadline.remaining(ATTEMPT_AT_MOST))


class Forkable(ABC):
    """
    Something that holds a librdkafka handle, which a forked child must not touch, not even to release it.

    The handle's threads exist in the parent only: in a child every call could wait for ever. No call checks for it:
    the child itself replaces what it inherited.
    """

    #: Whose process this was opened in is another one now.
    forked = False
    __inherited: ClassVar[weakref.WeakSet[Forkable]] = weakref.WeakSet()

    def __init__(self) -> None:
        Forkable.__inherited.add(self)

    @abstractmethod
    def abandon(self) -> object | None:
        """Make every later call raise :meth:`not_here`; return the handle, which is kept for ever, if there is one."""

    def not_here(self) -> StreamResultsError:
        """Return what a call in a forked child raises."""
        return TopicUnavailable("this connection to Kafka was opened before a fork: the child must open its own")

    @classmethod
    def before_fork(cls) -> None:
        """Hold a fork back, for a moment, where a handle is open."""
        if cls.__inherited:
            hold_fork()

    @classmethod
    def abandon_all(cls) -> None:
        """Give up, in a forked child, everything that the parent had opened."""
        for inherited in list(cls.__inherited):
            inherited.forked = True
            handle = inherited.abandon()
            if handle is not None:
                # One reference that nobody drops: releasing the handle would wait for threads that are not here.
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(handle))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=Forkable.before_fork, after_in_child=Forkable.abandon_all)
