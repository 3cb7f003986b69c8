"""
A publisher in a process of its own; run as a module, it is that process.

It answers, with one line each: ``prepare SEED COUNT`` makes ready what the tasks of that seed return; ``publish``
publishes their results, pipelined, and says when it began and when all were acknowledged, by a clock of the machine.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, NamedTuple, Self

import msgspec

from benchmarks.bench import event_of
from benchmarks.child_process import ChildProcess
from benchmarks.reference import workload
from streamresults.settings import Settings
from streamresults.wiring import Wiring

if TYPE_CHECKING:
    from streamresults.publisher import Publisher


class Published(NamedTuple):
    """When a process began to publish, and when all of it was done, in seconds."""

    began: float
    done: float


class PublisherProcess(ChildProcess):
    """Starts a process that publishes when it is told to; leaving ends it."""

    @classmethod
    def ours(cls, settings: Settings) -> Self:
        """Return one that publishes by a publisher."""
        return cls("publisher_process", msgspec.json.encode(settings).decode())

    @classmethod
    def celery(cls, redis_url: str) -> Self:
        """Return one that stores by Celery's backend."""
        return cls("reference.celery_storing", redis_url)

    def prepare(self, seed: int, count: int) -> None:
        """Have the results of so many tasks of a seed made ready."""
        self.answer(f"prepare {seed} {count}", 60)

    def published(self) -> Published:
        """Return when what it was told to publish was published."""
        line, _ = self.await_line(lambda line: line.startswith("publish "), 120)
        began, done = line.split()[1:]
        return Published(float(began), float(done))


class _Publishing:
    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._ready: list[tuple[str, workload.Values]] = []

    def prepare(self, seed: str, count: str) -> str:
        numbered = enumerate(workload.seeded_ids(int(seed), int(count)))
        self._ready = [(task_id, workload.values(number)) for number, task_id in numbered]
        return "done"

    def publish(self) -> str:
        publisher = self._publisher
        began = time.perf_counter()
        for task_id, values in self._ready:
            publisher.send(event_of(publisher, task_id, values))
        publisher.flush()
        return f"{began} {time.perf_counter()}"


def main(text: str) -> None:
    """Answer until standard input ends."""
    with Wiring(msgspec.json.decode(text, type=Settings)) as wiring, wiring.publisher() as publisher:
        publisher.warm()
        publishing = _Publishing(publisher)
        for line in sys.stdin:
            word, *arguments = line.split()
            print(word, getattr(publishing, word)(*arguments), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
