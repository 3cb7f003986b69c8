"""Results of tasks that succeeded, kept for all handles of a client: a SUCCESS stands, so it need not be read again."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Final

from streamresults.events import states

if TYPE_CHECKING:
    from collections.abc import Iterable

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

    def keep(self, results: Iterable[Result]) -> None:
        """Keep those whose tasks succeeded, the last one longest."""
        if self._limit < 0:
            return
        succeeded = [result for result in results if result.state == states.SUCCESS]  # may look a schema up
        kept = self._kept
        with self._lock:
            for result in succeeded:
                kept[result.task_id] = result
                kept.move_to_end(result.task_id)
            while self._limit and len(kept) > self._limit:
                kept.popitem(last=False)

    def evict(self, task_id: str) -> None:
        """Let go of a task that was forgotten."""
        if self._kept:
            with self._lock:
                self._kept.pop(task_id, None)

    def clear(self) -> None:
        """Let go of everything, also in a forked child, where another thread may have held the lock."""
        self._lock = Lock()
        self._kept.clear()
