"""
What happens when somebody wants to be called at a result's end.

Celery's groups make a promise of every member as soon as they are made, whether or not anybody will ever ask for it.
Waiting for all of these would have every web process read the results of all it has ever sent. So a wait begins when a
function of a user's is to be called, and not for the barrier of a group.
"""

from __future__ import annotations

from typing import Any

from vine import barrier, promise


class Announced(promise):
    """The ``on_ready`` of a result, which says when somebody else than a group listens to it."""

    #: Whether the wait for its end is not to keep the result alive. Few say so: an attribute of its own would double
    #: what a promise takes.
    weakly = False

    def then(self, callback: Any, on_error: Any = None) -> Any:
        """Listen; see :class:`vine.promise`."""
        found = super().then(callback, on_error)
        if not isinstance(callback, barrier) and not self.ready:
            fulfilled = self.fun() if self.weak else self.fun
            result = getattr(fulfilled, "__self__", None)  # whose method Celery has called then; None when it is gone
            if result is not None:
                result.backend.listened_to(result, weak=self.weakly)
        return found


def announce(result: Any, *, weak: bool) -> bool:
    """
    Have a result say to its backend when somebody listens to it.

    Args:
        weak: Whether the wait that begins then is not to keep the result alive.

    Returns:
        ``False`` where it does so already, or nobody can listen any more.
    """
    current = result.on_ready
    if type(current) is not promise or current.ready or current.cancelled or current.listeners != [None]:
        return False
    # The promise stays the result's own; making another takes as long as making the result.
    current.__class__ = Announced
    if weak:
        current.weakly = True
    return True
