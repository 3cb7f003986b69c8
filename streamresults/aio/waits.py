"""One wait of a coroutine: a registration with the engine, and a moment in its loop's heap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streamresults.aio.wakeup import Wakeup
from streamresults.client.begun import Begun, begin

if TYPE_CHECKING:
    from streamresults.aio.loops import Loop
    from streamresults.client import Client
    from streamresults.client.options import Via
    from streamresults.deadline import Deadline

#: Seconds between two lines of log of a wait that never ends.
_REMIND: Final = 60.0


class Wait(Wakeup):
    """One wait under way; the engine calls it when it is over."""

    __slots__ = ("_begun", "_here")

    _begun: Begun

    def __init__(self, loop: Loop) -> None:
        super().__init__(loop.loop)
        self._here: Final = loop

    def __call__(self) -> None:
        """Take word that the wait is over; the engine calls this once, under its lock."""
        self._here.tell(self)

    async def until_over(self, client: Client, task_id: str, deadline: Deadline, via: Via) -> Begun:
        """
        Wait until the task has ended or the deadline has passed; who is cancelled meanwhile leaves nothing behind.

        Raises:
            ClientClosed, ServiceUnavailable: See :meth:`Client.wait`.
        """
        self._begun = begun = begin(client, task_id, self, deadline, via)
        number = self._here.enter(self, deadline.remaining(_REMIND))
        try:
            await self
        except BaseException:
            begun.give_up()
            raise
        finally:
            self._here.forget(number)
        return begun

    def leave(self) -> None:
        """Give the wait up: its loop is closed."""
        self._begun.give_up()

    def due(self) -> float | None:
        """Return the seconds for which it may last on, ``None`` when its deadline has passed, which ends it."""
        deadline = self._begun.deadline
        left = deadline.remaining(_REMIND)
        if left <= 0:
            self.wake()
            return None
        if deadline.elapsed() >= _REMIND:
            self._begun.remind()
        return left
