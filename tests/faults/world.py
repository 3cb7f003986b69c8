"""
A topic, its view and those who use them, on services that a test may break; and a checker that knows no code of ours.

The checker reads the log with a plain consumer and folds it by the words of docs/architecture.md: what a tombstone
stands behind is forgotten; of the rest the first SUCCESS stands, else the last record among those of the highest rank.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

import msgspec
from confluent_kafka import Consumer, TopicPartition

from streamresults.deadline import Deadline
from streamresults.events.codec import Codec
from streamresults.events.event import Event
from streamresults.settings import Settings
from streamresults.store.value import unpack
from streamresults.wiring import Wiring
from tests.conftest import create_topics
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from streamresults.client import Client
    from streamresults.publisher import Pending, Publisher
    from streamresults.store.base import Looked

PARTITIONS = 4
SOON = 60.0
#: The rank of each state that tests publish, by the words of the design.
RANKS = {"STARTED": 1, "RETRY": 1, "PROGRESS": 1, "FAILURE": 3, "REVOKED": 3, "SUCCESS": 4}
_RUNNER = Path(__file__).with_name("run_compactor.py")


class Raw(NamedTuple):
    """One record as a plain consumer sees it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class Running:
    """A compactor in a thread."""

    def __init__(self, wiring: Wiring, *, from_earliest: bool) -> None:
        self.stop = threading.Event()
        self.error: BaseException | None = None
        self.compactor = wiring.compactor(from_earliest=from_earliest)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.compactor.run(self.stop)
        except BaseException as exc:  # noqa: BLE001 -- kept for the test's own thread
            self.error = exc

    def end(self) -> None:
        """Stop it, and raise what ended it before."""
        self.stop.set()
        self._thread.join(SOON)
        if self.error is not None:
            raise self.error
        assert not self._thread.is_alive()


class World:
    """Everything of one test."""

    def __init__(self, bootstrap: str, redis_url: str, *, partitions: int = PARTITIONS, **settings: Any) -> None:
        self.partitions = partitions
        name = f"f-{secrets.token_hex(5)}"
        # Over them: where a Redis lets its user into one namespace alone, a test states that one.
        settings = {"namespace": name, **settings}
        self.settings = Settings(kafka_bootstrap=bootstrap, redis_url=redis_url, topic=name, **settings)
        self.wiring = Wiring(self.settings)
        create_topics(self.wiring, partitions)
        self.publisher: Publisher = self.wiring.publisher()
        self.client: Client = self.wiring.client()
        self.running: list[Running] = []
        self.processes: list[subprocess.Popen[str]] = []
        self.pending: list[Pending] = []
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()
        for running in self.running:
            running.stop.set()
        for running in self.running:
            running.end()
        self.publisher.close()
        self.client.close()
        self.wiring.close()

    # -- what happens -----------------------------------------------------------------------------------------------

    def compact(self, *, from_earliest: bool = True, **settings: Any) -> Running:
        """Start a compactor in a thread."""
        wiring = Wiring(msgspec.structs.replace(self.settings, **settings)) if settings else self.wiring
        self.running.append(Running(wiring, from_earliest=from_earliest))
        return self.running[-1]

    def spawn(self, what: str = "run") -> subprocess.Popen[str]:
        """Start a compactor in a process, and return once it begins."""
        settings = msgspec.json.encode(self.settings).decode()
        root = str(_RUNNER.parents[2])
        process = subprocess.Popen(
            [sys.executable, str(_RUNNER), settings, what], cwd=root, stdout=subprocess.PIPE, text=True
        )
        self.processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        return process

    def publish(self, count: int, *states: str) -> list[str]:
        """Publish the states of so many tasks in turn; return the tasks' ids once all is acknowledged."""
        tasks = [f"task-{self._number + index}" for index in range(count)]
        self._number += count
        for state in states or ("STARTED", "SUCCESS"):
            self.pending += [self.publisher.send(Event(task_id=task, state=state)) for task in tasks]
        assert self.publisher.flush(SOON).unacknowledged == 0
        return tasks

    # -- what is there ----------------------------------------------------------------------------------------------

    def raw(self, topic: str = "") -> list[Raw]:
        """Read a topic from its beginning to its end."""
        topic = topic or self.settings.topic
        consumer = Consumer(
            {
                "bootstrap.servers": self.settings.kafka_bootstrap,
                "group.id": "checker",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
            }
        )
        try:
            count = len(consumer.list_topics(topic, SOON).topics[topic].partitions)
            consumer.assign([TopicPartition(topic, partition, 0) for partition in range(count)])
            return list(self._drain(consumer, count))
        finally:
            consumer.close()

    @staticmethod
    def _drain(consumer: Consumer, partitions: int) -> Iterator[Raw]:
        deadline, open_ends = Deadline(SOON), set(range(partitions))
        while open_ends:
            assert not deadline.passed()
            for message in consumer.consume(1000, 0.2):
                partition = message.partition() or 0
                if message.error():
                    open_ends.discard(partition)
                    continue
                headers = [(name, bytes(value)) for name, value in cast("Any", message.headers() or [])]
                yield Raw(partition, message.offset() or 0, message.key(), message.value(), headers)

    def fold(self) -> dict[int, dict[str, int]]:
        """Return the offset of the record that stands for each task, by partition and task id."""
        codec = Codec()
        best: dict[int, dict[str, tuple[int, int]]] = {partition: {} for partition in range(self.partitions)}
        for record in self.raw():
            try:
                assert record.key
                task, stands = record.key.decode(), best[record.partition]
                if record.value is None:
                    stands.pop(task, None)
                    continue
                prefix = codec.decode_prefix(record.value)
                if prefix.task_id != task or not codec.is_known(record.value):
                    continue
            except (ValueError, AssertionError):
                continue  # the poison of a test
            rank, before = RANKS[prefix.state], stands.get(task)
            if before is None or rank > before[0] or (rank == before[0] and prefix.state != "SUCCESS"):
                stands[task] = rank, record.offset
        return {p: {task: offset for task, (_, offset) in stands.items()} for p, stands in best.items()}

    def look(self, wanted: Mapping[int, Sequence[str]]) -> dict[int, Looked]:
        """Look at the view."""
        place = self.client._whereabouts.find(Deadline(SOON))
        assert place.view is not None
        return place.view.look(wanted)

    def view(self, tasks: Mapping[int, Sequence[str]]) -> dict[int, dict[str, int]]:
        """Return the offset of the record that the view holds of each task."""
        found: dict[int, dict[str, int]] = {}
        for partition, looked in self.look(tasks).items():
            values = found[partition] = {}
            for task, value in zip(tasks[partition], looked.values, strict=True):
                best = unpack(value).summary.best if value is not None else None
                if best is not None:
                    values[task] = best.offset
        return found

    def caught_up(self) -> bool:
        """Tell whether the view has folded everything."""
        place = self.client._whereabouts.find(Deadline(SOON))
        assert place.view is not None
        assert self.client._inspector is not None
        ends = self.client._inspector.ends(list(range(self.partitions)), Deadline(SOON))
        looked = place.view.look(dict.fromkeys(ends, ()))
        coverage = {partition: found.coverage for partition, found in looked.items()}
        return all((found := coverage[p]) is not None and found.watermark >= end for p, end in ends.items())

    def check(self, *, complete: bool = True) -> None:
        """
        Fail unless what was acknowledged is in the log, and the view equals the log's fold within its coverage.

        Args:
            complete: The coverage must reach from the log's beginning to its end.
        """
        eventually(self.caught_up, SOON, "the view reaches the end of the log")
        log = {(record.partition, record.offset, record.key) for record in self.raw()}
        acknowledged = set()
        for pending in self.pending:
            position = pending.position(SOON)
            acknowledged.add((position.partition, position.offset, pending.event.task_id.encode()))
        assert set() == acknowledged - log

        folded = self.fold()
        coverage = {p: looked.coverage for p, looked in self.look(dict.fromkeys(folded, ())).items()}
        if complete:
            assert [0] * self.partitions == [found.start for found in coverage.values() if found is not None]
            assert folded == self.view({p: list(tasks) for p, tasks in folded.items()})
