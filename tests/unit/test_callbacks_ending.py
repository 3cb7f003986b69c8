"""A registration can be cancelled, ends with its client and with its topic, and leaves nothing behind."""

from __future__ import annotations

import gc
import threading
import weakref
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.client.waiter import Phase
from streamresults.deadline import Deadline
from streamresults.errors import ClientClosed, TopicRecreated, WaitTimeout
from tests.unit.callback_desk import Told
from tests.unit.desk import SOON, Desk
from tests.waiting import eventually

if TYPE_CHECKING:
    from streamresults import Registration


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
