"""
Completes views downwards, newest first, on a thread and connections of its own, while the live lane goes on.

Every batch is a compare-and-set on (generation, start): a flush, a failover, another compactor or a new generation in
the middle costs the one batch that was under way. Nothing here moves a watermark.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from threading import Condition, Thread
from typing import TYPE_CHECKING, Final, NamedTuple

from streamresults.compactor.folding import FoldLimits, fold_records
from streamresults.deadline import PATIENT_ANSWER, Deadline
from streamresults.errors import ServiceUnavailable, TopicUnavailable
from streamresults.store.base import BackfillBatch
from streamresults.store.coverage import BackfillClaim

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamresults.compactor.dead_letters import DeadLetters
    from streamresults.events.codec import Codec
    from streamresults.store.base import View
    from streamresults.store.coverage import Coverage
    from streamresults.topic.base import TopicInspector, TopicReader
    from streamresults.topic.records import Record

_log: Final = logging.getLogger("streamresults.backfill")
#: Offsets read at once. Fewer pay the start of a fetch more often; more delay the newest of them.
CHUNK: Final = 20_000
#: Bytes of values held at once: large records make a chunk shorter instead of memory larger.
CHUNK_BYTES: Final = 32 * 1024 * 1024
#: Scripts sent in one round trip. More keep Redis from the live lane for longer.
PIPELINE: Final = 8
#: Seconds to read one chunk.
_READ: Final = 30.0
#: Seconds until a service that failed is asked again.
_RETRY: Final = 1.0
#: Seconds between two lines of log about progress.
_REPORT_EVERY: Final = 10.0


class Chunk(NamedTuple):
    """Neighbouring records of one partition: all that there are in [begin, end)."""

    begin: int
    end: int
    records: Sequence[Record]


class Backfill:
    """
    The back-fill lane of one compactor.

    It yields whenever the live lane is behind: :meth:`let` says so.

    Args:
        open_reader: Opens a reader of its own; called when there is something to fill.
        dead_letters: Its own, for what cannot be read; another one than the live lane's.
    """

    def __init__(
        self,
        *,
        open_reader: Callable[[], TopicReader],
        inspector: TopicInspector,
        codec: Codec,
        dead_letters: DeadLetters,
        limits: FoldLimits,
    ) -> None:
        self._open_reader: Final = open_reader
        self._inspector: Final = inspector
        self._codec: Final = codec
        self._dead_letters: Final = dead_letters
        self._limits: Final = limits
        self._lock: Final = Condition()
        #: Partitions with an incomplete view, the next one to fill first.
        self._wanted: Final[dict[int, Coverage]] = {}
        self._allowed = True
        self._closed = False
        self._view: View | None = None
        self._check_placement: Callable[[int, Sequence[tuple[str, bytes]]], None] = lambda *_: None
        self._reader: TopicReader | None = None
        self._thread: Thread | None = None
        self._reported = (0.0, 0)
        self._filled = 0

    # -- for the live lane ------------------------------------------------------------------------------------------

    def begin(self, view: View, check_placement: Callable[[int, Sequence[tuple[str, bytes]]], None]) -> None:
        """Say which view is to be filled, and who looks whether tasks are where they should be."""
        self._view = view
        self._check_placement = check_placement

    def update(self, partition: int, coverage: Coverage) -> None:
        """Take what a script returned; begin to fill if something is missing. Cheap, and never blocks on a service."""
        with self._lock:
            known = self._wanted.get(partition)
            if coverage.complete:
                self._wanted.pop(partition, None)
                return
            if known is not None and (known.generation, known.start) == (coverage.generation, coverage.start):
                return
            self._wanted[partition] = coverage
            if self._thread is None:
                self._thread = Thread(target=self._fill_forever, name="streamresults-backfill", daemon=True)
                self._thread.start()
            self._lock.notify_all()

    def drop(self, partitions: Sequence[int]) -> None:
        """Stop filling partitions that belong to somebody else now."""
        with self._lock:
            for partition in partitions:
                self._wanted.pop(partition, None)

    def let(self, *, go_on: bool) -> None:
        """Hold, or let go on: the live lane comes first."""
        if go_on != self._allowed:
            with self._lock:
                self._allowed = go_on
                self._lock.notify_all()

    def close(self) -> None:
        """End the lane; a batch under way is finished or refused, whole."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
        if self._reader is not None:
            self._reader.wake()
        if self._thread is not None:
            self._thread.join()
        if self._reader is not None:
            self._reader.close()

    # -- the lane ---------------------------------------------------------------------------------------------------

    def _fill_forever(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._closed or (self._allowed and bool(self._wanted)))
                if self._closed:
                    return
                partition, coverage = next(iter(self._wanted.items()))
            try:
                after = self._fill(partition, coverage)
            except Exception as exc:  # noqa: BLE001 -- whatever a record or a service does, the lane goes on
                known = isinstance(exc, ServiceUnavailable)
                _log.warning("back-fill waits: %s", exc, exc_info=not known, extra={"action": "backfill_waits"})
                with self._lock:
                    self._lock.wait_for(lambda: self._closed, _RETRY)
            else:
                self._went_on(partition, coverage, after)

    def _went_on(self, partition: int, before: Coverage, after: Coverage | None) -> None:
        """Put the partition behind the others, or strike it out when nothing is missing any more."""
        with self._lock:
            known = self._wanted.pop(partition, None)
            if known is None:
                return
            if (known.generation, known.start) != (before.generation, before.start):
                self._wanted[partition] = known  # the live lane knows something newer
            elif after is not None and not after.complete:
                self._wanted[partition] = after
            left = sum(coverage.start - coverage.target for coverage in self._wanted.values())
        if after is not None and after.complete:
            _log.info(
                "back-fill of partition %d is complete from offset %d",
                partition,
                after.start,
                extra={"action": "backfill_complete", "partition": partition},
            )
        self._report(left)

    def _report(self, left: int) -> None:
        now = time.monotonic()
        since, before = self._reported
        if now - since < _REPORT_EVERY:
            return
        rate = (self._filled - before) / (now - since) if since else 0.0
        self._reported = (now, self._filled)
        if left and rate:
            _log.info(
                "back-fill: %d offsets to go, %.0f/s, about %.0f s",
                left,
                rate,
                left / rate,
                extra={"action": "backfill_progress", "left": left},
            )

    def _fill(self, partition: int, coverage: Coverage) -> Coverage | None:
        """Fill one chunk below the view's start; return the coverage after it, ``None`` when there is no view."""
        low = self._inspector.watermarks([partition], Deadline(PATIENT_ANSWER))[partition].low
        if low >= coverage.start:
            # Retention has taken everything that was missing.
            return self._apply_empty(partition, coverage)
        chunk = self._read(partition, max(coverage.start - CHUNK, coverage.target, low), coverage.start)
        return self._apply(partition, coverage, chunk)

    def _read(self, partition: int, begin: int, end: int) -> Chunk:
        self._reader = reader = self._reader or self._open_reader()
        records: deque[Record] = deque()
        size, deadline, first = 0, Deadline(_READ), begin
        reader.assign({partition: begin})
        try:
            while not deadline.passed() and not self._closed:
                polled = reader.poll(deadline.remaining(0.5))
                for record in polled.records:
                    offset = record.offset() or 0
                    if record.partition() != partition or offset < first:
                        continue
                    if offset >= end:
                        return Chunk(first, end, list(records))
                    records.append(record)
                    size += len(record.value() or b"")
                    while size > CHUNK_BYTES and len(records) > 1:
                        size -= len(records.popleft().value() or b"")
                        first = records[0].offset() or 0
                if polled.ends.get(partition, -1) >= end or (records and records[-1].offset() == end - 1):
                    return Chunk(first, end, list(records))
                if partition in polled.out_of_range:
                    break
        finally:
            reader.unassign([partition])
        msg = f"partition {partition}: [{begin}, {end}) could not be read in {deadline.elapsed():.0f} s"
        raise TopicUnavailable(msg)

    def _apply(self, partition: int, coverage: Coverage, chunk: Chunk) -> Coverage | None:
        if not chunk.records:
            return self._send(
                [BackfillBatch(partition, BackfillClaim(chunk.begin, chunk.end, coverage.generation), ())], coverage
            )
        begin, batches = chunk.begin, []
        for segment in fold_records(chunk.records, self._codec, self._limits):
            marks = self._dead_letters.write(segment.unreadable, Deadline(PATIENT_ANSWER)) if segment.unreadable else []
            claim = BackfillClaim(begin, segment.end, coverage.generation)
            self._check_placement(partition, segment.entries)
            batches.append(BackfillBatch(partition, claim, segment.entries, marks))
            begin = segment.end
        last = batches[-1]
        batches[-1] = last._replace(claim=last.claim._replace(end=chunk.end))
        after: Coverage | None = coverage
        batches.reverse()
        for index in range(0, len(batches), PIPELINE):
            self._yield_to_the_live_lane()
            after = self._send(batches[index : index + PIPELINE], coverage)
            if after is None or after.generation != coverage.generation:
                break
        self._dead_letters.folded()
        return after

    def _apply_empty(self, partition: int, coverage: Coverage) -> Coverage | None:
        claim = BackfillClaim(coverage.target, coverage.start, coverage.generation)
        return self._send([BackfillBatch(partition, claim, ())], coverage)

    def _send(self, batches: Sequence[BackfillBatch], coverage: Coverage) -> Coverage | None:
        assert self._view is not None
        replies = self._view.backfill(batches)
        self._filled += sum(b.claim.end - b.claim.begin for b, r in zip(batches, replies, strict=True) if r.applied)
        return replies[-1].coverage if replies else coverage

    def _yield_to_the_live_lane(self) -> None:
        with self._lock:
            self._lock.wait_for(lambda: self._closed or self._allowed)
