"""
What becomes of a client that is closed, and of one that a forked child inherits.

We test these aspects: everything raises ClientClosed behind close, and opens nothing; a lookup that waits is woken; the
child waits, looks up and forgets over connections of its own, while the parent's go on.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.client.waiter import Phase
from streamresults.deadline import Deadline
from streamresults.errors import ClientClosed
from streamresults.events.event import Position
from tests.unit.desk import SOON, Desk
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.client import Client


CALLS: dict[str, Callable[[Client], object]] = {
    "get": lambda client: client.get("t"),
    "wait": lambda client: client.wait("t"),
    "look once": lambda client: client.wait("t", 0),
    "on_result": lambda client: client.on_result("t", print),
    "lookup": lambda client: client.lookup("t"),
    "fresh": lambda client: client.lookup("t", fresh=True),
    "at_least": lambda client: client.lookup("t", at_least=Position("", 0, 0)),
    "lookup_many": lambda client: client.lookup_many(["t"]),
    "nothing": lambda client: client.lookup_many([]),
    "forget": lambda client: client.forget("t"),
}


@pytest.mark.parametrize("used", [True, False], ids=["used before", "never used"])
@pytest.mark.parametrize("call", CALLS)
def test_a_closed_client_answers_nothing_and_opens_nothing(desk: Desk, call: str, *, used: bool) -> None:
    """One error for every method; Redis and Kafka are not asked any more."""
    desk.publish("t", "SUCCESS")
    desk.fold()
    if used:
        desk.client.get("t")
    desk.client.close()
    asked: list[Any] = []
    store = desk.client._store
    assert store is not None
    desk.client._whereabouts.find = asked.append  # type: ignore[method-assign, assignment]
    store.read_descriptor = asked.append  # type: ignore[method-assign, assignment]
    with pytest.raises(ClientClosed, match="open another one"):
        CALLS[call](desk.client)

    assert [] == asked


def test_closing_wakes_a_lookup_that_waits_for_the_view(desk: Desk) -> None:
    """As it does waits: nobody hangs behind it until a deadline passes."""
    desk.fold()
    errors: list[Exception] = []
    entered = threading.Event()
    look = desk.view.look

    def noticed(*args: Any) -> Any:
        entered.set()
        return look(*args)

    def wait_for_the_view() -> None:
        try:
            desk.client.lookup("t", at_least=Position("", 0, 7), timeout=None)
        except ClientClosed as exc:
            errors.append(exc)

    desk.view.look = noticed  # type: ignore[method-assign, assignment]
    waiting = threading.Thread(target=wait_for_the_view)
    waiting.start()
    assert entered.wait(SOON)
    desk.client.close()
    waiting.join(SOON)

    assert ["the client was closed while a lookup waited for the view"] == [str(error) for error in errors]


def in_a_child(work: Callable[[], object]) -> str:
    """Do something in a forked child; return what it returned, or raised, as text."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            told = f"{work()}"
        except BaseException as exc:  # noqa: BLE001 -- told to the parent
            told = f"{type(exc).__name__}: {exc}"
        os.write(writing, told.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        found = pipe.read().decode()
    os.waitpid(child, 0)
    return found


def test_a_child_waits_over_connections_of_its_own(desk: Desk) -> None:
    """Its first use opens them; the parent's engine, which waits meanwhile, is not touched."""
    desk.publish("done", "SUCCESS")
    desk.fold()
    wait = desk.wait("t")
    desk.in_phase(Phase.ASLEEP)
    client, ours = desk.client, desk.engine

    def child() -> str:
        waited = client.wait("done", SOON, via="topic").state
        place = client._whereabouts.find(Deadline(SOON))
        assert client._running_engine(place, "") is not ours
        looked = [client.lookup("done").state, client.lookup_many(["done"])[0].state]
        client.close()
        return " ".join([waited, *looked])

    assert "SUCCESS SUCCESS SUCCESS" == in_a_child(child)
    desk.publish("t", "SUCCESS")
    assert ("SUCCESS", "topic") == wait.told


def test_a_child_leaves_the_parents_registrations_alone(desk: Desk) -> None:
    """Here they are never called, and cancelling them does not wait for a lock that somebody held."""
    desk.fold()
    registration = desk.client.on_result("t", print)
    desk.in_phase(Phase.ASLEEP)
    lock = desk.client._callbacks._lock  # type: ignore[union-attr]
    with lock, desk.engine.waits.lock:
        told = in_a_child(registration.cancel)

    assert "True" == told
    assert registration.cancel()


def test_a_client_that_was_closed_before_a_fork_stays_closed(desk: Desk) -> None:
    """A child opens nothing that nobody asked for."""
    desk.client.close()

    assert "ClientClosed" in in_a_child(lambda: desk.client.lookup("t"))


@pytest.mark.kafka
@pytest.mark.redis
def test_a_child_uses_a_client_on_real_services(real_wiring: Any) -> None:
    """Neither librdkafka's handles nor Redis's sockets are shared, and both processes go on."""
    with real_wiring.client() as client, real_wiring.publisher() as publisher:
        publisher.succeeded("before", 1)
        started = threading.Event()
        waited: list[object] = []

        def wait() -> None:
            started.set()
            waited.append(client.get("later", SOON * 3, via="topic"))

        waiting = threading.Thread(target=wait)
        waiting.start()
        assert started.wait(SOON)
        eventually(lambda: client._engine is not None and client._engine.waits.watches, SOON)
        told = in_a_child(lambda: (client.forget("before").offset, _waits_in_vain(client)))
        eventually(lambda: any(w.is_read for w in client._engine.waits.watches.values()), SOON)
        publisher.succeeded("later", 2)
        waiting.join(SOON * 3)

    assert "(1, 'WaitTimeout')" == told
    assert [2] == waited


def _waits_in_vain(client: Client) -> str:
    try:
        client.wait("nobody", 1, via="topic")
    except TimeoutError as exc:
        return type(exc).__name__
    return "ended"
