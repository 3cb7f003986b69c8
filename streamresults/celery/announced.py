"""
What happens when somebody wants to be called at a result's end.

Celery's groups make a promise of every member as soon as they are made, whether or not anybody will ever ask for it.
Waiting for all of these would have every web process read the results of all it has ever sent. So a wait begins when a
function of a user's is to be called, and not for the barrier of a group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vine import barrier, promise

if TYPE_CHECKING:
    from collections.abc import Callable


class Announced(promise):
    """The ``on_ready`` of a result, which says when somebody else than a group listens to it."""

    on_listener: Callable[[], None]

    def then(self, callback: Any, on_error: Any = None) -> Any:
        """Listen; see :class:`vine.promise`."""
        found = super().then(callback, on_error)
        if not isinstance(callback, barrier) and not self.ready:
            self.on_listener()
        return found


def announce(result: Any, on_listener: Callable[[], None]) -> bool:
    """Have a result say when somebody listens to it; ``False`` where it does so already, or nobody can any more."""
    current = result.on_ready
    if type(current) is not promise or current.ready or current.cancelled or current.listeners != [None]:
        return False
    # The promise stays the result's own; making another takes as long as making the result.
    current.__class__ = Announced
    current.on_listener = on_listener
    return True
