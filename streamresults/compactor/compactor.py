"""
Folds the topic into the view, for as long as it is told to.

Effects have an order: 1. records are fetched, 2. folded in memory, 3. what cannot be read is acknowledged by the
dead-letter topic, 4. one script per batch writes values and coverage together, 5. the consumer group's offsets are
committed, for lag tools alone. A crash between any two of them repeats work and changes no answer, because 4 is a
compare-and-set on coverage.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from streamresults.compactor.checks import check_eviction, check_view
from streamresults.compactor.live import LiveLanes
from streamresults.compactor.pause import POLL, Pause
from streamresults.compactor.placement import Placement
from streamresults.compactor.publishing import DescriptorPublisher
from streamresults.compactor.topic_watch import TopicWatch
from streamresults.compactor.upkeep import Upkeep
from streamresults.deadline import PATIENT_ANSWER, Deadline
from streamresults.errors import ServiceUnavailable
from streamresults.topic.coalescing import Coalescing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from threading import Event as Signal

    from streamresults.compactor.backfill import Backfill
    from streamresults.compactor.dead_letters import DeadLetters
    from streamresults.compactor.options import CompactorOptions
    from streamresults.events.summarize import Ranks
    from streamresults.store.base import Store
    from streamresults.topic.base import TopicGroup, TopicInspector
    from streamresults.topic.records import Record, TopicDescription, Watermarks

_log: Final = logging.getLogger("streamresults.compactor")
#: Seconds between two polls that bring something. Shorter writes each record of a steady stream by a script of its own;
#: longer has the view show later what comes close behind another one.
_APART: Final = 0.003
#: Seconds between attempts while a service is away: first and longest. Longer delays the recovery by as much.
_RETRY_FIRST: Final = 0.1
_RETRY_LONGEST: Final = 2.0


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
        self._deadline = Deadline(None)
        self._coalescing: Final = Coalescing(_APART)

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
                self._step(POLL)
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
                self._step(POLL)
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
        self._stop = stop
        with ExitStack() as opened:  # closed again when the rest cannot be opened
            opened.callback(self._release_services)
            about = self._inspector.describe(Deadline(PATIENT_ANSWER))
            check_eviction(self._store, allowed=self._options.allow_eviction)
            check_view(self._store, self._options.namespace, about)
            self._build(about, opened)
            self._descriptor.publish()
            self._topic.start()
            self._group.join(self)
            _log.info(
                "compactor started: topic %s, %d partitions, namespace %s",
                about.topic,
                about.partitions,
                self._options.namespace,
                extra={"action": "compactor_started", "partitions": about.partitions},
            )
            opened.pop_all()
        return about

    def _build(self, about: TopicDescription, opened: ExitStack) -> None:
        """Make what works on this topic and its view; nothing is asked or written yet."""
        options = self._options
        self._topic = TopicWatch(self._inspector, about, options.topic_refresh)
        opened.callback(self._topic.close)
        placement = Placement(self._partition_of, (about.partitions,), self._topic.ask)
        self._descriptor = DescriptorPublisher(
            self._store,
            options.namespace,
            about,
            self._topic,
            placement,
            retention_ms=options.limits.retention_ms,
            evicting=options.allow_eviction,
        )
        self._view = self._store.view(options.namespace, about.topic_id)
        self._live = self._lanes(placement)
        opened.callback(self._live.close)
        if self._backfill is not None:
            opened.callback(self._backfill.close)
            self._backfill.begin(self._view, placement.check)
        self._pause = Pause(self._group, self._live)
        self._upkeep = Upkeep(self._live, self._group, self._inspector, self._descriptor, self._backfill)

    def _lanes(self, placement: Placement) -> LiveLanes:
        return LiveLanes(
            view=self._view,
            codec=self._codec,
            inspector=self._inspector,
            dead_letters=self._dead_letters,
            limits=self._options.limits,
            rewind_max=self._options.rewind_max,
            group=self._group,
            describe=self._descriptor.publish,
            confirm=self._topic.ask,
            in_touch=lambda: self._topic.in_touch,
            placement=placement,
            backfill=self._backfill,
        )

    def _finish(self) -> None:
        _log.info("compactor stopping", extra={"action": "compactor_stopping"})
        self._topic.close()
        if self._backfill is not None:
            self._backfill.close()
        self._live.close()
        self._upkeep.commit(wait=True)
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
        self._pause.extend(partitions)
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
                if self._stop.wait(_RETRY_FIRST):
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
        self._upkeep.commit(wait=False)
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
        self._upkeep.run()
        if polled.records:
            self._coalescing.rest()

    def _patiently(self, arrived: dict[int, list[Record]], ends: dict[int, int]) -> None:
        """Fold what arrived, however long the services are away; the group is served meanwhile."""
        pause = _RETRY_FIRST
        while True:
            try:
                self._live.fold(arrived, ends)
            except ServiceUnavailable as exc:
                self._pause.begin(exc)
                self._topic.check()  # what is gone for good is not waited for
                self._pause.serve(pause, self._stop)
                pause = min(pause * 2, _RETRY_LONGEST)
                if self._deadline.passed():
                    raise
                if self._stop.is_set():
                    return
            else:
                if self._pause.held:
                    self._pause.end()
                return

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
