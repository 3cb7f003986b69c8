"""Reads the in-memory broker: alone from given offsets, or as one of a group. Waits on the broker's condition only."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from streamresults.deadline import Deadline
from streamresults.errors import TopicUnavailable
from streamresults.topic.base import GroupEvents, TopicGroup, TopicReader
from streamresults.topic.memory_log import Cluster, Cursor
from streamresults.topic.records import Polled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: What a take without any news gives.
NOTHING: Final = Polled([], {}, {})


def _wait(cluster: Cluster, done: Callable[[], object], deadline: Deadline) -> None:
    """Wait for any change that makes ``done`` true; the caller holds the condition."""
    remaining = deadline.remaining()
    cluster.changed.wait_for(done, remaining if remaining < threading.TIMEOUT_MAX else None)


class MemoryReader(TopicReader):
    """Reads on its own."""

    def __init__(self, cluster: Cluster, topic: str) -> None:
        self._cluster = cluster
        self._topic = topic
        self._cursor = Cursor(cluster, topic)
        self._woken = False
        self._closed = False

    def assign(self, offsets: Mapping[int, int]) -> None:
        """Add partitions."""
        with self._cluster.changed:
            self._cursor.put(offsets)
            self._cluster.changed.notify_all()

    def unassign(self, partitions: Sequence[int]) -> None:
        """Drop partitions."""
        with self._cluster.changed:
            for partition in partitions:
                self._cursor.drop(partition)

    def poll(self, timeout: float) -> Polled:
        """Return what arrived."""
        found = NOTHING

        def arrived() -> bool:
            nonlocal found
            if self._woken or self._closed:
                return True
            found = self._cursor.take()
            return found != NOTHING

        with self._cluster.changed:
            if self._closed:
                msg = f"the reader of {self._topic!r} is closed"
                raise TopicUnavailable(msg)
            _wait(self._cluster, arrived, Deadline(timeout))
            self._woken = False
            return found

    def wake(self) -> None:
        """Return at once."""
        with self._cluster.changed:
            self._woken = True
            self._cluster.changed.notify_all()

    def close(self) -> None:
        """End a poll."""
        with self._cluster.changed:
            self._closed = True
            self._cluster.changed.notify_all()


class GroupState:
    """
    Which member has which partitions, and which it should have; the cluster's condition guards it.

    A partition moves in two steps, as with Kafka: who has it gives it up in a poll of its own, then who should have
    it takes it in a poll of its own. So it never has two members.
    """

    def __init__(self) -> None:
        self.members: list[MemoryGroup] = []
        self.committed: dict[int, int] = {}

    def share(self, member: MemoryGroup, partitions: int) -> set[int]:
        """Return what a member should have."""
        if member not in self.members:
            return set()
        return set(range(self.members.index(member), partitions, len(self.members)))

    def free(self, partitions: set[int], asking: MemoryGroup) -> set[int]:
        """Return those of the partitions that no other member still has."""
        return {at for at in partitions if not any(at in other.owned for other in self.members if other is not asking)}


class MemoryGroup(TopicGroup):
    """One member of a group."""

    def __init__(self, cluster: Cluster, topic: str, state: GroupState) -> None:
        self._cluster = cluster
        self._topic = topic
        self._state = state
        self._cursor = Cursor(cluster, topic)
        self._events: GroupEvents | None = None
        #: What it was given and has not given up, and of which topic; both empty at first.
        self.owned: set[int] = set()
        self._topic_id = ""

    def join(self, events: GroupEvents) -> None:
        """Take part."""
        with self._cluster.changed:
            self._events = events
            self._state.members.append(self)
            self._cluster.changed.notify_all()

    def expel(self) -> None:
        """Throw this member out, as a broker does with one that is not heard of; its next poll tells ``on_lost``."""
        with self._cluster.changed:
            self._state.members.remove(self)
            self._cluster.changed.notify_all()

    def poll(self, timeout: float) -> Polled:
        """Return what arrived, after the events that are due."""
        deadline = Deadline(timeout)
        events = self._joined()
        while True:
            self._rebalance(events)
            with self._cluster.changed:
                polled = self._cursor.take() if self._cursor.offsets else NOTHING
                if polled != NOTHING or deadline.passed():
                    return polled
                # take() is asked again in the loop, behind the events: this wait only needs to know that it is worth.
                _wait(self._cluster, lambda: self._due() or self._has_more(), deadline)

    def ends(self, partitions: Sequence[int]) -> dict[int, int]:
        """Return where partitions end."""
        with self._cluster.changed:
            log = self._cluster.find(self._topic)
            return {} if log is None else {at: log.partitions[at].high for at in partitions}

    def _has_more(self) -> bool:
        cursor = self._cursor
        if not cursor.offsets:
            return False
        logs = self._cluster.log(self._topic).partitions
        return any(
            not logs[at].low <= offset == logs[at].high
            for at, offset in cursor.offsets.items()
            if at not in cursor.paused
        )

    def _due(self) -> tuple[set[int], set[int]] | None:
        """Return what to give up and what to take now; ``None`` when all is as it should be."""
        log = self._cluster.find(self._topic)
        if self.owned and (log is None or log.topic_id != self._topic_id):
            return set(self.owned), set()  # of a topic that is gone; those of one that has its name now come after it
        if log is None:
            return None
        wanted = self._state.share(self, len(log.partitions))
        leaving, coming = self.owned - wanted, self._state.free(wanted - self.owned, self)
        return (leaving, coming) if leaving or coming else None

    def _rebalance(self, events: GroupEvents) -> None:
        """Tell the events that are due, without holding the condition: they may write to this broker."""
        with self._cluster.changed:
            lost = self not in self._state.members
            leaving, coming = self._due() or (set(), set())
            if lost:
                # Rejoins like a real member; who has its partitions meanwhile is not asked.
                self._state.members.append(self)
            # Nobody else may take these between here and the end of the event.
            self.owned |= coming
            if coming:
                self._topic_id = self._cluster.log(self._topic).topic_id
        if leaving:
            self._give_up(events, leaving, lost=lost)
        if coming:
            offsets = events.on_assigned(sorted(coming))
            with self._cluster.changed:
                self._cursor.put(offsets)

    def _give_up(self, events: GroupEvents, partitions: set[int], *, lost: bool) -> None:
        try:
            (events.on_lost if lost else events.on_revoked)(sorted(partitions))
        finally:
            with self._cluster.changed:
                self.owned -= partitions
                for partition in partitions:
                    self._cursor.drop(partition)
                self._cluster.changed.notify_all()

    def _joined(self) -> GroupEvents:
        if self._events is None:
            msg = f"cannot read topic {self._topic!r}: it has not joined its group, or has left"
            raise TopicUnavailable(msg)
        return self._events

    def seek(self, partition: int, offset: int) -> None:
        """Read on from elsewhere."""
        with self._cluster.changed:
            self._cursor.put({partition: offset})

    def pause(self, partitions: Sequence[int]) -> None:
        """Deliver nothing of these."""
        with self._cluster.changed:
            self._cursor.paused.update(partitions)

    def resume(self, partitions: Sequence[int]) -> None:
        """Deliver again."""
        with self._cluster.changed:
            self._cursor.paused.difference_update(partitions)
            self._cluster.changed.notify_all()

    def commit(self, offsets: Mapping[int, int], *, wait: bool) -> None:
        """Store offsets."""
        del wait
        with self._cluster.changed:
            self._state.committed.update({at: offset for at, offset in offsets.items() if at in self.owned})

    def close(self) -> None:
        """Leave the group."""
        with self._cluster.changed:
            if self in self._state.members:
                self._state.members.remove(self)
            self._events = None
            self.owned = set()
            self._cluster.changed.notify_all()
