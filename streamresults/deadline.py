"""One monotonic budget, made where a caller states a timeout and handed down; no clock time is compared here."""

from __future__ import annotations

import math
import time
from datetime import timedelta
from enum import Enum
from typing import Final, Literal

#: Seconds that a service gets for the answer to a question for which its caller has named no time. Smaller takes a busy
#: broker for one that is away, larger lets people wait for the error.
ANSWER: Final = 10.0
#: The same in a compactor, which nobody waits for: an election of leaders may pass within it.
PATIENT_ANSWER: Final = 15.0

#: What callers may say: seconds, a timedelta, or None for ever.
Timeout = float | timedelta | None


class NotStated(Enum):
    """The type of :data:`NOT_STATED`."""

    NOT_STATED = "not stated"

    def __repr__(self) -> str:
        return self.name


#: A timeout that the caller left out, where a setting says what holds then: every other value is the caller's own.
NOT_STATED: Final = NotStated.NOT_STATED
#: What callers may say where a setting holds for those who say nothing.
OptionalTimeout = Timeout | Literal[NotStated.NOT_STATED]


class Deadline:
    """
    The moment by which a call has to return, on this process's monotonic clock.

    Args:
        timeout: Seconds or a timedelta from now; ``None`` means never, ``0`` means that one look is taken.

    Raises:
        ValueError: The timeout is negative or not a number.
    """

    __slots__ = ("_at", "_started", "_total")

    def __init__(self, timeout: Timeout) -> None:
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        try:
            valid = seconds is None or seconds >= 0
        except TypeError:
            valid = False  # a text, say
        if not valid:
            msg = f"a timeout is a number of seconds from 0 up, or None: {timeout!r}"
            raise ValueError(msg)
        self._started: Final = time.monotonic()
        self._total: Final = math.inf if seconds is None else float(seconds)
        self._at: Final = self._started + self._total

    @classmethod
    def of(cls, timeout: OptionalTimeout, default: float) -> Deadline:
        """
        Return the deadline of a timeout that may not have been stated: the one rule of every call that has a default.

        Raises:
            ValueError: See the class.
        """
        return cls(default if isinstance(timeout, NotStated) else timeout)

    @property
    def total(self) -> float:
        """Seconds that were granted; infinity for never."""
        return self._total

    def elapsed(self) -> float:
        """Return the seconds spent so far."""
        return time.monotonic() - self._started

    def remaining(self, at_most: float = math.inf) -> float:
        """Return the seconds left, between 0 and ``at_most``."""
        return min(max(0.0, self._at - time.monotonic()), at_most)

    def passed(self) -> bool:
        """Tell whether nothing is left."""
        return time.monotonic() >= self._at
