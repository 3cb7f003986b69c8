"""What a compactor does now and then between its batches. Nothing here is needed for an answer to be right."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from streamresults.deadline import Deadline
from streamresults.errors import ServiceUnavailable, StoreUnavailable

if TYPE_CHECKING:
    from streamresults.compactor.backfill import Backfill
    from streamresults.compactor.live import LiveLanes
    from streamresults.compactor.publishing import DescriptorPublisher
    from streamresults.topic.base import TopicGroup, TopicInspector

_log: Final = logging.getLogger("streamresults.compactor")
#: Seconds that the live lane may be behind before back-fill yields to it. Shorter stops back-fill at every burst,
#: longer delays new results.
_YIELD_AFTER: Final = 0.2
#: Seconds between commits. They are for lag tools alone: more often buys nothing, less often shows old lag.
_COMMIT_EVERY: Final = 1.0
#: Seconds between readings of the low watermarks, and between two publications of the descriptor. An old low watermark
#: makes a rewind end at an offset that is gone, which is noticed and mended.
_LOW_EVERY: Final = 60.0


class Upkeep:
    """
    The upkeep of one compactor. One thread makes all calls.

    Args:
        backfill: Told whether it may go on; ``None`` without one.
    """

    def __init__(
        self,
        live: LiveLanes,
        group: TopicGroup,
        inspector: TopicInspector,
        descriptor: DescriptorPublisher,
        backfill: Backfill | None,
    ) -> None:
        self._live: Final = live
        self._group: Final = group
        self._inspector: Final = inspector
        self._descriptor: Final = descriptor
        self._backfill: Final = backfill
        self._committed_at = self._low_read_at = time.monotonic()

    def run(self) -> None:
        """
        Do what is due.

        Raises:
            TopicRecreated, TopicMissing: The topic is not there any more.
        """
        now = time.monotonic()
        if self._backfill is not None:
            behind = any(lane.lagging(_YIELD_AFTER) for lane in self._live.lanes.values())
            self._backfill.let(go_on=not behind)
        if now - self._committed_at >= _COMMIT_EVERY:
            self._committed_at = now
            self.commit(wait=False)
        if now - self._low_read_at >= _LOW_EVERY:
            self._low_read_at = now
            self._read_low_watermarks()
            self._refresh_descriptor()

    def commit(self, *, wait: bool) -> None:
        """Store with the group how far the view is; a failure is logged and no more."""
        offsets = self._live.positions()
        if offsets:
            try:
                self._group.commit(offsets, wait=wait)
            except ServiceUnavailable as exc:  # nothing depends on it, and whoever stops or hands over must go on
                _log.warning("offsets not committed: %s", exc, extra={"action": "commit_failed"})

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
