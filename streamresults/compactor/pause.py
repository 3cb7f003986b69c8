"""
What stands still while a service is away: nothing more is delivered, so that memory stays bounded, and the group is
served, so that this member keeps its partitions.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from streamresults.deadline import Deadline
from streamresults.errors import StoreOutOfMemory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from threading import Event as Signal

    from streamresults.compactor.live import LiveLanes
    from streamresults.errors import ServiceUnavailable
    from streamresults.topic.base import TopicGroup

_log: Final = logging.getLogger("streamresults.compactor")
#: Seconds that a poll blocks when nothing arrives. Larger delays keepalives and a stop, smaller burns processor.
POLL: Final = 0.2


class Pause:
    """Pauses all partitions of one compactor, and resumes them. One thread makes all calls."""

    def __init__(self, group: TopicGroup, live: LiveLanes) -> None:
        self._group: Final = group
        self._live: Final = live
        #: Whether everything is paused.
        self.held = False
        #: Partitions of which records arrived all the same: they are read again from their position.
        self._refetch: set[int] = set()

    def begin(self, exc: ServiceUnavailable) -> None:
        """Pause because of an error, unless that was done before."""
        if self.held:
            return
        self.held = True
        self._group.pause(list(self._live.lanes))
        action = "paused_out_of_memory" if isinstance(exc, StoreOutOfMemory) else "paused"
        _log.error("paused, nothing is lost: %s", exc, extra={"action": action})

    def extend(self, partitions: Sequence[int]) -> None:
        """Pause partitions that were assigned meanwhile too."""
        if self.held:
            self._group.pause(partitions)

    def serve(self, seconds: float, stop: Signal) -> None:
        """Keep the group's membership for so long; whatever still arrives is fetched again later."""
        deadline = Deadline(seconds)
        while not deadline.passed() and not stop.is_set():
            late = self._group.poll(deadline.remaining(POLL))
            fetched = {record.partition() or 0 for record in late.records} | late.out_of_range.keys()
            self._refetch |= fetched & self._live.lanes.keys()

    def end(self) -> None:
        """Resume what is paused."""
        self.held = False
        self._live.store_came_back()
        for partition in self._refetch & self._live.lanes.keys():
            self._live.lanes[partition].astray = True
        self._refetch = set()
        self._group.resume(list(self._live.lanes))
        _log.info("resumed", extra={"action": "resumed"})
