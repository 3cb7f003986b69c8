"""
librdkafka calls some errors of an idempotent producer fatal: it takes nothing more from then on, whatever is done.

The errors here are real ones, of a real broker: with ``enable.gapless.guarantee`` a batch that the broker refuses is
one. We test these aspects: everything that was under way is told of, with its task; the publisher goes on over another
producer, for every way of publishing; what failed can be published again; closing meanwhile loses no answer.
"""

from __future__ import annotations

import logging
import secrets
import threading
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.deadline import Deadline
from streamresults.errors import PublishFailed, RecordTooLarge
from streamresults.settings import Settings
from streamresults.topic.kafka_writer import KafkaWriter
from streamresults.topic.records import TopicSettings
from streamresults.wiring import Wiring
from tests.conftest import create_topics
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.publisher import Publisher
    from streamresults.publisher.pending import Pending

pytestmark = pytest.mark.kafka

SOON = 30.0
#: Bytes that the broker takes, far fewer than the producer believes.
TAKES = 4000


@pytest.fixture
def gapless(kafka_bootstrap: str) -> Iterator[Wiring]:
    """Give a wiring whose producer ends with the first batch that the broker refuses."""
    name = f"f-{secrets.token_hex(5)}"
    with Wiring(Settings(kafka_bootstrap=kafka_bootstrap, topic=name)) as wiring:
        create_topics(wiring, 1)
        small = TopicSettings(partitions=1, replication=1, config={"max.message.bytes": str(TAKES)})
        wiring.broker().create_topics({f"{name}.small": small}, Deadline(SOON))
        yield wiring


def _opened(wiring: Wiring) -> Publisher:
    """Open a publisher whose producers know what the property means; consumers do not, so it is no setting."""
    publisher = wiring.publisher()
    connection: Any = publisher._connection
    open_writer = connection._open_writer

    def gapless_writer() -> KafkaWriter:
        writer: KafkaWriter = open_writer()
        writer._settings = {**writer._settings, "enable.gapless.guarantee": True}
        return writer

    connection._open_writer = gapless_writer
    return publisher


def _writer(publisher: Publisher) -> KafkaWriter:
    publisher.warm()
    writer = publisher._connection.writer
    assert isinstance(writer, KafkaWriter)
    return writer


def _end_producer(publisher: Publisher) -> object:
    """Have the producer end, and return it."""
    writer = _writer(publisher)
    producer = writer._producer
    answers: list[object] = []
    small = f"{publisher._connection._schemas_topic.removesuffix('.schemas')}.small"
    writer.produce(b"k", secrets.token_bytes(2 * TAKES), answers.append, topic=small)
    eventually(lambda: writer._producer is not producer, SOON, "the producer is given up")
    eventually(lambda: answers, SOON, "its record is told of")
    return producer


def test_a_publisher_goes_on_over_another_producer(gapless: Wiring, caplog: pytest.LogCaptureFixture) -> None:
    """The next event is in the log, and one line says what happened."""
    with caplog.at_level(logging.ERROR), _opened(gapless) as publisher:
        first = publisher.succeeded("a", 1)
        ended = _end_producer(publisher)
        second = publisher.succeeded("b", 2)
        assert ended is not _writer(publisher)._producer

    assert first is not None
    assert second is not None
    assert second.offset > first.offset
    assert 1 == [getattr(record, "action", "") for record in caplog.records].count("producer_given_up")


def test_everything_under_way_is_told_of_by_its_task(gapless: Wiring) -> None:
    """Nothing is dropped in silence: each of many is in the log, or its error names it and says that nobody knows."""
    with _opened(gapless) as publisher:
        writer = _writer(publisher)
        producer = writer._producer
        small = f"{gapless.settings.topic}.small"
        pending: list[Pending] = []
        for number in range(3000):
            if number == 1500:
                writer.produce(b"k", secrets.token_bytes(2 * TAKES), None, topic=small)
            pending.append(publisher.send(publisher.event(f"t{number}", "SUCCESS", result=number)))
        eventually(lambda: writer._producer is not producer, SOON)
        failed = []
        for one in pending:
            try:
                one.position(SOON)
            except PublishFailed as exc:
                failed.append((one.event, exc))
        again = [publisher.publish(event) for event, _ in failed]
        assert 0 == publisher.flush(SOON).unacknowledged

    assert all(event.task_id == exc.task_id and event.task_id in str(exc) for event, exc in failed)
    assert all(exc.written is None for _, exc in failed)
    assert None not in again, "published again, they are in the log"
    assert set(_ids(gapless)) == {f"t{number}" for number in range(3000)}


def _ids(wiring: Wiring) -> list[str]:
    reader = wiring.broker().reader(wiring.settings.topic)
    end = wiring.inspector().ends([0], Deadline(SOON))[0]
    found: list[str] = []
    reader.assign({0: 0})
    at, deadline = 0, Deadline(SOON)
    while at < end and not deadline.passed():
        for record in reader.poll(1.0).records:
            at = (record.offset() or 0) + 1
            key = record.key()
            found.append(key.decode() if isinstance(key, bytes) else "")
    reader.close()
    return found


def test_events_that_end_a_task_are_published_again_by_themselves(gapless: Wiring) -> None:
    """Threads that block for their events meanwhile get their positions, each within its deadline."""
    told: list[object] = []

    def publish(publisher: Publisher, name: str) -> None:
        told.extend(publisher.succeeded(f"{name}-{number}") for number in range(100))

    with _opened(gapless) as publisher:
        publisher.warm()
        threads = [threading.Thread(target=publish, args=(publisher, name)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for _ in range(3):
            _end_producer(publisher)
        for thread in threads:
            thread.join(SOON)

    assert 400 == len(told)
    assert None not in told
    assert 400 == len(set(_ids(gapless)))


def test_a_refused_event_is_what_it_is(gapless: Wiring) -> None:
    """The one that the broker refused is too large, whatever becomes of the producer."""
    with _opened(gapless) as publisher:
        writer = _writer(publisher)
        answers: list[object] = []
        small = f"{gapless.settings.topic}.small"
        writer.produce(b"k", secrets.token_bytes(2 * TAKES), lambda ack: answers.append(ack.error), topic=small)
        eventually(lambda: answers, SOON)

    assert isinstance(answers[0], RecordTooLarge)


def test_closing_behind_a_fatal_error_waits_for_every_answer(gapless: Wiring) -> None:
    """Also where no other producer was opened."""
    publisher = _opened(gapless)
    _end_producer(publisher)

    assert (0, 0) == publisher.close(SOON)
