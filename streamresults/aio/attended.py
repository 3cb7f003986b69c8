"""A wait that has functions called meanwhile: a thread attends to it, and they are called on the event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from streamresults.aio.loops import Loop
    from streamresults.client.options import WaitOptions

T = TypeVar("T")

#: What a thread attends to.
ATTENDED: Final = frozenset({"interval", "on_interval", "on_message", "follow_parents"})


class _GivenUpError(Exception):
    """Ends the thread's wait: nobody waits for it any more."""


class Attended:
    """
    The options of one such wait, as its thread gets them.

    Args:
        loop: Where the functions are called.
    """

    def __init__(self, loop: Loop, options: WaitOptions) -> None:
        self._loop: Final = loop
        self._options: Final = options
        self._over = False
        #: For :meth:`Client.wait`.
        self.options: Final = options.copy()
        self.options["on_interval"] = self._tick
        if "on_message" in options:
            self.options["on_message"] = self._message

    async def until_over(self, waited: Awaitable[T]) -> T:
        """Wait, and have the thread end when that is over."""
        try:
            return await waited
        finally:
            self._over = True

    def _tick(self) -> None:
        if self._over:
            raise _GivenUpError
        if "on_interval" in self._options:
            self._loop.call(self._options["on_interval"])

    def _message(self, event: Any) -> None:
        self._loop.call(self._options["on_message"], event)
