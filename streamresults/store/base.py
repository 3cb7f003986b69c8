"""
What the flows may expect of the view of one topic, whichever store stands behind it.

The store offers the atomic grade: a batch and its coverage are one step, and so are a value and the coverage it is
read with. A store that could only merge key by key would have to report coverage as unknown; none does today.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from streamresults.store.coverage import BackfillClaim, Coverage, LiveClaim, Outcome
    from streamresults.store.parts import Parts


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What a record that could not be read leaves behind under its key."""

    #: Where it stands in the topic.
    offset: int
    #: Why it could not be read: the error's name and text.
    reason: str
    #: Where the original bytes are, such as ``results.dlq[3]@41``.
    place: str
    keep_until_ms: int


class LiveBatch(NamedTuple):
    """The offsets [begin, end) of one partition, folded per task."""

    partition: int
    claim: LiveClaim
    #: Task id and the packed summary of its events, each task once.
    entries: Sequence[tuple[str, bytes]]
    marks: Sequence[tuple[str, Mark]] = ()


class BatchReply(NamedTuple):
    """What became of a live batch."""

    outcome: Outcome
    #: A generation was begun by this batch.
    began: bool
    coverage: Coverage


class BackfillBatch(NamedTuple):
    """The offsets [begin, end) of one partition, below all that the view has folded, per task."""

    partition: int
    claim: BackfillClaim
    #: Task id and the packed summary of its events, each task once.
    entries: Sequence[tuple[str, bytes]]
    marks: Sequence[tuple[str, Mark]] = ()


class BackfillReply(NamedTuple):
    """What became of a back-fill batch."""

    #: ``False``: the view had changed, and nothing was written.
    applied: bool
    #: ``None``: there is no view.
    coverage: Coverage | None


class Looked(NamedTuple):
    """Values of one partition and the coverage they were read with, at one moment."""

    #: As stored, in the order asked for; ``None`` for a miss. Values of another generation were left out.
    values: Sequence[bytes | None]
    #: Dead-letter marks, in the same order.
    marks: Sequence[Mark | None]
    #: ``None``: there is no view of this partition.
    coverage: Coverage | None
    #: The store's clock when it was read, in milliseconds.
    now_ms: int


class Descriptor(msgspec.Struct, frozen=True, kw_only=True):
    """What a client must know of a view before it can read it."""

    cluster_id: str
    topic: str
    topic_id: str
    #: The partition counts that can still hold live results, newest first.
    partition_counts: tuple[int, ...]
    format: int
    #: The store may evict: a miss proves nothing.
    evicting: bool = False
    #: Of each count but the first: since when, in milliseconds since 1970, a newer one is known.
    superseded_ms: tuple[int, ...] = ()


class Interest(NamedTuple):
    """Who is to be told when a task becomes ready, and for how long."""

    channel: str
    seconds: float


class View(ABC):
    """
    The view of one topic. Thread-safe; a forked child must open its own.

    Every method may raise :class:`~streamresults.errors.StoreUnavailable`, within the socket timeout that the store
    was opened with. A write that raised may have happened: every write may be repeated.
    """

    @abstractmethod
    def apply(self, batches: Sequence[LiveBatch]) -> list[BatchReply]:
        """
        Fold batches into the view, each atomically with its coverage, in order, in one round trip.

        Batches of one partition follow each other; each is judged by its own claim.

        Raises:
            StoreOutOfMemory: The store refuses writes; some of the batches may have been applied.
        """

    @abstractmethod
    def backfill(self, batches: Sequence[BackfillBatch]) -> list[BackfillReply]:
        """
        Fold batches under the view, each atomically with its coverage, in order, in one round trip.

        A batch is applied if the view still has its generation and begins where the batch ends. Batches of one
        partition follow each other downwards.

        Raises:
            StoreOutOfMemory: The store refuses writes; some of the batches may have been applied.
        """

    @abstractmethod
    def look(self, wanted: Mapping[int, Sequence[str]], interest: Interest | None = None) -> dict[int, Looked]:
        """
        Read values, marks and coverage, atomically per partition, all partitions in one round trip.

        Args:
            wanted: Task ids by partition; an empty sequence reads the coverage alone.
            interest: Told of each of these tasks that is not ready now, once, when it becomes ready or is marked.
        """


class Subscription(ABC):
    """Listens on one channel. One thread reads; closing from another thread ends it."""

    @abstractmethod
    def get(self, timeout: float) -> list[str] | None:
        """
        Block up to ``timeout`` seconds; return the task ids that became ready, empty on a time-out.

        ``None`` says that the connection was lost and made again: messages may have been missed.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the connection."""


class Store(ABC):
    """Opens views on one server. Opening connects to nothing; the first use does. Thread-safe."""

    @abstractmethod
    def view(self, namespace: str, topic_id: str) -> View:
        """Open the view of one topic."""

    @abstractmethod
    def read_descriptor(self, namespace: str, topic: str) -> Descriptor | None:
        """
        Return the descriptor of a topic's view, ``None`` when there is none.

        Where there is no view of this release's format, it is that of another one, if such a view is known of:
        :func:`~streamresults.store.descriptor.mismatch` tells.
        """

    @abstractmethod
    def change_descriptor(
        self, namespace: str, topic: str, change: Callable[[Descriptor | None], Descriptor]
    ) -> Descriptor:
        """
        Publish what ``change`` makes of the descriptor that stands, enter it into the directory, and return it.

        Nobody else's change is lost: if another one came between reading and writing, ``change`` is called again with
        what that one wrote. It is given ``None`` where there is no view of this release's format.

        It stands beside those of other formats; see :func:`~streamresults.store.keys.descriptor_keys`.
        """

    def write_descriptor(self, namespace: str, descriptor: Descriptor) -> None:
        """Publish the descriptor of a topic's view, whatever stands there: :meth:`change_descriptor` without a look."""
        self.change_descriptor(namespace, descriptor.topic, lambda _: descriptor)

    @abstractmethod
    def namespaces(self, topic: str) -> list[str]:
        """Return the namespaces that hold a view of a topic of this name, sorted."""

    @abstractmethod
    def subscribe(self, channel: str) -> Subscription:
        """Listen on a channel; returns once messages published from now on will arrive."""

    @abstractmethod
    def parts(self, namespace: str, topic: str) -> Parts:
        """Open the sets of parts that are counted beside the view of a topic."""

    @abstractmethod
    def eviction_policy(self) -> str | None:
        """Return what the server does when it is full, such as ``noeviction``; ``None`` when it does not say."""

    @abstractmethod
    def ping(self) -> str:
        """Return the server's name and version, such as ``redis 7.0.15``; blocks for one round trip."""

    @abstractmethod
    def close(self) -> None:
        """Release every connection."""
