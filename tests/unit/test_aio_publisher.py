"""
Coroutines publish by the publisher that threads publish by, and waiting for the brokers holds no thread.

We test these aspects: what is published and what is returned; failures; recorded blocks and functions; closing.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from streamresults.aio import AsyncClient, AsyncPublisher
from streamresults.deadline import Deadline
from streamresults.errors import PayloadNotEncodable, PublisherClosed, PublishFailed
from streamresults.events.event import Position
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from streamresults.events.event import Event
    from streamresults.topic.memory import MemoryBroker
    from streamresults.wiring import Wiring

SOON = 10.0
SAID = {
    "succeeded": "SUCCESS",
    "failed_with": "FAILURE",
    "revoked": "REVOKED",
    "rejected": "REJECTED",
    "ignored": "IGNORED",
}


def _run(wiring: Wiring, scenario: Callable[[AsyncPublisher], Coroutine[None, None, None]]) -> None:
    async def opened() -> None:
        async with AsyncPublisher(wiring.publisher()) as publisher:
            await scenario(publisher)

    asyncio.run(opened())


def _events(wiring: Wiring) -> list[Event]:
    """Return what stands in the topic, in order of offsets where it is one partition."""
    codec, found = wiring.codec(), []
    broker: MemoryBroker = wiring.broker()  # type: ignore[assignment]
    for partition in broker._cluster.topics["results"].partitions:
        found += [codec.decode(record.value_) for record in partition.records if record.value_]
    return found


def _states(wiring: Wiring, task: str) -> list[str]:
    return [event.state for event in _events(wiring) if event.task_id == task]


@pytest.mark.parametrize("name", SAID)
def test_what_ends_a_task_returns_where_it_stands(memory_wiring: Wiring, name: str) -> None:
    """Whatever it says, once the brokers hold it."""

    async def scenario(publisher: AsyncPublisher) -> None:
        what = (ValueError("declined"),) if name == "failed_with" else ()
        position = await getattr(publisher, name)("t", *what)
        assert (await publisher.topic_id, 0) == (position.topic_id, position.offset)
        assert [SAID[name]] == _states(memory_wiring, "t")

    _run(memory_wiring, scenario)


def test_what_does_not_end_a_task_is_queued(memory_wiring: Wiring) -> None:
    """In the order of the calls, and flushing waits for it."""

    async def scenario(publisher: AsyncPublisher) -> None:
        await publisher.warm()
        await publisher.started("t")
        await publisher.progress("t", 0.5)
        await publisher.retrying("t", OSError("busy"))
        flushed = await publisher.flush()
        assert (0, 0) == flushed

    _run(memory_wiring, scenario)

    assert ["STARTED", "PROGRESS", "RETRY"] == _states(memory_wiring, "t")


def test_what_was_sent_is_awaited(memory_wiring: Wiring) -> None:
    """For its position; a batch gives all of them."""

    async def scenario(publisher: AsyncPublisher) -> None:
        pending = await publisher.send(publisher.event("t", "SUCCESS", result=1))
        assert Position(await publisher.topic_id, (await pending).partition, 0) == await pending
        assert ("t", True) == (pending.event.task_id, pending.done)
        many = await publisher.publish_many(publisher.event(f"t{n}", "SUCCESS") for n in range(20))
        assert 20 == len([position for position in many if position is not None])
        saved = await publisher.save_group("g", ["t0", "t1"])
        assert saved is not None

    _run(memory_wiring, scenario)


def test_an_acknowledgement_that_does_not_come_is_an_error_in_time(memory_wiring: Wiring) -> None:
    """And holds no thread until then, however many wait."""
    unacknowledged = 200

    async def scenario(publisher: AsyncPublisher) -> None:
        await publisher.warm()
        silent = _Silent(publisher)
        before = threading.active_count()
        publishing = [
            asyncio.create_task(publisher.publish(publisher.event(f"t{n}", "SUCCESS"), 1.0))
            for n in range(unacknowledged)
        ]
        await asyncio.wait_for(silent.all_queued(unacknowledged), SOON)
        assert threading.active_count() - before <= 17
        first = publishing.pop()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        found = await asyncio.gather(*publishing, return_exceptions=True)
        assert {PublishFailed} == {type(one) for one in found}
        assert all("not acknowledged in 1 s" in str(one) for one in found)
        pending = await publisher.send(publisher.event("late", "SUCCESS"))
        with pytest.raises(TimeoutError, match="not acknowledged yet"):
            await pending.position(0.01)

    _run(memory_wiring, scenario)


class _Silent:
    """Takes records of a publisher from now on, and never acknowledges them."""

    def __init__(self, publisher: AsyncPublisher) -> None:
        self._taken = 0
        self._all = threading.Event()
        self._wanted = 0
        writer = publisher._publisher._connection.opened(Deadline(SOON))
        writer.produce = self._take  # type: ignore[method-assign]

    def _take(self, *_: object, **__: object) -> bool:
        self._taken += 1
        return True

    async def all_queued(self, count: int) -> None:
        while self._taken < count:  # noqa: ASYNC110 -- threads take them, and announce it to nobody
            await asyncio.sleep(0.01)


def test_a_refusal_is_raised(memory_wiring: Wiring) -> None:
    """By publishing, and by what was sent."""

    async def scenario(publisher: AsyncPublisher) -> None:
        await publisher.warm()
        memory_wiring.broker().fail("gone")  # type: ignore[attr-defined]
        with pytest.raises(PublishFailed, match="gone"):
            await publisher.publish(publisher.event("t", "SUCCESS"), 0.2)
        memory_wiring.broker().fail(None)  # type: ignore[attr-defined]
        assert await publisher.succeeded("t") is not None

    _run(memory_wiring, scenario)


def test_a_block_is_recorded(memory_wiring: Wiring) -> None:
    """What it comes to, its result and its timing; cancelled, it is revoked."""

    async def scenario(publisher: AsyncPublisher) -> None:
        async with publisher.run("good", name="shop.charge") as run:
            run.result = 7
            run.progress(0.5)
        assert run.position is not None
        with pytest.raises(KeyError):
            async with publisher.run("bad"):
                raise KeyError("card")
        with pytest.raises(PayloadNotEncodable):
            async with publisher.run("odd") as run:
                run.result = object()
        entered = asyncio.Event()

        async def for_ever() -> None:
            async with publisher.run("stopped"):
                entered.set()
                await asyncio.Event().wait()

        running = asyncio.create_task(for_ever())
        await entered.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    _run(memory_wiring, scenario)

    assert ["STARTED", "PROGRESS", "SUCCESS"] == _states(memory_wiring, "good")
    assert ["STARTED", "FAILURE"] == _states(memory_wiring, "bad")
    assert ["STARTED", "FAILURE"] == _states(memory_wiring, "odd")
    assert ["STARTED", "REVOKED"] == _states(memory_wiring, "stopped")


def test_a_function_is_recorded(memory_wiring: Wiring) -> None:
    """One of coroutines without holding up the loop, and one of threads as ever."""

    async def scenario(publisher: AsyncPublisher) -> None:
        @publisher.record("shop.charge", task_id=lambda order: f"charge-{order}")
        async def charge(order: int) -> int:
            await asyncio.sleep(0)
            return order * 2

        @publisher.record(task_id=lambda: "plain")
        def plain() -> int:
            return 1

        assert (14, 1) == (await charge(7), await asyncio.to_thread(plain))

    _run(memory_wiring, scenario)

    assert ["STARTED", "SUCCESS"] == _states(memory_wiring, "charge-7")
    assert ["STARTED", "SUCCESS"] == _states(memory_wiring, "plain")


def test_both_faces_of_both_sides_work_together(memory_wiring: Wiring) -> None:
    """A thousand tasks, published and awaited by coroutines alone."""
    many = 1_000

    async def scenario(publisher: AsyncPublisher) -> None:
        async with AsyncClient(memory_wiring.client()) as client:
            waiting = [asyncio.create_task(client.get(f"t{n}", SOON, via="topic")) for n in range(many)]
            # Without a compactor only the topic tells, from where the reader began.
            await asyncio.to_thread(eventually, lambda: _matched(client) == many, SOON)
            await asyncio.gather(*(publisher.succeeded(f"t{n}", n) for n in range(many)))
            assert list(range(many)) == await asyncio.gather(*waiting)

    _run(memory_wiring, scenario)


def _matched(client: AsyncClient) -> int:
    engine = client._client._engine
    if engine is None:
        return 0
    with engine.waits.lock:
        return sum(waiter.next_offset >= 0 for waiter in engine.waits.everybody())


def test_a_closed_publisher_says_so(memory_wiring: Wiring) -> None:
    """Closing twice is harmless."""

    async def scenario(publisher: AsyncPublisher) -> None:
        await publisher.succeeded("t")
        assert (0, 0) == await publisher.close()
        assert (0, 0) == await publisher.close()
        with pytest.raises(PublisherClosed, match="open another one"):
            await publisher.succeeded("t")

    _run(memory_wiring, scenario)
