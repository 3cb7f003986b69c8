"""
A view that was lost completes itself, newest first, while new results flow.

We test these aspects: everything comes back, and nothing that was forgotten; new results do not wait; it survives
another flush, another compactor and retention in the middle; it yields to the live lane; and it ends.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.compactor import backfill
from streamresults.deadline import Deadline
from streamresults.errors import StoreUnavailable
from streamresults.events.event import Event
from streamresults.settings import Settings
from streamresults.store.memory import MemoryStore
from streamresults.store.value import unpack
from streamresults.topic.memory import MemoryBroker
from streamresults.wiring import Wiring
from tests.conftest import create_topics
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.compactor import Compactor
    from streamresults.store.coverage import Coverage

SOON = 10.0


class Desk:
    """One partition in memory, and compactors that run until the test is over."""

    def __init__(self) -> None:
        self.broker, self.store = MemoryBroker(), MemoryStore()
        self.wiring = Wiring(Settings(batch_events=7), broker=self.broker, store=self.store)
        create_topics(self.wiring, 1)
        self.writer = self.broker.writer("results")
        self.stop = threading.Event()
        self.threads: list[threading.Thread] = []

    def compactor(self) -> Compactor:
        """Start another compactor, one that begins at the end of the log."""
        made = self.wiring.compactor()
        self.threads.append(threading.Thread(target=made.run, args=(self.stop,)))
        self.threads[-1].start()
        return made

    def publish(self, *tasks: str) -> None:
        """Publish a SUCCESS of each; ``-task`` forgets it, ``!task`` is a record that nobody can read."""
        for task in tasks:
            value: bytes | None = self.wiring.codec().encode(Event(task_id=task, state="SUCCESS"))
            if task[0] in "-!":
                value = None if task[0] == "-" else b"no record"
            assert self.writer.produce(task.lstrip("-!").encode(), value, None)
        assert self.writer.flush(Deadline(SOON)) == 0

    @property
    def view(self) -> Any:
        return next(iter(self.store._views.values()))

    @property
    def coverage(self) -> Coverage | None:
        found: Coverage | None = self.view.look({0: ()})[0].coverage
        return found

    def complete(self) -> None:
        """Wait until the view covers everything up to the log's end."""

        def done() -> bool:
            coverage = self.coverage
            end = self.broker._cluster.topics["results"].partitions[0].high
            return coverage is not None and coverage.complete and coverage.watermark == end

        eventually(done, SOON, "the view is complete")

    def held(self) -> set[str]:
        """Return the tasks that the view shows."""
        with self.view._lock:
            values = dict(self.view.partitions[0].values)
        return {task for task, value in values.items() if unpack(value).summary.best is not None}

    def close(self) -> None:
        """Stop everything."""
        self.stop.set()
        for thread in self.threads:
            thread.join(SOON)
        self.writer.close(Deadline(SOON))
        self.wiring.close()


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """Give a desk whose chunks are small, so that there are many."""
    monkeypatch.setattr(backfill, "CHUNK", 20)
    monkeypatch.setattr(backfill, "PIPELINE", 2)
    monkeypatch.setattr(backfill, "_RETRY", 0.001)
    made = Desk()
    yield made
    made.close()


def names(count: int) -> list[str]:
    """Name tasks."""
    return [f"t{number}" for number in range(count)]


def test_a_fresh_view_of_an_old_log_completes_itself(desk: Desk) -> None:
    """A compactor that begins at the end brings back what is below, to the first record."""
    desk.publish(*names(100), "-t3", "!t5")
    desk.compactor()
    desk.complete()

    assert {*names(100)} - {"t3"} == desk.held()
    assert desk.view.look({0: ["t5"]})[0].marks[0].offset == 101


def test_a_flush_heals(desk: Desk) -> None:
    """After FLUSHALL new results are there at once, and the old ones come back."""
    desk.publish(*names(50))
    desk.compactor()
    desk.complete()
    before = desk.coverage
    desk.store.flush()
    desk.publish("new")
    desk.complete()

    assert {*names(50), "new"} == desk.held()
    assert before is not None
    assert desk.coverage is not None
    assert before.generation != desk.coverage.generation


def test_a_second_flush_in_the_middle_is_no_trouble(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch that was under way is refused, and the new generation is completed."""
    desk.publish(*names(100))
    real = backfill.Backfill._read
    reads = []

    def flush_at_the_third(self: Any, *where: Any) -> Any:
        chunk = real(self, *where)
        reads.append(chunk)
        if len(reads) == 3:
            desk.store.flush()
        return chunk

    monkeypatch.setattr(backfill.Backfill, "_read", flush_at_the_third)
    desk.compactor()
    desk.publish("new")
    eventually(lambda: len(reads) > 3, SOON, "it goes on after the flush")
    desk.complete()

    assert {*names(100), "new"} == desk.held()


def test_two_compactors_fill_one_view(desk: Desk) -> None:
    """Both may try: each batch is applied once, by whoever comes first."""
    desk.publish(*names(100))
    first = desk.compactor()
    second = desk.compactor()
    desk.complete()
    desk.publish(*names(120))
    desk.complete()

    assert {*names(120)} == desk.held()
    assert first is not second


def test_what_retention_takes_meanwhile_counts_as_empty(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lane ends at the target although the log begins above it now."""
    desk.publish(*names(100))
    real = backfill.Backfill._read

    def trim_first(self: Any, *where: Any) -> Any:
        desk.broker.trim("results", 0, 60)
        return real(self, *where)

    monkeypatch.setattr(backfill.Backfill, "_read", trim_first)
    desk.compactor()
    desk.complete()

    assert {*names(100)[60:]} <= desk.held()
    assert desk.coverage is not None
    assert (0, True) == (desk.coverage.start, desk.coverage.complete)


def test_it_waits_while_the_store_is_away(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that fails is asked again; nothing is left out."""
    desk.publish(*names(60))
    fails = iter([StoreUnavailable("not now"), StoreUnavailable("not now")])
    real = backfill.Backfill._send

    def fail_twice(self: Any, *what: Any) -> Any:
        for error in fails:
            raise error
        return real(self, *what)

    monkeypatch.setattr(backfill.Backfill, "_send", fail_twice)
    desk.compactor()
    desk.complete()

    assert {*names(60)} == desk.held()


def test_it_yields_to_the_live_lane(desk: Desk) -> None:
    """While it may not go on nothing is filled; then it goes on by itself."""
    desk.publish(*names(60))
    lane = desk.wiring.compactor()
    assert lane._backfill is not None
    lane._backfill.let(go_on=False)
    lane._start(desk.stop)
    for _ in range(5):
        lane._group.poll(0.0)
        lane._live.fold({}, {})

    assert set() == desk.held()

    lane._backfill.let(go_on=True)
    eventually(lambda: {*names(60)} == desk.held(), SOON, "it went on")
    lane._finish()


def test_large_records_make_chunks_shorter(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by bytes: of a chunk too large its newest part is kept, and the rest is read again."""
    monkeypatch.setattr(backfill, "CHUNK_BYTES", 400)
    real = backfill.Backfill._read
    sizes = []

    def measure(self: Any, *where: Any) -> Any:
        chunk = real(self, *where)
        sizes.append(len(chunk.records))
        return chunk

    monkeypatch.setattr(backfill.Backfill, "_read", measure)
    desk.publish(*names(30))
    desk.compactor()
    desk.complete()

    assert {*names(30)} == desk.held()
    assert max(sizes) < 10
