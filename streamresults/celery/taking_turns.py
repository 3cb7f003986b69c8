"""Lookups of a process one after the other, so that however many threads ask, few connections are open."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Final

from streamresults.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds between two looks whether anybody's turn has ended. After two in a row in which none has, the server may have
#: fallen silent, and who waits does without: one alone may be this process's own pause. Shorter opens connections for
#: threads that a busy machine holds up, longer holds all up for one that is not answered.
_SLICE: Final = 0.125
_SLICES: Final = 2
#: Seconds after which nobody waits any more, however many were before. Shorter opens more connections in a burst of
#: threads, longer holds its last one up where each round trip is a long one.
_LONGEST: Final = 2.0


class TakingTurns:
    """A turn that one thread has at a time, as long as turns go on. Thread-safe."""

    def __init__(self) -> None:
        self._turn: Final = Lock()
        #: Grows with each turn that ends.
        self._ended = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the turn, have it inside the block, and do without where the turns have come to a halt."""
        taken = self._take()
        try:
            yield
        finally:
            if taken:
                self._ended += 1
                self._turn.release()

    def _take(self) -> bool:
        until, halted = Deadline(_LONGEST), 0
        while halted < _SLICES and not until.passed():
            ended = self._ended
            if self._turn.acquire(timeout=_SLICE):
                return True
            halted = halted + 1 if self._ended == ended else 0
        return False
