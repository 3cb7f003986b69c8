"""librdkafka's own broker, what it can and cannot do; and what only a broker that can be told to misbehave shows."""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING

import pytest

from streamresults.deadline import Deadline
from streamresults.errors import AppendFailed, TopicUnavailable
from streamresults.topic import embedded
from streamresults.topic.embedded import EmbeddedBroker
from streamresults.topic.kafka import KafkaBroker, WriterSettings
from streamresults.topic.records import NO_TOPIC_ID, Acknowledgement, TopicSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Seconds in which anything here happens on a loaded machine.
SOON = 15.0


@pytest.fixture
def embedded_broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({"two": 2, "seven": 7}) as running:
        yield running


def control(running: EmbeddedBroker, name: str, *arguments: object) -> None:
    """Call a function of librdkafka's embedded broker."""
    library = embedded._librdkafka()
    assert running._producer is not None
    cluster = library.rd_kafka_handle_mock_cluster(embedded._pointer(running._producer))
    getattr(library, name)(ctypes.c_void_p(cluster), *arguments)


def test_embedded_broker_has_the_partitions_that_were_asked_for(embedded_broker: EmbeddedBroker) -> None:
    """And says what it cannot tell, at once."""
    broker = KafkaBroker(embedded_broker.bootstrap)
    described = [broker.inspector(topic).describe(Deadline(SOON)) for topic in ("two", "seven")]

    assert embedded_broker.controlled
    assert [(one.topic, one.partitions, one.topic_id) for one in described] == [
        ("two", 2, NO_TOPIC_ID),
        ("seven", 7, NO_TOPIC_ID),
    ]


def test_embedded_broker_answers_what_it_can(embedded_broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture) -> None:
    """By time: everything, which is logged once; its settings: unknown; new topics: refused by name."""
    broker = KafkaBroker(embedded_broker.bootstrap)
    inspector = broker.inspector("two")

    assert inspector.offsets_at([0, 1], 5, Deadline(SOON)) == {0: 0, 1: 0}
    assert inspector.offsets_at([0], 5, Deadline(SOON)) == {0: 0}
    assert [record.getMessage() for record in caplog.records if "by time" in record.getMessage()] == [
        "the embedded broker cannot look offsets up by time: all that it holds is taken"
    ]
    assert inspector.topic_config(Deadline(SOON)) is None
    assert broker.create_topics({"two": TopicSettings(partitions=5)}, Deadline(SOON)) == {"two": False}
    with pytest.raises(TopicUnavailable, match="name these when it starts: new"):
        broker.create_topics({"new": TopicSettings(partitions=5)}, Deadline(SOON))


def test_embedded_broker_that_cannot_be_controlled_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another build of librdkafka: four partitions, and a warning."""

    def missing() -> ctypes.CDLL:
        raise OSError("no such library")

    monkeypatch.setattr(embedded, "_librdkafka", missing)
    with EmbeddedBroker({"two": 2}) as running:
        assert not running.controlled
        assert KafkaBroker(running.bootstrap).inspector("two").describe(Deadline(SOON)).partitions == 4
    assert "topics get 4 partitions: no such library" in caplog.text


@pytest.mark.parametrize("asked", ["ends", "watermarks"])
def test_broker_that_falls_silent_is_no_log_without_records(embedded_broker: EmbeddedBroker, asked: str) -> None:
    """What librdkafka returns for the answer that did not come is never taken for an offset."""
    inspector = KafkaBroker(embedded_broker.bootstrap).inspector("two")
    assert inspector.ends([0, 1], Deadline(SOON)) == {0: 0, 1: 0}
    control(embedded_broker, "rd_kafka_mock_broker_set_rtt", ctypes.c_int32(-1), ctypes.c_int(5000))

    with pytest.raises(TopicUnavailable, match=r"Kafka at .* did not answer within 0\.3 s"):
        getattr(inspector, asked)([0, 1], Deadline(0.3))


def test_record_in_flight_when_the_writer_closes_has_an_unknown_outcome(embedded_broker: EmbeddedBroker) -> None:
    """It was sent and not acknowledged: nobody can know."""
    broker, acks, warm = KafkaBroker(embedded_broker.bootstrap), list[Acknowledgement](), threading.Event()
    writer = broker.writer("two")
    writer.produce(b"k", b"v", lambda _: warm.set())
    assert warm.wait(SOON)
    control(embedded_broker, "rd_kafka_mock_broker_set_rtt", ctypes.c_int32(-1), ctypes.c_int(5000))
    writer.produce(b"k", b"v", acks.append)

    assert writer.close(Deadline(0.3)) == 1
    [ack] = acks
    assert isinstance(ack.error, AppendFailed)
    assert ack.error.written is None


class Told:
    """Remembers what it was given."""

    def __init__(self) -> None:
        self.partitions: list[int] = []

    def on_assigned(self, partitions: Sequence[int]) -> dict[int, int]:
        self.partitions += partitions
        return dict.fromkeys(partitions, 0)

    def on_revoked(self, partitions: Sequence[int]) -> None:
        """Expect nothing."""

    def on_lost(self, partitions: Sequence[int]) -> None:
        """Expect nothing."""


@pytest.mark.parametrize("how", ["newer", "refused", "configured"])
def test_group_falls_back_to_the_protocol_that_the_brokers_speak(
    embedded_broker: EmbeddedBroker, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Once refused, a broker is not asked again; nothing is printed."""
    consumer_group_heartbeat, unsupported = ctypes.c_int16(68), (ctypes.c_int * 3)(35, 35, 35)
    if how == "refused":
        control(
            embedded_broker,
            "rd_kafka_mock_push_request_errors_array",
            consumer_group_heartbeat,
            ctypes.c_size_t(3),
            unsupported,
        )
    properties = {"group.protocol": "classic"} if how == "configured" else {}
    broker, told, deadline = KafkaBroker(embedded_broker.bootstrap, properties=properties), Told(), Deadline(SOON)
    group = broker.group("two", "g")
    group.join(told)
    while not told.partitions and not deadline.passed():
        group.poll(0.1)
    group.close()

    assert sorted(told.partitions) == [0, 1]
    assert broker._protocol.classic is (how != "newer")
    assert capfd.readouterr() == ("", "")


def test_waiting_for_room_ends_with_its_deadline_while_there_is_none(embedded_broker: EmbeddedBroker) -> None:
    """And at once when an acknowledgement made room between the refusal and the wait."""
    broker = KafkaBroker(embedded_broker.bootstrap, writing=WriterSettings(queue_records=3))
    writer, acked = broker.writer("two"), threading.Event()
    writer.produce(b"k", b"v", lambda _: acked.set())
    assert acked.wait(SOON)
    control(embedded_broker, "rd_kafka_mock_broker_set_rtt", ctypes.c_int32(-1), ctypes.c_int(1000))
    last = threading.Event()
    for _ in range(3):
        assert writer.produce(b"k", b"v", lambda _: last.set())

    assert not writer.produce(b"k", b"v", None)
    assert not writer.wait_for_room(Deadline(0.2))
    assert last.wait(SOON)
    assert writer.wait_for_room(Deadline(SOON))
    assert writer.close(Deadline(SOON)) == 0
