"""
Every record that a writer took is told of once librdkafka has spoken, and nobody waits for one that it did not take.

We test these aspects, without a real Kafka: a full queue as the writer closes; whoever begins to wait within a burst;
signals whose handlers raise while the main thread serves acknowledgements.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaError, KafkaException

from streamresults.deadline import Deadline
from streamresults.errors import AppendFailed, ConfigurationError, RecordTooLarge, TopicUnavailable
from streamresults.topic import kafka_turns
from streamresults.topic.embedded import EmbeddedBroker
from streamresults.topic.kafka import KafkaBroker, WriterSettings
from streamresults.topic.kafka_writer import KafkaWriter
from streamresults.topic.records import Acknowledgement
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

#: Seconds in which anything here happens on a loaded machine.
SOON = 15.0


class Limit(Exception):
    """What a signal's handler raises, as those of time limits do."""


@pytest.fixture
def open_writer() -> Iterator[Callable[[WriterSettings], KafkaWriter]]:
    """Give a function that opens a writer, warm, on the embedded broker."""
    with EmbeddedBroker({"t": 1}) as broker:

        def opened(settings: WriterSettings) -> KafkaWriter:
            writer = KafkaBroker(broker.bootstrap, writing=settings).writer("t")
            assert isinstance(writer, KafkaWriter)
            writer.warm(Deadline(SOON))
            return writer

        yield opened


def _doing(writer: KafkaWriter) -> str:
    """Name the functions that the serving thread is in, the last two."""
    thread = writer._thread
    assert thread is not None
    stack = traceback.extract_stack(sys._current_frames()[thread.ident or 0])
    return ".".join(frame.name for frame in stack[-2:])


def test_who_finds_the_queue_full_as_the_writer_closes_leaves_nothing_to_wait_for(
    open_writer: Callable[[WriterSettings], KafkaWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record was not taken, and closing knows it."""
    writer, left = open_writer(WriterSettings(queue_records=1, linger=0.3)), list[int]()
    closing = threading.Thread(target=lambda: left.append(writer.close(Deadline(SOON))))
    send_again = writer._send_again

    def between(*record: Any) -> bool:
        closing.start()
        eventually(lambda: writer._send == writer._refuse, SOON, "it closes")
        return send_again(*record)

    monkeypatch.setattr(writer, "_send_again", between)
    assert writer.produce(b"k", b"v", None)
    with pytest.raises(TopicUnavailable, match="is closed"):
        writer.produce(b"k", b"v", None)
    closing.join(2 * SOON)

    assert [0] == left


def test_a_record_that_is_refused_at_the_second_try_is_a_typed_error_and_not_waited_for(
    open_writer: Callable[[WriterSettings], KafkaWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue was full, then there was room, and librdkafka would not have it all the same."""
    writer = open_writer(WriterSettings(queue_records=1, linger=0.3))
    send_again, send = writer._send_again, writer._send

    def refuse(*_: Any) -> None:
        raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))

    def between(*record: Any) -> bool:
        monkeypatch.setattr(writer, "_send", refuse)
        return send_again(*record)

    monkeypatch.setattr(writer, "_send_again", between)
    assert writer.produce(b"k", b"v", None)
    with pytest.raises(RecordTooLarge):
        writer.produce(b"k", b"v", None)
    monkeypatch.setattr(writer, "_send", send)

    assert 0 == writer.close(Deadline(SOON))


def test_who_begins_to_wait_as_a_burst_begins_ends_it(
    open_writer: Callable[[WriterSettings], KafkaWriter],
) -> None:
    """Between the serving thread's look and its rest, word is not lost."""
    writer, told = open_writer(WriterSettings()), threading.Event()
    with writer._turns.changed:
        writer._turns._burst_until = time.monotonic() + 4 * SOON
        eventually(lambda: _doing(writer).endswith(".__enter__"), SOON, "it is about to see the burst, and to rest")
        writer.produce(b"k", b"v", lambda _: told.set())
        writer.urge()

    assert told.wait(SOON)
    assert 0 == writer.close(Deadline(SOON))


@pytest.fixture
def served_here(
    open_writer: Callable[[WriterSettings], KafkaWriter], monkeypatch: pytest.MonkeyPatch
) -> Iterator[KafkaWriter]:
    """Give a writer whose acknowledgements the main thread serves, while a signal's handler raises there."""
    monkeypatch.setattr(kafka_turns, "BURST_SLICE", 4 * SOON)
    writer = open_writer(WriterSettings())
    writer.produce(b"k", b"v", None)  # behind the first one, and each 64th, produce itself serves
    assert 0 == writer.flush(Deadline(SOON))
    writer._serve_here()
    eventually(lambda: _doing(writer) == "wait_for.wait", SOON, "the serving thread keeps away")

    def raise_limit(*_: object) -> None:
        raise Limit

    before = signal.signal(signal.SIGUSR1, raise_limit)
    yield writer
    signal.signal(signal.SIGUSR1, before)
    writer.urge()
    assert 0 == writer.close(Deadline(SOON))


def serve_until(writer: KafkaWriter, served: Sequence[object]) -> None:
    """Serve acknowledgements here, as the thread that produces does, until one has come."""

    def serve() -> bool:
        writer._serve_here()
        return bool(served)

    eventually(serve, SOON)


def test_a_signal_within_a_callback_is_raised_where_it_came_and_the_callback_is_called(
    served_here: KafkaWriter,
) -> None:
    """Neither is a time limit lost, nor what became of a record."""
    calls, told = list[int](), list[Acknowledgement]()

    def on_ack(acknowledgement: Acknowledgement) -> None:
        calls.append(1)
        if len(calls) == 1:
            signal.raise_signal(signal.SIGUSR1)
        told.append(acknowledgement)

    served_here.produce(b"k", b"v", on_ack)
    with pytest.raises(Limit):
        serve_until(served_here, calls)

    assert [(None, 0)] == [(one.error, one.partition) for one in told]
    assert told[0].offset >= 0


def test_a_signal_before_a_callback_leaves_no_record_without_an_answer(
    served_here: KafkaWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The brokers' answer is gone with it, so nobody knows; a flush does not wait for what never comes."""
    told = list[Acknowledgement]()

    def deliver(*_: object) -> None:
        raise Limit

    with monkeypatch.context() as patched:
        patched.setattr(served_here, "_deliver", deliver)
        served_here.produce(b"k", b"v", told.append)
        with pytest.raises(Limit):
            serve_until(served_here, told)
    assert 0 == served_here.flush(Deadline(SOON))

    (answer,) = told
    assert isinstance(answer.error, AppendFailed)
    assert answer.error.written is None


def test_a_signal_behind_sending_leaves_no_trace(
    served_here: KafkaWriter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its caller got the exception; that the brokers speak of the record all the same disturbs nobody."""
    send = served_here._send

    def sent(*record: Any) -> None:
        send(*record)
        raise Limit

    with monkeypatch.context() as patched:
        patched.setattr(served_here, "_send", sent)
        with pytest.raises(Limit):
            served_here.produce(b"k", b"v", None)
    told = list[Acknowledgement]()
    assert served_here.produce(b"k", b"v", told.append)
    serve_until(served_here, told)

    assert 0 == served_here.flush(Deadline(SOON))
    assert not [record for record in caplog.records if getattr(record, "action", "") == "ack_callback_failed"]


def test_what_is_no_record_is_refused_and_not_waited_for(served_here: KafkaWriter) -> None:
    """Whatever the client library says of it."""
    with pytest.raises(TypeError):
        served_here.produce("k", 7, None)  # type: ignore[arg-type]

    assert 0 == served_here.flush(Deadline(SOON))


def test_a_callback_that_fails_by_itself_is_logged_and_harms_nobody(
    served_here: KafkaWriter, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever produces meanwhile has nothing to do with it."""
    calls = list[int]()

    def on_ack(_: Acknowledgement) -> None:
        calls.append(1)
        raise ValueError("its own")

    served_here.produce(b"k", b"v", on_ack)
    serve_until(served_here, calls)

    assert "a callback of a produced record failed" in caplog.text
    assert 0 == served_here.flush(Deadline(SOON))


def test_a_limit_that_is_no_number_is_said_to_be_one() -> None:
    with pytest.raises(ConfigurationError, match=r"message\.max\.bytes .* not 'abc'"):
        KafkaWriter("t", {"bootstrap.servers": "127.0.0.1:1", "message.max.bytes": "abc"})
