"""A coroutine that is woken at once, and in its own context, whatever else is to be woken."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

import pytest

from streamresults.aio.loops import Loop
from streamresults.aio.wakeup import Wakeup

WHO: ContextVar[str] = ContextVar("WHO", default="nobody")


def here() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_it_runs_who_awaits_it_at_once_and_in_the_context_of_that_task() -> None:
    async def scenario() -> list[str]:
        said: list[str] = []
        wakeup = Wakeup(here())

        async def wait() -> None:
            WHO.set("the task")
            await wakeup
            said.append(WHO.get())

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        here().call_soon(wakeup.wake)
        here().call_soon(said.append, "woken")
        await task
        return said

    assert ["the task", "woken"] == asyncio.run(scenario())


def test_woken_before_anybody_awaits_it_it_is_over() -> None:
    async def scenario() -> None:
        wakeup = Wakeup(here())
        wakeup.wake()
        wakeup.wake()
        await wakeup

    asyncio.run(scenario())


def test_a_task_that_was_cancelled_is_not_run_a_second_time() -> None:
    async def scenario() -> int:
        wakeup, ran = Wakeup(here()), 0

        async def wait() -> None:
            nonlocal ran
            try:
                await wakeup
            finally:
                ran += 1

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        here().call_soon(wakeup.wake)
        with pytest.raises(asyncio.CancelledError):
            await task
        return ran

    assert 1 == asyncio.run(scenario())


def test_who_is_told_while_the_others_are_woken_takes_a_turn_of_the_loop() -> None:
    """A burst that never ends does not keep the loop from anything else."""

    async def scenario() -> int:
        loop, rounds = Loop(here()), 0
        over = asyncio.Event()

        async def again() -> None:
            nonlocal rounds
            while not over.is_set():
                wakeup = Wakeup(here())
                loop.tell(wakeup)
                await wakeup
                rounds += 1

        task = asyncio.create_task(again())
        for _ in range(10):
            await asyncio.sleep(0)
        over.set()
        await task
        return rounds

    assert asyncio.run(scenario()) <= 10


def test_what_ends_the_loop_while_somebody_is_woken_leaves_the_others_to_its_next_run() -> None:
    """As a keyboard interrupt does, or ``SystemExit``, which a task hands on to its loop."""
    running = asyncio.new_event_loop()
    loop, woken = Loop(running), []

    async def wait(number: int) -> None:
        wakeup = Wakeup(running)
        loop.tell(wakeup)
        await wakeup
        woken.append(number)
        if number == 0:
            raise SystemExit

    tasks = [running.create_task(wait(number)) for number in range(3)]
    with pytest.raises(SystemExit):
        running.run_until_complete(asyncio.wait(tasks))
    assert [0] == woken
    running.run_until_complete(asyncio.wait(tasks))
    assert [0, 1, 2] == woken
    assert isinstance(tasks[0].exception(), SystemExit)
    running.close()
