"""
A fork waits, for a moment, until librdkafka's threads are idle: what they hold at that moment is held in the child for
ever.

We test these aspects: a thread at work holds a fork back, and no longer than that; one that never rests does not; nor
do threads of others.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from streamresults.topic import kafka_threads
from streamresults.topic.kafka import KafkaBroker
from streamresults.topic.kafka_threads import hold_fork
from tests.unit.desk import SOON
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody says what a thread does")


class Busy:
    """A thread that works without the interpreter's lock."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._working = threading.Event()
        self.stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(self._name)
        self._working.set()
        while not self.stop.is_set():
            hashlib.pbkdf2_hmac("sha256", b"", b"", 20_000)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._working.wait(SOON)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join(SOON)


@pytest.fixture
def handle() -> Iterator[Any]:
    """Give something that has opened Kafka, so that forks are held back."""
    inspector = KafkaBroker("127.0.0.1:1").inspector("results")
    yield inspector
    inspector.close()


def test_a_fork_waits_for_a_thread_at_work(handle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child is made once it is idle."""
    monkeypatch.setattr(kafka_threads, "HELD_AT_MOST", 6 * SOON)
    looked = threading.Event()
    look = kafka_threads._at_work

    def noticed() -> bool:
        looked.set()
        return look()

    monkeypatch.setattr(kafka_threads, "_at_work", noticed)
    with Busy("rdk:broker1") as busy:
        eventually(look, SOON)

        def end_it() -> None:
            looked.wait(SOON)
            busy.stop.set()

        ending = threading.Thread(target=end_it)
        ending.start()
        child = os.fork()
        if child == 0:
            os._exit(0 if busy.stop.is_set() else 1)
        ending.join(SOON)

    assert 0 == os.waitpid(child, 0)[1]
    assert handle is not None


def test_a_thread_that_never_rests_holds_no_fork_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads without a pause forks all the same."""
    monkeypatch.setattr(kafka_threads, "HELD_AT_MOST", 0.01)
    with Busy("rdk:broker1") as busy:
        hold_fork()

        assert not busy.stop.is_set()


def test_only_librdkafkas_threads_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of other libraries work as long as they like."""
    monkeypatch.setattr(kafka_threads, "HELD_AT_MOST", 6 * SOON)
    with Busy("worker") as busy:
        hold_fork()

        assert not busy.stop.is_set()
