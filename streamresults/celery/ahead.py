"""
What this process knows ahead of the view: what it has said itself, and what it has seen in the topic.

Celery takes for granted that a process reads what it wrote, and does not unlearn what it was told. The fold decides
here as everywhere: a later event stands unless the view shows a higher rank, and the first SUCCESS stays. Whatever the
view has folded by itself needs nothing of this.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple

from streamresults.events import states

if TYPE_CHECKING:
    from collections.abc import Collection

    from streamresults.client import Result
    from streamresults.events.event import Event, Position
    from streamresults.publisher import Pending

#: Seconds after which something that the view does not show at all is no longer believed without asking. Shorter asks
#: for what is merely not folded yet; longer shows what another process has forgotten meanwhile.
_DOUBTED_AFTER: Final = 1.0
#: Tasks, and bytes of their payloads, that are kept. Fewer forget those of a burst before they are folded, more is
#: memory of every worker.
_MOST: Final = 1_000
_MOST_BYTES: Final = 8 * 1024 * 1024


class Known(NamedTuple):
    """The newest that is known of a task."""

    #: ``None``: the task was forgotten.
    event: Event | None
    #: Where it stands, or what will become of it.
    written: Position | Pending | None
    at: float
    #: Where its task was forgotten before; what stands below is void, whatever it is.
    floor: Position | None = None

    @property
    def rank(self) -> int:
        """Its rank in the fold; below all others for a task that was forgotten."""
        return -1 if self.event is None else states.rank(self.event.state, terminal=self.event.terminal)

    @property
    def size(self) -> int:
        """Bytes of its payload."""
        return 0 if self.event is None else len(self.event.payload.body or b"")

    def position(self) -> Position | None:
        """Return where it stands, ``None`` while nobody knows."""
        written = self.written
        if written is None or isinstance(written, tuple):
            return written
        return written.position(0) if written.acknowledged else None

    @property
    def doubtful(self) -> bool:
        """Whether it is so old that a view which does not show it may be right: somebody may have forgotten it."""
        return self.event is not None and time.monotonic() - self.at > _DOUBTED_AFTER

    @property
    def failed(self) -> bool:
        """Whether it never reached the log."""
        written = self.written
        return written is not None and not isinstance(written, tuple) and written.done and not written.acknowledged


class Ahead:
    """What one process knows. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._tasks: Final[OrderedDict[str, Known]] = OrderedDict()
        self._bytes = 0

    def after_fork(self) -> None:
        """Begin anew in a forked child, where another thread of the parent may have held the lock."""
        self._lock = Lock()
        self._tasks.clear()
        self._bytes = 0

    def keep(self, task_id: str, event: Event | None, written: Position | Pending | None) -> None:
        """Keep what was written or seen, unless something better is known."""
        known = Known(event, written, time.monotonic())
        with self._lock:
            before = self._tasks.get(task_id)
            if before is not None and event is not None and _stands(before, known):
                return
            if before is not None:
                known = known._replace(floor=before.floor if before.event is not None else before.position())
            self._drop(task_id)
            self._tasks[task_id] = known
            self._bytes += known.size
            while len(self._tasks) > _MOST or self._bytes > _MOST_BYTES:
                self._drop(next(iter(self._tasks)))

    def newer(self, task_id: str, seen: Result | None) -> Known | None:
        """Return what this process knows, if it stands over what the view shows."""
        if not self._tasks:
            return None
        with self._lock:
            known = self._tasks.get(task_id)
            if known is None:
                return None
            if known.failed or _is_folded(known, seen):
                self._drop(task_id)
                return None
        if seen is None or not seen.found or known.event is None or _is_below(seen.position, known.floor):
            return known
        shown = states.rank(seen.state, terminal=seen.ready)
        if shown > known.rank or shown == known.rank == states.RANK_SUCCESS:
            return None
        return known

    def among(self, task_ids: Collection[str]) -> list[str]:
        """Return those of some tasks of which this process knows anything."""
        with self._lock:
            return [task_id for task_id in task_ids if task_id in self._tasks] if self._tasks else []

    def settled(self, task_id: str) -> None:
        """Take note that the view shows all that is known of a task."""
        with self._lock:
            self._drop(task_id)

    def _drop(self, task_id: str) -> None:
        dropped = self._tasks.pop(task_id, None)
        if dropped is not None:
            self._bytes -= dropped.size


def _stands(before: Known, now: Known) -> bool:
    """Tell whether what was known stands over what came."""
    if before.event is None or before.failed:
        return False
    return before.rank > now.rank or before.rank == now.rank == states.RANK_SUCCESS


def _is_below(position: Position | None, floor: Position | None) -> bool:
    """Tell whether what stands there was forgotten."""
    return (
        position is not None
        and floor is not None
        and position.partition == floor.partition
        and position.offset < floor.offset
    )


def _is_folded(known: Known, seen: Result | None) -> bool:
    """Tell whether what the view shows came later, or is the same."""
    if seen is None or seen.position is None:
        return False
    position = known.position()
    return (
        position is not None
        and position.partition == seen.position.partition
        and seen.position.offset >= position.offset
    )
