"""
A thread of the engine that is killed: every wait goes on or is told, and none hangs.

Killed as only an interpreter can be asked to do it: SystemExit is raised wherever the thread happens to be.
"""

from __future__ import annotations

import ctypes
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.client.reading import Reader
from streamresults.client.threads import Threads
from streamresults.client.waiter import Phase
from tests.unit.desk import SOON, Desk
from tests.waiting import eventually

if TYPE_CHECKING:
    from streamresults import Registration


pytestmark = pytest.mark.usefixtures("folded_view")


def kill(desk: Desk, name: str) -> None:
    """Have a thread of the engine end wherever it is."""
    thread = desk.engine.threads._threads[name]
    assert thread.ident is not None
    assert 1 == ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))


def _died(caplog: pytest.LogCaptureFixture) -> bool:
    return any(isinstance((record.exc_info or (None, None))[1], SystemExit) for record in caplog.records)


@pytest.mark.parametrize("name", ["looker", "reader", "assigner"])
def test_waits_through_the_topic_outlive_a_killed_thread(
    desk: Desk, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Those that stand, and those that come later; the log says what happened."""
    waits = [desk.wait(f"t{number}") for number in range(20)]
    for number in range(20):
        desk.in_phase(Phase.ASLEEP, f"t{number}")
    kill(desk, name)
    with desk.engine.waits.lock:
        desk.engine.waits.lock.notify_all()  # whoever sleeps meets its end now
    later = desk.wait("later", via="topic")
    eventually(lambda: _died(caplog) or name == "assigner", SOON, "it was killed")
    for number in range(20):
        desk.publish(f"t{number}", "SUCCESS")
    desk.publish("later", "SUCCESS")
    desk.fold()

    assert {"SUCCESS"} == {wait.told[0] for wait in [*waits, later]}
    assert desk.engine.threads._threads[name].is_alive()


def test_waits_through_the_view_outlive_a_killed_listener(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """What it may have missed is looked at."""
    wait = desk.wait(via="view")
    desk.in_phase(Phase.ASLEEP)
    eventually(lambda: "listener" in desk.engine.threads._threads, SOON)
    kill(desk, "listener")
    eventually(lambda: _died(caplog), SOON, "it was killed")
    desk.publish("t", "SUCCESS")
    desk.fold()

    assert ("SUCCESS", "full") == wait.told


def test_a_reader_that_is_killed_with_records_in_its_hands_reads_them_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between poll and dispatch nobody else knows of them."""
    dispatch, killed = Reader._dispatch, threading.Event()

    def die(reader: Reader, polled: Any) -> None:
        if polled.records and not killed.is_set():
            killed.set()
            raise SystemExit
        dispatch(reader, polled)

    monkeypatch.setattr(Reader, "_dispatch", die)
    told: SimpleQueue[Registration] = SimpleQueue()
    desk.client.on_result("t", told.put, via="topic")
    desk.in_phase(Phase.ASLEEP)
    desk.publish("t", "SUCCESS")
    assert killed.wait(SOON)
    desk.fold()

    assert "SUCCESS" == told.get(timeout=SOON).result().state


@pytest.mark.parametrize("look", [1, 2])
def test_a_looker_that_is_killed_in_the_middle_of_a_look_looks_again(desk: Desk, look: int) -> None:
    """At those whom it had in its hands: a wait that is new, and one that is registered."""
    looked, seen = desk.view.look, list[int]()

    def die(wanted: Any, interest: Any = None) -> Any:
        seen.append(1)
        if len(seen) == look:
            raise SystemExit
        return looked(wanted, interest)

    desk.view.look = die  # type: ignore[method-assign]
    told: SimpleQueue[Registration] = SimpleQueue()
    desk.client.on_result("t", told.put, via="topic")
    desk.in_phase(Phase.ASLEEP)
    desk.publish("t", "SUCCESS")

    assert "SUCCESS" == told.get(timeout=SOON).result().state
    assert len(seen) > look


def test_a_thread_whose_work_itself_is_killed_begins_again(caplog: pytest.LogCaptureFixture) -> None:
    """As the last resort, for what nothing inside has caught."""
    threads, runs = Threads(), list[int]()
    done = threading.Event()

    def work() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise SystemExit
        done.set()

    threads.start("worker", work)
    assert done.wait(SOON)
    threads.join()

    assert 2 == len(runs)
    assert _died(caplog)
