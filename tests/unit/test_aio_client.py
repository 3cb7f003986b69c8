"""
Coroutines wait by the engine that threads wait by, and a wait of theirs holds no thread and no timer.

We test these aspects: results, errors and exceptions as threads get them; deadlines; cancelling in every phase; any
number of event loops, and one that is closed; closing while somebody waits; ten thousand at once; a forked child.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.aio import AsyncClient
from streamresults.client.waiter import Phase
from streamresults.errors import ClientClosed, NoResult, ServiceUnavailable, WaitTimeout
from streamresults.topic.memory import MemoryInspector
from tests.unit.desk import SOON, Desk, desks
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from streamresults import Client, Result
    from streamresults.wiring import Wiring

MANY = 10_000
TASKS = ("good", "bad", "none")


@pytest.fixture
def open_desk() -> Iterator[Callable[..., Desk]]:
    """Give a function that opens a desk; safety re-reads are off."""
    yield from desks()


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    """Give a desk whose view has folded all there is."""
    found = open_desk()
    found.fold()
    return found


async def _until(predicate: Callable[[], object]) -> None:
    """Return once something holds; the loop runs meanwhile."""
    await asyncio.to_thread(eventually, predicate, SOON)


async def _asleep(desk: Desk, task: str = "t") -> None:
    await asyncio.to_thread(desk.in_phase, Phase.ASLEEP, task)


def _nobody_waits(desk: Desk) -> bool:
    waits = desk.engine.waits
    with waits.lock:
        return not waits.everybody() and not waits.wanted and not any(w.unproven for w in waits.watches.values())


def _nothing_stands(face: AsyncClient) -> bool:
    loops = face._loops._loops.values()
    return not any(loop._standing or loop._told for loop in loops) and not face._questions._asked


# -- as for threads -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("via", ["topic", "view", "auto"])
def test_a_wait_ends_with_the_task(desk: Desk, via: Any) -> None:
    """By every way of learning of it, and nothing of it is left."""
    face = AsyncClient(desk.client)

    async def scenario() -> Result:
        waiting = asyncio.create_task(face.wait("t", SOON, via=via))
        await _asleep(desk)
        desk.publish("t", "SUCCESS")
        desk.fold()
        return await waiting

    found = asyncio.run(scenario())

    assert ("t", "SUCCESS") == (found.task_id, found.state)
    assert _nobody_waits(desk)
    assert _nothing_stands(face)


def test_get_gives_the_value_and_raises_what_the_task_raised(memory_wiring: Wiring) -> None:
    """The real class where it is allowed, as for threads; or returns it where that was asked for."""
    with memory_wiring.publisher() as publisher, memory_wiring.client() as client:

        async def scenario() -> list[Any]:
            face, told = AsyncClient(client), []
            waiting = [asyncio.create_task(face.get(task, SOON, via="topic")) for task in TASKS]
            waiting += [asyncio.create_task(face.get("bad", SOON, via="topic", propagate=False))]
            waiting += [asyncio.create_task(face.get("good", SOON, via="topic", callback=lambda *a: told.append(a)))]
            await _until(lambda: _matched(client) == len(waiting))
            publisher.succeeded("good", {"paid": True})
            publisher.failed_with("bad", KeyError("card"))
            publisher.rejected("none")
            return [*await asyncio.gather(*waiting, return_exceptions=True), told]

        good, bad, none, returned, _, told = asyncio.run(scenario())

    assert {"paid": True} == good
    assert (KeyError, ("card",)) == (type(bad), bad.args)
    assert NoResult is type(none)
    assert (KeyError, ("card",)) == (type(returned), returned.args)
    assert [("good", {"paid": True})] == told


def _matched(client: Client) -> int:
    """Return how many wait in partitions that are read."""
    engine = client._engine
    if engine is None:
        return 0
    with engine.waits.lock:
        return sum(waiter.next_offset >= 0 for waiter in engine.waits.everybody())


def _waiting(desk: Desk) -> int:
    """Return how many wait."""
    with desk.engine.waits.lock:
        return len(desk.engine.waits.everybody())


def test_questions_are_answered_as_for_threads(desk: Desk) -> None:
    """Lookups and forgetting; what a lookup raises is raised."""
    desk.publish("t", "SUCCESS")
    desk.fold()

    async def scenario() -> None:
        face = AsyncClient(desk.client)
        assert "SUCCESS" == (await face.lookup("t", fresh=True)).state
        assert ["SUCCESS", "UNKNOWN"] == [found.state for found in await face.lookup_many(["t", "u"])]
        assert "SUCCESS" == (await face.wait("t", 0)).state
        position = await face.forget("t")
        assert (0, 1) == (position.partition, position.offset)
        with pytest.raises(ValueError, match="task id"):
            await face.lookup("")
        with pytest.raises(ValueError, match="task id"):
            await face.wait("")
        with pytest.raises(ValueError, match="via"):
            await face.wait("t", via="pigeon")  # type: ignore[arg-type]
        with pytest.raises(WaitTimeout, match="one look"):
            await face.wait("u", 0)

    asyncio.run(scenario())


def test_a_function_is_called_on_the_event_loop(desk: Desk) -> None:
    """On the thread of the loop that registered it."""

    async def scenario() -> None:
        told: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
        face = AsyncClient(desk.client)
        await face.on_result("t", lambda ended: told.put_nowait((ended.result().state, threading.get_ident())))
        await _asleep(desk)
        desk.publish("t", "SUCCESS")
        desk.fold()
        assert ("SUCCESS", threading.get_ident()) == await asyncio.wait_for(told.get(), SOON)

    asyncio.run(scenario())


def test_functions_of_an_attended_wait_are_called_on_the_event_loop(desk: Desk) -> None:
    """Each interval, and with each event; the wait ends as any other."""

    async def scenario() -> None:
        face, here, ticked, events = AsyncClient(desk.client), threading.get_ident(), asyncio.Event(), []

        def tick() -> None:
            assert here == threading.get_ident()
            ticked.set()

        waiting = asyncio.create_task(
            face.wait("t", SOON, interval=0.01, on_interval=tick, on_message=lambda event: events.append(event.state))
        )
        await asyncio.wait_for(ticked.wait(), SOON)
        await _asleep(desk)
        desk.publish("t", "STARTED")
        desk.publish("t", "SUCCESS")
        desk.fold()
        assert "SUCCESS" == (await waiting).state
        assert ["STARTED", "SUCCESS"] == events

    asyncio.run(scenario())


@pytest.mark.parametrize("by_handle", [False, True])
def test_events_come_one_by_one_until_the_task_ends(desk: Desk, by_handle: bool) -> None:  # noqa: FBT001
    """What has happened, then what happens; and a timeout of 0 gives what is there."""
    desk.publish("t", "RECEIVED")
    desk.publish("t", "STARTED")
    face, came = AsyncClient(desk.client), []

    async def scenario() -> list[str]:
        async for event in face.result("t").events(SOON) if by_handle else face.events("t", SOON):
            came.append(event.state)
            if event.state == "STARTED":
                desk.publish("t", "PROGRESS")
                desk.publish("t", "SUCCESS")
                desk.fold()
        return [event.state async for event in face.events("t", 0)]

    there = asyncio.run(scenario())

    assert ["RECEIVED", "STARTED", "PROGRESS", "SUCCESS"] == came == there
    assert _nothing_stands(face)


def test_events_that_nobody_wants_any_more_leave_nothing_behind(desk: Desk) -> None:
    """Cancelled while nothing comes; and a deadline ends them."""
    desk.publish("t", "STARTED")
    face = AsyncClient(desk.client)

    async def scenario() -> None:
        started = asyncio.Event()

        async def follow(seconds: float) -> None:
            async for _ in face.events("t", seconds):
                started.set()

        following = asyncio.create_task(follow(SOON))
        await started.wait()
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
        with pytest.raises(WaitTimeout, match=r"has not ended after 0\.05 s"):
            await follow(0.05)

    asyncio.run(scenario())

    assert not any(watch.followers for watch in desk.engine.waits.watches.values())
    assert _nothing_stands(face)


def test_a_handle_is_awaited(memory_wiring: Wiring) -> None:
    """For its result; and it answers what a handle for threads answers."""
    with memory_wiring.publisher() as publisher, memory_wiring.client() as client:

        async def scenario() -> None:
            handle = AsyncClient(client).result("t")
            waiting = asyncio.ensure_future(handle)
            await _until(lambda: _matched(client) == 1)
            publisher.succeeded("t", 7)
            assert 7 == await waiting
            assert {handle} == {AsyncClient(client).result("t")}
            assert "t" in repr(handle)

        asyncio.run(scenario())


# -- deadlines ------------------------------------------------------------------------------------------------------


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
    assert _nobody_waits(desk)
    assert _nothing_stands(face)


def test_all_deadlines_of_a_loop_share_one_timer(desk: Desk) -> None:
    """However many wait; those that are over are cleared away, and each ends in its order."""
    face = AsyncClient(desk.client)

    async def scenario() -> None:
        running = asyncio.get_running_loop()
        ended: list[int] = []

        async def wait(number: int) -> None:
            with pytest.raises(WaitTimeout):
                await face.wait("t", 0.2 + number / 100)
            ended.append(number)

        short = [asyncio.create_task(wait(number)) for number in reversed(range(5))]
        long = [asyncio.create_task(face.wait(f"t{number}", 3600)) for number in range(500)]
        await _until(lambda: _waiting(desk) == 505)
        assert 1 == len([timer for timer in running._scheduled if not timer.cancelled()])  # type: ignore[attr-defined]
        await asyncio.gather(*short)
        assert list(range(5)) == ended
        for task in long:
            task.cancel()
        await asyncio.gather(*long, return_exceptions=True)
        (loop,) = face._loops._loops.values()
        assert len(loop._heap) <= 64

    asyncio.run(scenario())


def test_a_result_that_is_there_wins_over_a_deadline_that_has_passed(desk: Desk) -> None:
    """A loop that was held up for longer than the deadline still gets what had come."""

    async def scenario() -> str:
        waiting = asyncio.create_task(AsyncClient(desk.client).wait("t", 0.5))
        await _asleep(desk)
        desk.publish("t", "SUCCESS")
        desk.fold()
        eventually(lambda: _nobody_waits(desk), SOON)
        time.sleep(0.6)  # noqa: ASYNC251 -- holding the loop up is the example
        return (await waiting).state

    assert "SUCCESS" == asyncio.run(scenario())


# -- cancelling -----------------------------------------------------------------------------------------------------


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

    eventually(lambda: _nobody_waits(desk), SOON)
    assert _nothing_stands(face)


def _silent_brokers(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Have the brokers answer no question until the second event is set; the first tells that one was asked."""
    entered, leave = threading.Event(), threading.Event()
    describe = MemoryInspector.describe

    def slow(*args: Any) -> Any:
        entered.set()
        assert leave.wait(SOON)
        return describe(*args)

    monkeypatch.setattr(MemoryInspector, "describe", slow)
    return entered, leave


def test_cancelling_before_the_place_is_found_leaves_nothing_behind(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question goes on to its end, and nobody waits after it."""
    face, (entered, leave) = AsyncClient(desk.wiring.client()), _silent_brokers(monkeypatch)

    async def scenario() -> None:
        waiting = asyncio.create_task(face.wait("t", SOON))
        await _until(entered.is_set)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert _nothing_stands(face)
        leave.set()
        await face.close()

    asyncio.run(scenario())


def test_a_result_and_a_cancellation_at_the_same_moment_harm_nobody(desk: Desk) -> None:
    """The one who is cancelled is, and the next one waits as ever."""
    face = AsyncClient(desk.client)

    async def scenario() -> None:
        for number in range(20):
            waiting = asyncio.create_task(face.wait(f"t{number}", SOON, via="topic"))
            await _asleep(desk, f"t{number}")
            desk.publish(f"t{number}", "SUCCESS")
            desk.fold()
            eventually(lambda: _nobody_waits(desk), SOON)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    asyncio.run(scenario())

    assert _nothing_stands(face)


# -- event loops ----------------------------------------------------------------------------------------------------


def _in_threads(*scenarios: Callable[[], Coroutine[Any, Any, None]]) -> None:
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


def test_loops_in_several_threads_share_one_client(desk: Desk) -> None:
    """And threads that block beside them: one engine wakes all of them."""
    face = AsyncClient(desk.client)
    beside = desk.wait("both")

    async def scenario() -> None:
        found = await asyncio.gather(*(face.wait(task, SOON, via="topic") for task in ("both", "one", "both")))
        assert ["SUCCESS"] * 3 == [one.state for one in found]

    def publish() -> None:
        eventually(lambda: _waiting(desk) == 7 and _matched(desk.client) == 7, SOON)
        desk.publish("both", "SUCCESS")
        desk.publish("one", "SUCCESS")

    publisher = threading.Thread(target=publish)
    publisher.start()
    _in_threads(scenario, scenario)
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
    assert ["abandoned"] == [waiter.task_id for waiter in desk.engine.waits.everybody()]

    async def later() -> None:
        with pytest.raises(WaitTimeout):
            await face.wait("later", 0.01)

    asyncio.run(later())

    assert _nobody_waits(desk)
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
        await _until(lambda: _matched(desk.client) == MANY)
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

    assert _nobody_waits(desk)
    assert _nothing_stands(face)


# -- the end --------------------------------------------------------------------------------------------------------


def test_closing_wakes_everybody_with_an_error(desk: Desk) -> None:
    """Who waits for a task, and who waits for an answer; on this loop and on another one."""
    face = AsyncClient(desk.client)

    async def waits() -> None:
        with pytest.raises(ClientClosed):
            await face.wait("t", SOON, via="topic")

    async def asks() -> None:
        with pytest.raises(ClientClosed):
            await face.lookup("t", fresh=True, timeout=SOON)

    async def closes() -> None:
        desk.publish("unfolded", "SUCCESS")  # so that the lookup waits for the view
        waiting = [asyncio.create_task(waits()) for _ in range(50)]
        waiting += [asyncio.create_task(asks()) for _ in range(50)]
        await _until(lambda: _waiting(desk) == 51)
        await face.close()
        await asyncio.gather(*waiting)
        for call in (face.lookup("t"), face.wait("t"), face.forget("t"), face.lookup_many(["t"])):
            with pytest.raises(ClientClosed, match="open another one"):
                await call
        await face.close()

    _in_threads(waits, closes)


def test_closing_wakes_who_waits_for_a_service_that_does_not_answer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, though the question itself goes on."""
    face, (entered, leave) = AsyncClient(desk.wiring.client()), _silent_brokers(monkeypatch)

    async def scenario() -> None:
        waiting = asyncio.create_task(face.wait("t", SOON))
        await _until(entered.is_set)
        closing = asyncio.create_task(face.close())
        with pytest.raises(ClientClosed):
            await waiting
        assert not leave.is_set()
        leave.set()
        await closing

    asyncio.run(scenario())


def test_services_that_are_away_end_waits_with_an_error_in_time(open_desk: Callable[..., Desk]) -> None:
    """The first wait needs to find the topic; the error names what was unreachable."""
    desk = open_desk()
    desk.broker.fail("Kafka does not answer")
    desk.store.outage(down=True)

    async def scenario() -> list[BaseException | Result]:
        face = AsyncClient(desk.client)
        return await asyncio.gather(*(face.wait(f"t{n}", 0.3) for n in range(40)), return_exceptions=True)

    found = asyncio.run(asyncio.wait_for(scenario(), SOON))

    assert {True} == {isinstance(one, ServiceUnavailable | WaitTimeout) for one in found}


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
