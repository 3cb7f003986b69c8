"""
The event loops that wait: what other threads have to tell each, and its deadlines.

Threads never touch a future. They leave it here and ring once: a burst of results wakes its loop once. All deadlines of
a loop stand in one heap with one timer. Nothing here knows what is waited for.
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

#: Deadlines of waits that are over from which on the heap is cleared of them, once they are more than half of it.
#: Fewer clears it all the time, more keeps more of what is over.
_LITTER: Final = 64

Future = asyncio.Future[None]


class Standing(Protocol):
    """What stands on a loop until it is over."""

    @property
    def future(self) -> Future:
        """Done when it is over."""

    def leave(self) -> None:
        """Let go of everything: its loop is closed, and nobody will ever ask."""

    def due(self) -> float | None:
        """Take note that its moment has come; return the seconds until the next one, ``None`` when it is over."""


class Loop:
    """One event loop. :meth:`tell` and :meth:`call` may be called from any thread, the rest only from its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop: Final = loop
        self._standing: Final[set[Standing]] = set()
        #: Futures whose end has not been heard yet, in the order of their ends.
        self._told: Final[deque[Future]] = deque()
        self._rung = False
        self._heap: list[tuple[float, int, Standing]] = []
        self._numbers: Final = count()
        #: Deadlines in the heap of what is over.
        self._litter = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    # -- from other threads -----------------------------------------------------------------------------------------

    def tell(self, future: Future) -> None:
        """Have a future end; returns at once, and never raises, also where the loop is closed."""
        self._told.append(future)
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
        for standing in list(self._standing):
            standing.leave()
        self._standing.clear()
        self._told.clear()

    # -- on the loop ------------------------------------------------------------------------------------------------

    def _hear(self) -> None:
        self._rung = False
        while self._told:
            future = self._told.popleft()
            if not future.done():
                future.set_result(None)

    def enter(self, standing: Standing, seconds: float | None = None) -> None:
        """Let something stand on this loop, which is asked after some seconds."""
        self._standing.add(standing)
        if seconds is not None:
            self._set(standing, time.monotonic() + seconds)

    def forget(self, standing: Standing, *, timed: bool = False) -> None:
        """Let go of something that is over; ``timed`` where it had a moment in the heap."""
        if not standing.future.done():
            with suppress(RuntimeError):  # the loop is closed
                standing.future.cancel()  # nobody awaits it any more, so its moment must not find it waiting
        self._standing.discard(standing)
        if timed:
            self._litter += 1
            if self._litter > _LITTER and self._litter * 2 > len(self._heap):
                self._clear_up()

    def _clear_up(self) -> None:
        self._heap = [entry for entry in self._heap if not entry[2].future.done()]
        heapq.heapify(self._heap)
        self._litter = 0
        if not self._heap and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, standing: Standing, at: float) -> None:
        heapq.heappush(self._heap, (at, next(self._numbers), standing))
        self._arm()

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
        while heap and (heap[0][0] <= now or heap[0][2].future.done()):
            standing = heapq.heappop(heap)[2]
            if standing.future.done():
                self._litter = max(0, self._litter - 1)
                continue
            again = standing.due()
            if again is not None:
                heapq.heappush(heap, (now + again, next(self._numbers), standing))
            else:
                standing.future.set_result(None)
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
