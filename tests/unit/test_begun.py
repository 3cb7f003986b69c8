"""What blocks in a wait, and where: never on an event loop, also where a forked child uses what it has inherited."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.aio import AsyncClient
from streamresults.client.begun import is_placed
from streamresults.topic.memory import MemoryInspector
from tests.unit.desk import SOON, Desk

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    """Give a desk whose view knows a task that has ended."""
    found = open_desk()
    found.publish("t", "SUCCESS")
    found.fold()
    return found


async def _event(face: AsyncClient) -> str:
    return [event.state async for event in face.events("t", SOON)][-1]


async def _called(face: AsyncClient) -> str:
    told: asyncio.Queue[str] = asyncio.Queue()
    await face.on_result("t", lambda ended: told.put_nowait(ended.result().state))
    return await asyncio.wait_for(told.get(), SOON)


async def _waited(face: AsyncClient) -> str:
    return (await face.wait("t", SOON)).state


async def _joined(face: AsyncClient) -> str:
    (found,) = await face.results(["t"]).all(SOON)
    return str(found.state)


@pytest.mark.parametrize("ask", [_waited, _event, _called, _joined])
def test_a_forked_child_asks_where_the_topic_is_beside_its_loop(
    desk: Desk, ask: Callable[[AsyncClient], Awaitable[str]]
) -> None:
    """It has to ask anew, as the parent's connections are not its own; nobody on its loop waits for that."""
    face = AsyncClient(desk.client)
    assert "SUCCESS" == asyncio.run(ask(face))  # type: ignore[arg-type] # a coroutine, as all of these are
    assert is_placed(desk.client)
    child = os.fork()
    if child == 0:
        try:
            os._exit(_in_child(face, ask))
        except BaseException:  # noqa: BLE001 -- a child of a test never returns
            os._exit(2)

    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _in_child(face: AsyncClient, ask: Callable[[AsyncClient], Awaitable[str]]) -> int:
    asked_on: list[int] = []
    describe = MemoryInspector.describe

    def noted(*args: Any) -> Any:
        asked_on.append(threading.get_ident())
        return describe(*args)

    MemoryInspector.describe = noted  # type: ignore[assignment,method-assign] # in this process alone
    if is_placed(face._client):
        return 3
    state = asyncio.run(asyncio.wait_for(ask(face), SOON))
    return 0 if state == "SUCCESS" and asked_on and threading.get_ident() not in asked_on else 1
