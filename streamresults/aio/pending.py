"""One event on its way, awaited: its coroutine holds no thread until the brokers have spoken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streamresults.aio.wakeup import Wakeup
from streamresults.deadline import Deadline
from streamresults.publisher import steps

if TYPE_CHECKING:
    from collections.abc import Generator

    from streamresults.aio.loops import Loop, Loops
    from streamresults.aio.questions import Questions
    from streamresults.deadline import Timeout
    from streamresults.events.event import Event, Position
    from streamresults.publisher import Pending, Publisher

#: Seconds until a wait without an end is looked at again.
_LONG: Final = 3600.0


class AsyncPending:
    """
    One event on its way: ``await`` it for its position. Made by :meth:`AsyncPublisher.send`.

    Args:
        pending: The same for threads.
    """

    __slots__ = ("_loops", "_pending", "_publisher", "_questions")

    def __init__(self, pending: Pending, publisher: Publisher, loops: Loops, questions: Questions) -> None:
        self._pending: Final = pending
        self._publisher: Final = publisher
        self._loops: Final = loops
        self._questions: Final = questions

    @property
    def event(self) -> Event:
        """The event that is published."""
        return self._pending.event

    @property
    def done(self) -> bool:
        """Whether the brokers have spoken."""
        return self._pending.done

    def __await__(self) -> Generator[object, None, Position]:
        """Wait until the brokers hold the event, and return where it stands; see :meth:`position`."""
        return self.position().__await__()

    async def position(self, timeout: Timeout = None) -> Position:  # noqa: ASYNC109 -- the same name everywhere
        """
        Wait until the brokers hold the event, and return where it stands; ``None`` waits for ever.

        Who is cancelled meanwhile waits no longer; the event goes its way all the same.

        Raises:
            PublishFailed: It was refused, or its outcome is unknown.
            TimeoutError: The timeout passed first; the event is still under way.
        """
        await spoken(self._loops.here(), self._pending, Deadline(timeout))
        if not self._pending.done or steps.is_written(self._publisher, self._pending):
            return self._pending.position(0)
        return await self._questions.ask(self._pending.position, 0)


async def spoken(loop: Loop, pending: Pending, deadline: Deadline) -> None:
    """Return once the brokers have spoken of an event, or the deadline has passed."""
    if not pending.done:
        await _Acknowledged(loop, deadline).of(pending)


class _Acknowledged(Wakeup):
    """A coroutine that waits for an acknowledgement."""

    __slots__ = ("_deadline", "_here")

    def __init__(self, loop: Loop, deadline: Deadline) -> None:
        super().__init__(loop.loop)
        self._here: Final = loop
        self._deadline: Final = deadline

    async def of(self, pending: Pending) -> None:
        number = self._here.enter(self, self._deadline.remaining(_LONG))
        try:
            pending.on_done(self._tell)
            await self
        finally:
            self._here.forget(number)

    def _tell(self, _: Pending) -> None:
        self._here.tell(self)

    def leave(self) -> None:
        """Nothing is to be let go of: the event goes its way."""

    def due(self) -> float | None:
        """Return the seconds that are left, ``None`` when there are none, which ends it."""
        left = self._deadline.remaining(_LONG)
        if left <= 0:
            self.wake()
            return None
        return left
