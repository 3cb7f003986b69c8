"""The dispatch lock: everybody's lock and bell, and a place for what finalizers leave to whoever holds it."""

from __future__ import annotations

from collections import deque
from threading import Condition
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


class DispatchLock(Condition):
    """
    A condition, whose lock may be taken again by the thread that has it.

    A finalizer runs wherever memory is asked for: it must not wait for this lock, and must not change what its own
    thread is in the middle of. So it leaves what it wants to have done: that is done at once while nobody has the lock,
    else by the thread that has it, as soon as it lets go.
    """

    def __init__(self) -> None:
        super().__init__()
        self._left: Final[deque[Callable[[], object]]] = deque()

    def leave(self, act: Callable[[], object]) -> None:
        """Have something done under the lock. Never blocks; it may not be done yet when this returns."""
        self._left.append(act)
        self._clear_away()

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)  # type: ignore[arg-type] # as every exit has them
        if self._left:
            self._clear_away()

    def wait(self, timeout: float | None = None) -> bool:
        """Let go of the lock, and wait as any condition does."""
        while self._left:
            self._act()
        return super().wait(timeout)

    def _clear_away(self) -> None:
        # Looked at again behind each release: what is left meanwhile finds the lock taken.
        while self._left and not self._is_owned() and self.acquire(blocking=False):  # type: ignore[attr-defined] # as Condition itself asks
            try:
                self._act()
            finally:
                self.release()

    def _act(self) -> None:
        """Do the first of what was left; the lock is held."""
        try:
            act = self._left.popleft()
        except IndexError:
            return  # another thread has done it
        act()
