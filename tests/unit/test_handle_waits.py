"""The options of a handle's wait, one by one; and that a running task may not wait."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.client.waiter import Phase
from streamresults.errors import RemoteTaskError, WaitRefused, WaitTimeout
from streamresults.events.running import allow_waiting, begin_task, end_task
from tests.unit.desk import SOON, Desk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamresults import Client


@pytest.fixture
def make(desk: Desk) -> Iterator[Callable[..., Any]]:
    """Give a publisher's way to make events."""
    with desk.wiring.publisher(worker="w-7") as publisher:
        yield publisher.event


# -- options of a wait ----------------------------------------------------------------------------------------------


def test_propagate_and_callback(desk: Desk, make: Callable[..., Any]) -> None:
    """Off: the exception is returned; the callback is given what is returned, by handles that have it already too."""
    with desk.wiring.publisher() as publisher:
        publisher.failed_with("f", ValueError("declined"))
    desk.append_event(make("s", "SUCCESS", result=7))
    desk.fold()
    told: list[Any] = []

    def note(task: str, value: object) -> None:
        told.append((task, str(value)))

    handle = desk.client.result("f")
    for _ in range(2):
        assert isinstance(handle.get(0, propagate=False, callback=note), ValueError)
    with pytest.raises(ValueError, match="declined"):
        handle.get(0, callback=note)
    assert 7 == desk.client.get("s", 0, callback=note)

    assert [("f", "declined"), ("f", "declined"), ("s", "7")] == told


def _in_a_thread(call: Callable[[], object]) -> Callable[[], object]:
    """Begin a call in a thread; return what gives its result, or raises its error."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append((call(), None))
        except Exception as exc:  # noqa: BLE001 -- raised where the test asks
            found.append((None, exc))

    thread = threading.Thread(target=run)
    thread.start()

    def result() -> object:
        thread.join(SOON)
        assert found, "it does not end"
        value, error = found[0]
        if error is not None:
            raise error
        return value

    return result


@pytest.mark.parametrize("via", ["topic", "view"])
def test_on_message_is_given_every_event(desk: Desk, make: Callable[..., Any], via: Any) -> None:
    """From the first one that the log holds to the end, in their order, whoever brings the end."""
    desk.append_event(make("t", "STARTED"))
    desk.fold()
    heard: list[tuple[str, object]] = []
    twice = threading.Event()

    def hear(event: Any) -> None:
        heard.append((event.state, event.result))
        if len(heard) == 2:
            twice.set()

    value = _in_a_thread(lambda: desk.client.get("t", SOON, via=via, on_message=hear))
    desk.in_phase(Phase.ASLEEP)
    desk.append_event(make("t", "PROGRESS", result=0.5))
    assert twice.wait(SOON)
    desk.append_event(make("t", "SUCCESS", result="done"))
    desk.fold()

    assert "done" == value()
    assert [("STARTED", None), ("PROGRESS", 0.5), ("SUCCESS", "done")] == heard


def test_on_message_hears_of_a_task_that_has_ended_already(desk: Desk) -> None:
    """Waiting later is no way to hear less."""
    for state in ("STARTED", "SUCCESS"):
        desk.publish("t", state)
    desk.fold()
    heard: list[str] = []
    desk.client.wait("t", SOON, on_message=lambda event: heard.append(event.state))

    assert ["STARTED", "SUCCESS"] == heard


def test_on_interval_is_called_while_the_wait_lasts(desk: Desk) -> None:
    """As often as was asked for, by the thread that waits; it may end the wait by what it raises."""
    desk.fold()
    calls: list[int] = []

    class Enough(Exception):
        pass

    def tick() -> None:
        calls.append(threading.get_ident())
        if len(calls) == 5:
            raise Enough

    with pytest.raises(Enough):
        desk.client.wait("t", SOON, interval=0.01, on_interval=tick)

    assert {threading.get_ident()} == set(calls)
    assert {} == desk.watch.waiters


def test_an_interval_reads_the_view_again(desk: Desk) -> None:
    """Where the message of the fold was lost, as safety re-reads of the client are off here."""
    desk.fold()
    waited = _in_a_thread(lambda: desk.client.wait("t", SOON, via="view", interval=0.02).state)
    desk.in_phase(Phase.ASLEEP)
    desk.engine.listener.hear = lambda _: None  # type: ignore[method-assign, assignment]
    desk.publish("t", "SUCCESS")
    desk.fold()

    assert "SUCCESS" == waited()


def test_an_attended_wait_keeps_its_deadline_and_leaves_nothing(desk: Desk) -> None:
    """With one error, as without options."""
    desk.fold()
    with pytest.raises(WaitTimeout, match=r"not ready after 0\.1 s"):
        desk.client.wait("t", 0.1, on_message=print, on_interval=int, follow_parents=True)

    assert ({}, {}) == (desk.watch.waiters, desk.watch.followers)


def test_a_failed_ancestor_ends_the_wait(desk: Desk, make: Callable[..., Any]) -> None:
    """With its error, however far up it is; the parents are found by what the events say."""
    desk.append_event(make("child", "PENDING", parent_id="parent"))
    desk.append_event(make("parent", "STARTED", parent_id="root"))
    desk.fold()
    waited = _in_a_thread(lambda: desk.client.wait("child", SOON, follow_parents=True))
    desk.in_phase(Phase.ASLEEP, "root")
    with desk.wiring.publisher() as publisher:
        publisher.failed_with("root", _Declined("root"))
    desk.fold()

    with pytest.raises(RemoteTaskError, match="root"):
        waited()
    assert {} == desk.watch.waiters


class _Declined(Exception):
    pass


def test_at_least_and_fresh_wait_for_the_view_first(desk: Desk) -> None:
    """What is older than that position is not the answer: here it was forgotten."""
    desk.publish("t", "FAILURE")
    desk.fold()
    position = desk.client.forget("t")
    waited = [
        _in_a_thread(lambda: desk.client.wait("t", SOON, via="view", at_least=position).state),
        _in_a_thread(lambda: desk.client.wait("t", SOON, via="view", fresh=True).state),
    ]
    desk.fold()
    desk.publish("t", "SUCCESS")
    desk.fold()

    assert ["SUCCESS", "SUCCESS"] == [wait() for wait in waited]


WAITS: list[Callable[[Client], object]] = [
    lambda client: client.get("t", SOON),
    lambda client: client.wait("t", SOON),
    lambda client: client.result("t").get(SOON),
    lambda client: list(client.events("t")),
]


# -- inside a running task ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", WAITS)
def test_a_running_task_may_not_wait_unless_it_is_allowed_to(desk: Desk, wait: Callable[[Client], object]) -> None:
    """The mark is its context's own: other threads wait, and a look is no wait."""
    desk.publish("t", "SUCCESS")
    desk.fold()
    token = begin_task("outer")
    try:
        with pytest.raises(WaitRefused, match="'outer' is about to wait for 't'"):
            wait(desk.client)
        _in_a_thread(lambda: wait(desk.client))()
        assert desk.client.wait("t", 0).successful
        with allow_waiting():
            wait(desk.client)
        with pytest.raises(WaitRefused):
            wait(desk.client)
    finally:
        end_task(token)
    wait(desk.client)
