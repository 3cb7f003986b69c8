"""
A thousand wait, and services go: each ends in time with what was unreachable, or succeeds if they come back.

We test these aspects: Redis gone, Kafka gone, both gone; by threads' registrations, joins and coroutines; 200 threads
that share one client; what is no task id, and what is no timeout, at every call.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.aio import AsyncClient
from streamresults.errors import PublishFailed, WaitTimeout
from tests.unit.desk import SOON, Desk
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults import Registration

MANY = 1000
IDS = [f"t{number}" for number in range(MANY)]
#: Seconds that a deadline may be overrun on a loaded machine, for a thousand of them.
LATE = 8.0


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    """Give a desk whose view has folded all there is, and is read again often."""
    found = open_desk(safety_rereads=True, wait_interval=0.1)
    found.fold()
    return found


def _break(desk: Desk, gone: str) -> None:
    if "Redis" in gone:
        desk.store.outage(down=True)
    if "Kafka" in gone:
        desk.broker.fail("Kafka is away")


def _mend(desk: Desk) -> None:
    desk.store.outage()
    desk.broker.fail(None)


def _stand(desk: Desk, count: int = MANY) -> None:
    """Return once so many wait, and the partition is read."""
    eventually(lambda: len(desk.everybody()) >= count and desk.watch.is_read, SOON)


GONE = ["Redis", "Kafka", "Kafka and Redis"]


@pytest.mark.parametrize("gone", GONE)
def test_a_thousand_coroutines_end_inside_their_deadlines(desk: Desk, gone: str) -> None:
    """Each with an error that names its task, and what could not be asked."""
    face = AsyncClient(desk.client)

    async def scenario() -> tuple[list[Any], float]:
        began = time.monotonic()
        waiting = [asyncio.create_task(face.get(task, 3.0)) for task in IDS]
        await asyncio.to_thread(_stand, desk)
        _break(desk, gone)
        late = asyncio.create_task(face.get("late", 1.0))
        ended = await asyncio.gather(*waiting, late, return_exceptions=True)
        return ended, time.monotonic() - began

    ended, took = asyncio.run(scenario())

    assert {WaitTimeout} == {type(one) for one in ended}
    assert all(repr(task) in str(one) for task, one in zip([*IDS, "late"], ended, strict=True))
    assert took < 3.0 + LATE
    for said in map(str, ended):
        assert ("view: the in-memory store pretends to be away" in said) == ("Redis" in gone)
        assert ("Kafka is away" in said) == ("Kafka" in gone)


@pytest.mark.parametrize("gone", GONE)
def test_a_thousand_succeed_when_services_come_back(desk: Desk, gone: str) -> None:
    """Coroutines, one join and registrations alike: an outage inside the deadline harms nobody."""
    face, told = AsyncClient(desk.client), list[str]()

    def note(ended: Registration) -> None:
        told.append(ended.result().state)

    async def scenario() -> None:
        waiting = [asyncio.create_task(face.get(task, 60)) for task in IDS]
        joining = asyncio.create_task(face.results(IDS).join(60))
        for task in IDS:
            desk.client.on_result(task, note)
        await asyncio.to_thread(_stand, desk, 3 * MANY)
        _break(desk, gone)
        await asyncio.to_thread(desk.engine.waits.pause)
        _mend(desk)
        with desk.wiring.publisher() as publisher:
            events = [publisher.event(task, "SUCCESS", result=task) for task in IDS]
            await asyncio.to_thread(publisher.publish_many, events)
        await asyncio.to_thread(desk.fold)
        assert IDS == await asyncio.gather(*waiting)
        assert IDS == await joining
        await asyncio.to_thread(eventually, lambda: len(told) == MANY, SOON)

    asyncio.run(scenario())

    assert {"SUCCESS"} == set(told)


def test_two_hundred_threads_share_one_client(desk: Desk) -> None:
    """One looker and one reader serve them, whatever they ask; each gets its own answer."""
    client = desk.client

    def ask(number: int) -> object:
        task = f"t{number}"
        if number % 4 == 0:
            return client.get(task, 60)
        if number % 4 == 1:
            return client.results([task]).join(60)[0]
        if number % 4 == 2:
            return next(client.results([task, task]).as_completed(60)).result
        return client.get(task, 60, on_interval=lambda: None, interval=0.5)

    with ThreadPoolExecutor(200) as pool:
        asked = [pool.submit(ask, number) for number in range(200)]
        _stand(desk, 200)
        with desk.wiring.publisher() as publisher:
            publisher.publish_many([publisher.event(f"t{n}", "SUCCESS", result=f"t{n}") for n in range(200)])
        desk.fold()
        assert [f"t{number}" for number in range(200)] == [one.result(60) for one in asked]

    eventually(lambda: not desk.everybody(), SOON)


CALLS: dict[str, Callable[[Desk, Any], object]] = {
    "wait": lambda desk, bad: desk.client.wait(bad),
    "get": lambda desk, bad: desk.client.get(bad),
    "lookup": lambda desk, bad: desk.client.lookup(bad),
    "lookup_many": lambda desk, bad: desk.client.lookup_many(["a", bad]),
    "forget": lambda desk, bad: desk.client.forget(bad),
    "events": lambda desk, bad: desk.client.events(bad),
    "on_result": lambda desk, bad: desk.client.on_result(bad, print),
    "result": lambda desk, bad: desk.client.result(bad),
    "async wait": lambda desk, bad: asyncio.run(AsyncClient(desk.client).wait(bad)),
    "async get": lambda desk, bad: asyncio.run(AsyncClient(desk.client).get(bad)),
    "async lookup": lambda desk, bad: asyncio.run(AsyncClient(desk.client).lookup(bad)),
    "async on_result": lambda desk, bad: asyncio.run(AsyncClient(desk.client).on_result(bad, print)),
    "async result": lambda desk, bad: AsyncClient(desk.client).result(bad),
}


BAD_IDS = {
    "empty": "",
    "10 kB": "x" * 10_240,
    "None": None,
    "number": 7,
    "bytes": b"t",
    "list": ["t"],
    "half": "\ud800",
}


@pytest.mark.parametrize("bad", BAD_IDS.values(), ids=BAD_IDS)
@pytest.mark.parametrize("call", CALLS)
def test_what_is_no_task_id_is_refused_at_the_call(desk: Desk, call: str, bad: Any) -> None:
    """In one line that says what an id is."""
    with pytest.raises(ValueError, match="1 to 1024 bytes") as refused:
        CALLS[call](desk, bad)

    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("bad", BAD_IDS.values(), ids=BAD_IDS)
def test_what_is_no_task_id_is_not_published(desk: Desk, bad: Any) -> None:
    """Nothing is sent; the error says what an id is."""
    with desk.wiring.publisher() as publisher, pytest.raises(PublishFailed, match=r"a task id (is|has)") as refused:
        publisher.succeeded(bad)

    assert refused.value.written is False
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("bad", ["5", b"5", [5], -1, float("nan"), pytest.param(object(), id="object")], ids=str)
def test_what_is_no_timeout_is_refused_at_the_call(desk: Desk, bad: Any) -> None:
    """The same everywhere, and nobody waits for it."""
    calls: list[Callable[[], object]] = [
        lambda: desk.client.wait("t", bad),
        lambda: desk.client.lookup("t", timeout=bad),
        lambda: desk.client.results(["t"]).join(bad),
        lambda: asyncio.run(AsyncClient(desk.client).get("t", bad)),
        lambda: asyncio.run(AsyncClient(desk.client).results(["t"]).join(bad)),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="a timeout is a number of seconds from 0 up, or None"):
            call()
