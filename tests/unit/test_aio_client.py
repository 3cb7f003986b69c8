"""
Coroutines wait by the engine that threads wait by, and get what threads get.

We test these aspects: waits by every way, values and exceptions, questions; functions that are called on the event
loop; events one by one; handles.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.aio import AsyncClient
from streamresults.errors import NoResult, WaitTimeout
from tests.unit.aio_desk import (
    asleep,
    matched,
    nobody_waits,
    nothing_stands,
    until,
)
from tests.unit.desk import SOON, Desk

if TYPE_CHECKING:
    from streamresults import Result
    from streamresults.wiring import Wiring

pytestmark = pytest.mark.usefixtures("folded_view")

TASKS = ("good", "bad", "none")


@pytest.mark.parametrize("via", ["topic", "view", "auto"])
def test_a_wait_ends_with_the_task(desk: Desk, via: Any) -> None:
    """By every way of learning of it, and nothing of it is left."""
    face = AsyncClient(desk.client)

    async def scenario() -> Result:
        waiting = asyncio.create_task(face.wait("t", SOON, via=via))
        await asleep(desk)
        desk.publish("t", "SUCCESS")
        desk.fold()
        return await waiting

    found = asyncio.run(scenario())

    assert ("t", "SUCCESS") == (found.task_id, found.state)
    assert nobody_waits(desk)
    assert nothing_stands(face)


def test_get_gives_the_value_and_raises_what_the_task_raised(memory_wiring: Wiring) -> None:
    """The real class where it is allowed, as for threads; or returns it where that was asked for."""
    with memory_wiring.publisher() as publisher, memory_wiring.client() as client:

        async def scenario() -> list[Any]:
            face, told = AsyncClient(client), []
            waiting = [asyncio.create_task(face.get(task, SOON, via="topic")) for task in TASKS]
            waiting += [asyncio.create_task(face.get("bad", SOON, via="topic", propagate=False))]
            waiting += [asyncio.create_task(face.get("good", SOON, via="topic", callback=lambda *a: told.append(a)))]
            await until(lambda: matched(client) == len(waiting))
            publisher.succeeded("good", {"paid": True})
            publisher.failed_with("bad", KeyError("card"))
            publisher.rejected("none")
            return [*await asyncio.gather(*waiting, return_exceptions=True), told]

        good, bad, none, returned, _, told = asyncio.run(scenario())

    assert {"paid": True} == good
    assert (KeyError, ("card",)) == (type(bad), bad.args)
    assert NoResult is type(none)
    assert (KeyError, ("card",)) == (type(returned), returned.args)
    assert [("good", {"paid": True})] == told


def test_questions_are_answered_as_for_threads(desk: Desk) -> None:
    """Lookups and forgetting; what a lookup raises is raised."""
    desk.publish("t", "SUCCESS")
    desk.fold()

    async def scenario() -> None:
        face = AsyncClient(desk.client)
        assert "SUCCESS" == (await face.lookup("t", fresh=True)).state
        assert ["SUCCESS", "UNKNOWN"] == [found.state for found in await face.lookup_many(["t", "u"])]
        assert "SUCCESS" == (await face.wait("t", 0)).state
        position = await face.forget("t")
        assert (0, 1) == (position.partition, position.offset)
        with pytest.raises(ValueError, match="task id"):
            await face.lookup("")
        with pytest.raises(ValueError, match="task id"):
            await face.wait("")
        with pytest.raises(ValueError, match="via"):
            await face.wait("t", via="pigeon")  # type: ignore[arg-type]
        with pytest.raises(WaitTimeout, match="one look"):
            await face.wait("u", 0)

    asyncio.run(scenario())


def test_a_function_is_called_on_the_event_loop(desk: Desk) -> None:
    """On the thread of the loop that registered it."""

    async def scenario() -> None:
        told: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
        face = AsyncClient(desk.client)
        await face.on_result("t", lambda ended: told.put_nowait((ended.result().state, threading.get_ident())))
        await asleep(desk)
        desk.publish("t", "SUCCESS")
        desk.fold()
        assert ("SUCCESS", threading.get_ident()) == await asyncio.wait_for(told.get(), SOON)

    asyncio.run(scenario())


def test_functions_of_an_attended_wait_are_called_on_the_event_loop(desk: Desk) -> None:
    """Each interval, and with each event; the wait ends as any other."""

    async def scenario() -> None:
        face, here, ticked, events = AsyncClient(desk.client), threading.get_ident(), asyncio.Event(), []

        def tick() -> None:
            assert here == threading.get_ident()
            ticked.set()

        def note(event: Result) -> None:
            assert here == threading.get_ident()
            events.append(event.state)

        waiting = asyncio.create_task(face.wait("t", SOON, interval=0.01, on_interval=tick, on_message=note))
        await asyncio.wait_for(ticked.wait(), SOON)
        await asleep(desk)
        desk.publish("t", "STARTED")
        desk.publish("t", "SUCCESS")
        desk.fold()
        assert "SUCCESS" == (await waiting).state
        assert ["STARTED", "SUCCESS"] == events

    asyncio.run(scenario())


@pytest.mark.parametrize("by_handle", [False, True])
def test_events_come_one_by_one_until_the_task_ends(desk: Desk, by_handle: bool) -> None:  # noqa: FBT001
    """What has happened, then what happens; and a timeout of 0 gives what is there."""
    desk.publish("t", "RECEIVED")
    desk.publish("t", "STARTED")
    face, came = AsyncClient(desk.client), []

    async def scenario() -> list[str]:
        async for event in face.result("t").events(SOON) if by_handle else face.events("t", SOON):
            came.append(event.state)
            if event.state == "STARTED":
                desk.publish("t", "PROGRESS")
                desk.publish("t", "SUCCESS")
                desk.fold()
        return [event.state async for event in face.events("t", 0)]

    there = asyncio.run(scenario())

    assert ["RECEIVED", "STARTED", "PROGRESS", "SUCCESS"] == came == there
    assert nothing_stands(face)


def test_events_that_nobody_wants_any_more_leave_nothing_behind(desk: Desk) -> None:
    """Cancelled while nothing comes; and a deadline ends them."""
    desk.publish("t", "STARTED")
    face = AsyncClient(desk.client)

    async def scenario() -> None:
        started = asyncio.Event()

        async def follow(seconds: float) -> None:
            async for _ in face.events("t", seconds):
                started.set()

        following = asyncio.create_task(follow(SOON))
        await started.wait()
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
        with pytest.raises(WaitTimeout, match=r"has not ended after 0\.05 s"):
            await follow(0.05)

    asyncio.run(scenario())

    assert not any(watch.followers for watch in desk.engine.waits.watches.values())
    assert nothing_stands(face)


def test_a_handle_is_awaited(memory_wiring: Wiring) -> None:
    """For its result; and it answers what a handle for threads answers."""
    with memory_wiring.publisher() as publisher, memory_wiring.client() as client:

        async def scenario() -> None:
            handle = AsyncClient(client).result("t")
            waiting = asyncio.ensure_future(handle)
            await until(lambda: matched(client) == 1)
            publisher.succeeded("t", 7)
            assert 7 == await waiting
            assert {handle} == {AsyncClient(client).result("t")}
            assert "t" in repr(handle)

        asyncio.run(scenario())
