"""
A wait need not cost a thread: a function is called when the task has ended.

We test these aspects: the call and what it is given; a function that fails or takes its time; cancelling; closing; that
registrations by the thousand are looked at and assigned together, and how little each holds.
"""

from __future__ import annotations

import gc
import threading
import tracemalloc
import weakref
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.client.waiter import Phase, Waiter
from streamresults.client.waits import Waits
from streamresults.deadline import Deadline
from streamresults.errors import ClientClosed, TopicRecreated, WaitTimeout
from streamresults.settings import Settings
from streamresults.store.memory import MemoryStore
from streamresults.topic.memory import MemoryBroker
from streamresults.wiring import Wiring
from tests.conftest import create_topics
from tests.unit.desk import SOON, Desk, desks
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamresults import Client, Registration

#: Registrations at once, where they must be looked at together.
MANY = 5_000
PARTITIONS = 12


@pytest.fixture
def open_desk() -> Iterator[Callable[..., Desk]]:
    """Give a function that opens a desk; safety re-reads are off."""
    yield from desks()


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    """Give a desk."""
    return open_desk()


class Told(SimpleQueue["Registration"]):
    """Keeps the registrations whose tasks have ended, in the order of the calls."""

    def state(self) -> str:
        return self.get(timeout=SOON).result().state


def _nothing(_: object) -> None:
    pass


# -- the call -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("via", ["topic", "view", "auto"])
def test_a_function_is_called_when_the_task_has_ended(desk: Desk, via: Any) -> None:
    """With the registration, which has the result."""
    desk.fold()
    told = Told()
    registration = desk.client.on_result("t", told.put, via=via)
    desk.in_phase(Phase.ASLEEP)
    desk.publish("t", "FAILURE")
    desk.fold()
    called = told.get(timeout=SOON)

    assert called is registration
    assert ("t", "t", "FAILURE") == (called.task_id, called.result().task_id, called.result().state)
    assert "over" in repr(called)


def test_what_has_ended_already_calls_at_once(desk: Desk) -> None:
    """Registering is no race against the result."""
    desk.publish("t", "SUCCESS")
    desk.fold()
    told = Told()
    desk.client.on_result("t", told.put)

    assert "SUCCESS" == told.state()


def test_a_result_is_not_there_before_the_end(desk: Desk) -> None:
    """It does not block, and says so."""
    desk.fold()
    registration = desk.client.on_result("t", _nothing)

    with pytest.raises(WaitTimeout, match="'t' has not ended yet"):
        registration.result()


@pytest.mark.parametrize("via", ["topic", "view"])
def test_a_function_that_fails_harms_nobody(desk: Desk, caplog: pytest.LogCaptureFixture, via: Any) -> None:
    """It is logged; the waits behind it, those beside it and the engine go on."""

    def fails(_: Registration) -> None:
        raise ZeroDivisionError("theirs")

    desk.fold()
    told = Told()
    for task in ("bad", "good"):
        desk.client.on_result(task, fails if task == "bad" else told.put, via=via)
        desk.in_phase(Phase.ASLEEP, task)
    beside = desk.wait("beside", via=via)
    desk.in_phase(Phase.ASLEEP, "beside")
    for task in ("bad", "good", "beside"):
        desk.publish(task, "SUCCESS")
    desk.fold()

    assert ["SUCCESS"] * 2 == [told.state(), beside.told[0]]
    eventually(lambda: _failures(caplog) == ["bad"], SOON)


def _failures(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [vars(record) for record in list(caplog.records)]
    return [line["task_id"] for line in lines if line.get("action") == "callback_failed"]


def test_a_function_may_take_its_time_and_use_the_client(desk: Desk) -> None:
    """No lock is held and no wait is held up: it may even wait for another task."""
    desk.fold()
    told: SimpleQueue[str] = SimpleQueue()
    blocked = threading.Event()

    def slow(_: Registration) -> None:
        assert blocked.wait(SOON)
        desk.client.on_result("c", lambda ended: told.put(ended.result().state))
        told.put(desk.client.wait("b", SOON, via="topic").state)

    desk.client.on_result("a", slow)
    desk.in_phase(Phase.ASLEEP, "a")
    beside = desk.wait("beside")
    desk.in_phase(Phase.ASLEEP, "beside")
    for task in ("a", "beside", "b", "c"):
        desk.publish(task, "SUCCESS")
    assert ("SUCCESS", "topic") == beside.told
    desk.fold()
    blocked.set()

    assert ["SUCCESS"] * 2 == [told.get(timeout=SOON), told.get(timeout=SOON)]


# -- ends -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("via", ["topic", "view"])
def test_a_cancelled_registration_calls_nothing_and_leaves_nothing_behind(desk: Desk, via: Any) -> None:
    """Cancelling twice tells the same as cancelling too late: somebody was first."""
    desk.fold()
    told = Told()
    cancelled = desk.client.on_result("t", told.put, via=via)
    desk.client.on_result("u", told.put, via=via)
    for task in ("t", "u"):
        desk.in_phase(Phase.ASLEEP, task)

    assert [True, False] == [cancelled.cancel(), cancelled.cancel()]
    for task in ("t", "u"):
        desk.publish(task, "SUCCESS")
    desk.fold()
    late = told.get(timeout=SOON)

    assert ("u", False, True) == (late.task_id, late.cancel(), told.empty())
    assert {} == desk.watch.waiters
    with pytest.raises(WaitTimeout, match="cancelled"):
        cancelled.result()


def test_cancelling_stops_a_call_that_is_queued(desk: Desk) -> None:
    """In time means: until the function is being called."""
    desk.fold()
    told, entered, leave = Told(), threading.Event(), threading.Event()

    def first(_: Registration) -> None:
        entered.set()
        assert leave.wait(SOON)

    desk.client.on_result("a", first)
    queued = desk.client.on_result("b", told.put)
    desk.client.on_result("c", told.put)
    for task in "abc":
        desk.in_phase(Phase.ASLEEP, task)
        desk.publish(task, "SUCCESS")
    assert entered.wait(SOON)
    eventually(lambda: desk.watch.waiters == {}, SOON)
    assert queued.cancel()
    leave.set()

    assert "c" == told.get(timeout=SOON).task_id


def test_closing_ends_every_registration(desk: Desk) -> None:
    """With ClientClosed; each function is called before close returns, and nobody can register behind it."""
    desk.fold()
    told = Told()
    for number in range(5):
        desk.client.on_result(f"t{number}", told.put)
    desk.client.close()

    assert 5 == told.qsize()
    with pytest.raises(ClientClosed, match="was closed"):
        told.get().result()
    with pytest.raises(ClientClosed, match="open another one"):
        desk.client.on_result("t", told.put)


def test_closing_waits_for_the_functions(desk: Desk) -> None:
    """What they use may be released behind close."""
    desk.fold()
    entered, leave = threading.Event(), threading.Event()

    def slow(_: Registration) -> None:
        entered.set()
        assert leave.wait(SOON)

    desk.client.on_result("t", slow)
    closing = threading.Thread(target=desk.client.close)
    closing.start()
    assert entered.wait(SOON)
    closing.join(0.1)
    closed_early = not closing.is_alive()
    leave.set()
    closing.join(SOON)

    assert (False, False) == (closed_early, closing.is_alive())


def test_a_topic_that_was_made_again_ends_registrations_and_waits_for_no_function(desk: Desk) -> None:
    """A function that is under way may be asking for the place, which is what is being told of."""
    desk.fold()
    told, entered, leave = Told(), threading.Event(), threading.Event()
    left: SimpleQueue[bool] = SimpleQueue()

    def slow(_: Registration) -> None:
        entered.set()
        left.put(leave.wait(SOON))

    desk.client.on_result("slow", slow)
    desk.in_phase(Phase.ASLEEP, "slow")
    desk.client.on_result("t", told.put)
    desk.publish("slow", "SUCCESS")
    assert entered.wait(SOON)
    place = desk.client._whereabouts.find(Deadline(SOON))
    desk.client.recreated(place, place)
    leave.set()

    assert left.get(timeout=SOON)
    with pytest.raises(TopicRecreated):
        told.get(timeout=SOON).result()
    desk.fold()
    desk.client.on_result("late", told.put)
    desk.in_phase(Phase.ASLEEP, "late")
    desk.publish("late", "SUCCESS")
    assert "SUCCESS" == told.state()


def test_a_function_may_close_the_client(desk: Desk) -> None:
    """Nobody waits for itself."""
    desk.fold()
    closed = threading.Event()

    def close(_: Registration) -> None:
        desk.client.close()
        closed.set()

    desk.client.on_result("t", close)
    desk.in_phase(Phase.ASLEEP)
    desk.publish("t", "SUCCESS")

    assert closed.wait(SOON)


def test_an_ended_wait_and_whom_it_told_do_not_hold_each_other(desk: Desk) -> None:
    """Thousands end every second: their memory must not wait for the garbage collector."""

    class Traced(str):
        __slots__ = ("__weakref__",)

    desk.publish("t", "SUCCESS")
    desk.fold()
    told: SimpleQueue[str] = SimpleQueue()
    task = Traced("t")
    held = weakref.ref(task)
    gc.disable()
    try:
        desk.client.on_result(task, lambda ended: told.put(ended.result().state))
        del task

        assert "SUCCESS" == told.get(timeout=SOON)
        eventually(lambda: held() is None, SOON)
    finally:
        gc.enable()


# -- many of them ---------------------------------------------------------------------------------------------------


class Asked:
    """Counts what view, brokers and reader are asked for."""

    def __init__(self, client: Client) -> None:
        place = client._whereabouts.find(Deadline(SOON))
        engine = client._running_engine(place, "")
        view, reader, inspector = place.view, engine.reader, engine.assigner.inspector
        assert view is not None
        assert inspector is not None
        #: How many tasks each look was for.
        self.looks: list[int] = []
        self.questions = self.assigns = 0
        self.waits = engine.waits
        look, read_from = view.look, reader.read_from
        ends, offsets_at = inspector.ends, inspector.offsets_at

        def counted_look(wanted: Any, interest: Any = None) -> Any:
            self.looks.append(sum(map(len, wanted.values())))
            return look(wanted, interest)

        def counted_read(offsets: Any) -> None:
            self.assigns += 1
            read_from(offsets)

        def counted_ends(partitions: Any, deadline: Any) -> Any:
            self.questions += 1
            return ends(partitions, deadline)

        def counted_offsets(partitions: Any, moment: Any, deadline: Any) -> Any:
            self.questions += 1
            return offsets_at(partitions, moment, deadline)

        view.look = counted_look  # type: ignore[method-assign]
        reader.read_from = counted_read  # type: ignore[method-assign]
        inspector.ends = counted_ends  # type: ignore[method-assign]
        inspector.offsets_at = counted_offsets  # type: ignore[method-assign, assignment]

    def register(self, client: Client, via: Any) -> None:
        """Register many, before anybody can look at the first."""
        with self.waits.lock:
            for number in range(MANY):
                client.on_result(f"t{number}", _nothing, via=via)


@pytest.mark.parametrize("via", ["topic", "view"])
def test_many_registrations_are_looked_at_together(desk: Desk, via: Any) -> None:
    """Those that arrive while nobody can look are one plain look and one look; not one of each."""
    desk.fold()
    asked = Asked(desk.client)
    asked.register(desk.client, via)
    eventually(lambda: all(w.phase is Phase.ASLEEP for w in desk.watch.everybody()), SOON)

    assert MANY == max(asked.looks)
    assert len([look for look in asked.looks if look]) <= 2
    assert [int(via == "topic")] * 2 == [asked.questions, asked.assigns]


def test_the_partitions_of_many_registrations_are_assigned_together() -> None:
    """One question to the brokers and one assignment for all of them."""
    with Wiring(Settings(), broker=MemoryBroker(), store=MemoryStore()) as wiring:
        create_topics(wiring, PARTITIONS)
        with wiring.client() as client:
            asked = Asked(client)
            asked.register(client, "topic")
            watches = asked.waits.watches
            eventually(lambda: all(watch.is_read for watch in watches.values()), SOON)

            assert PARTITIONS == len(watches)
            assert [1, 1] == [asked.questions, asked.assigns]


def _enter(waits: Waits, count: int) -> None:
    for number in range(count):
        waits.enter(Waiter(f"t{number}", 0, _told_nobody, through_topic=False))


def _told_nobody() -> None:
    pass


def test_a_burst_rings_once_and_is_gathered() -> None:
    """A wait that comes alone is looked at at once; of a burst the first is, and the rest share the next looks."""
    waits, rings = Waits(), []
    with waits.lock:
        waits.lock.notify_all = lambda: rings.append(1)  # type: ignore[method-assign]
        _enter(waits, 1)
        alone = waits.until_due()
        _enter(waits, MANY)
        burst, after = waits.until_due(), waits.until_due()

    assert (1, 0.0, 0.0) == (len(rings), alone, after)
    assert burst is not None
    assert 0 < burst <= 0.02


def test_registering_beside_many_does_not_look_at_them(desk: Desk) -> None:
    """Each costs the same however many wait, also while no broker answers and nothing can be assigned."""
    desk.fold()
    desk.engine.waits.watches.clear()
    desk.client.on_result("first", _nothing)
    desk.in_phase(Phase.ASLEEP, "first")
    waits = desk.engine.waits
    with waits.lock:
        for number in range(MANY):
            desk.client.on_result(f"t{number}", _nothing)
        watch, seen = desk.watch, 0
        watch.next_offset = -1

        def everybody() -> Any:
            nonlocal seen
            seen += 1
            return []

        watch.everybody = everybody  # type: ignore[method-assign]
        assert [watch] == waits.unread()
        del watch.everybody

    assert 0 == seen


def test_a_registration_holds_little(desk: Desk) -> None:
    """At most 1 KB of ours: a hundred thousand fit where a thread each would not."""
    desk.fold()
    desk.client.on_result("first", _nothing)
    desk.in_phase(Phase.ASLEEP, "first")
    tracemalloc.start()
    try:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(MANY):
            desk.client.on_result(f"task-{number:031d}", _nothing)
        eventually(lambda: all(w.phase is Phase.ASLEEP for w in desk.watch.everybody()), SOON)
        gc.collect()
        each = (tracemalloc.get_traced_memory()[0] - before) / MANY
    finally:
        tracemalloc.stop()

    assert each <= 1024
