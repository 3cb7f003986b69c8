"""
Finds partition counts that nobody saw: by records that stand where no known count puts their key.

Partitions may be added twice before anybody looks, or before a compactor ever ran, or what was known may be lost with
Redis. Workers write by the count that they know, so their records give it away.
"""

from __future__ import annotations

import logging
from collections import Counter
from threading import Lock
from typing import TYPE_CHECKING, Final

from streamresults.store.partition_counts import homes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_log: Final = logging.getLogger("streamresults.compactor")
#: Tasks of a batch that are looked at while one count is known. More costs every topic that never grew; fewer find a
#: count of long ago later. All are looked at where several counts are known.
_SAMPLE: Final = 16


class Placement:
    """
    The partition counts that the records of a topic give away. Thread-safe.

    Args:
        partition_of: The partition of a key among so many.
        newest: Asks the brokers for the count of now; called when a record is not where it should be.
    """

    def __init__(
        self, partition_of: Callable[[bytes, int], int], counts: Sequence[int], newest: Callable[[], int]
    ) -> None:
        self._partition_of: Final = partition_of
        self._newest: Final = newest
        self._lock: Final = Lock()
        self._counts: tuple[int, ...] = tuple(counts)
        self._warned = False

    @property
    def counts(self) -> tuple[int, ...]:
        """The counts that are known, newest first."""
        return self._counts

    def know(self, counts: Sequence[int]) -> None:
        """Take note of counts."""
        with self._lock:
            self._counts = tuple(sorted({*self._counts, *counts}, reverse=True))

    def replace(self, before: Sequence[int], now: Sequence[int]) -> None:
        """Take ``now`` for what was ``before``; what was found in between stays."""
        with self._lock:
            self._counts = tuple(sorted({*self._counts} - {*before} | {*now}, reverse=True))

    def check(self, partition: int, entries: Sequence[tuple[str, bytes]]) -> None:
        """
        Look at the tasks of a batch; what they give away is in :attr:`counts` from then on.

        Raises:
            TopicUnavailable, TopicRecreated: One is not where it should be, and the brokers did not say why.
        """
        counts = self._counts
        if partition >= counts[0]:
            return  # of a partition that was added just now
        sample = entries if len(counts) > 1 else entries[:_SAMPLE]
        strays = self._strays(partition, [task_id.encode() for task_id, _ in sample])
        if strays and not self._warned:
            # First of all there may be a newer count than the newest that is known.
            self.know((self._newest(),))
            strays = self._strays(partition, strays)
        while strays:
            count = self._explanation(partition, strays)
            if count is None:
                return
            self.know((count,))
            strays = [key for key in strays if self._partition_of(key, count) != partition]

    def _strays(self, partition: int, keys: Sequence[bytes]) -> list[bytes]:
        """Return the keys that no known count puts into a partition."""
        counts, partition_of = self._counts, self._partition_of
        return [key for key in keys if partition not in homes(key, counts, partition_of)]

    def _explanation(self, partition: int, strays: Sequence[bytes]) -> int | None:
        """Return the count that puts most of these keys where they are: the newest of several, ``None`` for none."""
        fitting = Counter(
            count
            for count in range(self._counts[0] - 1, partition, -1)
            for key in strays
            if self._partition_of(key, count) == partition
        )
        count, fits = max(fitting.items(), key=lambda item: item[::-1], default=(0, 0))
        if fits * 2 > len(strays):
            return count
        if not self._warned:
            self._warned = True
            _log.warning(
                "partition %d holds task %r, which no number of partitions puts there: a publisher uses another "
                "partitioner than murmur2, and lookups do not find its tasks",
                partition,
                strays[0].decode("utf-8", "replace"),
                extra={"action": "strange_partitioner", "partition": partition},
            )
        return None
