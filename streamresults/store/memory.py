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
    BackfillBatch,
    BackfillReply,
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
from streamresults.store.coverage import Coverage, Outcome, decide_backfill, decide_live
from streamresults.store.descriptor import of_this_format
from streamresults.store.keys import descriptor_keys
from streamresults.store.memory_parts import MemoryParts
from streamresults.store.value import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from streamresults.events.fold import Summary


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
            told: list[tuple[str, str]] = []
            if decision.outcome is Outcome.APPLIED:
                told = _fold_in(partition, decision.coverage.generation, batch, now, backwards=False)
            partition.coverage = decision.coverage
        self._tell(told)
        return BatchReply(decision.outcome, decision.began, decision.coverage)

    def backfill(self, batches: Sequence[BackfillBatch]) -> list[BackfillReply]:
        """Fold batches under the view; see :meth:`View.backfill`."""
        self._store.check(writing=True)
        return [self._backfill(batch) for batch in batches]

    def _backfill(self, batch: BackfillBatch) -> BackfillReply:
        now = self._store.now_ms()
        with self._lock:
            partition = self.partitions.setdefault(batch.partition, _Partition())
            coverage = decide_backfill(partition.coverage, batch.claim, now)
            if coverage is None:
                return BackfillReply(applied=False, coverage=partition.coverage)
            told = _fold_in(partition, coverage.generation, batch, now, backwards=True)
            partition.coverage = coverage
        self._tell(told)
        return BackfillReply(applied=True, coverage=coverage)

    def _tell(self, told: Sequence[tuple[str, str]]) -> None:
        for channel, task in told:
            self._store.publish(channel, task)

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


def _fold_in(
    partition: _Partition, generation: bytes, batch: LiveBatch | BackfillBatch, now: int, *, backwards: bool
) -> list[tuple[str, str]]:
    """Fold a batch's entries and marks in; return (channel, task) for everybody who is to be told."""
    ready = []
    for task, entry in batch.entries:
        present, summary = _present(partition, generation, task, now), unpack(generation + entry).summary
        if present is not None:
            summary = combine(summary, present) if backwards else combine(present, summary)
        if _put(partition, generation, task, summary, now):
            ready.append(task)
    for task, mark in batch.marks:
        marked_in, there = partition.marks.get(task, (b"", None))
        later_stands = there is not None and marked_in == generation and there.keep_until_ms > now
        if not backwards or not later_stands:
            partition.marks[task] = (generation, mark)
        ready.append(task)
    return [
        (channel, task)
        for task in ready
        for channel, until_ms in partition.interests.pop(task, {}).items()
        if until_ms > now
    ]


def _present(partition: _Partition, generation: bytes, task: str, now: int) -> Summary | None:
    value = partition.values.get(task)
    stored = unpack(value) if value is not None else None
    if stored is None or stored.generation != generation or stored.summary.keep_until_ms <= now:
        return None
    return stored.summary


def _put(partition: _Partition, generation: bytes, task: str, summary: Summary, now: int) -> bool:
    """Store a summary, or drop what need not be kept any more; tell whether the task is ready now."""
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
        #: Held while a descriptor is changed.
        self._describing: Final = Lock()
        self._namespaces: Final[dict[str, set[str]]] = {}
        self._listeners: Final[dict[str, list[MemorySubscription]]] = {}
        self._parts: Final[dict[tuple[str, str], MemoryParts]] = {}
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
        for parts in self._parts.values():
            parts.flush()

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
        found = (self._descriptors.get(key) for key in descriptor_keys(namespace, topic))
        return next((descriptor for descriptor in found if descriptor is not None), None)

    def change_descriptor(
        self, namespace: str, topic: str, change: Callable[[Descriptor | None], Descriptor]
    ) -> Descriptor:
        """Publish what a change makes of the descriptor."""
        self.check(writing=True)
        with self._describing:
            own, *_ = descriptor_keys(namespace, topic)
            descriptor = change(of_this_format(self._descriptors.get(own)))
            key, *older = descriptor_keys(namespace, topic, descriptor.format)
            self._descriptors[key] = descriptor
            for other in older:
                self._descriptors.setdefault(other, descriptor)
            self._namespaces.setdefault(topic, set()).add(namespace)
        return descriptor

    def namespaces(self, topic: str) -> list[str]:
        """Return the namespaces that hold a view of this topic's name."""
        self.check(writing=False)
        return sorted(self._namespaces.get(topic, ()))

    def subscribe(self, channel: str) -> MemorySubscription:
        """Listen on a channel."""
        self.check(writing=False)
        return MemorySubscription(channel, self._listeners)

    def parts(self, namespace: str, topic: str) -> MemoryParts:
        """Open the sets of parts of a topic."""
        return self._parts.setdefault((namespace, topic), MemoryParts(self.now_ms, lambda: self.check(writing=True)))

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
