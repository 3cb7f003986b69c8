"""
Values that stand in the log alone are fetched before the waits that ended with them are told.

We test these aspects: an outage of Kafka between the end and its value, for every way of waiting; those whose values
are at hand meanwhile; what retention took; deadlines, cancelling, closing and a topic that was made again.
"""

from __future__ import annotations

import asyncio
import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.aio import AsyncClient
from streamresults.client import late_values
from streamresults.deadline import ANSWER
from streamresults.errors import ClientClosed, RecordGone, TopicRecreated, TopicUnavailable, WaitTimeout
from streamresults.events.states import RANK_READY
from tests.unit.desk import SOON, Desk
from tests.unit.set_desk import Joins, fold_without_value, succeed
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults import Registration


class Outage:
    """Kafka is away for who fetches; the rest of a client goes on."""

    def __init__(self, desk: Desk) -> None:
        self.away = True
        self.tried = threading.Semaphore(0)
        fetcher = desk.client._fetcher
        read = fetcher._read

        def refused(run: Any, deadline: Any) -> Any:
            self.tried.release()
            if self.away:
                raise TopicUnavailable("the brokers are away")
            return read(run, deadline)

        fetcher._read = refused  # type: ignore[method-assign]


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    """Give a desk with a task whose end the view knows, and whose value stands in the log alone."""
    found = open_desk()
    offset = found.publish("large", "SUCCESS")
    fold_without_value(found, "large", offset)
    return found


@pytest.fixture
def outage(desk: Desk) -> Outage:
    """Have Kafka be away."""
    return Outage(desk)


def _tried(outage: Outage, times: int = 2) -> None:
    for _ in range(times):
        assert outage.tried.acquire(timeout=SOON), "it is tried again"


def test_a_registration_is_called_once_kafka_is_back(desk: Desk, outage: Outage) -> None:
    """However long that takes, as it has no deadline; its value is there then."""
    told: SimpleQueue[Registration] = SimpleQueue()
    desk.client.on_result("large", told.put)
    _tried(outage, 3)
    with pytest.raises(Empty):
        told.get_nowait()
    outage.away = False

    assert "SUCCESS" == told.get(timeout=SOON).result().state


def test_others_are_called_meanwhile(desk: Desk, outage: Outage) -> None:
    """Those whose values are at hand wait for nobody."""
    told: SimpleQueue[str] = SimpleQueue()
    desk.client.on_result("large", lambda ended: told.put(ended.task_id))
    _tried(outage)
    desk.client.on_result("small", lambda ended: told.put(ended.task_id))
    succeed(desk, "small")
    desk.fold()
    assert "small" == told.get(timeout=SOON)
    outage.away = False

    assert "large" == told.get(timeout=SOON)


@pytest.mark.parametrize("via", ["topic", "view"])
def test_a_wait_gets_its_value_once_kafka_is_back(desk: Desk, outage: Outage, via: str) -> None:
    """Inside its deadline."""
    wait = desk.wait("large", None, via)
    _tried(outage)
    outage.away = False

    assert ("SUCCESS", "full") == wait.told


def test_a_join_gets_all_values_once_kafka_is_back(desk: Desk, outage: Outage) -> None:
    """As they come: what is at hand is given meanwhile."""
    succeed(desk, "small")
    desk.fold()
    given: SimpleQueue[str] = SimpleQueue()

    def join() -> None:
        for one in desk.client.results(["large", "small"]).as_completed(None):
            given.put(one.task_id)

    joins = Joins(join)
    assert "small" == given.get(timeout=SOON)
    _tried(outage)
    outage.away = False
    joins.result()

    assert "large" == given.get(timeout=SOON)


def test_coroutines_get_their_values_once_kafka_is_back(desk: Desk, outage: Outage) -> None:
    """Many of them, and no thread is held meanwhile."""
    face = AsyncClient(desk.client)

    async def scenario() -> list[str]:
        waiting = [asyncio.create_task(face.wait("large", None)) for _ in range(50)]
        waiting.append(asyncio.create_task(face.results(["large"]).first(None)))  # type: ignore[arg-type]
        await asyncio.to_thread(_tried, outage)
        assert "UNKNOWN" == (await face.lookup("other")).state, "questions are answered"
        assert 0 == len(face._questions._asked)
        outage.away = False
        return [found.task_id for found in await asyncio.gather(*waiting)]

    assert ["large"] * 51 == asyncio.run(scenario())


def test_a_deadline_that_passes_meanwhile_says_what_is_missing(desk: Desk, outage: Outage) -> None:
    """The task has ended, and its value was not there; nothing is left."""
    with pytest.raises(WaitTimeout, match=r"'large' has ended, but not all was there after 0\.3 s"):
        desk.client.wait("large", 0.3)
    with pytest.raises(WaitTimeout, match=r"'large' has ended, but not all was there after 0\.3 s"):
        desk.client.results(["large"]).join(0.3)
    with pytest.raises(WaitTimeout, match=r"'large' has ended, but not all was there after 0\.3 s"):
        asyncio.run(AsyncClient(desk.client).get("large", 0.3))

    assert outage.away
    assert {} == desk.engine.waits.unfetched


def test_what_retention_took_ends_the_wait_at_once(desk: Desk) -> None:
    """It never comes, so nobody asks again."""
    desk.publish("other", "SUCCESS")
    desk.broker.trim("results", 0, 1)
    told: SimpleQueue[Registration] = SimpleQueue()
    desk.client.on_result("large", told.put)

    with pytest.raises(RecordGone, match="retention has taken it"):
        told.get(timeout=SOON).result()
    with pytest.raises(RecordGone, match="retention has taken it"):
        desk.client.wait("large", None)


def test_cancelling_while_it_is_fetched_leaves_nothing_behind(desk: Desk, outage: Outage) -> None:
    """Its function is never called."""
    registration = desk.client.on_result("large", lambda _: pytest.fail("it was cancelled"))
    _tried(outage)

    assert registration.cancel()
    assert {} == desk.engine.waits.unfetched
    outage.away = False
    assert "SUCCESS" == desk.client.wait("large", SOON).state


def test_closing_ends_it(desk: Desk, outage: Outage) -> None:
    """At once, with ClientClosed, and no thread stays."""
    told: SimpleQueue[Registration] = SimpleQueue()
    desk.client.on_result("large", told.put)
    wait = desk.wait("large", None)
    _tried(outage)
    desk.client.close()

    with pytest.raises(ClientClosed):
        told.get(timeout=SOON).result()
    with pytest.raises(ClientClosed):
        wait.result()
    assert "streamresults-fetcher" not in [thread.name for thread in threading.enumerate()]


def test_a_topic_that_was_made_again_ends_it(desk: Desk, outage: Outage) -> None:
    """With that reason: an offset of the old topic is nothing in the new one."""
    wait = desk.wait("large", None)
    _tried(outage)
    engine = desk.engine
    eventually(lambda: engine.waits.unfetched, SOON)
    engine.end(lambda: TopicRecreated("made again", old_id="a", new_id="b"))

    with pytest.raises(TopicRecreated):
        wait.result()


def test_attempts_become_longer_while_nothing_comes(desk: Desk) -> None:
    """Slow brokers have the time that they need; those that came wait for nobody for long."""
    granted: list[float] = []

    def late(spots: Any, deadline: Any) -> Any:
        granted.append(deadline.total)
        return dict.fromkeys(spots, TopicUnavailable("slow") if len(granted) < 4 else b"")

    desk.client._fetcher.fetch_many = late  # type: ignore[assignment,method-assign]
    desk.client.on_result("large", lambda _: None)
    eventually(lambda: len(granted) == 4, SOON)

    assert [late_values._ATTEMPT * factor for factor in (1, 2, 4)] + [ANSWER] == granted


def test_an_end_whose_record_is_not_to_be_had_is_no_success_and_hides_none(desk: Desk, outage: Outage) -> None:
    """Its rank says that much: where one look has to do, it is passed over, and is a failure to who looks for one."""
    succeed(desk, "ok")
    desk.fold()
    failed = desk.publish("failed", "FAILURE")
    fold_without_value(desk, "failed", failed, rank=RANK_READY)
    found = desk.client.results(["failed", "ok"])

    assert outage.away
    assert "ok" == found.any(0).task_id
    first = found.first_exception(0)
    assert first is not None
    assert "failed" == first.task_id
    with pytest.raises(TopicUnavailable, match="the brokers are away"):
        desk.client.results(["failed"]).any(0)
