"""
A join of coroutines ends when it must and leaves nothing behind.

We test these aspects: one deadline; cancelling at every step; a loop that is closed, and a client; services that are
away; a task that may not wait.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest

from streamresults.aio import AsyncClient
from streamresults.errors import ClientClosed, StoreUnavailable, WaitRefused, WaitTimeout
from streamresults.events.running import begin_task, end_task
from streamresults.store.memory import MemoryView
from tests.unit.aio_desk import asleep, nothing_left, until
from tests.unit.desk import SOON, Desk
from tests.unit.set_desk import succeed
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("folded_view")


def test_one_deadline_holds_for_all(desk: Desk) -> None:
    """And nothing is left behind it."""
    succeed(desk, "a")
    desk.fold()
    face = AsyncClient(desk.client)

    async def scenario() -> None:
        with pytest.raises(WaitTimeout, match=r"4 of 4 tasks have not ended after 0\.2 s: 'w0', 'w1', 'w2', \.\.\."):
            await face.results(["w0", "w1", "w2", "w3"]).join(0.2)
        with pytest.raises(WaitTimeout, match="1 of 2 tasks have not ended after 0 s"):
            await face.results(["a", "w"]).join(0)

    asyncio.run(scenario())
    assert nothing_left(desk, face)


def _stop_at(step: str, monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Have a look at the view block; the first event tells that it does, the second ends it."""
    entered, leave = threading.Event(), threading.Event()
    if step == "looking":
        look = MemoryView.look

        def slow(*args: Any) -> Any:
            entered.set()
            assert leave.wait(SOON)
            return look(*args)

        monkeypatch.setattr(MemoryView, "look", slow)
    return entered, leave


@pytest.mark.parametrize("step", ["looking", "waiting", "given"])
@pytest.mark.parametrize("how", ["join", "first", "as_completed"])
def test_cancelling_leaves_nothing_behind(desk: Desk, monkeypatch: pytest.MonkeyPatch, step: str, how: str) -> None:
    """While it looks, while it waits, and while what has ended is dealt with."""
    face = AsyncClient(desk.client)
    desk.engine.traffic  # noqa: B018 -- opens it
    entered, leave = _stop_at(step, monkeypatch)
    held = threading.Event()

    async def follow() -> None:
        whole = face.results([f"t{number}" for number in range(20)])
        if how == "as_completed":
            async for _ in whole.as_completed(SOON, via="topic"):
                held.set()
                await asyncio.Event().wait()
        elif how == "join":
            await whole.join(SOON, via="topic", callback=lambda *_: held.set())
        else:
            await whole.first(SOON, via="topic")

    async def scenario() -> None:
        waiting = asyncio.create_task(follow())
        if step == "looking":
            await until(entered.is_set)
        else:
            await asleep(desk, "t0", "t19")
        if step == "given" and how != "first":
            succeed(desk, "t3")
            await until(held.is_set)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        leave.set()
        await asyncio.get_running_loop().shutdown_asyncgens()
        await until(lambda: nothing_left(desk, face))

    asyncio.run(scenario())
    assert nothing_left(desk, face)


def test_leaving_an_async_for_early_gives_the_others_up(desk: Desk) -> None:
    """As soon as the loop has had a turn."""
    face = AsyncClient(desk.client)

    async def scenario() -> None:
        succeed(desk, "a")
        desk.fold()
        async for _ in face.results(["a", "b", "c"]).as_completed(SOON, via="topic"):
            break
        await until(lambda: nothing_left(desk, face))

    asyncio.run(scenario())


def test_a_loop_that_is_closed_lets_its_joins_go(desk: Desk) -> None:
    """With the next loop that comes."""
    face = AsyncClient(desk.client)
    first = asyncio.new_event_loop()
    joining = [first.create_task(face.results(["a", "b"]).join(None))]
    first.run_until_complete(asleep(desk, "a", "b"))
    first.run_until_complete(first.shutdown_default_executor())
    first.close()

    async def scenario() -> None:
        succeed(desk, "c")
        desk.fold()
        await face.get("c", SOON)

    asyncio.run(scenario())

    eventually(lambda: not desk.everybody(), SOON)
    joining[0]._log_destroy_pending = False  # type: ignore[attr-defined] # nobody will ever run it
    joining.clear()
    gc.collect()


def test_closing_ends_joins(desk: Desk) -> None:
    """With ClientClosed, and so ends who asks behind it."""
    face = AsyncClient(desk.client)

    async def scenario() -> None:
        joining = asyncio.create_task(face.results(["a", "b"]).join(None))
        await asleep(desk, "b")
        await face.close()
        with pytest.raises(ClientClosed):
            await joining
        with pytest.raises(ClientClosed):
            await face.results(["a"]).counts()
        with pytest.raises(ClientClosed):
            await face.results(["a"]).join()

    asyncio.run(scenario())


def test_services_that_are_away_end_a_join_in_time(desk: Desk) -> None:
    """With what was unreachable; one look says so at once."""
    face = AsyncClient(desk.client)
    desk.engine.traffic  # noqa: B018 -- opens it
    desk.store.outage(down=True)
    desk.broker.fail("the brokers are away")

    async def scenario() -> None:
        with pytest.raises(WaitTimeout, match="the brokers are away"):
            await face.results(["a", "b"]).join(0.3)
        with pytest.raises(StoreUnavailable):
            await face.results(["a", "b"]).join(0)

    asyncio.run(scenario())


def test_a_running_task_may_not_join(desk: Desk) -> None:
    """As it may not wait: the mark is the coroutine's own."""
    face = AsyncClient(desk.client)

    async def scenario() -> None:
        token = begin_task("outer")
        try:
            with pytest.raises(WaitRefused):
                await face.results(["a"]).join(SOON)
        finally:
            end_task(token)

    asyncio.run(scenario())
