"""
Folds the topic into the view, for as long as it is told to.

Effects have an order: 1. records are fetched, 2. folded in memory, 3. what cannot be read is acknowledged by the
dead-letter topic, 4. one script per batch writes values and coverage together, 5. the consumer group's offsets are
committed, for lag tools alone. A crash between any two of them repeats work and changes no answer, because 4 is a
compare-and-set on coverage.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import msgspec

from streamresults.compactor.live import LiveLanes
from streamresults.compactor.placement import Placement
from streamresults.compactor.publishing import DescriptorPublisher
from streamresults.compactor.topic_watch import TopicWatch
from streamresults.deadline import PATIENT_ANSWER, Deadline
from streamresults.errors import ConfigurationError, ServiceUnavailable, StoreOutOfMemory, StoreUnavailable
from streamresults.store.coverage import FORMAT
from streamresults.store.descriptor import other_cluster, refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from threading import Event as Signal

    from streamresults.compactor.backfill import Backfill
    from streamresults.compactor.dead_letters import DeadLetters
    from streamresults.compactor.folding import FoldLimits
    from streamresults.events.summarize import Ranks
    from streamresults.store.base import Store
    from streamresults.topic.base import Record, TopicDescription, TopicGroup, TopicInspector, Watermarks

_log: Final = logging.getLogger("streamresults.compactor")
#: Seconds that a poll blocks when nothing arrives. Larger delays keepalives and a stop, smaller burns processor.
_POLL: Final = 0.2
#: Seconds between attempts while a service is away: first and longest. Longer delays the recovery by as much.
_RETRY_FIRST: Final = 0.1
_RETRY_LONGEST: Final = 2.0
#: Seconds that the live lane may be behind before back-fill yields to it. Shorter stops back-fill at every burst,
#: longer delays new results.
_YIELD_AFTER: Final = 0.2
#: Seconds between commits. They are for lag tools alone: more often buys nothing, less often shows old lag.
_COMMIT_EVERY: Final = 1.0
#: Seconds between readings of the low watermarks, and between two publications of the descriptor. An old low watermark
#: makes a rewind end at an offset that is gone, which is noticed and mended.
_LOW_EVERY: Final = 60.0


class CompactorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a compactor behaves."""

    namespace: str
    #: A generation that must begin does so at the log's oldest record instead of its end.
    from_earliest: bool = False
    allow_eviction: bool = False
    rewind_max: int = 1_000_000
    #: Seconds between looks at which topic there is: new partitions, and the topic's end, are noticed within that.
    topic_refresh: float = 10.0
    limits: FoldLimits


class Compactor:
    """
    One compactor; any number may run on one topic.

    Implements :class:`~streamresults.topic.base.GroupEvents`. One thread makes all calls; the signal that ends
    :meth:`run` may be set by any.
    """

    def __init__(
        self,
        *,
        group: TopicGroup,
        inspector: TopicInspector,
        store: Store,
        codec: Ranks,
        dead_letters: DeadLetters,
        partition_of: Callable[[bytes, int], int],
        options: CompactorOptions,
        backfill: Backfill | None = None,
    ) -> None:
        self._group: Final = group
        self._inspector: Final = inspector
        self._store: Final = store
        self._codec: Final = codec
        self._dead_letters: Final = dead_letters
        self._partition_of: Final = partition_of
        self._options: Final = options
        self._backfill: Final = backfill
        self._held = False
        #: Partitions of which records arrived while everything was paused: they are read again from their position.
        self._refetch: set[int] = set()
        self._stop: Signal | None = None
        self._deadline = Deadline(None)
        self._committed_at = self._low_read_at = time.monotonic()

    # -- life -------------------------------------------------------------------------------------------------------

    def run(self, stop: Signal) -> None:
        """
        Fold until ``stop`` is set, then finish what is under way, commit and leave the group.

        Services that go away are waited for; memory stays bounded meanwhile.

        Raises:
            ConfigurationError: Redis may evict, and that was not allowed.
            TopicMismatch: The view belongs to another cluster.
            TopicRecreated: The topic was deleted and made again; a compactor that starts now begins a new view.
            TopicMissing: The topic was deleted.
            ServiceUnavailable: Kafka or Redis did not answer at the start.
        """
        self._start(stop)
        try:
            while not stop.is_set():
                self._step(_POLL)
        finally:
            self._finish()

    def run_once(self, stop: Signal, timeout: float | None = None) -> dict[int, int]:
        """
        Fold up to the end that the log has now, complete the view, return the watermarks, and leave the group.

        Partitions that another compactor holds are waited for through the view.

        Raises:
            ServiceUnavailable: The end was not reached in ``timeout`` seconds.
        """
        description = self._start(stop)
        self._deadline = deadline = Deadline(timeout)
        goal = self._inspector.ends(list(range(description.partitions)), Deadline(PATIENT_ANSWER))
        try:
            while not stop.is_set():
                self._step(_POLL)
                reached = self._watermarks(goal)
                if all(reached.get(p, -1) >= end for p, end in goal.items()) and not self._live.incomplete():
                    return reached
                if deadline.passed():
                    missing = {p: (reached.get(p), end) for p, end in goal.items() if reached.get(p, -1) < end}
                    msg = f"not drained in {deadline.total:g} s; partition: (watermark, end) {missing}"
                    raise ServiceUnavailable(msg)
            return self._watermarks(goal)
        finally:
            self._finish()

    def _start(self, stop: Signal) -> TopicDescription:
        with ExitStack() as opened:  # closed again when the rest cannot be opened
            opened.callback(self._release_services)
            description = self._open(stop, opened)
            opened.pop_all()
        return description

    def _open(self, stop: Signal, opened: ExitStack) -> TopicDescription:
        self._stop = stop
        description = self._inspector.describe(Deadline(PATIENT_ANSWER))
        self._check_eviction()
        known = self._store.read_descriptor(self._options.namespace, description.topic)
        if known is not None:
            refuse(other_cluster(known, self._options.namespace, description.cluster_id))
            self._tell_of_format(known.format)
        self._description = description
        self._topic = TopicWatch(self._inspector, description, self._options.topic_refresh)
        placement = Placement(self._partition_of, (description.partitions,), self._topic.ask)
        self._descriptor = DescriptorPublisher(
            self._store,
            self._options.namespace,
            description,
            self._topic,
            placement,
            retention_ms=self._options.limits.retention_ms,
            evicting=self._options.allow_eviction,
        )
        opened.callback(self._topic.close)
        self._view = self._store.view(self._options.namespace, description.topic_id)
        self._live = LiveLanes(
            view=self._view,
            codec=self._codec,
            inspector=self._inspector,
            dead_letters=self._dead_letters,
            limits=self._options.limits,
            rewind_max=self._options.rewind_max,
            group=self._group,
            describe=self._descriptor.publish,
            confirm=self._topic.ask,
            placement=placement,
            backfill=self._backfill,
        )
        opened.callback(self._live.close)
        if self._backfill is not None:
            opened.callback(self._backfill.close)
            self._backfill.begin(self._view, placement.check)
        self._descriptor.publish()
        self._topic.start()
        self._group.join(self)
        _log.info(
            "compactor started: topic %s, %d partitions, namespace %s",
            description.topic,
            description.partitions,
            self._options.namespace,
            extra={"action": "compactor_started", "partitions": description.partitions},
        )
        return description

    def _tell_of_format(self, other: int) -> None:
        """Say that ours begins beside a view of another format: to refuse that would keep releases from rolling out."""
        if other != FORMAT:
            _log.warning(
                "namespace %s holds a view of format %d: this release keeps its own, of format %d, beside it",
                self._options.namespace,
                other,
                FORMAT,
                extra={"action": "other_format"},
            )

    def _check_eviction(self) -> None:
        policy = self._store.eviction_policy()
        if policy is None:
            _log.warning(
                "Redis does not say its maxmemory-policy: make sure that it is noeviction",
                extra={"action": "eviction_unknown"},
            )
        elif policy != "noeviction" and not self._options.allow_eviction:
            msg = (
                f"Redis may evict results (maxmemory-policy {policy}), which would make a miss a lie. "
                "Run: redis-cli CONFIG SET maxmemory-policy noeviction, or set allow_eviction"
            )
            raise ConfigurationError(msg)

    def _finish(self) -> None:
        _log.info("compactor stopping", extra={"action": "compactor_stopping"})
        self._topic.close()
        if self._backfill is not None:
            self._backfill.close()
        self._live.close()
        self._commit(wait=True)
        self._release_services()
        _log.info("compactor stopped", extra={"action": "compactor_stopped"})

    def _release_services(self) -> None:
        self._group.close()
        self._dead_letters.close(Deadline(PATIENT_ANSWER))
        self._inspector.close()
        self._store.close()

    # -- the consumer group's events --------------------------------------------------------------------------------

    def on_assigned(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """Begin at the end of the log: the first reply of the view says where to go on."""
        marks = self._bounds(partitions)
        for partition in partitions:
            self._live.add(partition, marks[partition], from_low=self._options.from_earliest)
        if self._held:
            self._group.pause(partitions)
        _log.info("partitions assigned: %s", sorted(partitions), extra={"action": "partitions_assigned"})
        return {partition: marks[partition].high for partition in partitions}

    def _bounds(self, partitions: Sequence[int]) -> Mapping[int, Watermarks]:
        """Ask where partitions begin and end until the brokers answer: a rebalance often comes with an outage."""
        while True:
            try:
                marks = self._inspector.watermarks(partitions, Deadline(PATIENT_ANSWER))
                # After the bounds: those of a topic that was made again are nothing to the old one's view.
                self._topic.ask()
            except ServiceUnavailable as exc:
                if self._stop is None or self._stop.wait(_RETRY_FIRST):
                    raise
                self._topic.check()  # it may be gone for good
                _log.warning("bounds of partitions not known yet: %s", exc, extra={"action": "bounds_unknown"})
            else:
                return marks

    def on_revoked(self, partitions: Sequence[int]) -> None:
        """
        Commit how far they are; records not yet folded are the next member's.

        The answer is not waited for: while members come and go the brokers refuse the commit until this one has heard
        of the group's new epoch, which it cannot in here, and all partitions would stand still for 8 s.
        """
        self._commit(wait=False)
        self._drop(partitions, "revoked")

    def on_lost(self, partitions: Sequence[int]) -> None:
        """Drop them; another member may be folding them already, and no batch of ours can harm it."""
        self._drop(partitions, "lost")

    def _drop(self, partitions: Sequence[int], how: str) -> None:
        self._live.drop(partitions)
        _log.info("partitions %s: %s", how, sorted(partitions), extra={"action": f"partitions_{how}"})

    # -- one round --------------------------------------------------------------------------------------------------

    def _step(self, timeout: float) -> None:
        polled = self._group.poll(timeout)
        arrived: dict[int, list[Record]] = {}
        for record in polled.records:
            arrived.setdefault(record.partition() or 0, []).append(record)
        self._live.saw(polled.ends)
        for partition in polled.out_of_range.keys() & self._live.lanes.keys():
            self._live.restart(partition, self._bounds([partition])[partition])
        self._descriptor.notice_counts()
        self._patiently(arrived, dict(polled.ends))
        self._housekeeping()

    def _patiently(self, arrived: dict[int, list[Record]], ends: dict[int, int]) -> None:
        """Fold what arrived, however long the services are away; the group is served meanwhile."""
        pause = _RETRY_FIRST
        while True:
            try:
                self._live.fold(arrived, ends)
            except ServiceUnavailable as exc:
                self._hold(exc)
                self._topic.check()  # what is gone for good is not waited for
                self._wait_serving(pause)
                pause = min(pause * 2, _RETRY_LONGEST)
                if self._deadline.passed():
                    raise
                if self._stop is not None and self._stop.is_set():
                    return
            else:
                if self._held:
                    self._release()
                return

    # -- trouble and upkeep -----------------------------------------------------------------------------------------

    def _hold(self, exc: ServiceUnavailable) -> None:
        if self._held:
            return
        self._held = True
        self._group.pause(list(self._live.lanes))
        action = "paused_out_of_memory" if isinstance(exc, StoreOutOfMemory) else "paused"
        _log.error("paused, nothing is lost: %s", exc, extra={"action": action})

    def _release(self) -> None:
        self._held = False
        self._live.store_came_back()
        for partition in self._refetch & self._live.lanes.keys():
            self._live.lanes[partition].astray = True
        self._refetch = set()
        self._group.resume(list(self._live.lanes))
        _log.info("resumed", extra={"action": "resumed"})

    def _wait_serving(self, seconds: float) -> None:
        """Keep the group's membership while everything is paused; whatever still arrives is fetched again later."""
        deadline = Deadline(seconds)
        while not deadline.passed() and not (self._stop is not None and self._stop.is_set()):
            late = self._group.poll(deadline.remaining(_POLL))
            fetched = {record.partition() or 0 for record in late.records} | late.out_of_range.keys()
            self._refetch |= fetched & self._live.lanes.keys()

    def _housekeeping(self) -> None:
        now = time.monotonic()
        if self._backfill is not None:
            behind = any(lane.lagging(_YIELD_AFTER) for lane in self._live.lanes.values())
            self._backfill.let(go_on=not behind)
        if now - self._committed_at >= _COMMIT_EVERY:
            self._committed_at = now
            self._commit(wait=False)
        if now - self._low_read_at >= _LOW_EVERY:
            self._low_read_at = now
            self._read_low_watermarks()
            self._refresh_descriptor()

    def _read_low_watermarks(self) -> None:
        try:
            for partition, (low, _) in self._inspector.watermarks(list(self._live.lanes), Deadline(1.0)).items():
                self._live.lanes[partition].low = low
        except ServiceUnavailable:
            _log.debug("low watermarks not read; the next round tries again", extra={"action": "low_not_read"})

    def _refresh_descriptor(self) -> None:
        try:
            self._descriptor.refresh()
        except StoreUnavailable:
            _log.debug(
                "descriptor not refreshed; the next round tries again", extra={"action": "descriptor_not_refreshed"}
            )

    def _commit(self, *, wait: bool) -> None:
        offsets = self._live.positions()
        if offsets:
            try:
                self._group.commit(offsets, wait=wait)
            except ServiceUnavailable as exc:  # nothing depends on it, and whoever stops or hands over must go on
                _log.warning("offsets not committed: %s", exc, extra={"action": "commit_failed"})

    def _watermarks(self, partitions: Iterable[int]) -> dict[int, int]:
        """Return the watermark of each partition: our own lanes', and of the others what the view says."""
        reached = self._live.positions()
        others = [p for p in partitions if p not in self._live.lanes]
        if others:
            try:
                looked = self._view.look({p: [] for p in others})
            except ServiceUnavailable:
                return reached
            reached |= {p: found.coverage.watermark for p, found in looked.items() if found.coverage}
        return reached
