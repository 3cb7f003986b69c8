"""A topic of one partition, a client, and a compactor that moves when the test says so; all in memory."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast

from streamresults.compactor.lane import Lane
from streamresults.deadline import Deadline
from streamresults.events.event import Event
from streamresults.events.fold import NEVER, Best, event_summary, tombstone_summary
from streamresults.events.states import rank
from streamresults.settings import Settings
from streamresults.store.base import LiveBatch
from streamresults.store.memory import MemoryStore
from streamresults.store.value import pack_entry
from streamresults.topic.memory import MemoryBroker
from streamresults.wiring import Wiring
from tests.conftest import create_topics
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamresults.client import Client
    from streamresults.client.engine import Engine
    from streamresults.client.result import Result
    from streamresults.client.waiter import Phase, Waiter, Watch
    from streamresults.store.memory import MemoryView

#: Seconds in which anything here happens on a loaded machine.
SOON = 10.0


class Wait:
    """One wait in a thread of its own."""

    def __init__(self, client: Client, task: str, timeout: float | None, via: Any) -> None:
        self._call: Callable[[], Result] = lambda: client.wait(task, timeout, via=via)
        self._found: Result | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._found = self._call()
        except Exception as exc:  # noqa: BLE001 -- raised where the test asks
            self._error = exc

    def result(self) -> Result:
        self._thread.join(SOON)
        assert not self._thread.is_alive(), "the wait does not end"
        if self._error is not None:
            raise self._error
        assert self._found is not None
        return self._found

    @property
    def told(self) -> tuple[str, str]:
        found = self.result()
        return found.state, str(found.basis)


class Desk:
    """One partition in memory, a client, and a compactor that moves by hand."""

    def __init__(self, **settings: Any) -> None:
        self.broker, self.store = MemoryBroker(), MemoryStore()
        self.wiring = Wiring(Settings(**settings), broker=self.broker, store=self.store)
        create_topics(self.wiring, 1)
        self.client = self.wiring.client()
        self.writer = self.broker.writer("results")
        self.codec = self.wiring.codec()
        self.lane = Lane(0, 0, 0, from_low=True)
        self.waits: list[Wait] = []

    @property
    def engine(self) -> Engine:
        place = self.client._whereabouts.find(Deadline(SOON))
        return self.client._running_engine(place, "")

    @property
    def view(self) -> MemoryView:
        return cast("MemoryView", self.client._whereabouts.find(Deadline(SOON)).view)

    @property
    def watch(self) -> Watch:
        return self.engine.waits.watches[0]

    def everybody(self) -> list[Waiter]:
        """Return all who wait now; others may come and go meanwhile."""
        waits = self.engine.waits
        with waits.lock:
            return waits.everybody()

    def publish(self, task: str, state: str | None) -> int:
        """Append a record, a tombstone for ``None``; return its offset."""
        value = None if state is None else self.codec.encode(Event(task_id=task, state=state))
        return self.append(task.encode(), value)

    def append_event(self, event: Event) -> int:
        """Append an event that a publisher made; return its offset."""
        return self.append(event.task_id.encode(), self.codec.encode(event))

    def append(self, key: bytes, value: bytes | None) -> int:
        offsets: list[int] = []
        self.writer.produce(key, value, lambda answer: offsets.append(answer.offset))
        assert self.writer.flush(Deadline(SOON)) == 0
        return offsets[0]

    def fold(self, end: int | None = None, *, begin: int | None = None, marks: Any = ()) -> None:
        """Fold everything up to ``end``, the log's end when not stated, as a compactor does."""
        log = self.broker._cluster.topics["results"].partitions[0]
        for record in list(log.records):
            if self.lane.position <= record.offset_ < (log.high if end is None else end):
                self._apply(record.offset_ + 1, [self._entry(record)])
        self._apply(max(self.lane.position, log.high if end is None else end), [], begin=begin, marks=marks)

    def _entry(self, record: Any) -> tuple[str, bytes]:
        if record.value_ is None:
            return record.key_.decode(), pack_entry(tombstone_summary(record.offset_, NEVER))
        state = self.codec.decode_prefix(record.value_).state
        best = Best(rank(state, terminal=False), record.offset_, record.milliseconds, NEVER, record.value_)
        return record.key_.decode(), pack_entry(event_summary(best))

    def _apply(self, end: int, entries: Any, *, begin: int | None = None, marks: Any = ()) -> None:
        claim = self.lane.claim(self.lane.position if begin is None else begin, end, 1_000_000)
        (reply,) = self.view.apply([LiveBatch(0, claim, entries, marks)])
        self.lane.replied(reply.coverage)

    def wait(self, task: str = "t", timeout: float | None = SOON, via: str = "topic") -> Wait:
        self.waits.append(Wait(self.client, task, timeout, via))
        return self.waits[-1]

    def waiter(self, task: str = "t") -> Waiter | None:
        watch = self.engine.waits.watches.get(0)
        found = watch.waiters.get(task.encode()) if watch else None
        return found[0] if found else None

    def in_phase(self, phase: Phase, task: str = "t") -> None:
        """Return once the wait of a task has come to a phase."""
        eventually(lambda: (w := self.waiter(task)) is not None and w.phase is phase, SOON, f"{task} is {phase}")

    def close(self) -> None:
        self.store.outage()
        self.broker.fail(None)
        self.client.close()
        self.writer.close(Deadline(SOON))
        self.wiring.close()
        for wait in self.waits:
            wait._thread.join(SOON)


def desks() -> Iterator[Callable[..., Desk]]:
    """Give a function that opens desks, for a fixture; closes them all. Safety re-reads are off."""
    opened: list[Desk] = []

    def open_desk(**settings: Any) -> Desk:
        opened.append(Desk(**{"safety_rereads": False, **settings}))
        return opened[-1]

    yield open_desk
    for desk in opened:
        desk.close()
