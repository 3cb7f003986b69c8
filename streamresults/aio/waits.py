"""One wait of a coroutine: a registration with the engine, a future, and a moment in its loop's heap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streamresults.client.begun import Begun, begin

if TYPE_CHECKING:
    from streamresults.aio.loops import Loop
    from streamresults.client import Client
    from streamresults.client.options import Via
    from streamresults.deadline import Deadline

#: Seconds between two lines of log of a wait that never ends.
_REMIND: Final = 60.0


class Wait:
    """One wait under way; the engine calls it when it is over."""

    __slots__ = ("_begun", "future", "loop")

    def __init__(self, loop: Loop) -> None:
        self.loop: Final = loop
        self.future: Final = loop.loop.create_future()
        self._begun: Begun

    def __call__(self) -> None:
        """Take word that the wait is over; the engine calls this once, under its lock."""
        self.loop.tell(self.future)

    async def until_over(self, client: Client, task_id: str, deadline: Deadline, via: Via) -> Begun:
        """
        Wait until the task has ended or the deadline has passed; who is cancelled meanwhile leaves nothing behind.

        Raises:
            ClientClosed, ServiceUnavailable: See :meth:`Client.wait`.
        """
        self._begun = begun = begin(client, task_id, self, deadline, via)
        left = min(deadline.remaining(), _REMIND)
        self.loop.enter(self, left)
        try:
            await self.future
        except BaseException:
            begun.give_up()
            raise
        finally:
            self.loop.forget(self, timed=True)
        return begun

    def leave(self) -> None:
        """Give the wait up: its loop is closed."""
        self._begun.give_up()

    def due(self) -> float | None:
        """Return the seconds for which it may last on, ``None`` when its deadline has passed."""
        deadline = self._begun.deadline
        left = deadline.remaining()
        if left <= 0:
            return None
        if deadline.elapsed() >= _REMIND:
            self._begun.remind()
        return min(left, _REMIND)
