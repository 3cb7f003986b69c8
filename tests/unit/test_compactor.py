"""
A compactor that is stepped by hand, in memory: what no timing on real services brings about for certain.

We test these aspects: offsets without records, a service that fails between two effects of one round, records that the
log lost, what stands beside a view that was flushed.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.deadline import Deadline
from streamresults.errors import StoreUnavailable, TopicUnavailable
from streamresults.events.event import Event
from streamresults.settings import Settings
from streamresults.store.memory import MemoryStore
from streamresults.store.value import unpack
from streamresults.topic.memory import MemoryBroker
from streamresults.wiring import Wiring
from tests.conftest import create_topics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SOON = 10.0


class Bench:
    """One partition in memory and a compactor that takes a step when the test says so."""

    def __init__(self) -> None:
        self.broker, self.store = MemoryBroker(), MemoryStore()
        self.wiring = Wiring(Settings(), broker=self.broker, store=self.store)
        create_topics(self.wiring, 1)
        self.writer = self.broker.writer("results")
        self.stop = threading.Event()
        self.compactor = self.wiring.compactor(from_earliest=True)
        self.compactor._start(self.stop)
        self.steps(3)

    @property
    def view(self) -> Any:
        return self.compactor._view

    def publish(self, *tasks: str) -> None:
        for task in tasks:
            value = self.wiring.codec().encode(Event(task_id=task, state="SUCCESS"))
            assert self.writer.produce(task.encode(), value, None)
        assert self.writer.flush(Deadline(SOON)) == 0

    def steps(self, count: int = 8) -> None:
        for _ in range(count):
            self.compactor._step(0.0)

    def fail_once(self, part: str, method: str, error: Exception) -> None:
        """Have the next call of one method fail; the ones after it are the real thing again."""
        owner = getattr(self.compactor, part)
        real = getattr(owner, method)
        self.failed = False

        def fail(*_args: Any, **_kwargs: Any) -> Any:
            setattr(owner, method, real)
            self.failed = True
            raise error

        setattr(owner, method, fail)

    def held(self) -> dict[str, int]:
        """Return the offset that the view holds of each task."""
        found = {}
        for task, value in self.view.partitions[0].values.items():
            best = unpack(value).summary.best
            assert best is not None
            found[task] = best.offset
        return found

    @property
    def watermark(self) -> int:
        coverage = self.view.partitions[0].coverage
        return -1 if coverage is None else coverage.watermark

    def close(self) -> None:
        self.compactor._finish()
        self.writer.close(Deadline(SOON))
        self.wiring.close()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Give a bench whose compactor tries again at once."""
    monkeypatch.setattr("streamresults.compactor.compactor._RETRY_FIRST", 0.001)
    made = Bench()
    yield made
    made.close()


def test_offsets_without_records_do_not_stop_the_fold(bench: Bench) -> None:
    """A batch begins where the last one ended, not at its first record: between them transaction markers may lie."""
    bench.publish("a")
    bench.steps()
    bench.broker.skip_offsets("results", 0, 5)
    bench.publish("b")
    bench.steps()

    assert ({"a": 0, "b": 6}, 7) == (bench.held(), bench.watermark)


def test_the_watermark_moves_over_offsets_without_records(bench: Bench) -> None:
    """A fresh lookup would wait for ever otherwise."""
    bench.publish("a")
    bench.broker.skip_offsets("results", 0, 5)
    bench.steps()

    assert bench.watermark == 6


def test_a_seek_that_fails_leaves_no_hole(bench: Bench) -> None:
    """After the view has moved back, nothing is folded before the group delivers from there."""
    bench.publish("a", "b")
    bench.steps()
    partition = bench.view.partitions[0]
    older = partition.coverage
    bench.publish("c", "d")
    bench.steps()
    partition.coverage = older
    for task in ("c", "d"):
        del partition.values[task]
    bench.fail_once("_group", "seek", TopicUnavailable("not now"))
    bench.publish("e")
    bench.steps()

    assert bench.failed
    assert ({"a": 0, "b": 1, "c": 2, "d": 3, "e": 4}, 5) == (bench.held(), bench.watermark)


def test_a_log_that_lost_records_is_noticed_though_kafka_was_away_just_then(bench: Bench) -> None:
    """Else what is written below the old watermark would never be folded."""
    bench.publish("a", "b", "c")
    bench.steps()
    log = bench.broker._cluster.topics["results"].partitions[0]
    del log.records[1:]
    log.high = 1
    bench.compactor.on_lost([0])
    bench.compactor.on_assigned([0])
    bench.compactor._group.seek(0, 1)
    bench.fail_once("_inspector", "ends", TopicUnavailable("not now"))
    bench.steps()
    bench.publish("d")
    bench.steps()

    assert bench.failed
    assert ({"d": 1}, 2) == ({task: at for task, at in bench.held().items() if task == "d"}, bench.watermark)


def test_a_flush_brings_back_the_descriptor_too(bench: Bench) -> None:
    """Clients without Kafka find nothing without it; a store that fails just then is asked again."""
    bench.publish("a")
    bench.steps()
    bench.store.flush()
    bench.fail_once("_store", "change_descriptor", StoreUnavailable("not now"))
    bench.publish("b")
    bench.steps()

    assert bench.failed
    assert bench.store.namespaces("results")
    assert {"a": 0, "b": 1} == bench.held()


@pytest.mark.parametrize("how", ["older", "away"])
def test_a_store_that_lost_the_descriptor_alone_is_given_it_again(bench: Bench, how: str) -> None:
    """An old dump, or one shard of a Cluster, may have the view and lack what leads to it."""
    bench.publish("a", "b")
    bench.steps()
    older = bench.view.partitions[0].coverage
    bench.publish("c")
    bench.steps()
    bench.store._descriptors.clear()
    if how == "older":
        bench.view.partitions[0].coverage = older
    else:
        bench.fail_once("_view", "apply", StoreUnavailable("not now"))
    bench.publish("d")
    bench.steps()

    assert bench.store._descriptors


@pytest.mark.parametrize("end", ["revoke", "finish"])
def test_a_commit_that_fails_stops_nothing(bench: Bench, end: str) -> None:
    """Offsets are for lag tools alone."""
    bench.publish("a")
    bench.steps()
    bench.fail_once("_group", "commit", TopicUnavailable("not now"))
    ends: dict[str, Callable[[], None]] = {
        "revoke": lambda: bench.compactor.on_revoked([0]),
        "finish": bench.compactor._finish,
    }
    ends[end]()

    assert bench.failed
    assert end == "finish" or bench.compactor._live.lanes == {}


def test_a_revocation_does_not_wait_for_its_commit(bench: Bench) -> None:
    """In a rebalance the brokers may refuse it for as long as that waits for it: all would stand still."""
    bench.publish("a")
    bench.steps()
    commit, waited = bench.compactor._group.commit, []

    def committing(offsets: Mapping[int, int], *, wait: bool) -> None:
        waited.append((dict(offsets), wait))
        commit(offsets, wait=wait)

    bench.compactor._group.commit = committing  # type: ignore[method-assign]
    bench.compactor.on_revoked([0])

    assert [({0: 1}, False)] == waited


def test_an_assignment_during_an_outage_waits_for_the_brokers(bench: Bench) -> None:
    """A rebalance often comes with an outage; it must not end the process."""
    bench.fail_once("_inspector", "watermarks", TopicUnavailable("not now"))

    assert {0: 0} == dict(bench.compactor.on_assigned([0]))
    assert bench.failed


def test_what_arrived_while_redis_was_away_is_folded_afterwards(bench: Bench) -> None:
    """Partitions pause, and go on from where the view is."""
    bench.store.outage(down=True)
    bench.publish("a", "b")
    thread = threading.Thread(target=bench.steps)
    thread.start()
    while not bench.compactor._pause.held:
        pass
    bench.publish("c")
    bench.store.outage()
    thread.join(SOON)
    bench.steps()

    assert {"a": 0, "b": 1, "c": 2} == bench.held()
