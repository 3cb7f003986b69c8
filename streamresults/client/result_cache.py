"""Results of tasks that succeeded, kept for all handles of a client: a SUCCESS stands, so it need not be read again."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Final

from streamresults.events import states

if TYPE_CHECKING:
    from streamresults.client.result import Result


class ResultCache:
    """
    Keeps the results that were used last. Thread-safe.

    Each holds its record's bytes, some 700 bytes of its own, and what was decoded of it.

    Args:
        limit: Most results; 0 or ``None`` for any number, -1 for none.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit: Final = limit or 0
        self._lock = Lock()
        self._kept: Final[OrderedDict[str, Result]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, task_id: str) -> Result | None:
        """Return what is kept of a task."""
        if not self._kept:
            return None
        with self._lock:
            found = self._kept.get(task_id)
            if found is not None:
                self._kept.move_to_end(task_id)
            return found

    def keep(self, result: Result) -> None:
        """Keep a result if its task succeeded."""
        if self._limit < 0 or result.state != states.SUCCESS:
            return
        with self._lock:
            self._kept[result.task_id] = result
            self._kept.move_to_end(result.task_id)
            if self._limit and len(self._kept) > self._limit:
                self._kept.popitem(last=False)

    def evict(self, task_id: str) -> None:
        """Let go of a task that was forgotten."""
        if self._kept:
            with self._lock:
                self._kept.pop(task_id, None)

    def clear(self) -> None:
        """Let go of everything, also in a forked child, where another thread may have held the lock."""
        self._lock = Lock()
        self._kept.clear()
