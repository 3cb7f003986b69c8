"""A wait keeps its deadline, ends with an error when its client is closed, and leaves nothing behind."""

from __future__ import annotations

import threading
import time
from typing import Any, cast

import pytest

from streamresults.client.provenance import Basis
from streamresults.client.waiter import Answer, Phase
from streamresults.errors import ClientClosed, WaitTimeout
from tests.unit.desk import SOON, Desk
from tests.waiting import eventually


@pytest.mark.parametrize("via", ["topic", "view"])
def test_a_deadline_is_kept(desk: Desk, via: str) -> None:
    """To some milliseconds, even of a store that has gone away; the error says what was seen, and where."""
    desk.publish("t", "STARTED")
    desk.fold()
    desk.wait("warm", timeout=0.01, via=via)
    began = time.monotonic()
    wait = desk.wait(timeout=0.2, via=via)
    with pytest.raises(WaitTimeout, match=r"STARTED.*partition 0.*folded up to 1") as caught:
        wait.result()
    took = time.monotonic() - began

    assert 0.2 <= took < 0.4
    assert ("t", "STARTED") == (caught.value.task_id, caught.value.state)


def test_a_timeout_of_0_looks_once(desk: Desk) -> None:
    """It is a WaitTimeout whatever is missing, and a result when it is there."""
    with pytest.raises(WaitTimeout, match="no view"):
        desk.client.wait("t", 0)
    desk.publish("t", "SUCCESS")
    desk.fold()

    assert "SUCCESS" == desk.client.wait("t", 0).state


def test_a_remote_timeout_is_not_a_timeout_of_the_wait(desk: Desk) -> None:
    """A task that failed with a TimeoutError has ended."""
    with desk.wiring.publisher() as publisher:
        publisher.failed_with("t", TimeoutError("theirs"))
    desk.fold()
    with pytest.raises(Exception, match="theirs") as caught:
        desk.client.get("t", SOON)

    assert not isinstance(caught.value, TimeoutError)


@pytest.mark.parametrize("via", ["topic", "view"])
def test_close_wakes_everybody(desk: Desk, via: str) -> None:
    """With an error of its own; whoever comes later gets the same."""
    desk.fold()
    waits = [desk.wait(f"t{number}", None, via=via) for number in range(5)]
    for number in range(5):
        desk.in_phase(Phase.ASLEEP, f"t{number}")
    desk.client.close()

    for wait in waits:
        with pytest.raises(ClientClosed):
            wait.result()
    with pytest.raises(ClientClosed):
        desk.client.wait("t", SOON)


def test_a_look_that_begins_as_the_engine_is_closed_ends(desk: Desk) -> None:
    """Closing rings once; the looker that comes to its wait behind that must not wait for another ring."""
    desk.engine.close()
    looking = threading.Thread(target=desk.engine.looker._look_once, daemon=True)
    looking.start()
    looking.join(SOON)

    assert not looking.is_alive()


def test_a_reset_after_the_end_brings_nobody_back(desk: Desk) -> None:
    """A thread that has not noticed that the client was closed may still reset the reader."""
    desk.fold()
    told: list[bool] = []
    engine = desk.engine
    waiter = engine.submit("t", 0, lambda: told.append(True), through_topic=True)
    desk.in_phase(Phase.ASLEEP)
    desk.client.close()
    with engine.waits.lock:
        engine.waits.send_to_step_1({0: 0})
        engine.waits.over(waiter, Answer(None, Basis.FULL))

    assert (Phase.OVER, [True]) == (waiter.phase, told)
    assert isinstance(waiter.error, ClientClosed)


def test_a_thousand_waits_use_a_handful_of_threads(desk: Desk) -> None:
    """One looker, one assigner, one reader, one listener."""
    desk.fold()
    told = threading.Semaphore(0)
    waiters = [
        desk.engine.submit(f"t{number}", 0, told.release, through_topic=number % 2 == 0) for number in range(1000)
    ]
    eventually(lambda: all(waiter.phase is Phase.ASLEEP for waiter in waiters), SOON)

    assert ["assigner", "listener", "looker", "reader"] == sorted(desk.engine.threads._threads)

    for number in range(1000):
        desk.publish(f"t{number}", "SUCCESS")
    desk.fold()
    for _ in waiters:
        assert told.acquire(timeout=SOON)


@pytest.mark.parametrize("via", ["topic", "view"])
def test_waits_that_were_given_up_leave_nothing_behind(desk: Desk, via: str) -> None:
    """Nor do those that have ended."""
    desk.fold()
    for number in range(50):
        with pytest.raises(WaitTimeout):
            desk.client.wait(f"t{number}", 0.001, via=cast("Any", via))
    wait = desk.wait(via=via)
    desk.in_phase(Phase.ASLEEP)
    desk.publish("t", "SUCCESS")
    desk.fold()
    wait.result()
    table = desk.engine.waits
    eventually(lambda: not table.new and not table.wanted, SOON)

    assert ({}, set(), []) == (desk.watch.waiters, desk.watch.unproven, list(table.rereads))


def test_traffic_that_has_ended_counts_no_more(desk: Desk) -> None:
    """Else one busy minute would send every later wait to the view."""
    desk.fold()
    desk.wait()
    desk.in_phase(Phase.ASLEEP)
    for _ in range(50):
        desk.publish("noise", "STARTED")
    eventually(lambda: desk.engine.traffic > 0, SOON)
    eventually(lambda: desk.engine.traffic == 0, SOON)
