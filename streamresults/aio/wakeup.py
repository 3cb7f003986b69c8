"""What one coroutine awaits until it is woken: by a thread that has word for it, or because its moment has come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context


class Wakeup(asyncio.Future[None]):
    """
    A future whose end runs the coroutine that awaits it at once, in that coroutine's context.

    An ordinary future puts it into the queue of its loop: a call and a handle for each of the ten thousand that end
    together, which the garbage collector looks through as well. Cancelled like any other future; awaited by one
    coroutine.

    Args:
        loop: Where that coroutine runs. Nobody else wakes it.
    """

    __slots__ = ("_context", "_step")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._step: Callable[[Any], object] | None = None
        self._context: Context | None = None

    def add_done_callback(self, fn: Callable[[Any], object], /, *, context: Context | None = None) -> None:
        """Take note of the next step of the task that awaits this."""
        self._step, self._context = fn, context
        super().add_done_callback(fn, context=context)

    def wake(self) -> None:
        """End, and run who awaits this until it awaits something else; nothing happens where it has ended."""
        if self.done():
            return
        step, context = self._step, self._context
        if step is None or context is None:  # nobody awaits it yet
            self.set_result(None)
            return
        self.remove_done_callback(step)
        self.set_result(None)
        context.run(step, self)
