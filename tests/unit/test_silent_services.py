"""What a service that does not answer may hold up, and what it may not."""

from __future__ import annotations

import asyncio
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.aio import AsyncClient
from streamresults.client import whereabouts
from streamresults.client.waiter import Phase
from streamresults.deadline import Deadline
from streamresults.errors import ClientClosed, TopicMissing, TopicUnavailable, WaitTimeout
from streamresults.settings import Settings
from streamresults.store.base import Descriptor
from streamresults.store.coverage import FORMAT
from streamresults.store.memory import MemoryStore
from streamresults.topic import kafka_group
from streamresults.topic.memory import MemoryBroker
from streamresults.wiring import Wiring
from tests.conftest import create_topics
from tests.unit.desk import SOON, Desk
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Never

    from streamresults.client import Client, Registration


def test_leaving_a_group_ends_though_the_brokers_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """What librdkafka would wait for without limit is left behind after a while, so that a process can stop."""
    monkeypatch.setattr(kafka_group, "LEAVE_WITHIN", 0.02)
    answered = threading.Event()
    left = kafka_group._bounded(answered.wait)
    answered.set()

    assert left is None


def test_what_the_brokers_say_in_time_is_handed_on() -> None:
    """An answer comes back, and an error is raised where it was asked."""
    assert kafka_group._bounded(lambda: "answer") == "answer"

    with pytest.raises(ZeroDivisionError):
        kafka_group._bounded(lambda: 1 // 0)


def test_a_topic_that_nobody_created_is_named_as_that() -> None:
    """A view cannot stand in for a topic that Kafka says does not exist: the error tells how to create it."""
    with (
        Wiring(Settings(topic="forgotten"), broker=MemoryBroker(), store=MemoryStore()) as wiring,
        wiring.client() as client,
        pytest.raises(TopicMissing, match=r"'forgotten' does not exist.*streamresults init"),
    ):
        client.wait("a", 5)


def test_where_neither_kafka_nor_a_view_can_tell_both_are_named(memory_wiring: Wiring) -> None:
    """That no compactor has run is not the trouble of who cannot reach Kafka."""
    broker = memory_wiring.broker()
    assert isinstance(broker, MemoryBroker)
    broker.fail("the brokers are silent")
    with (
        memory_wiring.client() as client,
        pytest.raises(TopicUnavailable, match=r"the brokers are silent\. Nor can the view tell: no view of a topic"),
    ):
        client.wait("a", 5, via="topic")


def test_brokers_that_fall_silent_are_named_though_the_reader_notices_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While somebody waits they are asked now and then; whose time ends says so, and only while it is so."""
    monkeypatch.setattr(whereabouts, "_PULSE", 0.02)
    desk.fold()
    asked: list[Sequence[int]] = []

    def silent(partitions: Sequence[int], _: Deadline) -> Never:
        asked.append(partitions)
        raise TopicUnavailable("Kafka is silent")

    wait = desk.wait()
    desk.in_phase(Phase.ASLEEP)
    assert desk.client._inspector is not None
    with monkeypatch.context() as outage:
        outage.setattr(desk.client._inspector, "ends", silent)
        eventually(lambda: desk.engine.waits.topic_trouble, SOON)
        with pytest.raises(WaitTimeout, match=r"topic: read up to 0, now Kafka is silent\)"):
            desk.client.get("other", 0.05)
    eventually(lambda: not desk.engine.waits.topic_trouble, SOON)
    desk.publish("t", "SUCCESS")

    assert wait.result().successful
    assert [0] in asked


def test_closing_wakes_whoever_waits_while_the_brokers_are_silent(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that has no answer yet holds up nobody but the thread that closes."""
    monkeypatch.setattr(whereabouts, "_PULSE", 0.02)
    monkeypatch.setattr(whereabouts, "_ENDS_WITHIN", 4 * SOON)
    desk.fold()
    asked, answered = threading.Event(), threading.Event()

    def silent(*_: object) -> dict[int, int]:
        asked.set()
        assert answered.wait(4 * SOON)
        return {}

    wait = desk.wait()
    desk.in_phase(Phase.ASLEEP)
    assert desk.client._inspector is not None
    monkeypatch.setattr(desk.client._inspector, "ends", silent)
    assert asked.wait(SOON)
    closing = threading.Thread(target=desk.client.close)
    closing.start()
    try:
        with pytest.raises(ClientClosed):
            wait.result()
    finally:
        answered.set()
        closing.join()


def test_brokers_that_were_silent_from_the_first_are_named(desk: Desk) -> None:
    """Where the view told which topic there is, a wait that ends before they are asked again says why it did."""
    place = desk.client._whereabouts.find(Deadline(SOON))
    names: dict[str, Any] = {"cluster_id": place.namespace, "topic": place.topic, "topic_id": place.topic_id}
    described = Descriptor(**names, partition_counts=place.counts, format=FORMAT)
    desk.store.write_descriptor(place.namespace, described)
    desk.broker.fail("Kafka is silent")

    with desk.wiring.client() as client, pytest.raises(WaitTimeout, match=r"topic: Kafka is silent\)"):
        client.get("t", 0.05, via="view")


def test_brokers_are_left_in_peace_while_nobody_waits(memory_wiring: Wiring) -> None:
    """What nobody waits for needs no news."""
    with memory_wiring.client() as client:
        with pytest.raises(WaitTimeout):
            client.get("a", 0.01)

        assert list(client.awaited()) == []


def registered(client: Client) -> object:
    """Wait by a registration."""
    over: SimpleQueue[Registration] = SimpleQueue()
    client.on_result("a", over.put, via="topic")
    return over.get(timeout=5).result().value()


def awaited(client: Client) -> object:
    """Wait on an event loop."""
    return asyncio.run(AsyncClient(client).get("a", 5, via="topic"))


WAITS: dict[str, Callable[[Client], object]] = {
    "get": lambda client: client.get("a", 5, via="topic"),
    "attended": lambda client: client.get("a", 5, via="topic", on_interval=lambda: None),
    "set": lambda client: client.results(["a"]).join(5, via="topic")[0],
    "registration": registered,
    "await": awaited,
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_a_result_that_came_while_the_store_was_found_silent_ends_the_wait(
    monkeypatch: pytest.MonkeyPatch, wait: Callable[[Client], object]
) -> None:
    """No view shows it, and the log has it from before the reader began: it is read from when the wait did."""
    broker, store = MemoryBroker(), MemoryStore()
    with Wiring(Settings(), broker=broker, store=store) as wiring:
        create_topics(wiring, 1)
        with wiring.client() as client, wiring.publisher() as publisher:
            silent = store.read_descriptor

            def read_descriptor(namespace: str, topic: str) -> Descriptor | None:
                publisher.succeeded("a", 7)
                store.outage(down=True)
                threading.Event().wait(0.02)  # what being silent is: nothing to wait on, and longer than a clock's tick
                return silent(namespace, topic)

            monkeypatch.setattr(store, "read_descriptor", read_descriptor)

            assert wait(client) == 7
