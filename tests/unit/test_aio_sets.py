"""
Many tasks as one thing for coroutines: what threads get, by the same engine, without a thread or a timer for each.

We test these aspects: members; joins in order, whatever the order of the ends; what ends first; counts; failures and
what is not at hand; one deadline; cancelling at every step; closing; groups that are saved, restored and deleted.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import threading
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.aio import AsyncClient, AsyncResultGroup, AsyncResultHandle, AsyncResultSet
from streamresults.client import Result, ResultGroup, ResultHandle, ResultSet
from streamresults.client.waiter import Phase
from streamresults.errors import (
    ClientClosed,
    DeadLettered,
    NoResult,
    RecordGone,
    StoreUnavailable,
    UnknownTask,
    WaitRefused,
    WaitTimeout,
)
from streamresults.events.running import begin_task, end_task
from streamresults.store.base import Mark
from streamresults.store.memory import MemoryView
from tests.unit.desk import SOON, Desk, desks
from tests.unit.test_fetching import fold_without_value
from tests.unit.test_result_set import Looks, fail, succeed
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MANY = 10_000


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Give a desk whose view has folded all there is."""
    opening = desks()
    found = next(opening)()
    found.fold()
    yield found
    next(opening, None)


async def _until(predicate: Callable[[], object]) -> None:
    """Return once something holds; the loop runs meanwhile."""
    await asyncio.to_thread(eventually, predicate, SOON)


async def _asleep(desk: Desk, *tasks: str) -> None:
    for task in tasks:
        await asyncio.to_thread(desk.in_phase, Phase.ASLEEP, task)


def _nothing_left(desk: Desk, face: AsyncClient) -> bool:
    """Tell whether nothing of any wait is left, in the engine or on a loop."""
    waits = desk.engine.waits
    with waits.lock:
        if waits.everybody() or waits.wanted or any(watch.unproven for watch in waits.watches.values()):
            return False
    loops = face._loops._loops.values()
    return not any(loop._standing or loop._told for loop in loops) and not face._questions._asked


# -- the same names -------------------------------------------------------------------------------------------------

FACES = [(AsyncResultHandle, ResultHandle), (AsyncResultSet, ResultSet), (AsyncResultGroup, ResultGroup)]
#: Of sets for threads: what their faces stand on.
WITHIN = {"in_order"}
#: Attributes of each group for threads.
INSTANCES = {"group_id"}


@pytest.mark.parametrize(("face", "stands_on"), FACES)
def test_a_face_has_the_same_names_with_the_same_parameters(face: type, stands_on: type) -> None:
    """Of handles, sets and groups, as of clients."""
    ours = {name for name in dir(face) if not name.startswith("_")}
    theirs = {name for name in dir(stands_on) if not name.startswith("_")} - WITHIN

    assert theirs == ours - INSTANCES
    for name in theirs:
        here, there = inspect.getattr_static(face, name), inspect.getattr_static(stands_on, name)
        assert callable(here) == callable(there), name
        if callable(here):
            assert _parameters(there) == _parameters(here), name


def _parameters(function: Callable[..., object]) -> list[tuple[str, object]]:
    return [(one.name, one.default) for one in inspect.signature(function).parameters.values()]


def test_members_are_tasks_and_sets_in_an_order(desk: Desk) -> None:
    """By id or by handle; nested sets come back as what they are. Nothing is asked, so nothing is awaited."""
    face = AsyncClient(desk.client)
    nested = face.group("g", ["c", "a"])
    found = face.results(["a", face.result("b"), nested, "a"])

    assert [face.result("a"), face.result("b"), nested, face.result("a")] == list(found)
    assert [AsyncResultHandle, AsyncResultGroup] == [type(found[1]), type(found[2])]
    assert ["a", "b", "c"] == list(found.handles())
    assert ["a" in found, nested in found, face.result("b") in found, "c" in found] == [True, True, True, False]
    assert found == face.results(["a", "b", face.group("g", ["c", "a"]), "a"])
    found.remove("a")
    with pytest.raises(KeyError):
        found.remove(face.result("a"))
    found.update(["x", "y"])
    found.discard("x")
    assert "<AsyncResultSet of 3>" == repr(found)
    nested.add("z")  # which is the one inside
    assert ["b", "c", "a", "z", "y"] == list(found.handles())
    found.clear()
    assert 0 == len(found)


def test_what_is_to_be_awaited_does_not_pass_for_its_answer(desk: Desk) -> None:
    """``if handle.ready`` would always be true."""
    face = AsyncClient(desk.client)
    for asked in (face.result("t").ready, face.results().ready):
        with pytest.raises(TypeError, match="await"):
            bool(asked)


def test_a_handle_answers_what_a_handle_for_threads_does(desk: Desk) -> None:
    """Each property, awaited, and the tree below it."""
    with desk.wiring.publisher(worker="w") as publisher:
        publisher.succeeded("t", 7, name="n", args=[1], labels={"k": "v"}, children=("b", "c"), retries=2)
        publisher.succeeded("b", 8, parent_id="t", root_id="t")
    desk.fold()

    async def scenario() -> None:
        face = AsyncClient(desk.client)
        t, b = face.result("t"), face.result("b")
        assert ("SUCCESS", True, True, False) == (await t.state, await t.ready, await t.successful, await t.failed)
        assert (7, "n", (1,), {"k": "v"}, 2) == (
            await t.result,
            await t.name,
            await t.args,
            await t.labels,
            await t.retries,
        )
        assert [b, face.result("c")] == await t.children
        assert (None, t, t) == (await t.parent, await b.parent, await b.root)
        assert (b, 3) == (await t.leaf(), len(await t.graph()))
        assert [(t, 7), (b, 8), (face.result("c"), None)] == [one async for one in t.collect(intermediate=True)]
        given = t.iterdeps()
        assert [(None, t), (t, b)] == [await anext(given), await anext(given)]
        with pytest.raises(UnknownTask, match="not complete"):
            await anext(given)
        assert "SUCCESS" == (await t.snapshot(fresh=True)).state

    asyncio.run(scenario())


# -- joining --------------------------------------------------------------------------------------------------------


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
        await _asleep(desk, "a", "c")
        for task in "ca":
            succeed(desk, task)
            desk.fold()
        return await joining

    assert ["A", ["B", "C"], "A"] == asyncio.run(scenario())
    assert {("a", "A"), ("b", "B"), ("c", "C")} == set(told)
    assert 3 == len(told)
    assert _nothing_left(desk, face)


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
        await _until(lambda: len(desk.engine.waits.everybody()) == MANY)
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
    assert _nothing_left(desk, face)


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
    assert _nothing_left(desk, face)


def test_the_first_of_some_is_enough(desk: Desk) -> None:
    """However it ended, or only a success, or only a failure; the other waits are given up."""
    fail(desk, "f")
    desk.fold()
    face = AsyncClient(desk.client)

    async def scenario() -> None:
        whole = face.results(["f", "w", "s"])
        success = asyncio.create_task(whole.any(SOON, via="topic"))
        await _asleep(desk, "s")
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
    assert _nothing_left(desk, face)


def test_a_failure_ends_a_join_at_once(desk: Desk) -> None:
    """Nobody waits for the others then."""
    face = AsyncClient(desk.client)

    async def scenario() -> None:
        joining = asyncio.create_task(face.results(["a", "b"]).join(None))
        await _asleep(desk, "a", "b")
        fail(desk, "b")
        desk.fold()
        with pytest.raises(ValueError, match="b"):
            await joining

    asyncio.run(scenario())
    assert _nothing_left(desk, face)


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


# -- the end of waiting ---------------------------------------------------------------------------------------------


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
    assert _nothing_left(desk, face)


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
            await _until(entered.is_set)
        else:
            await _asleep(desk, "t0", "t19")
        if step == "given" and how != "first":
            succeed(desk, "t3")
            await _until(held.is_set)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        leave.set()
        await asyncio.get_running_loop().shutdown_asyncgens()
        await _until(lambda: _nothing_left(desk, face))

    asyncio.run(scenario())
    assert _nothing_left(desk, face)


def test_leaving_an_async_for_early_gives_the_others_up(desk: Desk) -> None:
    """As soon as the loop has had a turn."""
    face = AsyncClient(desk.client)

    async def scenario() -> None:
        succeed(desk, "a")
        desk.fold()
        async for _ in face.results(["a", "b", "c"]).as_completed(SOON, via="topic"):
            break
        await _until(lambda: _nothing_left(desk, face))

    asyncio.run(scenario())


def test_a_loop_that_is_closed_lets_its_joins_go(desk: Desk) -> None:
    """With the next loop that comes."""
    face = AsyncClient(desk.client)
    first = asyncio.new_event_loop()
    joining = [first.create_task(face.results(["a", "b"]).join(None))]
    first.run_until_complete(_asleep(desk, "a", "b"))
    first.run_until_complete(first.shutdown_default_executor())
    first.close()

    async def scenario() -> None:
        succeed(desk, "c")
        desk.fold()
        await face.get("c", SOON)

    asyncio.run(scenario())

    eventually(lambda: not desk.engine.waits.everybody(), SOON)
    joining[0]._log_destroy_pending = False  # type: ignore[attr-defined] # nobody will ever run it
    joining.clear()
    gc.collect()


def test_closing_ends_joins(desk: Desk) -> None:
    """With ClientClosed, and so ends who asks behind it."""
    face = AsyncClient(desk.client)

    async def scenario() -> None:
        joining = asyncio.create_task(face.results(["a", "b"]).join(None))
        await _asleep(desk, "b")
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


# -- groups ---------------------------------------------------------------------------------------------------------


def test_a_group_is_saved_restored_and_deleted(desk: Desk) -> None:
    """In its order, with nested ones; its tasks stay."""
    succeed(desk, "b", "a")
    face = AsyncClient(desk.client)

    async def scenario() -> None:
        group = face.group("g", ["b", face.group("inner", ["a", "b"]), face.results(["a"])])
        assert ("g", "group:g") == (group.group_id, group.key)
        position = await group.save()
        desk.fold()
        await face.lookup(group.key, at_least=position)
        restored = await face.restore_group("g")
        assert ["B", ["A", "B"], ["A"]] == await restored.join(SOON)
        assert [AsyncResultHandle, AsyncResultGroup, AsyncResultGroup] == [type(one) for one in restored]
        await group.delete()
        desk.fold()
        with pytest.raises(UnknownTask, match="no group 'g' is saved"):
            await face.restore_group("g")
        await restored.forget()
        desk.fold()
        assert ["UNKNOWN", "UNKNOWN"] == [one.state for one in await face.lookup_many(["a", "b"])]

    asyncio.run(scenario())
