"""A task's events for ``async for``: read on the threads of questions, waited for by none."""

# ruff: noqa: SLF001 -- the steps of Following.events, each of which blocks for one answer at most

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streamresults.aio.bell import Bell
from streamresults.client.begun import find_place, is_placed
from streamresults.deadline import Deadline
from streamresults.events import states
from streamresults.events.running import check_waiting_allowed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from streamresults.aio.loops import Loops
    from streamresults.aio.questions import Questions
    from streamresults.client import Client, Result
    from streamresults.client.task_events import Feed
    from streamresults.deadline import Timeout

#: Seconds after which it is looked again, whatever was told.
_AGAIN: Final = 1.0


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
    ended, state = False, states.UNKNOWN
    if not is_placed(client):
        await questions.ask(find_place, client, task_id, deadline)
    client.events(task_id, timeout=deadline.remaining())  # refuses what is no id, and a client that is closed
    with Bell(loops.here()) as bell:
        feed = client._open_feed(task_id, bell, deadline)  # here, not on a thread: who is cancelled leaves no feed
        bell.rung_by(feed.close)
        while True:
            bell.forget()
            for found in await questions.ask(_taken, feed, deadline):
                yield found
                ended, state = ended or found.ready, found.state
            if ended and feed.caught_up:
                return
            if deadline.passed():
                raise feed.timed_out(deadline, state)
            await bell.wait(deadline.remaining(_AGAIN))
            feed.cover(client._homes_now(task_id))


def _taken(feed: Feed, deadline: Deadline) -> list[Result]:
    """Return what there is now, up to the event that ends the task where nothing is known behind it."""
    found = []
    for one in feed.take(deadline):
        found.append(one)
        if one.ready and feed.caught_up:
            break
    return found
