"""The view in memory, for tests and programs of one process: the same decisions, run as Python instead of Lua."""

from __future__ import annotations

import time
from collections import deque
from threading import Condition, Lock
from typing import TYPE_CHECKING, Final

from streamresults.errors import StoreOutOfMemory, StoreUnavailable
from streamresults.events.fold import combine
from streamresults.events.states import RANK_READY
from streamresults.store.base import (
    BatchReply,
    Descriptor,
    Interest,
    LiveBatch,
    Looked,
    Mark,
    Store,
    Subscription,
    View,
)
from streamresults.store.coverage import Coverage, Outcome, decide_live
from streamresults.store.keys import descriptor_key
from streamresults.store.value import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class _Partition:
    """What one partition's view holds."""

    def __init__(self) -> None:
        self.coverage: Coverage | None = None
        self.values: Final[dict[str, bytes]] = {}
        self.marks: Final[dict[str, tuple[bytes, Mark]]] = {}
        self.interests: Final[dict[str, dict[str, float]]] = {}


class MemoryView(View):
    """The view of one topic, in memory."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._lock: Final = Lock()
        self.partitions: Final[dict[int, _Partition]] = {}

    def apply(self, batches: Sequence[LiveBatch]) -> list[BatchReply]:
        """Fold batches into the view; see :meth:`View.apply`."""
        self._store.check(writing=True)
        return [self._apply(batch) for batch in batches]

    def _apply(self, batch: LiveBatch) -> BatchReply:
        now = self._store.now_ms()
        with self._lock:
            partition = self.partitions.setdefault(batch.partition, _Partition())
            decision = decide_live(partition.coverage, batch.claim, now)
            ready: list[str] = []
            if decision.outcome is Outcome.APPLIED:
                generation = decision.coverage.generation
                ready = [task for task, entry in batch.entries if _merge(partition, generation, task, entry, now)]
                for task, mark in batch.marks:
                    partition.marks[task] = (generation, mark)
                    ready.append(task)
            partition.coverage = decision.coverage
            told = [
                (channel, task)
                for task in ready
                for channel, until_ms in partition.interests.pop(task, {}).items()
                if until_ms > now
            ]
        for channel, task in told:
            self._store.publish(channel, task)
        return BatchReply(decision.outcome, decision.began, decision.coverage)

    def look(self, wanted: Mapping[int, Sequence[str]], interest: Interest | None = None) -> dict[int, Looked]:
        """Read values, marks and coverage; see :meth:`View.look`."""
        self._store.check(writing=False)
        now = self._store.now_ms()
        with self._lock:
            return {number: self._look(number, ids, interest, now) for number, ids in wanted.items()}

    def _look(self, number: int, ids: Sequence[str], interest: Interest | None, now: int) -> Looked:
        partition = self.partitions.setdefault(number, _Partition())
        coverage = partition.coverage
        values = [self._value(partition, task, now) for task in ids]
        marks = [self._mark(partition, task, now) for task in ids]
        if interest:
            for task, value in zip(ids, values, strict=True):
                best = unpack(value).summary.best if value else None
                if best is None or best.rank < RANK_READY or best.expires_ms <= now:
                    partition.interests.setdefault(task, {})[interest.channel] = now + interest.seconds * 1000
        return Looked(values, marks, coverage, now)

    @staticmethod
    def _value(partition: _Partition, task: str, now: int) -> bytes | None:
        value = partition.values.get(task)
        if value is None or partition.coverage is None:
            return None
        stored = unpack(value)
        current = stored.generation == partition.coverage.generation and stored.summary.keep_until_ms > now
        return value if current else None

    @staticmethod
    def _mark(partition: _Partition, task: str, now: int) -> Mark | None:
        generation, mark = partition.marks.get(task, (b"", None))
        current = mark and partition.coverage and generation == partition.coverage.generation
        return mark if current and mark and mark.keep_until_ms > now else None

    def drop_interest(self, wanted: Mapping[int, Sequence[str]], channel: str) -> None:
        """Take back an interest; see :meth:`View.drop_interest`."""
        self._store.check(writing=True)
        with self._lock:
            for number, ids in wanted.items():
                interests = self.partitions.setdefault(number, _Partition()).interests
                for task in ids:
                    interests.get(task, {}).pop(channel, None)


def _merge(partition: _Partition, generation: bytes, task: str, entry: bytes, now: int) -> bool:
    """Combine one entry with what is there; tell whether the task is ready now."""
    summary = unpack(generation + entry).summary
    older = partition.values.get(task)
    if older is not None:
        stored = unpack(older)
        if stored.generation == generation and stored.summary.keep_until_ms > now:
            summary = combine(stored.summary, summary)
    if summary.keep_until_ms > now:
        partition.values[task] = pack(generation, summary)
    else:
        partition.values.pop(task, None)
    return summary.best is not None and summary.best.rank >= RANK_READY


class MemorySubscription(Subscription):
    """Listens on one channel in memory."""

    def __init__(self, channel: str, listeners: dict[str, list[MemorySubscription]]) -> None:
        self._channel = channel
        self._listeners = listeners
        self._condition: Final = Condition()
        self._messages: Final[deque[str]] = deque()
        self._closed = False
        listeners.setdefault(channel, []).append(self)

    def put(self, task_id: str) -> None:
        """Deliver a message."""
        with self._condition:
            self._messages.append(task_id)
            self._condition.notify()

    def get(self, timeout: float) -> list[str] | None:
        """Block for task ids that became ready; see :meth:`Subscription.get`."""
        with self._condition:
            self._condition.wait_for(lambda: self._messages or self._closed, timeout)
            found = list(self._messages)
            self._messages.clear()
        return found

    def close(self) -> None:
        """End a blocked get; see :meth:`Subscription.close`."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        listeners = self._listeners.get(self._channel, [])
        if self in listeners:
            listeners.remove(self)


class MemoryStore(Store):
    """
    A store in memory; its state belongs to the instance.

    Args:
        clock: Returns milliseconds since 1970; tests hand in one that they move.
    """

    def __init__(self, clock: Callable[[], int] | None = None) -> None:
        self.now_ms: Final = clock or (lambda: time.time_ns() // 1_000_000)
        self._views: Final[dict[tuple[str, str], MemoryView]] = {}
        self._descriptors: Final[dict[str, Descriptor]] = {}
        self._namespaces: Final[dict[str, set[str]]] = {}
        self._listeners: Final[dict[str, list[MemorySubscription]]] = {}
        self._down = False
        self._full = False

    def outage(self, *, down: bool = False, full: bool = False) -> None:
        """Pretend from now on to be away, or out of memory; call without arguments to end it."""
        self._down, self._full = down, full

    def flush(self) -> None:
        """Lose everything, as FLUSHALL does."""
        for view in self._views.values():
            view.partitions.clear()
        self._descriptors.clear()
        self._namespaces.clear()

    def check(self, *, writing: bool) -> None:
        """Raise what a store that is away or full raises."""
        if self._down:
            raise StoreUnavailable("the in-memory store pretends to be away")
        if self._full and writing:
            raise StoreOutOfMemory("the in-memory store pretends to be full")

    def publish(self, channel: str, task_id: str) -> None:
        """Tell every listener of a channel."""
        for listener in list(self._listeners.get(channel, ())):
            listener.put(task_id)

    def view(self, namespace: str, topic_id: str) -> MemoryView:
        """Open the view of one topic."""
        return self._views.setdefault((namespace, topic_id), MemoryView(self))

    def read_descriptor(self, namespace: str, topic: str) -> Descriptor | None:
        """Return the descriptor of a topic's view."""
        self.check(writing=False)
        return self._descriptors.get(descriptor_key(namespace, topic))

    def write_descriptor(self, namespace: str, descriptor: Descriptor) -> None:
        """Publish the descriptor of a topic's view."""
        self.check(writing=True)
        self._descriptors[descriptor_key(namespace, descriptor.topic)] = descriptor
        self._namespaces.setdefault(descriptor.topic, set()).add(namespace)

    def namespaces(self, topic: str) -> list[str]:
        """Return the namespaces that hold a view of this topic's name."""
        self.check(writing=False)
        return sorted(self._namespaces.get(topic, ()))

    def subscribe(self, channel: str) -> MemorySubscription:
        """Listen on a channel."""
        self.check(writing=False)
        return MemorySubscription(channel, self._listeners)

    def eviction_policy(self) -> str | None:
        """Return noeviction: nothing is ever evicted here."""
        self.check(writing=False)
        return "noeviction"

    def ping(self) -> str:
        """Return the name of this store."""
        self.check(writing=False)
        return "memory"

    def close(self) -> None:
        """Keep everything: the instance is the server."""
