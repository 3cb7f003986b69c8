"""Which topic and which view a client means: asked once of Kafka, or, without Kafka, of the view's descriptor."""

from __future__ import annotations

from threading import TIMEOUT_MAX, Lock
from typing import TYPE_CHECKING, Final, NamedTuple

from streamresults.deadline import Deadline
from streamresults.errors import ConfigurationError, StoreUnavailable, TopicMismatch, TopicMissing, TopicUnavailable
from streamresults.store.coverage import FORMAT

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.store.base import Descriptor, Store, View
    from streamresults.topic.base import TopicInspector


class Place(NamedTuple):
    """One topic and its view."""

    namespace: str
    topic: str
    topic_id: str
    partitions: int
    #: ``None``: this process has no store.
    view: View | None
    #: The store may evict: a miss proves nothing.
    evicting: bool
    #: Why the store did not answer when it was asked for the descriptor; empty if it did.
    trouble: str = ""


class Whereabouts:
    """
    Finds the place when it is first needed, and keeps it. Thread-safe.

    Args:
        inspector: ``None`` in a process without Kafka.
        store: ``None`` in a process without Redis.
        namespace: Empty: Kafka's cluster id, or the only namespace that holds a view of this topic's name.
    """

    def __init__(
        self,
        *,
        inspector: TopicInspector | None,
        store: Store | None,
        topic: str,
        namespace: str,
        partition_of: Callable[[bytes, int], int],
    ) -> None:
        if inspector is None and store is None:
            raise ConfigurationError("neither Kafka nor Redis is configured: there is nothing to wait on or to look in")
        self._inspector: Final = inspector
        self._store: Final = store
        self._topic: Final = topic
        self._namespace: Final = namespace
        self._partition_of: Final = partition_of
        self._lock: Final = Lock()
        self._place: Place | None = None

    def find(self, deadline: Deadline) -> Place:
        """
        Return the place; blocks only until it was found once.

        Raises:
            TopicUnavailable, StoreUnavailable: Nobody who could tell answered.
            TopicMismatch: The view belongs to another cluster, or to another format.
        """
        if self._place is None:
            if not self._lock.acquire(timeout=deadline.remaining(TIMEOUT_MAX)):
                msg = f"another thread is still asking which topic and view there are, after {deadline.total:g} s"
                raise TopicUnavailable(msg)
            try:
                if self._place is None:
                    self._place = self._by_kafka(deadline) if self._inspector is not None else self._by_view()
            finally:
                self._lock.release()
        return self._place

    def partition_of(self, task_id: str, place: Place) -> int:
        """Return the partition of a task."""
        return self._partition_of(task_id.encode(), place.partitions)

    def _by_kafka(self, deadline: Deadline) -> Place:
        assert self._inspector is not None
        try:
            # Half of the time where the view can tell as well: a wait needs some of it too.
            about = self._inspector.describe(deadline if self._store is None else Deadline(deadline.remaining() / 2))
        except TopicUnavailable as exc:
            if self._store is None or isinstance(exc, TopicMissing):
                raise
            # Without Kafka the view still answers, if it says for itself what it is a view of.
            return self._by_view()
        namespace = self._namespace or about.cluster_id
        descriptor, trouble = self._descriptor(namespace)
        if descriptor is not None and descriptor.cluster_id != about.cluster_id:
            msg = (
                f"the view {namespace!r} of topic {self._topic!r} belongs to Kafka cluster {descriptor.cluster_id}, "
                f"this is {about.cluster_id}. Set namespace to the right one"
            )
            raise TopicMismatch(msg)
        view = self._store.view(namespace, about.topic_id) if self._store is not None else None
        evicting = descriptor is not None and descriptor.evicting
        return Place(namespace, self._topic, about.topic_id, about.partitions, view, evicting, trouble)

    def _descriptor(self, namespace: str) -> tuple[Descriptor | None, str]:
        """Return the descriptor, or why the store does not answer: waiting on the topic still works meanwhile."""
        if self._store is None:
            return None, ""
        try:
            return self._store.read_descriptor(namespace, self._topic), ""
        except StoreUnavailable as exc:
            return None, str(exc)

    def _by_view(self) -> Place:
        assert self._store is not None
        namespace = self._namespace or self._only_namespace(self._store)
        descriptor = self._store.read_descriptor(namespace, self._topic)
        if descriptor is None:
            msg = (
                f"no view of topic {self._topic!r} in namespace {namespace!r}: no compactor has run, or Redis was "
                "flushed. Run: streamresults compactor run"
            )
            raise StoreUnavailable(msg)
        if descriptor.format != FORMAT:
            msg = f"the view has format {descriptor.format}, this version reads {FORMAT}: upgrade the older of the two"
            raise TopicMismatch(msg)
        view = self._store.view(namespace, descriptor.topic_id)
        counts = descriptor.partition_counts
        return Place(namespace, self._topic, descriptor.topic_id, counts[0], view, descriptor.evicting)

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
