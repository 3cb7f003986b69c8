"""The threads of one engine, each started when it is first needed."""

from __future__ import annotations

import logging
import time
from threading import Lock, Thread, current_thread
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


_log: Final = logging.getLogger("streamresults.waiter")
#: Seconds before a thread that was killed goes on. Shorter fills the log where it is killed again and again.
_PAUSE: Final = 0.1


class Threads:
    """Daemon threads by name; one of each at most. Thread-safe."""

    def __init__(self) -> None:
        self._lock: Final = Lock()
        self._threads: Final[dict[str, Thread]] = {}

    def start(self, name: str, target: Callable[[], None]) -> None:
        """Start a thread, unless it was started before."""
        with self._lock:
            if name not in self._threads:
                thread = Thread(target=_run, args=(name, target), name=f"streamresults-{name}", daemon=True)
                self._threads[name] = thread
                thread.start()

    def join(self) -> None:
        """Block until every thread has ended, but for the one that calls."""
        with self._lock:
            threads = list(self._threads.values())
        for thread in threads:
            if thread is not current_thread():
                thread.join()


def _run(name: str, target: Callable[[], None]) -> None:
    """Do a thread's work until that is done, though it be killed: nobody else would do it."""
    while True:
        try:
            target()
        except BaseException:  # noqa: BLE001 -- those who wait for it must not hang
            _log.critical("the %s was killed and begins again", name, exc_info=True, extra={"action": "thread_killed"})
            time.sleep(_PAUSE)
        else:
            return
