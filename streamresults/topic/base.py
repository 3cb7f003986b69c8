"""
What the flows may expect of a log of records, whichever implementation stands behind it.

A topic is a number of partitions, which may grow; a partition is a sequence of records at growing offsets, not
necessarily without gaps (transaction markers take offsets too). All records of one key that are written under one
number of partitions are in one partition, in the order in which they were acknowledged. A topic that is deleted and
made again by its name is another topic; only its description tells.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from streamresults.deadline import Deadline
    from streamresults.topic.records import (
        Acknowledgement,
        ClusterDescription,
        Headers,
        Polled,
        TopicDescription,
        TopicSettings,
        Watermarks,
    )


class TopicWriter(ABC):
    """
    Appends records.

    Every record is acknowledged at most once through its callback. Records of one key are appended in the order of
    the ``produce`` calls and none twice, whatever the client retries. Thread-safe. A forked child must open its own.
    """

    @abstractmethod
    def produce(
        self,
        key: bytes,
        value: bytes | None,
        on_ack: Callable[[Acknowledgement], None] | None,
        *,
        headers: Headers | None = None,
        partition: int = -1,
        topic: str | None = None,
    ) -> bool:
        """
        Queue a record and return at once; never blocks.

        Args:
            on_ack: Called once, and must neither block nor produce; or never when ``False`` is returned. On the
                writer's own thread, or within a later call of produce or attend, on whatever thread that is made. On
                the main thread a signal's handler may end it by raising: it is called once more then.
            partition: -1 for the one that the key belongs to.
            topic: Another topic than the writer's own, over the same connection: a first record there costs no
                second start.

        Returns:
            ``False`` when the queue is full: nothing was queued.

        Raises:
            RecordTooLarge: The record is larger than the writer takes; nothing was queued.
        """

    def urge(self) -> None:  # noqa: B027 -- a writer that never holds acknowledgements back has nothing to do
        """
        Say that somebody waits for an acknowledgement from now on; never blocks.

        While nobody does, a writer may hold acknowledgements back for some milliseconds.
        """

    def attend(self, done: Callable[[], bool], seconds: float) -> None:  # noqa: ARG002 -- of use to some writers
        """
        Say that this thread waits for an acknowledgement from now on, and what tells that it has come.

        A writer may serve acknowledgements on this thread meanwhile: for some milliseconds, and ``seconds`` at most.
        """
        self.urge()

    @abstractmethod
    def wait_for_room(self, deadline: Deadline) -> bool:
        """Block until the queue may have room; ``False`` when the deadline passed first."""

    @abstractmethod
    def flush(self, deadline: Deadline) -> int:
        """Block until every queued record is acknowledged or failed; return how many are not when it passes."""

    @abstractmethod
    def warm(self, deadline: Deadline) -> None:
        """
        Block until a first record could be sent without connecting first.

        Raises:
            TopicUnavailable: The deadline passed first.
        """

    @abstractmethod
    def close(self, deadline: Deadline) -> int:
        """Flush, then fail what is left with an error through its callback; return how many those were."""


#: Most records that one poll returns. Larger delays what stands behind a batch, smaller pays the call per record.
POLL_MAX: Final = 1000
#: The same of a group's poll. Larger holds more in memory; smaller leaves nothing to fold while a script runs.
GROUP_POLL_MAX: Final = 5000


class TopicReader(ABC):
    """
    Reads the partitions that it is told to, from the offsets that it is told, in no consumer group.

    One thread polls at a time; any may call the other methods. Nothing is ever committed. Within a partition records
    arrive in offset order and none is left out or repeated, until an error says otherwise. A topic that is deleted and
    made again under it may go unnoticed: it then reads on in the new one.
    """

    @abstractmethod
    def assign(self, offsets: Mapping[int, int]) -> None:
        """Add partitions, each to be read from the given offset; one that is already read moves there."""

    @abstractmethod
    def unassign(self, partitions: Sequence[int]) -> None:
        """Stop reading partitions; records already fetched may still arrive from one poll more."""

    @abstractmethod
    def poll(self, timeout: float) -> Polled:
        """
        Block up to ``timeout`` seconds for a first record, then return all that has arrived.

        Returns at most :data:`POLL_MAX` records and never waits for more of them.

        Raises:
            TopicUnavailable: The topic is gone, or the reader may not read it. Short outages are retried within.
        """

    @abstractmethod
    def wake(self) -> None:
        """Make a blocked poll return soon; used after an assign, so that it need not wait for a timeout."""

    @abstractmethod
    def close(self) -> None:
        """Release the connection; a blocked poll ends."""


class GroupEvents(Protocol):
    """What a consumer group tells its member, always from inside :meth:`TopicGroup.poll`."""

    def on_assigned(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """Return the offset from which to read each of the partitions that this member got."""

    def on_revoked(self, partitions: Sequence[int]) -> None:
        """Finish what is under way; another member gets these partitions when this returns."""

    def on_lost(self, partitions: Sequence[int]) -> None:
        """Drop what is under way; another member may have these partitions already."""


class TopicGroup(ABC):
    """
    Reads the topic as one member of a consumer group: every partition belongs to at most one live member.

    Partitions that are added are given to a member in time. Those of a topic that is deleted are taken away, and those
    of one that is made again by its name are given like new ones.

    A member that was paused for long may not know yet that it lost its partitions: writes elsewhere need a
    compare-and-set of their own. One thread makes all calls.
    """

    @abstractmethod
    def join(self, events: GroupEvents) -> None:
        """Begin to take part; assignments come from inside :meth:`poll`."""

    @abstractmethod
    def poll(self, timeout: float) -> Polled:
        """Like :meth:`TopicReader.poll`; also serves the group, so it must be called at least every minute."""

    @abstractmethod
    def seek(self, partition: int, offset: int) -> None:
        """Read a partition on from ``offset``; what was fetched before is dropped."""

    @abstractmethod
    def ends(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """Return where partitions ended when they were last fetched, without asking anybody; unknown ones lack."""

    @abstractmethod
    def pause(self, partitions: Sequence[int]) -> None:
        """Deliver nothing of these partitions until they are resumed; what was fetched is kept or fetched again."""

    @abstractmethod
    def resume(self, partitions: Sequence[int]) -> None:
        """Deliver again."""

    @abstractmethod
    def commit(self, offsets: Mapping[int, int], *, wait: bool) -> None:
        """
        Store offsets with the group, for lag tools: the next offset to be folded of each partition.

        Without ``wait`` it returns at once. A refusal because of a rebalance is not an error: nothing depends on it.
        """

    @abstractmethod
    def close(self) -> None:
        """Leave the group and release the connection."""


class TopicInspector(ABC):
    """
    Answers questions about the topic over a connection of its own, so that no fetch delays an answer. Thread-safe.

    Every method blocks up to its deadline and raises :class:`~streamresults.errors.TopicUnavailable` after it.
    """

    @abstractmethod
    def describe(self, deadline: Deadline) -> TopicDescription:
        """Return which topic this is and how many partitions it has."""

    @abstractmethod
    def watermarks(self, partitions: Sequence[int], deadline: Deadline) -> dict[int, Watermarks]:
        """Return the bounds of each partition at some moment after the call."""

    @abstractmethod
    def ends(self, partitions: Sequence[int], deadline: Deadline) -> dict[int, int]:
        """Return each partition's high watermark alone: one request instead of two."""

    @abstractmethod
    def offsets_at(self, partitions: Sequence[int], milliseconds: int, deadline: Deadline) -> dict[int, int]:
        """
        Return per partition the first offset appended at or after a time, the end when there is none yet.

        A broker that cannot tell answers with the low watermark, and that is logged once.
        """

    @abstractmethod
    def topic_config(self, deadline: Deadline) -> dict[str, str] | None:
        """Return the topic's settings by their Kafka names; ``None`` where the broker cannot tell."""

    @abstractmethod
    def close(self) -> None:
        """Release the connection."""


class Broker(ABC):
    """
    Opens everything above on one cluster. Opening connects to nothing; the first use does. Thread-safe.

    What it opened belongs to the opener, who closes it.
    """

    @abstractmethod
    def writer(self, topic: str) -> TopicWriter:
        """Open a writer: idempotent, acknowledged by all in-sync replicas."""

    @abstractmethod
    def reader(self, topic: str, *, bulk: bool = False) -> TopicReader:
        """
        Open a reader outside of any group.

        Args:
            bulk: Fetch far ahead, for reading a whole log; otherwise little is held in memory.
        """

    @abstractmethod
    def group(self, topic: str, group: str) -> TopicGroup:
        """Open a member of a consumer group."""

    @abstractmethod
    def inspector(self, topic: str) -> TopicInspector:
        """Open a connection that answers questions about a topic."""

    @abstractmethod
    def cluster(self, deadline: Deadline) -> ClusterDescription:
        """
        Return how many brokers and which topics there are.

        Raises:
            TopicUnavailable: The cluster did not answer.
        """

    @abstractmethod
    def create_topics(self, topics: Mapping[str, TopicSettings], deadline: Deadline) -> dict[str, bool]:
        """
        Create topics that do not exist and wait until every partition has a leader.

        Returns:
            Per topic whether it was created (``False``: it was there, and was left as it is).

        Raises:
            TopicUnavailable: The cluster did not answer, refused, or cannot create topics.
        """

    @abstractmethod
    def partition_of(self, key: bytes, partitions: int) -> int:
        """Return the partition that the writer puts a key into; needs no connection."""
