"""A task's events for ``async for``: read on the threads of questions, waited for by none."""

# ruff: noqa: SLF001 -- the steps of Following.events, each of which blocks for one answer at most

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streamresults.deadline import Deadline
from streamresults.errors import WaitTimeout
from streamresults.events.running import check_waiting_allowed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from streamresults.aio.loops import Loop, Loops
    from streamresults.aio.questions import Questions
    from streamresults.client import Client, Result
    from streamresults.client.task_events import Feed
    from streamresults.deadline import Timeout

#: Seconds after which it is looked again, whatever was told.
_AGAIN: Final = 1.0


class _News:
    """Word that a feed has something; stands on its loop until then, or for a while."""

    __slots__ = ("_seconds", "future")

    def __init__(self, loop: Loop, seconds: float) -> None:
        self.future: Final = loop.loop.create_future()
        self._seconds: Final = seconds

    async def come(self, loop: Loop) -> None:
        loop.enter(self, self._seconds)
        try:
            await self.future
        finally:
            loop.forget(self, timed=True)

    def leave(self) -> None:
        """Nothing is to be let go of."""

    def due(self) -> float | None:
        """Return that it has waited long enough."""
        return None


class _Bell:
    """Rung by the engine, on its threads."""

    def __init__(self, loop: Loop) -> None:
        self._loop: Final = loop
        self._rung = False
        self._news: _News | None = None

    def __call__(self) -> None:
        self._rung = True
        news = self._news
        if news is not None:
            self._loop.tell(news.future)

    def forget(self) -> None:
        """Take note that all is read that was told of."""
        self._rung = False

    async def wait(self, seconds: float) -> None:
        """Return once it was rung since :meth:`forget`, or so many seconds have passed."""
        self._news = news = _News(self._loop, seconds)
        if not self._rung:  # looked at behind leaving it: one of the two threads sees the other
            await news.come(self._loop)


async def events_of(
    client: Client,
    task_id: str,
    timeout: Timeout,  # noqa: ASYNC109 -- the same name everywhere
    loops: Loops,
    questions: Questions,
) -> AsyncIterator[Result]:
    """Do :meth:`Client.events`."""
    deadline = Deadline(timeout)
    if not deadline.total:
        for found in await questions.ask(lambda: list(client.events(task_id, 0))):
            yield found
        return
    check_waiting_allowed(task_id)
    bell, ended = _Bell(loops.here()), False
    feed = await questions.ask(_open, client, task_id, bell, deadline)
    try:
        while True:
            bell.forget()
            for found in await questions.ask(_taken, feed, deadline):
                yield found
                ended = ended or found.ready
            if ended and feed.caught_up:
                return
            if deadline.passed():
                msg = f"task {task_id!r} has not ended after {deadline.total:g} s"
                raise WaitTimeout(msg, task_id=task_id, state="")
            await bell.wait(deadline.remaining(_AGAIN))
            feed.cover(client._homes_now(task_id))
    finally:
        feed.close()


def _open(client: Client, task_id: str, bell: _Bell, deadline: Deadline) -> Feed:
    client.events(task_id, timeout=deadline.remaining())  # refuses what is no id, and a client that is closed
    return client._open_feed(task_id, bell, deadline)


def _taken(feed: Feed, deadline: Deadline) -> list[Result]:
    """Return what there is now, up to the event that ends the task where nothing is known behind it."""
    found = []
    for one in feed.take(deadline):
        found.append(one)
        if one.ready and feed.caught_up:
            break
    return found
