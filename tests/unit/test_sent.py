"""One record, and what the brokers say of it: the way that schemas, tombstones and dead letters are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from streamresults.deadline import Deadline
from streamresults.errors import AppendFailed, PublishFailed, RecordTooLarge, TopicUnavailable
from streamresults.publisher.connection import Connection
from streamresults.settings import Settings
from streamresults.store.memory import MemoryStore
from streamresults.topic.memory import MemoryBroker
from streamresults.topic.sent import send
from streamresults.wiring import Wiring
from tests.conftest import create_topics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.topic.base import TopicWriter

#: Seconds in which anything here happens on a loaded machine.
SOON = 10.0
#: Seconds after which it is given up.
SHORT = 0.05


@pytest.fixture
def broker() -> Iterator[MemoryBroker]:
    """Give a broker whose writers queue one record of at most 100 bytes."""
    broker = MemoryBroker({"t": 1}, queue_records=1, record_bytes=100)
    yield broker
    broker.release()


@pytest.fixture
def writer(broker: MemoryBroker) -> Iterator[TopicWriter]:
    """Give a writer."""
    writer = broker.writer("t")
    yield writer
    broker.release()
    writer.close(Deadline(SOON))


def test_place_is_returned_once_the_brokers_hold_it(writer: TopicWriter) -> None:
    """Partition and offset, without an error."""
    send(writer, b"k", b"v", Deadline(SOON)).wait(Deadline(SOON))

    assert (None, 0, 1) == send(writer, b"k", b"v", Deadline(SOON)).wait(Deadline(None))


def test_acknowledgement_that_does_not_come_leaves_it_open(writer: TopicWriter, broker: MemoryBroker) -> None:
    """Nobody knows whether it is written."""
    broker.hold()
    with pytest.raises(AppendFailed, match=r"not acknowledged in 0\.05 s") as caught:
        send(writer, b"k", b"v", Deadline(SOON)).wait(Deadline(SHORT))

    assert caught.value.written is None


def test_queue_that_stays_full_is_an_error_and_nothing_is_written(writer: TopicWriter, broker: MemoryBroker) -> None:
    """It waits for room first, up to the deadline."""
    broker.hold()
    send(writer, b"k", b"v", Deadline(SOON))
    waited = Deadline(None)
    with pytest.raises(AppendFailed, match=r"queue was full for 0\.05 s") as caught:
        send(writer, b"k", b"v", Deadline(SHORT))

    assert caught.value.written is False
    assert waited.elapsed() >= SHORT


def test_refusals_are_raised_as_they_are(writer: TopicWriter, broker: MemoryBroker) -> None:
    """Whether at once or by the brokers."""
    with pytest.raises(RecordTooLarge):
        send(writer, b"k", bytes(200), Deadline(SOON))
    broker.fail("away")
    with pytest.raises(AppendFailed, match="away"):
        send(writer, b"k", b"v", Deadline(SOON)).wait(Deadline(SOON))


def test_full_queue_at_the_registration_of_the_schema_is_an_error() -> None:
    """Before, the schema was taken for registered once something else was acknowledged, or never was."""
    broker = MemoryBroker(queue_records=1)
    with Wiring(Settings(), broker=broker, store=MemoryStore()) as wiring:
        create_topics(wiring, 1)
        writer = broker.writer("results")
        broker.hold()
        writer.produce(b"k", b"v", None)
        connection = Connection(lambda: writer, wiring.codec(), "results.schemas")
        with pytest.raises(TopicUnavailable, match=r"schema.*queue was full"):
            connection.opened(Deadline(SHORT))
        broker.release()


def test_tombstone_that_finds_no_room_is_not_written() -> None:
    """The client says so, and names the task."""
    broker = MemoryBroker(queue_records=1)
    with Wiring(Settings(), broker=broker, store=MemoryStore()) as wiring:
        create_topics(wiring, 1)
        with wiring.client() as client:
            client.forget("a", SOON)
            broker.hold()
            with pytest.raises(PublishFailed, match=r"'b'.*not acknowledged") as unanswered:
                client.forget("b", SHORT)
            with pytest.raises(PublishFailed, match=r"'c'.*queue was full") as full:
                client.forget("c", SHORT)
            broker.release()

    assert (None, False) == (unanswered.value.written, full.value.written)
