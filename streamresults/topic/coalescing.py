"""Polls of a busy topic, kept apart so that each brings more: what network cards do with their interrupts."""

from __future__ import annotations

import time
from typing import Final


class Coalescing:
    """
    Holds up whoever polls again at once. Used by one thread.

    What comes after a silence is handled as soon as it is there; nothing is held up for longer than one distance.

    Args:
        apart: Seconds between two polls that bring something, at least.
    """

    def __init__(self, apart: float) -> None:
        self._apart: Final = apart
        self._due = 0.0

    def left(self, now: float) -> float:
        """Return the seconds to rest after a poll that has brought something, whose work is done now."""
        left = max(0.0, self._due - now)
        self._due = now + left + self._apart
        return left

    def rest(self) -> None:
        """Block for as long."""
        left = self.left(time.monotonic())
        if left:
            time.sleep(left)
