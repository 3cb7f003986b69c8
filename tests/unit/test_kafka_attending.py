"""
A thread that waits for an acknowledgement serves it by itself, and the serving thread keeps away.

We test these aspects, without a real Kafka: on which thread the callback runs; what is under way beside it, or is left
when the waiting ends; a signal whose handler raises meanwhile, or waits for a record of its own; closing while the
serving thread keeps away.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from streamresults.deadline import Deadline
from streamresults.topic import kafka_turns, kafka_writer
from streamresults.topic.embedded import EmbeddedBroker
from streamresults.topic.kafka import KafkaBroker, WriterSettings
from streamresults.topic.kafka_writer import KafkaWriter
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamresults.topic.records import Acknowledgement

#: Seconds in which anything here happens on a loaded machine.
SOON = 15.0


class Limit(Exception):
    """What a signal's handler raises, as those of time limits do."""


class Told:
    """A callback of a record that knows on which thread it was called."""

    def __init__(self) -> None:
        self.by = list[threading.Thread]()

    def __call__(self, _: Acknowledgement) -> None:
        self.by.append(threading.current_thread())

    def came(self) -> bool:
        """Tell whether it was called."""
        return bool(self.by)


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> Iterator[KafkaWriter]:
    """Give a writer whose serving thread keeps away, and goes on doing so for as long as nobody asks for it."""
    monkeypatch.setattr(kafka_turns, "BURST_SLICE", 4 * SOON)
    monkeypatch.setattr(kafka_turns, "ATTENDED_SLICE", 4 * SOON)
    monkeypatch.setattr(kafka_writer, "ATTENDED", SOON)
    with EmbeddedBroker({"t": 1}) as broker:
        # A moment's linger: what is produced together is acknowledged together.
        writer = KafkaBroker(broker.bootstrap, writing=WriterSettings(linger=0.02)).writer("t")
        assert isinstance(writer, KafkaWriter)
        writer.warm(Deadline(SOON))
        writer.produce(b"k", b"v", None)  # behind the first one, and each 64th, produce itself serves
        assert 0 == writer.flush(Deadline(SOON))
        writer._serve_here()
        eventually(lambda: _doing(writer) == "wait_for.wait", SOON, "the serving thread keeps away")
        yield writer
        writer.close(Deadline(SOON))


def _doing(writer: KafkaWriter) -> str:
    """Name the functions that the serving thread is in, the last two."""
    thread = writer._thread
    assert thread is not None
    stack = traceback.extract_stack(sys._current_frames()[thread.ident or 0])
    return ".".join(frame.name for frame in stack[-2:])


def test_who_waits_for_the_only_record_is_told_on_its_own_thread(writer: KafkaWriter) -> None:
    """No other thread has to run in between."""
    for _ in range(3):
        told = Told()
        writer.produce(b"k", b"v", told)
        writer.attend(told.came, SOON)

        assert told.by == [threading.current_thread()]
    assert _doing(writer) == "wait_for.wait"


def test_of_several_that_wait_one_serves_and_all_are_told(writer: KafkaWriter) -> None:
    """Nobody sits in a poll of its own for what another thread has been handed."""
    told = [Told() for _ in range(200)]

    def store(mine: list[Told]) -> None:
        for one in mine:
            writer.produce(b"k", b"v", one)
            writer.attend(one.came, SOON)
            eventually(one.came, SOON)

    threads = [threading.Thread(target=store, args=(told[begin::4],)) for begin in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)

    assert all(1 == len(one.by) for one in told)


def test_what_is_left_under_way_is_served_by_the_serving_thread(writer: KafkaWriter) -> None:
    """The one who waited has its answer from elsewhere; whoever came beside it is told as soon as ever."""
    told = Told()
    writer.produce(b"k", b"v", told)
    writer.attend(lambda: True, SOON)

    eventually(told.came, SOON)
    assert told.by == [writer._thread]


def test_an_answer_that_is_late_is_the_serving_threads(writer: KafkaWriter) -> None:
    """A signal's handler waits for nothing but a moment."""
    told = Told()
    writer.produce(b"k", b"v", told)
    writer.attend(told.came, 0.0)

    eventually(told.came, SOON)
    assert told.by == [writer._thread]


def test_who_waits_for_what_has_come_leaves_the_serving_thread_in_peace(writer: KafkaWriter) -> None:
    """Nothing is under way for which it would have to come."""
    writer.attend(lambda: True, SOON)

    assert _doing(writer) == "wait_for.wait"


def test_a_signal_is_raised_where_somebody_waits_and_every_record_is_told_of(writer: KafkaWriter) -> None:
    """Neither is a time limit lost, nor what became of a record."""
    calls, told = list[int](), Told()

    def on_ack(acknowledgement: Acknowledgement) -> None:
        calls.append(1)
        if len(calls) == 1:
            signal.raise_signal(signal.SIGUSR1)
        told(acknowledgement)

    def raise_limit() -> None:
        raise Limit

    with handled_by(raise_limit):
        writer.produce(b"k", b"v", on_ack)
        with pytest.raises(Limit):
            writer.attend(told.came, SOON)

    assert told.by == [threading.current_thread()]


def test_a_signals_handler_that_waits_for_a_record_of_its_own_is_told(
    writer: KafkaWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has interrupted the very thread that serves, whose turn ends all the same."""
    monkeypatch.setattr(kafka_writer, "ATTENDED", 0.2)
    told, own = Told(), Told()
    with handled_by(lambda: publish(writer, own)):
        writer.produce(b"k", b"v", lambda _: signal.raise_signal(signal.SIGUSR1))
        writer.produce(b"k", b"v", told)
        writer.attend(told.came, SOON)
        eventually(told.came, SOON)

    assert own.by == [writer._thread]


def test_a_signals_handler_within_a_callback_does_not_poll_beneath_the_poll(
    writer: KafkaWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bindings would end the process; also where it comes so late that the turn which it interrupts is over."""
    monkeypatch.setattr(kafka_writer, "ATTENDED", 0.2)
    others, own = [Told() for _ in range(10)], Told()

    def publish_late() -> None:
        eventually(lambda: writer._turns._taken_until < time.monotonic(), SOON, "the turn is over")
        publish(writer, own)

    with handled_by(publish_late):
        writer.produce(b"k", b"v", lambda _: signal.raise_signal(signal.SIGUSR1))
        for one in others:
            writer.produce(b"k", b"v", one)
        writer.attend(others[-1].came, SOON)
        eventually(lambda: all(one.came() for one in others), SOON)

    assert own.by == [writer._thread]


def test_a_signals_handler_between_two_polls_has_the_serving_thread(
    writer: KafkaWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose turn it interrupts cannot serve before it has ended."""
    monkeypatch.setattr(kafka_writer, "ATTENDED", 0.02)
    first, told, own = Told(), Told(), Told()
    writer.produce(b"k", b"v", first)
    writer.attend(first.came, SOON)
    writer.urge()  # out of the burst, and then it rests for who waits
    eventually(lambda: first.came() and _doing(writer) == "wait_for.wait", SOON)

    def came() -> bool:
        if not own.by:
            signal.raise_signal(signal.SIGUSR1)
        return told.came()

    with handled_by(lambda: publish(writer, own)):
        writer.produce(b"k", b"v", told)
        writer.attend(came, SOON)
        eventually(told.came, SOON)

    assert own.by == [writer._thread]


@contextmanager
def handled_by(act: Callable[[], None]) -> Iterator[None]:
    """Have a signal's handler do something."""
    before = signal.signal(signal.SIGUSR1, lambda *_: act())
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def publish(writer: KafkaWriter, told: Told) -> None:
    """Produce one record, and wait until it is told of."""
    writer.produce(b"k", b"v", told)
    writer.attend(told.came, SOON)
    eventually(told.came, SOON)


def test_a_writer_closes_at_once_while_its_serving_thread_keeps_away(writer: KafkaWriter) -> None:
    """Closing wakes it."""
    told = Told()
    writer.produce(b"k", b"v", told)
    writer.attend(told.came, SOON)
    closing = threading.Thread(target=writer.close, args=(Deadline(SOON),), daemon=True)
    closing.start()
    closing.join(SOON)

    assert not closing.is_alive()
