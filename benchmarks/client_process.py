"""
A client in a process of its own; run as a module, it is that process.

It answers, with one line each: ``wait COUNT`` registers so many waits and says once all sleep what they cost, and
``handles SEED COUNT`` does the same by handles of a seed's tasks; ``woken COUNT`` says once so many of these have ended
when each had its value; ``fetched`` says what the client's connections to Kafka have received so far; ``release`` ends
all waits and returns when nothing is read any more.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any, Final, Self, cast

import msgspec

from benchmarks.child_process import ChildProcess
from benchmarks.processes import resident_kib
from benchmarks.reference import workload
from streamresults.client import waits
from streamresults.client.waiter import Phase
from streamresults.settings import Settings
from streamresults.topic.kafka import KafkaBroker
from streamresults.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.client import Client, Registration, ResultHandle

#: Seconds between librdkafka's statistics; a figure is at most so old.
_STATISTICS: Final = 0.5
#: Seconds after its last waiter that a partition is still read: here one instead of sixty, so as not to wait for it.
_IDLE_AFTER: Final = 1.0


class Waited(msgspec.Struct):
    """What so many waits cost."""

    kib: int
    #: Seconds until all were registered, and until all slept.
    registered: float
    asleep: float
    #: Names of the process's Python threads.
    threads: list[str]


class Fetched(msgspec.Struct):
    """What a process's reader had received when librdkafka said so last."""

    #: When that was, by a clock of the machine, in seconds.
    at: float
    requests: int
    bytes: int


class ClientProcess(ChildProcess):
    """Starts a client that waits through the topic; leaving ends it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("client_process", msgspec.json.encode(settings).decode())

    def __enter__(self) -> Self:
        self.answer("ready ?", 60)
        return self

    def wait(self, count: int) -> Waited:
        """Register so many waits."""
        return msgspec.json.decode(self.answer(f"wait {count}", 120), type=Waited)

    def wait_by_handles(self, seed: int, count: int) -> Waited:
        """Register so many waits by handles of a seed's tasks."""
        return msgspec.json.decode(self.answer(f"handles {seed} {count}", 300), type=Waited)

    def woken(self, count: int) -> dict[str, float]:
        """Return, once so many of these have ended, when each had its value, by a clock of the machine, in seconds."""
        return msgspec.json.decode(self.answer(f"woken {count}", 120), type=dict[str, float])

    def release(self) -> None:
        """End all waits, and return once nothing is read any more."""
        self.answer("release ?", 60)

    def fetched(self) -> Fetched:
        """Return what was received up to now."""
        return msgspec.json.decode(self.answer("fetched ?", 30), type=Fetched)


class Statistics:
    """What librdkafka says of the reader of this process, which has no other consumer."""

    def __init__(self) -> None:
        self.latest = Fetched(0.0, 0, 0)

    def properties(self) -> dict[str, str]:
        """Return librdkafka's settings that have it tell."""
        settings: dict[str, Any] = {"statistics.interval.ms": str(int(_STATISTICS * 1000)), "stats_cb": self._note}
        return cast("dict[str, str]", settings)  # a function is no string: settings come from text elsewhere

    def _note(self, text: str) -> None:
        told = msgspec.json.decode(text)
        if told["type"] == "consumer":
            brokers = told["brokers"].values()
            requests, received = sum(b["req"].get("Fetch", 0) for b in brokers), sum(b["rxbytes"] for b in brokers)
            self.latest = Fetched(told["ts"] / 1e6, requests, received)


class _Answers:
    """What the process does when it is asked."""

    def __init__(self, client: Client, statistics: Statistics) -> None:
        self._client = client
        self._statistics = statistics
        self._registrations: list[Registration] = []
        self._handles: list[ResultHandle] = []
        self._woken: dict[str, float] = {}

    def ready(self, _: str) -> str:
        self._client.lookup_many([str(uuid.uuid4())])
        return "yes"

    def wait(self, count: str) -> str:
        def register() -> None:
            for _ in range(int(count)):
                self._registrations.append(self._client.on_result(str(uuid.uuid4()), _nothing, via="topic"))

        return self._waited(register)

    def handles(self, arguments: str) -> str:
        seed, count = map(int, arguments.split())

        def register() -> None:
            for task_id in workload.seeded_ids(seed, count):
                handle = self._client.result(task_id)
                self._handles.append(handle)
                self._registrations.append(handle.on_result(self._note, via="topic"))

        return self._waited(register)

    def _waited(self, register: Callable[[], None]) -> str:
        gc.collect()
        before, began = resident_kib(), time.perf_counter()
        register()
        registered = time.perf_counter()
        self._until(lambda: all(r._waiter.phase is Phase.ASLEEP for r in self._registrations))  # noqa: SLF001
        asleep = time.perf_counter()
        gc.collect()
        names = sorted(thread.name for thread in threading.enumerate())
        found = Waited(resident_kib() - before, registered - began, asleep - began, names)
        return msgspec.json.encode(found).decode()

    def _note(self, registration: Registration) -> None:
        assert registration.result().value() is not None
        self._woken[registration.task_id] = time.perf_counter()

    def woken(self, count: str) -> str:
        self._until(lambda: len(self._woken) >= int(count))
        return msgspec.json.encode(self._woken).decode()

    def release(self, _: str) -> str:
        for registration in self._registrations:
            registration.cancel()
        self._registrations.clear()
        self._handles.clear()
        engine = self._client._engine  # noqa: SLF001 -- what is read is no part of the public surface
        assert engine is not None
        self._until(lambda: not any(watch.is_read for watch in engine.waits.watches.values()))
        return "done"

    def fetched(self, _: str) -> str:
        return msgspec.json.encode(self._statistics.latest).decode()

    @staticmethod
    def _until(done: Callable[[], bool]) -> None:
        while not done():
            time.sleep(0.05)


def _nothing(_: Registration) -> None:
    pass


def main(text: str) -> None:
    """Answer until standard input ends."""
    waits._IDLE_AFTER = _IDLE_AFTER  # type: ignore[misc]  # noqa: SLF001
    settings, statistics = msgspec.json.decode(text, type=Settings), Statistics()
    broker = KafkaBroker(settings.kafka_bootstrap, properties=statistics.properties())
    with Wiring(settings, broker=broker) as wiring, wiring.client() as client:
        answers = _Answers(client, statistics)
        for line in sys.stdin:
            word, _, rest = line.strip().partition(" ")
            print(word, getattr(answers, word)(rest), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
