"""
Looks tasks up in the view, and waits until the view has folded far enough. It starts no thread and reads no topic.

Nobody answers from a view that is older than one that this process has seen before, by a wait or by a lookup: what it
shows may be forgotten.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from streamresults.client.provenance import Basis, Provenance
from streamresults.client.result import Result
from streamresults.client.unfetched import UnfetchedResult
from streamresults.deadline import ANSWER, Deadline
from streamresults.errors import ClientClosed, ConfigurationError, NotYetCovered, TopicMismatch, TopicUnavailable
from streamresults.store.value import unpack_best

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from threading import Event

    from streamresults.client.fetching import Fetcher
    from streamresults.client.provenance import Decoding
    from streamresults.client.watermarks import HighestWatermarks, Sight
    from streamresults.client.whereabouts import Place
    from streamresults.events.event import Position
    from streamresults.store.base import View
    from streamresults.topic.base import TopicInspector

#: Seconds between looks at a watermark that a lookup waits for: first and longest.
_LOOK_FIRST: Final = 0.005
_LOOK_LONGEST: Final = 0.25
#: Seconds for the brokers to say where the log ends when only a doubt hangs on it, and until they are asked again.
_DOUBT_ANSWER: Final = 2.0
_DOUBT_EVERY: Final = 0.25


class Lookups:
    """
    Looks tasks up. Thread-safe.

    Args:
        fetcher: Fetches what is too large for the view.
        inspector: Knows where the log ends; ``None`` without Kafka.
        homes: Every partition that a task can be in, that of the newest partition count first.
        closing: Set when the client is closed: whoever waits for a watermark ends then.
    """

    def __init__(
        self,
        decoding: Decoding,
        fetcher: Fetcher,
        watermarks: HighestWatermarks,
        inspector: TopicInspector | None,
        *,
        partitions_of: Callable[[Sequence[str], Place], Sequence[int]],
        homes: Callable[[str, Place], Sequence[int]],
        closing: Event,
    ) -> None:
        self._decoding: Final = decoding
        self._fetcher: Final = fetcher
        self._watermarks: Final = watermarks
        self._inspector: Final = inspector
        self._partitions_of: Final = partitions_of
        self._homes: Final = homes
        self._closing: Final = closing
        #: When the brokers were last asked about a partition's doubt.
        self._asked_at: Final[dict[int, float]] = {}

    # -- values -----------------------------------------------------------------------------------------------------

    def look_one(self, task_id: str, place: Place, deadline: Deadline) -> Result:
        """
        Return what the view knows of one task.

        Raises:
            TopicUnavailable, ConfigurationError: Its value stands in the log alone, and could not be read there.
        """
        (found,) = self.look([task_id], place, deadline)
        if isinstance(found, UnfetchedResult):
            raise found.why
        return found

    def look(self, task_ids: Sequence[str], place: Place, deadline: Deadline) -> list[Result]:
        """
        Return what the view knows of each task, in the order asked for, in one round trip.

        Args:
            deadline: For the values that stand in the log alone, which are read together.
        """
        results = self.look_in_view(task_ids, place)
        if any(type(result) is UnfetchedResult for result in results):
            self.fetch(results, deadline)
        return results

    def look_in_view(self, task_ids: Sequence[str], place: Place) -> list[Result]:
        """Do the same, and leave out the values that stand in the log alone: :meth:`fetch` reads these."""
        if len(place.counts) > 1:
            return self._look_in_homes(task_ids, place)
        by_partition: dict[int, list[str]] = defaultdict(list)
        partitions = self._partitions_of(task_ids, place)
        for task_id, partition in zip(task_ids, partitions, strict=True):
            by_partition[partition].append(task_id)
        found = self._watermarks.look(_view(place), by_partition)
        results = {
            partition: iter(self._part(place, partition, sight, by_partition[partition]).results)
            for partition, sight in found.items()
        }
        return [next(results[partition]) for partition in partitions]

    def _part(self, place: Place, partition: int, sight: Sight, task_ids: Sequence[str]) -> _PartitionSeen:
        older = self._is_older(partition, sight)
        return _PartitionSeen(place, partition, sight, task_ids, self._decoding, older=older)

    def _look_in_homes(self, task_ids: Sequence[str], place: Place) -> list[Result]:
        """Do the same where partitions were added: the higher rank wins, then the newer home."""
        by_partition: dict[int, list[str]] = {}
        places = []
        for task_id in task_ids:
            partitions = self._homes(task_id, place)
            ids = [by_partition.setdefault(partition, []) for partition in partitions]
            places.append([(partition, len(there)) for partition, there in zip(partitions, ids, strict=True)])
            for there in ids:
                there.append(task_id)
        found = self._watermarks.look(_view(place), by_partition)
        parts = {
            partition: self._part(place, partition, sight, by_partition[partition])
            for partition, sight in found.items()
        }
        return [_best_of([(parts[partition], index) for partition, index in homes]) for homes in places]

    def fetch(self, results: list[Result], deadline: Deadline) -> None:
        """Put whole results in the place of those whose values stand in the log alone; one reader reads all of them."""
        missing = {at: result for at, result in enumerate(results) if isinstance(result, UnfetchedResult)}
        found = self._fetcher.fetch_many({result.spot for result in missing.values()}, deadline)
        for at, result in missing.items():
            results[at] = result.fetched(found[result.spot])

    # -- watermarks -------------------------------------------------------------------------------------------------

    def await_end(self, task_id: str, place: Place, partitions: Sequence[int], deadline: Deadline) -> None:
        """
        Wait until the view has folded what the log holds now in these partitions.

        Raises:
            NotYetCovered: It did not get there in time.
            ConfigurationError: This process has no Kafka, which alone knows where the log ends, or no Redis.
        """
        if self._inspector is None:
            raise ConfigurationError(
                "a fresh lookup needs Kafka, which alone knows where the log ends: set kafka_bootstrap"
            )
        ends = self._inspector.ends(partitions, Deadline(deadline.remaining(ANSWER)))
        for partition, end in ends.items():
            self._watermarks.log_ends(partition, end)
            self._await_watermark(task_id, place, partition, end, deadline)

    def await_position(self, task_id: str, place: Place, at_least: Position, deadline: Deadline) -> None:
        """
        Wait until the view has folded a position.

        Raises:
            NotYetCovered: It did not get there in time.
            TopicMismatch: It is a position in another topic.
            ConfigurationError: This process has no Redis.
        """
        if at_least.topic_id and at_least.topic_id != place.topic_id:
            msg = f"the position is in topic {at_least.topic_id}, this is {place.topic_id}: the topic was made again"
            raise TopicMismatch(msg)
        self._await_watermark(task_id, place, at_least.partition, at_least.offset + 1, deadline)

    def _await_watermark(self, task_id: str, place: Place, partition: int, target: int, deadline: Deadline) -> None:
        """Wait until a view that is no older one has folded everything below ``target``."""
        view, pause = _view(place), _LOOK_FIRST
        while True:
            if self._closing.is_set():
                raise ClientClosed("the client was closed while a lookup waited for the view", task_id=task_id)
            sight = self._watermarks.look(view, {partition: ()})[partition]
            coverage = sight.looked.coverage
            if coverage is not None and coverage.watermark >= target and not self._is_older(partition, sight):
                return
            if deadline.passed():
                reached = "nothing" if coverage is None else f"offset {coverage.watermark}"
                msg = (
                    f"task {task_id!r}: after {deadline.total:g} s the view has folded {reached} of partition "
                    f"{partition}, not {max(target, sight.highest)}. Is a compactor running? Try: streamresults lag"
                )
                raise NotYetCovered(msg, task_id=task_id)
            self._closing.wait(deadline.remaining(pause))
            pause = min(pause * 2, _LOOK_LONGEST)

    def _is_older(self, partition: int, sight: Sight) -> bool:
        """Tell whether a look may not be answered from; the brokers resolve a doubt when the log has lost records."""
        if not sight.is_older:
            return False
        now = time.monotonic()
        if self._inspector is None or now - self._asked_at.get(partition, -_DOUBT_EVERY) < _DOUBT_EVERY:
            return True
        self._asked_at[partition] = now
        try:
            end = self._inspector.ends([partition], Deadline(_DOUBT_ANSWER))[partition]
        except TopicUnavailable:
            return True
        return not self._watermarks.log_ends(partition, end)


class _PartitionSeen:
    """What one look says of its partition, and of tasks in it."""

    def __init__(
        self,
        place: Place,
        number: int,
        sight: Sight,
        task_ids: Sequence[str],
        decoding: Decoding,
        *,
        older: bool,
    ) -> None:
        self._namespace: Final = place.namespace
        self._number: Final = number
        self._coverage: Final = sight.looked.coverage
        #: Nothing may be answered from it.
        self._older: Final = older
        now_ms, coverage = sight.looked.now_ms, self._coverage
        self.as_of: Final = None if coverage is None else max(0.0, (now_ms - coverage.as_of_ms) / 1000)
        self.uncovered: Final = self._why_not_all(sight.highest, evicting=place.evicting)
        basis = Basis.PARTIAL if self.uncovered else Basis.FULL
        provenance = Provenance(decoding, basis, place.topic_id, number, self.as_of, self.uncovered)
        #: The best event of each task, if it may be shown.
        self._bests: Final = [None if raw is None or older else unpack_best(raw, now_ms) for raw in sight.looked.values]
        self.marks: Final = [None] * len(task_ids) if older else sight.looked.marks
        #: What is known of each task.
        self.results: Final = [
            (Result if best is None or best.value is not None else UnfetchedResult)(task_id, provenance, best, mark)
            for task_id, best, mark in zip(task_ids, self._bests, self.marks, strict=True)
        ]

    def rank(self, index: int) -> int:
        """Return the rank of a task's best event, -1 without one."""
        best = self._bests[index]
        return -1 if best is None else best.rank

    def _why_not_all(self, highest: int, *, evicting: bool) -> str:
        """Say what the view does not cover, with the way to mend it; empty when it covers everything."""
        coverage = self._coverage
        if coverage is None:
            return (
                f"there is no view of partition {self._number} in namespace {self._namespace!r}. If that is the "
                "compactors' own: streamresults compactor run"
            )
        if self._older:
            return (
                f"the view of partition {self._number} is an older one: it has folded up to offset "
                f"{coverage.watermark}, and this process has seen one that had folded up to {highest}. Redis failed "
                "over or was restored; the compactors catch up. To watch them: streamresults lag"
            )
        if evicting:
            return "Redis may evict results (allow_eviction is set)"
        if not coverage.complete:
            return (
                f"the view of partition {self._number} does not cover [{coverage.target}, {coverage.start}) yet. "
                "A running compactor fills them in, newest first; to watch it: streamresults lag --watch"
            )
        return ""


def _best_of(homes: Sequence[tuple[_PartitionSeen, int]]) -> Result:
    """Return what all homes of a task amount to; what one of them does not cover is not covered."""
    chosen, at = max(homes, key=lambda home: home[0].rank(home[1]))
    found = chosen.results[at]
    marks = [part.marks[index] for part, index in homes]
    ages = [part.as_of for part, _ in homes]
    uncovered = next((part.uncovered for part, _ in homes if part.uncovered), "")
    return found.among_homes(
        mark=found.mark or next((mark for mark in marks if mark is not None), None),
        as_of=None if None in ages else max(age for age in ages if age is not None),
        uncovered=uncovered,
    )


def _view(place: Place) -> View:
    if place.view is None:
        raise ConfigurationError("a lookup needs Redis: set redis_url")
    return place.view
