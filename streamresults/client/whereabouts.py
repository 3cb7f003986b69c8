"""
Which topic and which view a client means: asked of Kafka, or, without Kafka, of the view's descriptor.

It is asked once by whoever needs it first, and then again and again on a thread: partitions are added while a client
runs, and a topic may be deleted and made again. Who listens is told of it.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from threading import TIMEOUT_MAX, Event, Lock, Thread, current_thread
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from streamresults.deadline import ANSWER, Deadline
from streamresults.errors import (
    ConfigurationError,
    ServiceUnavailable,
    StoreUnavailable,
    TopicMismatch,
    TopicMissing,
    TopicUnavailable,
)
from streamresults.store.descriptor import absent, mismatch, refuse
from streamresults.store.partition_counts import homes
from streamresults.topic.records import NO_TOPIC_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from streamresults.store.base import Descriptor, Store, View
    from streamresults.topic.base import TopicInspector
    from streamresults.topic.records import TopicDescription

_log: Final = logging.getLogger("streamresults.client")
#: Seconds that closing waits for a question under way; its thread ends with the process all the same.
_ENDS_WITHIN: Final = 1.0
#: Seconds between two questions, while somebody waits on the topic, whether the brokers answer, and for each answer: a
#: reader alone cannot tell an idle topic from brokers that are away. Shorter asks more often for the sake of an error's
#: text, longer lets more waits end without knowing.
_PULSE: Final = 2.0
#: Seconds until a topic id that is another one is asked for once more.
_CONFIRM: Final = 0.2
#: Times in a row that brokers must say that the topic is not there. Fewer believes a broker that has just started and
#: does not know its topics yet; more leaves whoever waits in the dark for longer.
_MISSING_BELIEVED: Final = 3


class Place(NamedTuple):
    """One topic and its view."""

    namespace: str
    topic: str
    topic_id: str
    #: The partition counts that can still hold live results, newest first; one where partitions were never added.
    counts: tuple[int, ...]
    #: ``None``: this process has no store.
    view: View | None
    #: The store may evict: a miss proves nothing.
    evicting: bool
    #: Why the store did not answer when it was asked for the descriptor; empty if it did.
    trouble: str = ""
    #: Why the brokers did not answer when the place was found, so that the view had to tell; empty if they did.
    topic_trouble: str = ""


class Changes(Protocol):
    """Who is told what became of the topic, one change at a time, from a thread that may not block for long."""

    def grown(self, place: Place) -> None:
        """Take note that partitions were added; :meth:`Whereabouts.homes` knows them already."""

    def recreated(self, old: Place, new: Place) -> None:
        """Take note that the topic was deleted and made again: nothing of the old one counts any more."""

    def missing(self, why: TopicMissing) -> None:
        """Take note that the topic is not there; told again and again while that is so."""

    def awaited(self) -> Sequence[int]:
        """Return the partitions that are read because somebody waits on them."""

    def heard(self, why_not: str) -> None:
        """Take note that the brokers have answered, or why they have not; empty: they have."""


class Whereabouts:
    """
    Finds the place when it is first needed, and keeps it up to date from then on. Thread-safe.

    Args:
        inspector: ``None`` in a process without Kafka.
        store: ``None`` in a process without Redis.
        namespace: Empty: Kafka's cluster id, or the only namespace that holds a view of this topic's name.
        every: Seconds between two questions: what becomes of the topic is noticed within that time.
    """

    def __init__(
        self,
        *,
        inspector: TopicInspector | None,
        store: Store | None,
        topic: str,
        namespace: str,
        partition_of: Callable[[bytes, int], int],
        every: float = 10.0,
    ) -> None:
        if inspector is None and store is None:
            raise ConfigurationError("neither Kafka nor Redis is configured: there is nothing to wait on or to look in")
        self._inspector: Final = inspector
        self._store: Final = store
        self._topic: Final = topic
        self._namespace: Final = namespace
        self._partition_of: Final = partition_of
        self._every: Final = every
        #: Held while somebody asks, and while changes are told: they are told in their order.
        self._lock: Final = Lock()
        self._place: Place | None = None
        #: When the last question that was answered had begun.
        self._asked_at = 0.0
        self._changes: Changes | None = None
        self._closed: Final = Event()
        self._thread: Thread | None = None

    def listen(self, changes: Changes) -> None:
        """Say who is to be told of changes, before the place is first found."""
        self._changes = changes

    def find(self, deadline: Deadline) -> Place:
        """
        Return the place; blocks only until it was found once.

        Raises:
            TopicUnavailable, StoreUnavailable: Nobody who could tell answered.
            TopicMismatch: The view belongs to another cluster, or to another format.
        """
        if self._place is None:
            with self._asking(deadline):
                if self._place is None:
                    self._asked_at = time.monotonic()
                    self._place = self._by_kafka(deadline) if self._inspector is not None else self._by_view()
                    thread = Thread(target=self._ask_forever, name="streamresults-topic", daemon=True)
                    thread.start()
                    self._thread = thread  # only now: close(), on another thread, joins it
        return self._place

    @property
    def place(self) -> Place | None:
        """The place as it is known now; ``None`` before it was found."""
        return self._place

    def refresh(self, deadline: Deadline) -> Place:
        """
        Ask again, tell of what has changed, and return the place; for whoever needs the newest partition count.

        Threads that come at the same time share an answer to a question that began after they came.

        Raises:
            TopicUnavailable, StoreUnavailable, TopicMismatch: As :meth:`find` does.
        """
        began = time.monotonic()
        before = self.find(deadline)
        if self._asked_at >= began:
            return before
        with self._asking(deadline):
            if self._asked_at < began:
                self._ask_again(deadline)
            assert self._place is not None
            return self._place

    def partition_of(self, task_id: str, place: Place) -> int:
        """Return the partition that a task is written to by who knows the newest count."""
        return self._partition_of(task_id.encode(), place.counts[0])

    def partitions_of(self, task_ids: Sequence[str], place: Place) -> list[int]:
        """Do the same for many."""
        partition_of, count = self._partition_of, place.counts[0]
        return [partition_of(task_id.encode(), count) for task_id in task_ids]

    def homes(self, task_id: str, place: Place) -> tuple[int, ...]:
        """Return every partition that a task can be in, that of the newest count first."""
        return homes(task_id.encode(), place.counts, self._partition_of)

    def close(self) -> None:
        """End asking."""
        self._closed.set()
        if self._thread is not None and self._thread is not current_thread():
            self._thread.join(_ENDS_WITHIN)

    # -- asking again -----------------------------------------------------------------------------------------------

    @contextmanager
    def _asking(self, deadline: Deadline) -> Iterator[None]:
        if not self._lock.acquire(timeout=deadline.remaining(TIMEOUT_MAX)):
            msg = f"another thread is still asking which topic and view there are, after {deadline.total:g} s"
            raise TopicUnavailable(msg)
        try:
            yield
        finally:
            self._lock.release()

    def _ask_forever(self) -> None:
        missing = 0
        due = time.monotonic() + self._every
        while not self._closed.wait(min(_PULSE, self._every)):
            if time.monotonic() < due:
                self._feel_pulse()
                continue
            due = time.monotonic() + self._every
            try:
                with self._lock:
                    self._ask_again(Deadline(ANSWER))
                missing = 0
            except TopicMissing as exc:
                missing += 1
                if missing >= _MISSING_BELIEVED and self._changes is not None:
                    self._changes.missing(exc)
            except (ServiceUnavailable, TopicMismatch) as exc:
                _log.debug("which topic there is was not said: %s", exc, extra={"action": "topic_not_told"})
            except Exception:  # noqa: BLE001 -- whatever a service or a listener does, this thread goes on
                _log.exception("looking which topic there is failed", extra={"action": "topic_look_failed"})

    def _feel_pulse(self) -> None:
        """Ask the brokers whether they are there, if somebody waits for what they would send."""
        changes, inspector = self._changes, self._inspector
        awaited = changes.awaited() if changes is not None and inspector is not None else ()
        if not awaited:
            return
        assert changes is not None
        assert inspector is not None
        try:
            inspector.ends(awaited, Deadline(_PULSE))
        except Exception as exc:  # noqa: BLE001 -- whatever they do, this thread goes on
            changes.heard(str(exc) or type(exc).__name__)
        else:
            changes.heard("")

    def _ask_again(self, deadline: Deadline) -> None:
        """Ask, and tell of what has changed; the lock is held."""
        before, began = self._place, time.monotonic()
        assert before is not None
        found = self._found(before, deadline)
        if found.topic_id != before.topic_id:
            # A broker that lags may still speak of the older topic: it is asked once more.
            self._closed.wait(_CONFIRM)
            if self._found(before, deadline).topic_id != found.topic_id:
                return
        self._place, self._asked_at = found, began
        if self._changes is None:
            return
        if found.topic_id != before.topic_id:
            self._changes.recreated(before, found)
        elif found.counts != before.counts:
            self._changes.grown(found)

    def _found(self, before: Place, deadline: Deadline) -> Place:
        """Return the place as it is now; what nobody answers for stays as it was."""
        found = self._by_kafka(deadline, before) if self._inspector is not None else self._by_view(before)
        if found.topic_id != before.topic_id:
            return found
        # The same view: who holds it keeps it.
        return found._replace(view=before.view if before.view is not None else found.view)

    def _by_kafka(self, deadline: Deadline, before: Place | None = None) -> Place:
        assert self._inspector is not None
        try:
            # Half of the time where the view can tell as well: a wait needs some of it too.
            about = self._inspector.describe(deadline if self._store is None else Deadline(deadline.remaining() / 2))
        except TopicUnavailable as exc:
            if self._store is None or before is not None or isinstance(exc, TopicMissing):
                raise
            # Without Kafka the view still answers, if it says for itself what it is a view of.
            try:
                return self._by_view()._replace(topic_trouble=str(exc))
            except StoreUnavailable as other:
                msg = f"{exc}. Nor can the view tell: {other}"
                raise TopicUnavailable(msg) from exc
        namespace = self._namespace or about.cluster_id
        descriptor, trouble = self._descriptor(namespace)
        if descriptor is not None:
            refuse(mismatch(descriptor, namespace, about.cluster_id))
        view = self._store.view(namespace, about.topic_id) if self._store is not None else None
        evicting = descriptor is not None and descriptor.evicting
        counts = _counts(about, descriptor, before)
        return Place(namespace, self._topic, about.topic_id, counts, view, evicting, trouble)

    def _descriptor(self, namespace: str) -> tuple[Descriptor | None, str]:
        """Return the descriptor, or why the store does not answer: waiting on the topic still works meanwhile."""
        if self._store is None:
            return None, ""
        try:
            return self._store.read_descriptor(namespace, self._topic), ""
        except StoreUnavailable as exc:
            return None, str(exc)

    def _by_view(self, before: Place | None = None) -> Place:
        assert self._store is not None
        known = self._namespace if before is None else before.namespace
        namespace = known or self._only_namespace(self._store)
        descriptor = self._store.read_descriptor(namespace, self._topic)
        if descriptor is None:
            raise absent(self._store, namespace, self._topic)
        refuse(mismatch(descriptor, namespace))
        view = self._store.view(namespace, descriptor.topic_id)
        counts = descriptor.partition_counts
        return Place(namespace, self._topic, descriptor.topic_id, counts, view, descriptor.evicting)

    def _only_namespace(self, store: Store) -> str:
        found = store.namespaces(self._topic)
        if len(found) == 1:
            return found[0]
        if not found:
            msg = (
                f"no view of a topic {self._topic!r} in this Redis: no compactor has run, or it was flushed. "
                "Run: streamresults compactor run"
            )
            raise StoreUnavailable(msg)
        msg = f"{len(found)} views of a topic {self._topic!r} are in this Redis: set namespace to one of {found}"
        raise ConfigurationError(msg)


def _counts(about: TopicDescription, descriptor: Descriptor | None, before: Place | None) -> tuple[int, ...]:
    """Return the partition counts that can still hold live results, newest first."""
    told_apart = about.topic_id != NO_TOPIC_ID
    known = {about.partitions}
    if descriptor is not None and descriptor.topic_id == about.topic_id:
        known.update(descriptor.partition_counts)
    if before is not None and before.topic_id == about.topic_id:
        known.update(before.counts)  # the compactors may not have seen them yet, or Redis may have lost them
    # Partitions never become fewer: without an id, that is how a topic that was made again shows.
    return tuple(sorted((count for count in known if told_apart or count <= about.partitions), reverse=True))
