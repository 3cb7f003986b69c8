"""
Whose turn it is to serve a producer's acknowledgements: a thread that produces, one that waits, or the serving thread.

One at a time. librdkafka hands an acknowledgement to whichever thread polls; a second one would sit in its own poll for
what the first has been given. Nothing here calls librdkafka.
"""

from __future__ import annotations

import threading
import time
from typing import Final

#: Seconds for which the serving thread keeps away after a producing one has served, while nobody is known to wait.
#: Shorter lets the two compete for the interpreter within a burst, longer delays a burst's last acknowledgements.
BURST_SLICE: Final = 0.005

#: Seconds for which the serving thread keeps away after one that waited has served, while nothing is under way. Shorter
#: has it take turns from tasks that are longer than that, longer delays the word of what nobody waits for.
ATTENDED_SLICE: Final = 0.25


class Turns:
    """
    Whose turn it is. Thread-safe; only :meth:`next` blocks.

    A turn that nobody ends is over after twice its time: its owner may have been interrupted by a signal's handler,
    which waits itself. Where the handler came while the lock was held, it holds up the serving thread as well, and
    takes a turn of its own when it asks again.
    """

    def __init__(self) -> None:
        #: Notified of what concerns the serving thread, and by the writer of what was served.
        self.changed: Final = threading.Condition()
        #: How many wait on it for something to be served; guarded by it, like everything here.
        self.waiting = 0
        self._taken_until = 0.0
        self._taken_by = 0
        #: The serving thread waits for the end of somebody's turn.
        self._wanted = False
        #: Until when others serve: those that produce, and those that wait as long as nothing else is under way.
        self._burst_until = 0.0
        self._attended_until = 0.0
        #: Somebody has asked for the serving thread since its last turn.
        self._urged = False

    def take(self, seconds: float) -> bool:
        """Take a turn of so many seconds; ``False`` if it is somebody else's. Must be followed by :meth:`leave`."""
        with self.changed:
            now = time.monotonic()
            if self._taken_until > now:
                return False
            self._taken_until, self._taken_by = now + 2 * seconds, threading.get_ident()
            return True

    def take_to_wait(self, seconds: float) -> bool:
        """Take a turn to wait for an acknowledgement; if it is another's, that of the serving thread comes in time."""
        with self.changed:
            self._attended_until = time.monotonic() + ATTENDED_SLICE
            taken = self.take(seconds)
            # Its own: a signal's handler waits, and the turn goes on when it has ended.
            if not taken and (self._burst_until or self._taken_by == threading.get_ident()):
                self.urge()
            return taken

    def leave(self) -> None:
        """End a turn."""
        with self.changed:
            self._taken_until = 0.0
            if self._wanted:
                self.changed.notify_all()

    def burst(self) -> None:
        """Have the serving thread keep away for a moment, if nobody has asked for it."""
        with self.changed:
            self._burst_until = time.monotonic() + BURST_SLICE

    def urge(self) -> None:
        """Ask for the serving thread: somebody waits, and nobody else serves."""
        with self.changed:
            self._urged = True
            self._burst_until = 0.0
            self.changed.notify_all()

    def next(self, seconds: float, *, idle: bool) -> bool:
        """
        Take a turn as the serving thread, or wait for one; ``False`` when it has waited, and is to ask again.

        Args:
            seconds: How long the turn may be.
            idle: Nothing is under way.
        """
        with self.changed:
            now = time.monotonic()
            away = max(self._burst_until, self._attended_until if idle else 0.0) - now
            taken = self._taken_until - now
            if away > 0 and not self._called():
                self.changed.wait_for(self._called, away)
                return False
            if taken > 0:
                self._wanted = True
                self.changed.wait(taken)
                self._wanted = False
                return False
            self._urged = False
            return self.take(seconds)

    def _called(self) -> bool:
        return self._urged or self.waiting > 0
