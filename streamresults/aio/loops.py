"""
The event loops that wait: what other threads have to tell each, and its deadlines.

Threads never wake a coroutine. They leave word here and ring once: a burst of results wakes its loop once. All
deadlines of a loop stand in one heap with one timer. Nothing here knows what is waited for.
"""

from __future__ import annotations

import asyncio
import heapq
import os
import time
from collections import deque
from contextlib import suppress
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.aio.wakeup import Wakeup

#: Moments of what is over from which on the heap is cleared of them, once they are more than half of it. Fewer clears
#: it all the time, more keeps more of them: a number and a time each.
_LITTER: Final = 64


class Standing(Protocol):
    """What stands on a loop until it is over."""

    def leave(self) -> None:
        """Let go of everything: its loop is closed, and nobody will ever ask."""

    def due(self) -> float | None:
        """Take note that its moment has come; return the seconds until the next one, ``None`` when it has no other."""


class Loop:
    """One event loop. :meth:`tell` and :meth:`call` may be called from any thread, the rest only from its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop: Final = loop
        #: What stands here, by its number.
        self._standing: Final[dict[int, Standing]] = {}
        self._numbers: Final = count()
        #: Who is to be woken, in the order in which word of them came.
        self._told: Final[deque[Wakeup]] = deque()
        self._rung = False
        #: Moments, with the numbers of what they are for; some of it may be over.
        self._heap: list[tuple[float, int]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    # -- from other threads -----------------------------------------------------------------------------------------

    def tell(self, wakeup: Wakeup) -> None:
        """Have somebody woken; returns at once, and never raises, also where the loop is closed."""
        self._told.append(wakeup)
        if not self._rung:
            # Two threads may both ring, which is harmless. None is left out: the loop forgets the ring, then listens.
            self._rung = True
            try:
                self.loop.call_soon_threadsafe(self._hear)
            except RuntimeError:  # closed: nobody is left who could hear
                self._told.clear()
                self._rung = False

    def call(self, function: Callable[..., object], *args: Any) -> None:
        """Have a function called on the loop; nothing happens where it is closed."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(function, *args)

    def leave(self) -> None:
        """Let go of what stands on a loop that is closed."""
        for standing in list(self._standing.values()):
            standing.leave()
        self._standing.clear()
        self._told.clear()

    # -- on the loop ------------------------------------------------------------------------------------------------

    def _hear(self) -> None:
        self._rung = False
        told = self._told
        try:
            for _ in range(len(told)):  # who comes meanwhile has rung, and takes a turn behind everything else
                told.popleft().wake()
        finally:
            if told and not self._rung:  # one of them has ended the loop: the others are woken when it runs again
                self._rung = True
                self.loop.call_soon(self._hear)

    def enter(self, standing: Standing, seconds: float | None = None) -> int:
        """Let something stand on this loop, which is asked after some seconds; return its number."""
        number = next(self._numbers)
        self._standing[number] = standing
        if seconds is not None:
            self._clear_up()
            heapq.heappush(self._heap, (time.monotonic() + seconds, number))
            self._arm()
        return number

    def forget(self, number: int) -> None:
        """Let go of something that is over; its moment finds nothing."""
        self._standing.pop(number, None)

    def _clear_up(self) -> None:
        """Clear the heap where most of it is over: here, as a burst of ends has better things to do."""
        if len(self._heap) > 2 * len(self._standing) + _LITTER:
            self._heap = [moment for moment in self._heap if moment[1] in self._standing]
            heapq.heapify(self._heap)

    def _arm(self) -> None:
        """Have one timer, for the first moment of all."""
        if not self._heap:
            return
        at = self._heap[0][0]
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self.loop.call_later(max(0.0, at - time.monotonic()), self._ring)

    def _ring(self) -> None:
        self._timer = None
        now, heap = time.monotonic(), self._heap
        while heap and (heap[0][0] <= now or heap[0][1] not in self._standing):
            number = heapq.heappop(heap)[1]
            standing = self._standing.get(number)
            again = standing.due() if standing is not None else None
            if again is not None:
                heapq.heappush(heap, (now + again, number))
        self._arm()


class Loops:
    """The event loops of one face, any number of them. Thread-safe; a forked child begins with none."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = Lock()
        self._loops: dict[asyncio.AbstractEventLoop, Loop] = {}

    def here(self) -> Loop:
        """Return the loop that runs; one that is new lets those go that were closed meanwhile."""
        running = asyncio.get_running_loop()
        if self._pid != os.getpid():
            self._begin()
        found = self._loops.get(running)
        return found if found is not None else self._enter(running)

    def _enter(self, running: asyncio.AbstractEventLoop) -> Loop:
        with self._lock:
            closed = [loop for loop in self._loops if loop.is_closed()]
            left = [self._loops.pop(loop) for loop in closed]
            entered = self._loops[running] = Loop(running)
        for loop in left:
            loop.leave()
        return entered
