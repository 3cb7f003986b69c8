"""
The live lane: what has just arrived goes into the view, in one round trip, each batch with its coverage.

A reply always says where the partition's view is; that is where its next batch begins, whatever became of the last.
Nothing here waits for a service that is away: it raises, and may be called again with the same records.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Final

from streamresults.compactor.folding import fold_records
from streamresults.compactor.lane import Lane
from streamresults.deadline import PATIENT_ANSWER, Deadline
from streamresults.store.base import LiveBatch
from streamresults.store.coverage import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from streamresults.compactor.backfill import Backfill
    from streamresults.compactor.dead_letters import DeadLetters
    from streamresults.compactor.folding import FoldLimits
    from streamresults.compactor.placement import Placement
    from streamresults.events.summarize import Ranks
    from streamresults.store.base import BatchReply, View
    from streamresults.store.coverage import Coverage
    from streamresults.topic.base import TopicGroup, TopicInspector
    from streamresults.topic.records import Record, Watermarks

_log: Final = logging.getLogger("streamresults.compactor")
#: Events folded before they are sent off while folding goes on. Fewer cost a round trip each, more leave Redis idle.
_SEND_AHEAD: Final = 500


class LiveLanes:
    """
    The lanes of the partitions that one compactor holds. One thread makes all calls.

    Args:
        group: Told where to deliver on from, when the view is elsewhere than was thought.
        describe: Writes the view's descriptor; called when a generation began, as what stands beside it may be gone.
        confirm: Raises TopicRecreated when the topic is not the one whose view this is.
        in_touch: Tells whether the brokers answer. While they do not, nothing is written of a partition where
            nothing arrives: it would say that its view is up to date.
        placement: Looks whether tasks are where they should be.
        backfill: Completes what a generation lacks; ``None`` leaves it.
    """

    def __init__(
        self,
        *,
        view: View,
        codec: Ranks,
        inspector: TopicInspector,
        dead_letters: DeadLetters,
        limits: FoldLimits,
        rewind_max: int,
        group: TopicGroup,
        describe: Callable[[], object],
        confirm: Callable[[], object],
        in_touch: Callable[[], bool],
        placement: Placement,
        backfill: Backfill | None,
    ) -> None:
        self.lanes: Final[dict[int, Lane]] = {}
        self._view: Final = view
        self._codec: Final = codec
        self._inspector: Final = inspector
        self._dead_letters: Final = dead_letters
        self._limits: Final = limits
        self._rewind_max: Final = rewind_max
        self._group: Final = group
        self._describe: Final = describe
        self._confirm: Final = confirm
        self._in_touch: Final = in_touch
        self._placement: Final = placement
        self._backfill: Final = backfill
        self._descriptor_lost = False
        #: Generations that began and were not logged yet.
        self._fresh: dict[int, Coverage] = {}
        self._sender: Final = ThreadPoolExecutor(1, thread_name_prefix="streamresults-scripts")

    def close(self) -> None:
        """End the thread that sends."""
        self._sender.shutdown()

    def add(self, partition: int, marks: Watermarks, *, from_low: bool) -> None:
        """Take a partition over, at the end of the log: the first reply says where to go on."""
        self.lanes[partition] = Lane(partition, marks.high, marks.low, from_low=from_low)

    def drop(self, partitions: Sequence[int]) -> None:
        """Let go of partitions, with what is under way."""
        for partition in partitions:
            self.lanes.pop(partition, None)
        if self._backfill is not None:
            self._backfill.drop(partitions)

    def saw(self, reached: Mapping[int, int]) -> None:
        """Note how far the log goes, given the ends that a poll has reached."""
        ends = self._group.ends(list(self.lanes))
        for partition, lane in self.lanes.items():
            lane.saw(reached=reached.get(partition), end=ends.get(partition))

    def fold(self, arrived: dict[int, list[Record]], ends: dict[int, int]) -> None:
        """
        Write everything that arrived, and the empty batches that are due, in one round trip.

        What must not be folded after all is taken out of ``arrived`` and ``ends``.

        Raises:
            ServiceUnavailable: A service did not answer; what was written may be written again.
        """
        for lane in [lane for lane in self.lanes.values() if lane.astray]:
            self._reposition(lane, arrived, ends)
        told = set()
        for batch, reply in self._written(self._batches_of_all(arrived, ends)):
            self._replied(self.lanes[batch.partition], batch, reply)
            told.add(batch.partition)
        for lane in [self.lanes[partition] for partition in told]:
            if lane.position > lane.end_seen:
                self._check_loss(lane)
            if lane.astray:
                self._reposition(lane, arrived, ends)
        if self._fresh:
            self._tell_of_generations()
        if self._descriptor_lost:
            self._describe()
            self._descriptor_lost = False
        self._dead_letters.folded()

    def restart(self, partition: int, marks: Watermarks) -> None:
        """Start at the log's end, as the log does not hold our position; the view says where to go on."""
        lane = self.lanes[partition]
        _log.warning(
            "partition %d: the log holds [%d, %d) and not offset %d",
            partition,
            marks.low,
            marks.high,
            lane.position,
            extra={"action": "out_of_range", "partition": partition, "offset": lane.position},
        )
        lane.low, lane.position, lane.end_seen, lane.astray = marks.low, marks.high, marks.high, True

    def store_came_back(self) -> None:
        """Have the descriptor written again: a store that was away, or is older than it was, may lack it."""
        self._descriptor_lost = True

    def positions(self) -> dict[int, int]:
        """Return the next offset to fold of every partition whose view has answered."""
        return {p: lane.position for p, lane in self.lanes.items() if lane.coverage is not None}

    def incomplete(self) -> list[int]:
        """Return the partitions whose view lacks something that the log still holds."""
        return [p for p, lane in self.lanes.items() if lane.coverage is None or not lane.coverage.complete]

    # -- batches ----------------------------------------------------------------------------------------------------

    def _written(self, batches: Iterable[LiveBatch]) -> Iterator[tuple[LiveBatch, BatchReply]]:
        """
        Send batches as they come and yield their replies, in order.

        While a script runs the next batches are folded: Redis and this process work at the same time. A batch behind
        one that was not applied is refused by its claim, so nothing need be known of the one before it.
        """
        group: list[LiveBatch] = []
        sent: list[tuple[list[LiveBatch], Future[list[BatchReply]]]] = []
        events = 0
        try:
            for batch in batches:
                group.append(batch)
                events += len(batch.entries)
                if events >= _SEND_AHEAD:
                    sent.append((group, self._sender.submit(self._view.apply, group)))
                    group, events = [], 0
        finally:
            wait([future for _, future in sent])  # nothing may still be under way when all this is tried again
        for earlier, future in sent:
            yield from zip(earlier, future.result(), strict=True)
        if group:
            yield from zip(group, self._view.apply(group), strict=True)

    def _batches_of_all(self, arrived: Mapping[int, Sequence[Record]], ends: Mapping[int, int]) -> Iterator[LiveBatch]:
        for partition, lane in self.lanes.items():
            fresh = [record for record in arrived.get(partition, ()) if (record.offset() or 0) >= lane.position]
            yield from self._batches(lane, fresh, ends.get(partition, 0))

    def _batches(self, lane: Lane, records: Sequence[Record], end: int) -> Iterator[LiveBatch]:
        begin, sent = lane.position, False
        if records:
            lane.end_seen = max(lane.end_seen, (records[-1].offset() or 0) + 1)
            for segment in fold_records(records, self._codec, self._limits):
                marks = (
                    self._dead_letters.write(segment.unreadable, Deadline(PATIENT_ANSWER)) if segment.unreadable else []
                )
                claim = lane.claim(begin, segment.end, self._rewind_max)
                self._placement.check(lane.partition, segment.entries)
                yield LiveBatch(lane.partition, claim, segment.entries, marks)
                begin, sent = segment.end, True
        if end > begin or (not sent and lane.due() and (lane.coverage is None or self._in_touch())):
            # Moves the watermark over transaction markers, tells that we are alive, and notices a view that was lost.
            claim = lane.claim(begin, max(begin, end), self._rewind_max)
            yield LiveBatch(lane.partition, claim, ())

    def _replied(self, lane: Lane, batch: LiveBatch, reply: BatchReply) -> None:
        lane.replied(reply.coverage)
        if reply.began:
            self._began(lane, reply)
        if self._backfill is not None:
            self._backfill.update(lane.partition, reply.coverage)
        if reply.outcome is Outcome.APPLIED:
            return
        if reply.outcome is Outcome.AHEAD:
            self.store_came_back()
        lane.astray = True
        _log.info(
            "partition %d goes on at %d, not at %d: the view is %s",
            lane.partition,
            lane.position,
            batch.claim.begin,
            "ahead" if reply.outcome is Outcome.BEHIND else "behind",
            extra={"action": "repositioned", "partition": lane.partition, "offset": lane.position},
        )

    def _reposition(self, lane: Lane, arrived: dict[int, list[Record]], ends: dict[int, int]) -> None:
        """
        Have the group deliver from the view's watermark on.

        What arrived from elsewhere is dropped first: folded behind that watermark it would leave a hole.
        """
        arrived.pop(lane.partition, None)
        ends.pop(lane.partition, None)
        self._group.seek(lane.partition, lane.position)
        lane.astray = False
        lane.hurry()

    def _began(self, lane: Lane, reply: BatchReply) -> None:
        self._descriptor_lost = True
        self._fresh[lane.partition] = reply.coverage

    def _tell_of_generations(self) -> None:
        """Say where views began afresh, in one line: after a flush it is all of them at once."""
        fresh, self._fresh = self._fresh, {}
        missing = sum(max(0, coverage.start - coverage.target) for coverage in fresh.values())
        _log.warning(
            "no view to continue, a generation begins; partition: offset %s%s",
            {partition: coverage.start for partition, coverage in sorted(fresh.items())},
            f"; {missing} offsets below are not covered yet, misses there are answered NotYetCovered"
            if missing
            else "",
            extra={"action": "generation_began", "partitions": sorted(fresh), "missing": missing},
        )

    def _check_loss(self, lane: Lane) -> None:
        """Ask where the log ends now, after the watermark was read: it is beyond all that was seen of the log."""
        assert lane.coverage is not None
        end = self._inspector.ends([lane.partition], Deadline(PATIENT_ANSWER))[lane.partition]
        lane.end_seen = max(lane.end_seen, end)
        if lane.coverage.watermark <= end:
            return
        self._confirm()  # a topic that was made again is shorter too, and has lost nothing
        _log.critical(
            "partition %d: the log ends at %d, but the view has folded up to %d: acknowledged records were lost. "
            "A new generation begins at the log's end",
            lane.partition,
            end,
            lane.coverage.watermark,
            extra={"action": "log_lost_records", "partition": lane.partition, "offset": end},
        )
        claim = lane.proof_of_loss(lane.coverage, end)
        (reply,) = self._view.apply([LiveBatch(lane.partition, claim, ())])
        lane.replied(reply.coverage)
        lane.astray = True
        if reply.began:
            self._began(lane, reply)
