"""
Any number of event loops wait by one client, and a wait of theirs holds no thread and no timer.

We test these aspects: loops in several threads beside threads that block; a loop that is closed; ten thousand waits at
once; a forked child.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading

import pytest

from streamresults.aio import AsyncClient
from streamresults.client.waiter import Phase
from streamresults.errors import WaitTimeout
from tests.unit.aio_desk import (
    how_many_wait,
    in_threads,
    matched,
    nobody_waits,
    nothing_stands,
    until,
)
from tests.unit.desk import SOON, Desk
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("folded_view")

MANY = 10_000


def test_loops_in_several_threads_share_one_client(desk: Desk) -> None:
    """And threads that block beside them: one engine wakes all of them."""
    face = AsyncClient(desk.client)
    beside = desk.wait("both")

    async def scenario() -> None:
        found = await asyncio.gather(*(face.wait(task, SOON, via="topic") for task in ("both", "one", "both")))
        assert ["SUCCESS"] * 3 == [one.state for one in found]

    def publish() -> None:
        eventually(lambda: how_many_wait(desk) == 7 and matched(desk.client) == 7, SOON)
        desk.publish("both", "SUCCESS")
        desk.publish("one", "SUCCESS")

    publisher = threading.Thread(target=publish)
    publisher.start()
    in_threads(scenario, scenario)
    publisher.join(SOON)

    assert "SUCCESS" == beside.told[0]


def test_a_loop_that_was_closed_is_let_go_of(desk: Desk) -> None:
    """Its waits end with it, or at the latest when another loop comes; an answer to it harms nobody."""
    face = AsyncClient(desk.client)
    closed = asyncio.new_event_loop()

    async def begin(task: str) -> None:
        closed.standing = [asyncio.create_task(face.wait(task, SOON, via="topic"))]  # type: ignore[attr-defined]
        await asyncio.to_thread(desk.in_phase, Phase.ASLEEP, task)

    closed.run_until_complete(begin("answered"))
    first = closed.standing  # type: ignore[attr-defined]
    closed.run_until_complete(begin("abandoned"))
    closed.run_until_complete(closed.shutdown_default_executor())
    closed.close()
    beside = desk.wait("beside")
    desk.in_phase(Phase.ASLEEP, "beside")
    for task in ("answered", "beside"):
        desk.publish(task, "SUCCESS")

    assert "SUCCESS" == beside.told[0]
    assert ["abandoned"] == [waiter.task_id for waiter in desk.everybody()]

    async def later() -> None:
        with pytest.raises(WaitTimeout):
            await face.wait("later", 0.01)

    asyncio.run(later())

    assert nobody_waits(desk)
    assert closed not in face._loops._loops
    for task in (*first, *closed.standing):  # type: ignore[attr-defined]
        task._log_destroy_pending = False
    first.clear()
    closed.standing.clear()  # type: ignore[attr-defined]
    gc.collect()


def test_ten_thousand_wait_at_once(desk: Desk) -> None:
    """No thread and no timer each; a burst of results rings each loop a few times, not once for each."""
    face = AsyncClient(desk.client)

    async def scenario() -> None:
        await face.lookup_many(["t0"])
        before = threading.active_count()
        waiting = [asyncio.create_task(face.wait(f"t{number}", 60, via="topic")) for number in range(MANY)]
        await until(lambda: matched(desk.client) == MANY)
        engines_own_and_ours = 6
        assert threading.active_count() - before <= engines_own_and_ours
        running = asyncio.get_running_loop()
        rings: list[object] = []
        ring = running.call_soon_threadsafe
        running.call_soon_threadsafe = lambda *args, **kw: (rings.append(args), ring(*args, **kw))[1]  # type: ignore[method-assign,func-returns-value]
        with desk.engine.waits.lock:  # so that all of them come as one burst
            for number in range(MANY):
                desk.publish(f"t{number}", "SUCCESS")
        found = await asyncio.gather(*waiting)
        assert {"SUCCESS"} == {one.state for one in found}
        assert len(rings) < MANY / 10

    asyncio.run(scenario())

    assert nobody_waits(desk)
    assert nothing_stands(face)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_loops_and_threads_of_its_own(desk: Desk) -> None:
    """Though the parent's were there: the child's questions are answered by the child's threads."""
    desk.publish("t", "SUCCESS")
    desk.fold()
    face = AsyncClient(desk.client)
    assert "SUCCESS" == asyncio.run(_states(face))
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if asyncio.run(asyncio.wait_for(_states(face), SOON)) == "SUCCESS" else 1)
        except BaseException:  # noqa: BLE001 -- a child of a test never returns
            os._exit(2)

    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert "SUCCESS" == asyncio.run(_states(face))


async def _states(face: AsyncClient) -> str:
    looked, waited = await face.lookup("t"), await face.wait("t", SOON)
    assert looked.state == waited.state
    return looked.state
