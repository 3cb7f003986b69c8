"""
Waits with options, where something is in their way.

We test these aspects: events of a task of which one look is taken; ancestors, while the view does not answer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from streamresults.aio import AsyncClient
from streamresults.errors import RemoteTaskError, WaitTimeout
from streamresults.events.event import Event
from tests.unit.desk import SOON, Desk
from tests.unit.set_desk import Joins
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults import Result


pytestmark = pytest.mark.usefixtures("folded_view")


def get(desk: Desk, task: str, heard: Callable[[Result], object]) -> object:
    """Look once."""
    return desk.client.get(task, 0, on_message=heard)


def await_it(desk: Desk, task: str, heard: Callable[[Result], object]) -> object:
    """Look once from an event loop."""
    return asyncio.run(AsyncClient(desk.client).get(task, 0, on_message=heard))


@pytest.mark.parametrize("look", [get, await_it])
def test_one_look_tells_of_the_events_too(desk: Desk, look: Callable[..., object]) -> None:
    """Of a task that has ended, and of one that has not."""
    for task, state in (("t", "STARTED"), ("t", "SUCCESS"), ("u", "STARTED")):
        desk.publish(task, state)
    desk.fold()
    ended: list[str] = []
    begun: list[str] = []

    look(desk, "t", lambda event: ended.append(event.state))
    with pytest.raises(WaitTimeout, match="task 'u' is STARTED"):
        look(desk, "u", lambda event: begun.append(event.state))

    assert (["STARTED", "SUCCESS"], ["STARTED"]) == (ended, begun)


def test_a_view_that_is_away_ends_no_wait_that_follows_parents(desk: Desk) -> None:
    """It goes on, and finds the ancestors once the view answers."""
    child = Event(task_id="child", state="STARTED", parent_id="parent")
    desk.append(b"child", desk.codec.encode(child))
    desk.fold()
    desk.client.lookup("child")
    desk.store.outage(down=True)
    ticks: list[int] = []
    waits = Joins(
        lambda: desk.client.wait("child", SOON, interval=0.01, follow_parents=True, on_interval=lambda: ticks.append(1))
    )
    eventually(lambda: len(ticks) > 2, SOON)
    desk.store.outage()
    eventually(lambda: desk.waiter("parent") is not None, SOON)
    desk.publish("parent", "FAILURE")
    desk.fold()

    with pytest.raises(RemoteTaskError):
        waits.result()
