"""
Joins of coroutines are those of threads, by the same engine, without a thread or a timer for each member.

We test these aspects: the order of members, whatever the order of the ends; what ends first; counts; failures and what
is not at hand.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from streamresults.aio import AsyncClient
from streamresults.client import Result
from streamresults.errors import DeadLettered, NoResult, RecordGone
from streamresults.store.base import Mark
from tests.unit.aio_desk import asleep, nothing_left, until
from tests.unit.desk import SOON, Desk
from tests.unit.set_desk import Looks, fail, fold_without_value, succeed

pytestmark = pytest.mark.usefixtures("folded_view")

MANY = 10_000


@pytest.mark.parametrize("via", ["topic", "view", "auto"])
def test_a_join_is_in_the_order_of_its_members(desk: Desk, via: Any) -> None:
    """Whatever the order in which they end; with nested sets and duplicates; functions are called on the loop."""
    succeed(desk, "b")
    desk.fold()
    face, told = AsyncClient(desk.client), []

    async def scenario() -> list[Any]:
        here = threading.get_ident()

        def callback(task: str, value: object) -> None:
            assert here == threading.get_ident()
            told.append((task, value))

        whole = face.results(["a", face.results(["b", "c"]), "a"])
        joining = asyncio.create_task(whole.join(SOON, via=via, callback=callback))
        await asleep(desk, "a", "c")
        for task in "ca":
            succeed(desk, task)
            desk.fold()
        return await joining

    assert ["A", ["B", "C"], "A"] == asyncio.run(scenario())
    assert {("a", "A"), ("b", "B"), ("c", "C")} == set(told)
    assert 3 == len(told)
    assert nothing_left(desk, face)


def test_a_finished_set_is_counted_and_joined_in_one_read_each(desk: Desk) -> None:
    """Whatever the size."""
    ids = [f"s{number}" for number in range(600)]
    succeed(desk, *ids)
    fail(desk, "f")
    desk.fold()
    looks, face = Looks(desk), AsyncClient(desk.client)

    async def scenario() -> None:
        whole = face.results([*ids, "f", "never"])
        assert (602, 601, 600, 1) == await whole.counts()
        flags = (await whole.ready, await whole.successful, await whole.failed, await whole.waiting)
        assert (False, False, True, True) == flags
        assert [602] * 5 == looks.sizes
        assert [one.upper() for one in ids] == await face.results(ids).get(0)
        assert 600 == looks.sizes[-1]

    asyncio.run(scenario())


def test_ten_thousand_are_joined_without_a_thread_or_a_timer_for_each(desk: Desk) -> None:
    """And the loop goes on meanwhile."""
    face, ids = AsyncClient(desk.client), [f"t{number}" for number in range(MANY)]
    before = threading.active_count()  # other tests' threads may end a little later than they

    async def scenario() -> tuple[int, int]:
        joining = asyncio.create_task(face.results(ids).join(60, via="topic"))
        await until(lambda: len(desk.everybody()) == MANY)
        timers = len([one for one in asyncio.get_running_loop()._scheduled if not one.cancelled()])  # type: ignore[attr-defined]
        threads = threading.active_count()
        with desk.wiring.publisher() as publisher:
            await asyncio.to_thread(
                publisher.publish_many, [publisher.event(one, "SUCCESS", result=one) for one in reversed(ids)]
            )
        assert ids == await joining
        return timers, threads

    timers, threads = asyncio.run(scenario())

    assert 1 == timers
    assert threads < before + 30
    assert nothing_left(desk, face)


def test_the_empty_set_is_done(desk: Desk) -> None:
    """And asks nobody."""
    desk.store.outage(down=True)
    empty = AsyncClient(desk.client).results()

    async def scenario() -> None:
        assert ([], [], None) == (await empty.join(), await empty.all(), await empty.first_exception())
        assert [] == [one async for one in empty.as_completed()]
        for ask in (empty.first, empty.any):
            with pytest.raises(ValueError, match="the set has no tasks"):
                await ask()

    asyncio.run(scenario())


def test_tasks_are_given_as_they_end(desk: Desk) -> None:
    """Each once; what it says needs no further look."""
    face = AsyncClient(desk.client)

    async def scenario() -> list[str]:
        order = []
        succeed(desk, "a")
        desk.fold()
        async for task in face.results(["c", "b", "a", "c"]).as_completed(SOON, via="topic"):
            order.append(f"{task.task_id} {await task.state}")
            if len(order) < 3:
                succeed(desk, "bc"[len(order) - 1])
                desk.fold()
        return order

    assert ["a SUCCESS", "b SUCCESS", "c SUCCESS"] == asyncio.run(scenario())
    assert nothing_left(desk, face)


def test_the_first_of_some_is_enough(desk: Desk) -> None:
    """However it ended, or only a success, or only a failure; the other waits are given up."""
    fail(desk, "f")
    desk.fold()
    face = AsyncClient(desk.client)

    async def scenario() -> None:
        whole = face.results(["f", "w", "s"])
        success = asyncio.create_task(whole.any(SOON, via="topic"))
        await asleep(desk, "s")
        succeed(desk, "s")
        assert face.result("s") == await success
        desk.fold()
        assert face.result("f") == await face.results(["w", "f"]).first(SOON)
        assert face.result("f") == await whole.first_exception(SOON)
        assert await face.results(["s"]).first_exception(SOON) is None
        assert ["SUCCESS", "FAILURE"] == [one.state for one in await face.results(["s", "f"]).all(SOON)]
        assert [("f", "FAILURE")] == [(one, end.state) async for one, end in face.results(["f"]).ends(SOON)]  # type: ignore[union-attr]
        with pytest.raises(ValueError, match="f"):
            await face.results(["f"]).any(SOON)

    asyncio.run(scenario())
    assert nothing_left(desk, face)


def test_a_failure_ends_a_join_at_once(desk: Desk) -> None:
    """Nobody waits for the others then."""
    face = AsyncClient(desk.client)

    async def scenario() -> None:
        joining = asyncio.create_task(face.results(["a", "b"]).join(None))
        await asleep(desk, "a", "b")
        fail(desk, "b")
        desk.fold()
        with pytest.raises(ValueError, match="b"):
            await joining

    asyncio.run(scenario())
    assert nothing_left(desk, face)


def test_a_broken_member_breaks_itself_alone(desk: Desk) -> None:
    """A dead letter, an end without a result, and a value that retention took."""
    fold_without_value(desk, "gone", desk.publish("gone", "SUCCESS"))
    succeed(desk, "a")
    desk.publish("none", "REJECTED")
    desk.fold(marks=[("dead", Mark(offset=9, reason="odd", place="results.dlq[0]@1", keep_until_ms=2**52))])
    desk.broker.trim("results", 0, 1)

    async def scenario() -> list[Any]:
        return await AsyncClient(desk.client).results(["a", "dead", "none", "gone"]).join(SOON, propagate=False)

    good, *broken = asyncio.run(scenario())

    assert "A" == good
    assert [DeadLettered, NoResult, RecordGone] == [type(one) for one in broken]


def test_what_is_not_at_hand_is_read_beside_the_loop(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result in the payload store, and one that the log alone holds."""
    loops: set[int] = set()
    on: dict[str, int] = {}
    payload = Result._payload

    def noted(result: Result) -> object:
        on[result.task_id] = threading.get_ident()
        return payload(result)

    monkeypatch.setattr(Result, "_payload", noted)
    monkeypatch.setattr(Result, "at_hand", property(lambda self: self.task_id != "far"))
    succeed(desk, "near", "far")
    desk.fold()
    fold_without_value(desk, "logged", desk.publish("logged", "SUCCESS"))

    async def scenario() -> list[Any]:
        loops.add(threading.get_ident())
        return await AsyncClient(desk.client).results(["near", "far", "logged"]).join(SOON)

    assert ["NEAR", "FAR", None] == asyncio.run(scenario())
    assert {"near", "far", "logged"} == set(on)
    assert on["far"] not in loops
