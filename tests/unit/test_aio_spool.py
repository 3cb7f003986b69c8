"""
The spool under a publisher for coroutines: what Kafka does not take rests on disk, and the loop is not held up for it.

We test these aspects: what callers are told, order, the way back, cancelling, a full disk, closing.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.aio import AsyncPublisher
from streamresults.errors import PublishFailed, Spooled
from tests.unit.publisher_desk import SOON, Desk, publisher_desks
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

open_desk = pytest.fixture(publisher_desks)


@pytest.fixture
def spooling(open_desk: Callable[..., Desk], tmp_path: Path) -> Callable[..., Desk]:
    """Give a function that opens a desk with a spool, short pauses and a warm publisher."""

    def opened(**settings: Any) -> Desk:
        desk = open_desk(**{"spool": str(tmp_path / "spool"), "retry_max_sleep_ms": 5, **settings})
        desk.publisher.warm()
        return desk

    return opened


def test_an_outage_keeps_events_and_publishes_them_in_order(spooling: Callable[..., Desk]) -> None:
    """Coroutines go on at once, told that nothing is in the log yet; then all of it is, with those that end nothing."""
    desk = spooling()
    face = AsyncPublisher(desk.publisher)

    async def scenario() -> None:
        desk.broker.fail("away")
        assert [None] * 10 == [await face.succeeded(f"t{number}", number) for number in range(10)]
        await face.started("t10")
        assert await face.failed_with("t10", ValueError("no")) is None
        assert (None, None) == (await face.revoked("t11"), await face.rejected("t12"))
        assert 13 <= face.spooled
        assert [] == desk.events()
        desk.broker.fail(None)
        assert (0, 0) == await face.flush(SOON)
        assert 0 == face.spooled
        assert await face.succeeded("t13") is not None, "events go directly again"

    asyncio.run(scenario())

    told = [task for task, _ in desk.told()]
    assert [f"t{number}" for number in range(10)] == told[:10]
    assert [("t10", "STARTED"), ("t10", "FAILURE")] == [one for one in desk.told() if one[0] == "t10"]
    assert {f"t{number}" for number in range(14)} == set(told)


def test_brokers_that_are_silent_hold_up_nobody_but_their_caller(spooling: Callable[..., Desk]) -> None:
    """Until its deadline; the loop goes on, and then the event rests on the disk."""
    desk = spooling(publish_timeout=0.3)
    face = AsyncPublisher(desk.publisher)

    async def scenario() -> tuple[Any, int]:
        desk.broker.hold()
        publishing = asyncio.create_task(face.succeeded("t", 1))
        turns = 0
        while not publishing.done():
            turns += 1
            await asyncio.sleep(0.001)
        return await publishing, turns

    position, turns = asyncio.run(scenario())

    assert position is None
    assert turns > 20
    desk.broker.release()
    eventually(lambda: ("t", "SUCCESS") in desk.told(), SOON)


def test_who_asks_for_a_position_is_told_that_there_is_none_yet(spooling: Callable[..., Desk]) -> None:
    """By an error that says that nothing is lost."""
    desk = spooling()
    face = AsyncPublisher(desk.publisher)

    async def scenario() -> None:
        desk.broker.fail("away")
        pending = await face.send(face.event("t", "SUCCESS"))
        with pytest.raises(Spooled, match="until Kafka is back"):
            await pending
        assert [None, None] == await face.publish_many([face.event("a", "STARTED"), face.event("b", "SUCCESS")])

    asyncio.run(scenario())


def _acknowledgements(face: AsyncPublisher) -> int:
    """Return how many coroutines wait for the brokers alone."""
    return sum(len(loop._standing) for loop in face._loops._loops.values()) - len(face._questions._asked)


def test_a_cancelled_coroutine_leaves_its_event_to_the_spool(spooling: Callable[..., Desk]) -> None:
    """It waits no longer, and the event goes its way all the same."""
    desk = spooling(publish_timeout=SOON)
    face = AsyncPublisher(desk.publisher)

    async def scenario() -> None:
        desk.broker.hold()
        publishing = asyncio.create_task(face.succeeded("t", 1))
        await asyncio.to_thread(eventually, lambda: _acknowledgements(face) == 1, SOON)
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing
        desk.broker.fail("away")
        desk.broker.release()
        await asyncio.to_thread(eventually, lambda: face.spooled == 1, SOON)
        desk.broker.fail(None)
        await face.flush(SOON)

    asyncio.run(scenario())

    assert {("t", "SUCCESS")} == set(desk.told())


def test_a_full_spool_fails_the_publish(spooling: Callable[..., Desk]) -> None:
    """Nothing is dropped in silence."""
    desk = spooling(spool_bytes=4096)
    face = AsyncPublisher(desk.publisher)

    async def scenario() -> None:
        desk.broker.fail("away")
        with pytest.raises(PublishFailed, match=r"the spool .* did not take it"):
            await face.succeeded("t", "x" * 10_000)

    asyncio.run(scenario())


def test_closing_leaves_what_is_kept_to_the_next_publisher(spooling: Callable[..., Desk]) -> None:
    """And says how much that is; the next one publishes it."""
    desk = spooling()

    async def scenario() -> None:
        began = time.monotonic()
        async with AsyncPublisher(desk.publisher) as face:
            desk.broker.fail("away")
            async with face.run("t") as run:
                run.result = 7
            assert run.position is None
        assert time.monotonic() - began < SOON

    asyncio.run(scenario())
    desk.broker.fail(None)
    desk.publisher = desk.open()
    desk.publisher.warm()

    eventually(lambda: [("t", "STARTED"), ("t", "SUCCESS")] == desk.told(), SOON)
