"""The threads of one engine, each started when it is first needed."""

from __future__ import annotations

from threading import Lock, Thread, current_thread
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


class Threads:
    """Daemon threads by name; one of each at most. Thread-safe."""

    def __init__(self) -> None:
        self._lock: Final = Lock()
        self._threads: Final[dict[str, Thread]] = {}

    def start(self, name: str, target: Callable[[], None]) -> None:
        """Start a thread, unless it was started before."""
        with self._lock:
            if name not in self._threads:
                self._threads[name] = Thread(target=target, name=f"streamresults-{name}", daemon=True)
                self._threads[name].start()

    def join(self) -> None:
        """Block until every thread has ended, but for the one that calls."""
        with self._lock:
            threads = list(self._threads.values())
        for thread in threads:
            if thread is not current_thread():
                thread.join()
