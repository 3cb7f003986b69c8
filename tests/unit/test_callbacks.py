"""
A wait need not cost a thread: a function is called when the task has ended.

We test these aspects: the call and what it is given; a function that fails or takes its time.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.client.waiter import Phase
from streamresults.errors import WaitTimeout
from tests.unit.callback_desk import Told, nothing
from tests.unit.desk import SOON, Desk
from tests.waiting import eventually

if TYPE_CHECKING:
    from streamresults import Registration


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
    registration = desk.client.on_result("t", nothing)

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
