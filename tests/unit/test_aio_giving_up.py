"""
A coroutine gives a wait up, by a deadline or because it is cancelled, and nothing of it is left behind.

We test these aspects: deadlines, what they say and what they cost; a result that came in time; cancelling in every
phase of a wait, and at the moment of its end.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from streamresults.aio import AsyncClient
from streamresults.client.waiter import Phase
from streamresults.errors import WaitTimeout
from tests.unit.aio_desk import (
    asleep,
    how_many_wait,
    nobody_waits,
    nothing_stands,
    silent_brokers,
    until,
)
from tests.unit.desk import SOON, Desk
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("folded_view")

# -- deadlines --------------------------------------------------------------------------------------------------------


def test_a_deadline_ends_the_wait_and_says_what_was_seen(desk: Desk) -> None:
    """Not before it, and with the words that a thread gets."""
    face = AsyncClient(desk.client)
    desk.publish("t", "STARTED")
    desk.fold()

    async def scenario() -> float:
        began = time.monotonic()
        with pytest.raises(WaitTimeout, match=r"'t': not ready after 0\.05 s; it is STARTED"):
            await face.wait("t", 0.05)
        return time.monotonic() - began

    assert 0.05 <= asyncio.run(scenario())
    assert nobody_waits(desk)
    assert nothing_stands(face)


def test_all_deadlines_of_a_loop_share_one_timer(desk: Desk) -> None:
    """However many wait; those that are over are cleared away by the next, and each ends in its order."""
    face = AsyncClient(desk.client)

    async def scenario() -> None:
        running = asyncio.get_running_loop()
        ended: list[int] = []

        async def wait(number: int) -> None:
            with pytest.raises(WaitTimeout):
                await face.wait("t", 0.2 + number / 10)
            ended.append(number)

        short = [asyncio.create_task(wait(number)) for number in reversed(range(5))]
        long = [asyncio.create_task(face.wait(f"t{number}", 3600)) for number in range(500)]
        await until(lambda: how_many_wait(desk) == 505)
        assert 1 == len([timer for timer in running._scheduled if not timer.cancelled()])  # type: ignore[attr-defined]
        await asyncio.gather(*short)
        assert list(range(5)) == ended
        for task in long:
            task.cancel()
        await asyncio.gather(*long, return_exceptions=True)
        await wait(5)
        (loop,) = face._loops._loops.values()
        assert len(loop._heap) <= 1

    asyncio.run(scenario())


def test_a_result_that_is_there_wins_over_a_deadline_that_has_passed(desk: Desk) -> None:
    """A loop that was held up for longer than the deadline still gets what had come."""

    async def scenario() -> str:
        waiting = asyncio.create_task(AsyncClient(desk.client).wait("t", 0.5))
        await asleep(desk)
        desk.publish("t", "SUCCESS")
        desk.fold()
        eventually(lambda: nobody_waits(desk), SOON)
        time.sleep(0.6)  # noqa: ASYNC251 -- holding the loop up is the example
        return (await waiting).state

    assert "SUCCESS" == asyncio.run(scenario())


# -- cancelling -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [Phase.NEW, Phase.LOOKING, Phase.UNPROVEN, Phase.ASLEEP])
def test_cancelling_leaves_nothing_behind(desk: Desk, phase: Phase) -> None:
    """In each phase of the wait."""
    face = AsyncClient(desk.client)

    async def scenario() -> None:
        desk.engine.traffic  # noqa: B018 -- opens it
        if phase is Phase.UNPROVEN:
            desk.publish("other", "SUCCESS")  # which the view has not folded
        with desk.engine.waits.lock:
            waiting = asyncio.create_task(face.wait("t", SOON, via="view" if phase is Phase.LOOKING else "topic"))
            while desk.waiter() is None:  # noqa: ASYNC110 -- nobody announces it
                await asyncio.sleep(0)  # not longer: the lock is held
            if phase in {Phase.NEW, Phase.LOOKING}:
                assert phase is desk.waiter().phase  # type: ignore[union-attr]
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
        if phase in {Phase.UNPROVEN, Phase.ASLEEP}:
            await asyncio.to_thread(desk.in_phase, phase)
            waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(scenario())

    eventually(lambda: nobody_waits(desk), SOON)
    assert nothing_stands(face)


def test_cancelling_before_the_place_is_found_leaves_nothing_behind(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question goes on to its end, and nobody waits after it."""
    face, (entered, leave) = AsyncClient(desk.wiring.client()), silent_brokers(monkeypatch)

    async def scenario() -> None:
        waiting = asyncio.create_task(face.wait("t", SOON))
        await until(entered.is_set)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert nothing_stands(face)
        leave.set()
        await face.close()

    asyncio.run(scenario())


def test_a_result_and_a_cancellation_at_the_same_moment_harm_nobody(desk: Desk) -> None:
    """The one who is cancelled is, and the next one waits as ever."""
    face = AsyncClient(desk.client)

    async def scenario() -> None:
        for number in range(20):
            waiting = asyncio.create_task(face.wait(f"t{number}", SOON, via="topic"))
            await asleep(desk, f"t{number}")
            desk.publish(f"t{number}", "SUCCESS")
            desk.fold()
            eventually(lambda: nobody_waits(desk), SOON)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    asyncio.run(scenario())

    assert nothing_stands(face)
