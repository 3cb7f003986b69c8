"""
Looks at chords again, later: one thread per process while there is one to look at, and none otherwise.

It is where a chord is finished that nobody returns to: its dispatcher died, its parts were lost and come back from the
log one after the other, or Redis was away when the last part came. What it knows dies with its process.
"""

from __future__ import annotations

import heapq
import logging
import os
import time
from threading import Condition, Thread
from typing import TYPE_CHECKING, Final

from streamresults.errors import ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

_log: Final = logging.getLogger("streamresults.celery")
#: Seconds until a look that failed is made again.
_AGAIN: Final = 10.0


class Watch:
    """
    Calls for names when they are due. Thread-safe, and each process has its own, also a forked one.

    Args:
        look: Is called with a name, on the watch's thread; returns the seconds until it is to be called again, or
            ``None``. What it raises is logged, and it is called again.
    """

    def __init__(self, look: Callable[[str], float | None]) -> None:
        self._look: Final = look
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._changed = Condition()
        self._due: list[tuple[float, str]] = []
        self._names: dict[str, float] = {}
        self._thread: Thread | None = None

    @property
    def names(self) -> list[str]:
        """What is to be looked at."""
        return list(self._names) if self._pid == os.getpid() else []

    def add(self, name: str, delay: float) -> None:
        """Have a name looked at, in so many seconds; a later look than the one that is due already is not noted."""
        if self._pid != os.getpid():
            self._begin()  # a thread of the parent may have held its lock, and its thread is not here
        due = time.monotonic() + delay
        with self._changed:
            if self._names.get(name, due + 1) <= due:
                return
            self._names[name] = due
            heapq.heappush(self._due, (due, name))
            if self._thread is None:
                self._thread = Thread(target=self._run, name="streamresults-chords", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            name = self._next()
            if name is None:
                return
            try:
                again = self._look(name)
            except ServiceUnavailable as exc:
                _log.warning(
                    "chord %s: looked at again in %g s: %s",
                    name or "(all)",
                    _AGAIN,
                    exc,
                    extra={"action": "chord_look_failed"},
                )
                again = _AGAIN
            except Exception:  # noqa: BLE001 -- it must go on for the other names
                _log.exception("chord %s: looking again failed", name or "(all)", extra={"action": "chord_look_failed"})
                again = _AGAIN
            if again is not None:
                self.add(name, again)

    def _next(self) -> str | None:
        """Wait for the next name that is due; ``None`` when there are none left."""
        with self._changed:
            while self._due:
                due, name = self._due[0]
                if self._names.get(name) != due:
                    heapq.heappop(self._due)  # an earlier look was noted since
                    continue
                left = due - time.monotonic()
                if left <= 0:
                    heapq.heappop(self._due)
                    del self._names[name]
                    return name
                self._changed.wait(left)
            self._thread = None
            return None
