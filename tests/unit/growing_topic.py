"""A topic in memory to which partitions are added, or that is made again, and who uses it meanwhile."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Self, cast

from streamresults.client.waiter import Phase
from streamresults.deadline import Deadline
from streamresults.events.event import Event
from streamresults.settings import Settings
from streamresults.store.memory import MemoryStore
from streamresults.topic.memory import MemoryBroker
from streamresults.wiring import Wiring
from tests.conftest import create_topics
from tests.unit.desk import Wait
from tests.waiting import eventually

if TYPE_CHECKING:
    from streamresults.client import Client

SOON = 20.0
FEW, MANY = 3, 6
#: How often everybody looks which topic there is, in milliseconds.
OFTEN, NEVER = "20", "3600000"


class Running:
    """A compactor in a thread."""

    def __init__(self, wiring: Wiring) -> None:
        self.compactor = wiring.compactor(from_earliest=True)
        self.stop = threading.Event()
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.compactor.run(self.stop)
        except Exception as exc:  # noqa: BLE001 -- kept for the test's own thread
            self.error = exc

    def ended_by(self) -> Exception | None:
        self.thread.join(SOON)
        assert not self.thread.is_alive()
        return self.error


class Field:
    """A topic of a few partitions in memory, and who uses it."""

    def __init__(self) -> None:
        self.broker, self.store = MemoryBroker(), MemoryStore()
        self.wiring = self.wired(OFTEN)
        create_topics(self.wiring, FEW)
        self.client = self.open(OFTEN)
        self.running: list[Running] = []
        self.waits: list[Wait] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for running in self.running:
            running.stop.set()
        for running in self.running:
            running.thread.join(SOON)
        for client in self.clients:
            client.close()
        self.wiring.close()
        for wait in self.waits:
            wait._thread.join(SOON)

    clients: list[Client]

    def wired(self, often: str, broker: MemoryBroker | None = None) -> Wiring:
        settings = Settings(kafka={"topic.metadata.refresh.interval.ms": often})
        return Wiring(settings, broker=broker or self.broker, store=self.store)

    def open(self, often: str) -> Client:
        client = self.wired(often).client()
        self.clients = [*getattr(self, "clients", ()), client]
        return client

    def compact(self) -> Running:
        self.running.append(Running(self.wiring))
        return self.running[-1]

    def grow(self, partitions: int = MANY) -> None:
        self.broker.add_partitions("results", partitions)

    def make_again(self) -> None:
        self.broker.delete_topic("results")
        create_topics(self.wiring, FEW)

    def publish(self, task: str, state: str | None, count: int) -> tuple[int, int]:
        """Publish as a worker does that knows of so many partitions; return where it stands."""
        writer = self.broker.writer("results")
        value = None if state is None else self.wiring.codec().encode(Event(task_id=task, state=state))
        acks: list[Any] = []
        writer.produce(task.encode(), value, acks.append, partition=self.broker.partition_of(task.encode(), count))
        writer.close(Deadline(SOON))
        assert acks[0].error is None
        return acks[0].partition, acks[0].offset

    def moved(self, number: int = 0) -> str:
        """Return a task whose home is another one after the growth."""
        place = self.broker.partition_of
        tasks = (f"t{n}" for n in range(1000))
        moved = [task for task in tasks if place(task.encode(), FEW) != place(task.encode(), MANY)]
        return moved[number]

    def state(self, task: str, client: Client | None = None) -> str:
        return (client or self.client).lookup(task, fresh=True, timeout=SOON).state

    def counts(self) -> tuple[int, ...]:
        found = self.store.read_descriptor(self.namespace, "results")
        return found.partition_counts if found else ()

    def published_id(self) -> str:
        found = self.store.read_descriptor(self.namespace, "results")
        return found.topic_id if found else ""

    def topic_id(self) -> str:
        return self.broker.inspector("results").describe(Deadline(SOON)).topic_id

    @property
    def namespace(self) -> str:
        return self.broker.inspector("results").describe(Deadline(SOON)).cluster_id

    def wait(self, task: str, via: str = "topic", timeout: float | None = SOON) -> Wait:
        """Begin a wait and return once it stands."""
        self.waits.append(Wait(self.client, task, timeout, via))
        eventually(lambda: self.waiter(task) is not None, SOON, "the wait stands")
        return self.waits[-1]

    def waiter(self, task: str) -> Any:
        engine = self.client._engine
        if engine is None:
            return None
        with engine.waits.lock:
            return next((one for one in engine.waits.everybody() if one.task_id == task), None)

    def part(self, task: str, partition: int) -> Any:
        """Return the part of a wait in one home, ``None`` once that has ended."""
        engine = cast("Any", self.client._engine)
        with engine.waits.lock:
            watch = engine.waits.watches.get(partition)
            return next(iter(watch.waiters.get(task.encode(), ())), None) if watch else None

    def stepped(self, often: str = NEVER) -> Any:
        """Open a compactor that takes a step when the test says so, and has folded everything."""
        compactor = self.wired(often).compactor(from_earliest=True)
        compactor._start(threading.Event())
        for _ in range(20):
            compactor._step(0.0)
        return compactor

    def sleeps(self, task: str) -> bool:
        waiter = self.waiter(task)
        return waiter is not None and waiter.phase is Phase.ASLEEP
