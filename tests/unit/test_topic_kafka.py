"""
What streamresults.topic.kafka does beyond the contract, without a real Kafka.

We test these aspects: every error is translated, nothing is printed, settings, forks, the embedded broker's limits.
"""

from __future__ import annotations

import ctypes
import logging
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaError, KafkaException

from streamresults.deadline import Deadline
from streamresults.errors import AppendFailed, ConfigurationError, RecordTooLarge, StreamResultsError, TopicUnavailable
from streamresults.topic import embedded, kafka_errors
from streamresults.topic.base import NO_TOPIC_ID, Acknowledgement, TopicSettings
from streamresults.topic.embedded import EmbeddedBroker
from streamresults.topic.kafka import KafkaBroker, WriterSettings
from streamresults.topic.kafka_handles import REPEAT_AFTER, LastError, RepetitionFilter, retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: Seconds in which anything here happens on a loaded machine.
SOON = 15.0

#: Nobody listens there.
DOWN = "127.0.0.1:1"

CODES = {
    name: code
    for name in dir(KafkaError)
    if name.lstrip("_").isupper() and isinstance(code := getattr(KafkaError, name), int)
}


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(CODES))
def test_every_error_of_librdkafka_is_translated_into_one_line(name: str) -> None:
    """None comes through as it is, and none is several lines long."""
    error = KafkaError(CODES[name], "first line\nsecond line")
    translated = kafka_errors.translate(error, "cannot read", topic="results")
    failed = kafka_errors.append_failure(error, "results", task_id="id", size=1, limit=0)

    assert isinstance(translated, ConfigurationError | TopicUnavailable)
    assert isinstance(failed, RecordTooLarge | AppendFailed)
    assert str(translated).startswith("cannot read: ")
    assert "\n" not in f"{translated}{failed}"
    assert failed.written in {False, None}


def test_definite_refusals_are_told_from_unknown_outcomes() -> None:
    """What may have reached the log is never called unwritten."""

    def written(name: str) -> bool | None:
        failed = kafka_errors.append_failure(KafkaError(CODES[name]), "results", task_id="id", size=1, limit=0)
        assert isinstance(failed, RecordTooLarge | AppendFailed)
        return failed.written

    definite = ("_PURGE_QUEUE", "MSG_SIZE_TOO_LARGE", "TOPIC_AUTHORIZATION_FAILED", "INVALID_RECORD", "_UNKNOWN_TOPIC")
    unknown = ("_PURGE_INFLIGHT", "_MSG_TIMED_OUT", "REQUEST_TIMED_OUT", "NOT_ENOUGH_REPLICAS_AFTER_APPEND", "_FATAL")

    assert [False] * len(definite) == [written(name) for name in definite]
    assert [None] * len(unknown) == [written(name) for name in unknown]


def test_exception_without_an_error_inside_is_still_understood() -> None:
    """Whatever librdkafka's binding raises."""
    assert kafka_errors.error_of(KafkaException("odd")).code() == KafkaError.UNKNOWN


def test_a_process_that_was_suspended_asks_again_or_says_that_the_brokers_did_not_answer() -> None:
    """The time of its future is over when it wakes up: an outage like another, which a compactor survives."""
    answers: list[Exception | str] = [TimeoutError(), "answered"]

    def attempt(_: float) -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert retry(Deadline(10), "asking", attempt, fatal=frozenset(), last=LastError()) == "answered"
    answers.append(TimeoutError())
    with pytest.raises(TopicUnavailable, match="asking within 0 s"):
        retry(Deadline(0), "asking", attempt, fatal=frozenset(), last=LastError())


def test_missing_topic_says_what_to_do() -> None:
    """One sentence to act upon."""
    error = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)

    assert str(kafka_errors.translate(error, "cannot read", topic="results")) == (
        "cannot read: topic 'results' does not exist; create it: streamresults init"
    )


# --- a broker that is down ---------------------------------------------------------------------------------------


class Nobody:
    """A member that expects nothing."""

    def on_assigned(self, partitions: Sequence[int]) -> dict[int, int]:
        raise AssertionError(partitions)

    def on_revoked(self, partitions: Sequence[int]) -> None:
        raise AssertionError(partitions)

    def on_lost(self, partitions: Sequence[int]) -> None:
        raise AssertionError(partitions)


QUESTIONS: list[Callable[[KafkaBroker], object]] = [
    lambda broker: broker.writer("results").warm(Deadline(0.3)),
    lambda broker: broker.inspector("results").describe(Deadline(0.3)),
    lambda broker: broker.inspector("results").ends([0], Deadline(0.3)),
    lambda broker: broker.create_topics({"results": TopicSettings(partitions=1)}, Deadline(0.3)),
]


@pytest.mark.parametrize("question", QUESTIONS)
def test_broker_that_is_down_is_one_clear_line(
    question: Callable[[KafkaBroker], object], capfd: pytest.CaptureFixture[str]
) -> None:
    """The error says where, how long and why; nothing is printed."""
    deadline = Deadline(SOON)
    with pytest.raises(TopicUnavailable) as caught:
        question(KafkaBroker(DOWN))

    assert not deadline.passed()
    assert f"Kafka at {DOWN} did not answer within 0.3 s" in str(caught.value)
    assert "Connection refused" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_reading_and_writing_wait_silently_for_a_broker_that_is_down(capfd: pytest.CaptureFixture[str]) -> None:
    """A short outage is no error; what was queued is told when the writer is closed."""
    broker, acks = KafkaBroker(DOWN), list[Acknowledgement]()
    reader, group, writer = broker.reader("results"), broker.group("results", "g"), broker.writer("results")
    reader.assign({0: 0})
    group.join(Nobody())

    assert reader.poll(0.2) == ([], {}, {})
    assert group.poll(0.2) == ([], {}, {})
    assert writer.produce(b"k", b"v", acks.append)
    assert writer.close(Deadline(0.1)) == 1
    [ack] = acks
    assert isinstance(ack.error, AppendFailed)
    assert ack.error.written is False

    reader.close()
    group.close()
    assert capfd.readouterr() == ("", "")


ALONE = """
from streamresults.deadline import Deadline
from streamresults.errors import TopicUnavailable
from streamresults.topic.kafka import KafkaBroker

try:
    KafkaBroker("127.0.0.1:1").writer("results").warm(Deadline(0.3))
except TopicUnavailable as exc:
    print(len(str(exc).splitlines()))
"""


def test_program_that_sets_up_no_logging_prints_nothing() -> None:
    """Python would print warnings of a logger without handlers by itself."""
    run = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, timeout=SOON, check=False)

    assert (run.stdout, run.stderr) == ("1\n", "")


def test_log_line_is_repeated_only_after_a_while() -> None:
    """Whatever handle or port it names."""
    now = [0.0]
    repetition = RepetitionFilter(lambda: now[0])

    def passes(line: str) -> bool:
        return repetition.filter(logging.LogRecord("x", logging.ERROR, "", 0, "%s [%s]", (line, "rdkafka#1"), None))

    assert passes("FAIL port 1: refused")
    assert not passes("FAIL port 2: refused")
    assert passes("FAIL port 1: timed out")

    now[0] = REPEAT_AFTER

    assert passes("FAIL port 3: refused")
    assert not passes("CONFWARN linger.ms is a producer property")


def test_last_error_prefers_the_reason() -> None:
    """That "all brokers are down" comes after it and says less."""
    last = LastError()

    assert last.explain("no answer") == "no answer"

    last(KafkaError(KafkaError._TRANSPORT, "refused"))
    last(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1"))

    assert last.explain("no answer") == "no answer: refused [_TRANSPORT]"


# --- settings ----------------------------------------------------------------------------------------------------


OPENED: list[Callable[[KafkaBroker], object]] = [
    lambda broker: broker.writer("t").produce(b"k", b"v", None),
    lambda broker: broker.reader("t").poll(0),
    lambda broker: broker.group("t", "g").join(Nobody()),
    lambda broker: broker.inspector("t").describe(Deadline(1)),
]


@pytest.mark.parametrize("opened", OPENED)
def test_unknown_property_fails_in_librdkafkas_words(opened: Callable[[KafkaBroker], object]) -> None:
    """With the property's name, as a configuration error."""
    with pytest.raises(ConfigurationError, match=r'No such configuration property: "no\.such"'):
        opened(KafkaBroker(DOWN, properties={"no.such": "1"}))


def test_properties_win_and_are_not_shown() -> None:
    """They may be passwords."""
    broker = KafkaBroker(
        DOWN, properties={"linger.ms": "7", "sasl.password": "secret"}, writing=WriterSettings(linger=1)
    )

    assert broker.writer("t")._settings["linger.ms"] == "7"  # type: ignore[attr-defined]
    assert "secret" not in repr(broker)


# --- forks -------------------------------------------------------------------------------------------------------

FORK = """
import os, sys, threading
from streamresults.deadline import Deadline
from streamresults.errors import TopicUnavailable
from streamresults.topic.embedded import EmbeddedBroker
from streamresults.topic.kafka import KafkaBroker

embedded = EmbeddedBroker({"t": 1})
broker = KafkaBroker(embedded.bootstrap)
writer, reader, inspector = broker.writer("t"), broker.reader("t"), broker.inspector("t")
writer.warm(Deadline(10)); reader.poll(0); inspector.describe(Deadline(10))
child = os.fork()
if not child:
    calls = (
        lambda: writer.produce(b"k", b"v", None), lambda: writer.flush(Deadline(1)), lambda: writer.warm(Deadline(1)),
        lambda: reader.poll(1), lambda: reader.assign({0: 0}), lambda: inspector.describe(Deadline(1)),
    )
    for call in calls:
        try:
            call()
        except TopicUnavailable as exc:
            assert "opened before a fork" in str(exc), exc
        else:
            raise SystemExit("no error")
    writer.close(Deadline(1)); reader.close(); inspector.close()
    own, done = broker.writer("t"), threading.Event()
    own.produce(b"k", b"v", lambda ack: done.set())
    assert done.wait(10)
    own.close(Deadline(10))
    sys.exit(7)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 7, status
assert writer.produce(b"k", b"v", None) and writer.close(Deadline(10)) == 0
print("done")
"""


def test_forked_child_is_told_and_can_open_its_own() -> None:
    """What was inherited raises, and is never released: the child ends normally, and the parent goes on."""
    run = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=SOON * 3, check=False)

    assert (run.stdout, run.stderr, run.returncode) == ("done\n", "", 0)


# --- the embedded broker -----------------------------------------------------------------------------------------


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


def test_errors_are_all_ours() -> None:
    """The root of the tree catches them."""
    assert issubclass(AppendFailed, StreamResultsError)
