"""
Waits of coroutines end with an error when their client is closed or its services are away.

We test these aspects: closing while somebody waits for a task or for an answer, on one loop and on two; a question that
is not answered; services that are away from the beginning.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from streamresults.aio import AsyncClient
from streamresults.errors import ClientClosed, ServiceUnavailable
from tests.unit.aio_desk import (
    how_many_wait,
    in_threads,
    silent_brokers,
    until,
)
from tests.unit.desk import SOON, Desk

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults import Result

pytestmark = pytest.mark.usefixtures("folded_view")


def test_closing_wakes_everybody_with_an_error(desk: Desk) -> None:
    """Who waits for a task, and who waits for an answer; on this loop and on another one."""
    face = AsyncClient(desk.client)

    async def waits() -> None:
        with pytest.raises(ClientClosed):
            await face.wait("t", SOON, via="topic")

    async def asks() -> None:
        with pytest.raises(ClientClosed):
            await face.lookup("t", fresh=True, timeout=SOON)

    async def closes() -> None:
        desk.publish("unfolded", "SUCCESS")  # so that the lookup waits for the view
        waiting = [asyncio.create_task(waits()) for _ in range(50)]
        waiting += [asyncio.create_task(asks()) for _ in range(50)]
        await until(lambda: how_many_wait(desk) == 51)
        await face.close()
        await asyncio.gather(*waiting)
        for call in (face.lookup("t"), face.wait("t"), face.forget("t"), face.lookup_many(["t"])):
            with pytest.raises(ClientClosed, match="open another one"):
                await call
        await face.close()

    in_threads(waits, closes)


def test_closing_wakes_who_waits_for_a_service_that_does_not_answer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, though the question itself goes on."""
    face, (entered, leave) = AsyncClient(desk.wiring.client()), silent_brokers(monkeypatch)

    async def scenario() -> None:
        waiting = asyncio.create_task(face.wait("t", SOON))
        await until(entered.is_set)
        closing = asyncio.create_task(face.close())
        with pytest.raises(ClientClosed):
            await waiting
        leave.set()
        await closing

    asyncio.run(scenario())


def test_services_that_are_away_end_waits_with_an_error_in_time(open_desk: Callable[..., Desk]) -> None:
    """The first wait needs to find the topic; the error names what was unreachable."""
    desk = open_desk()
    desk.broker.fail("Kafka does not answer")
    desk.store.outage(down=True)

    async def scenario() -> list[BaseException | Result]:
        face = AsyncClient(desk.client)
        return await asyncio.gather(*(face.wait(f"t{n}", SOON / 2) for n in range(40)), return_exceptions=True)

    found = asyncio.run(asyncio.wait_for(scenario(), SOON))

    assert {True} == {isinstance(one, ServiceUnavailable) for one in found}
    assert all("Kafka does not answer" in str(one) and "the in-memory store pretends" in str(one) for one in found)
