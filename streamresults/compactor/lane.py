"""One partition on its way into the view: where it is, and what a batch has to say of itself. No connection is met."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from streamresults.store.coverage import GENERATION_BYTES, LiveClaim

if TYPE_CHECKING:
    from streamresults.store.coverage import Coverage

#: Seconds between empty batches on a quiet partition: how fresh ``as_of`` is, and how soon a lost view is noticed.
KEEPALIVE: Final = 2.0


class Lane:
    """
    One assigned partition.

    Args:
        position: The next offset to fold: the end of the last batch, not the next record's offset.
        low: The oldest offset that the log holds.
        from_low: The first generation, if it must begin, does so at the oldest offset, not here. Later ones do not: new
            results come first, and back-fill brings the rest.
    """

    def __init__(self, partition: int, position: int, low: int, *, from_low: bool) -> None:
        self.partition: Final = partition
        self.position = position
        self.low = low
        self.from_low = from_low
        #: As the last reply told it.
        self.coverage: Coverage | None = None
        #: The end of the log as far as it is known.
        self.end_seen = position
        #: The group delivers from elsewhere than ``position``: it must be told before anything is folded.
        self.astray = False
        #: An end that the log had, and when: how long it takes to fold up to it is how late results are.
        self._goal = position, 0.0
        self._due = 0.0

    def saw(self, *, reached: int | None, end: int | None) -> None:
        """Note what a poll brought: the log's end if records reach it, and where that is if it is known."""
        if reached is not None:
            self.end_seen = max(self.end_seen, reached)
        # A log that is written to all the time is never seen to be read to its end: only to ends that it had.
        if end is not None and (self.position >= self._goal[0] or end < self._goal[0]):
            self._goal = end, time.monotonic()

    def lagging(self, seconds: float) -> bool:
        """Tell whether an end that the log had so long ago is not folded yet."""
        goal, since = self._goal
        return self.position < goal and time.monotonic() - since > seconds

    def due(self) -> bool:
        """Tell whether an empty batch is due."""
        return time.monotonic() >= self._due

    def hurry(self) -> None:
        """Make an empty batch due at once."""
        self._due = 0.0

    def claim(self, begin: int, end: int, rewind_max: int) -> LiveClaim:
        """Return what a batch that covers [begin, end) says of itself."""
        return LiveClaim(
            begin=begin,
            end=end,
            least=max(self.low, begin - rewind_max),
            fresh_start=self.low if self.from_low else begin,
            target=self.low,
            fresh_generation=os.urandom(GENERATION_BYTES),
            expected_generation=self.coverage.generation if self.coverage is not None else b"",
        )

    def proof_of_loss(self, lost: Coverage, log_end: int) -> LiveClaim:
        """Return the claim that begins a generation because the log, asked just now, ends below the watermark."""
        return LiveClaim(
            begin=log_end,
            end=log_end,
            least=0,
            fresh_start=log_end,
            target=self.low,
            fresh_generation=os.urandom(GENERATION_BYTES),
            lost_generation=lost.generation,
            log_end=log_end,
        )

    def replied(self, coverage: Coverage) -> None:
        """Take the watermark that a script returned: it is the next batch's begin, whatever became of the last one."""
        self.coverage, self.from_low = coverage, False
        self.position = coverage.watermark
        self._due = time.monotonic() + KEEPALIVE
