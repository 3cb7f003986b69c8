"""
What streamresults.topic.kafka does beyond the contract, without any Kafka.

We test these aspects: brokers that are down, and that nothing is printed; settings; forks.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaError

from streamresults.deadline import Deadline
from streamresults.errors import AppendFailed, ConfigurationError, TopicUnavailable
from streamresults.topic.kafka import KafkaBroker, WriterSettings
from streamresults.topic.kafka_handles import REPEAT_AFTER, LastError, RepetitionFilter
from streamresults.topic.records import Acknowledgement, TopicSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Seconds in which anything here happens on a loaded machine.
SOON = 15.0

#: Nobody listens there.
DOWN = "127.0.0.1:1"


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


# --- a broker that is down ---------------------------------------------------------------------------------------


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


OPENED: list[Callable[[KafkaBroker], object]] = [
    lambda broker: broker.writer("t").produce(b"k", b"v", None),
    lambda broker: broker.reader("t").poll(0),
    lambda broker: broker.group("t", "g").join(Nobody()),
    lambda broker: broker.inspector("t").describe(Deadline(1)),
]


# --- settings ----------------------------------------------------------------------------------------------------


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


# --- forks -------------------------------------------------------------------------------------------------------


def test_forked_child_is_told_and_can_open_its_own() -> None:
    """What was inherited raises, and is never released: the child ends normally, and the parent goes on."""
    run = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=SOON * 3, check=False)

    assert (run.stdout, run.stderr, run.returncode) == ("done\n", "", 0)
