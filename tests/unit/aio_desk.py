"""What the tests of coroutines share: a desk in memory, and looks at what the engine and the loops hold."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from streamresults.client.waiter import Phase
from streamresults.topic.memory import MemoryInspector
from tests.unit.desk import SOON, Desk
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    import pytest

    from streamresults import Client
    from streamresults.aio import AsyncClient


async def until(predicate: Callable[[], object]) -> None:
    """Return once something holds; the loop runs meanwhile."""
    await asyncio.to_thread(eventually, predicate, SOON)


async def asleep(desk: Desk, *tasks: str) -> None:
    """Return once the waits of these tasks sleep; of the task ``t`` when none is named."""
    for task in tasks or ("t",):
        await asyncio.to_thread(desk.in_phase, Phase.ASLEEP, task)


def nobody_waits(desk: Desk) -> bool:
    waits = desk.engine.waits
    with waits.lock:
        return not waits.everybody() and not waits.wanted and not any(w.unproven for w in waits.watches.values())


def nothing_stands(face: AsyncClient) -> bool:
    loops = face._loops._loops.values()
    return not any(loop._standing or loop._told for loop in loops) and not face._questions._asked


def nothing_left(desk: Desk, face: AsyncClient) -> bool:
    """Tell whether nothing of any wait is left, in the engine or on a loop."""
    return nobody_waits(desk) and nothing_stands(face)


def matched(client: Client) -> int:
    """Return how many wait in partitions that are read."""
    engine = client._engine
    if engine is None:
        return 0
    with engine.waits.lock:
        return sum(waiter.next_offset >= 0 for waiter in engine.waits.everybody())


def how_many_wait(desk: Desk) -> int:
    """Return how many wait."""
    return len(desk.everybody())


def silent_brokers(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Have the brokers answer no question until the second event is set; the first tells that one was asked."""
    entered, leave = threading.Event(), threading.Event()
    describe = MemoryInspector.describe

    def slow(*args: Any) -> Any:
        entered.set()
        assert leave.wait(SOON)
        return describe(*args)

    monkeypatch.setattr(MemoryInspector, "describe", slow)
    return entered, leave


def in_threads(*scenarios: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run each in an event loop of its own, all at the same time."""
    errors: list[BaseException] = []

    def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            asyncio.run(scenario())
        except BaseException as exc:  # noqa: BLE001 -- raised below
            errors.append(exc)

    threads = [threading.Thread(target=run, args=(scenario,)) for scenario in scenarios]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert not any(thread.is_alive() for thread in threads), "a loop does not end"
    if errors:
        raise errors[0]
