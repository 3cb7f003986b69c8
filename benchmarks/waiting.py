"""Rows of the wait: through the topic, through the view, and the first in a partition. A compactor runs throughout."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from benchmarks.bench import PARTITIONS, Bench, event_of
from benchmarks.compactor_process import CompactorProcess
from benchmarks.measure import Pairs, Row, alternately, percentile, values_row
from benchmarks.reference import records, workload
from benchmarks.reference.join import RawReader
from benchmarks.reference.publish import RawPublisher
from benchmarks.samples import SETTLE, WaitingThread
from streamresults.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from streamresults.publisher import Publisher
    from streamresults.settings import Settings

NAMES: Final = ("join_p50", "join_p99", "view_wait_p50", "join_first_in_partition", "join_next_partition")
_ROUNDS: Final = 5
_SAMPLES: Final = 200
#: Samples that are not counted: until each partition has been waited on.
_WARM: Final = 100
_FIRSTS: Final = 30
_FIRST_PARTITIONS: Final = 48


def rows(bench: Bench, wanted: Collection[str]) -> Iterator[Row]:
    """Measure what is wanted."""
    if {"join_p50", "join_p99", "view_wait_p50"} & set(wanted):
        yield from _joins(bench)
    if {"join_first_in_partition", "join_next_partition"} & set(wanted):
        yield from _firsts(bench)
    bench.flush()


def _joins(bench: Bench) -> Iterator[Row]:
    settings = bench.topic(PARTITIONS)
    found: dict[str, list[list[float]]] = {"raw": [], "topic": [], "view": []}

    def kept(kind: str, take: Callable[[], list[float]]) -> float:
        found[kind].append(take())
        return percentile(found[kind][-1], 50)

    with Wiring(settings) as wiring, wiring.publisher() as publisher, CompactorProcess(settings):
        publisher.warm()
        raw = RawPublisher(bench.bootstrap, settings.topic)
        # Not counted: a broker's first thousand requests take three times as long, and one side would have them all.
        _raw_joins(settings, raw)
        waits(wiring, publisher, "topic")
        topic, reference, view = alternately(
            _ROUNDS,
            lambda: kept("topic", lambda: waits(wiring, publisher, "topic")),
            lambda: kept("raw", lambda: _raw_joins(settings, raw)),
            lambda: kept("view", lambda: waits(wiring, publisher, "view")),
        )
    yield Pairs(topic, reference).row("join_p50", "ms")
    yield _p99(found["topic"], found["raw"])
    yield Pairs(view, topic).row("view_wait_p50", "ms")


def _p99(ours: list[list[float]], reference: list[list[float]]) -> Row:
    """Return the percentile over all samples; its ratios are of the rounds, in each of which it is a poor estimate."""
    pairs = Pairs([percentile(x, 99) for x in ours], [percentile(x, 99) for x in reference])
    everything = [percentile([sample for x in side for sample in x], 99) for side in (ours, reference)]
    row = pairs.row("join_p99", "ms", "value and reference over all samples")
    return row._replace(value=everything[0], reference=everything[1], ratio=everything[0] / everything[1])


def waits(wiring: Wiring, publisher: Publisher, via: Literal["topic", "view"]) -> list[float]:
    """Return the milliseconds of waits by a client that has everything assigned."""
    with wiring.client() as client, WaitingThread(lambda task_id: client.get(task_id, 20, via=via)) as waiter:
        found = []
        for number, task_id in enumerate(workload.task_ids(_WARM + _SAMPLES)):
            publish = partial(_publish, publisher, task_id, workload.values(number))
            found.append(waiter.latency_ms(task_id, publish))
        return found[_WARM:]


def _publish(publisher: Publisher, task_id: str, values: workload.Values) -> None:
    publisher.send(event_of(publisher, task_id, values))


def _raw_joins(settings: Settings, raw: RawPublisher) -> list[float]:
    ready = records.stamped(workload.task_ids(_WARM + _SAMPLES))
    found = []
    with RawReader(settings.kafka_bootstrap, settings.topic, PARTITIONS) as reader:
        for key, value in ready:
            time.sleep(SETTLE)
            began = time.perf_counter()
            raw.send(key, value)
            found.append((reader.moment_of(key) - began) * 1000)
    raw.flush()
    return found[_WARM:]


def _firsts(bench: Bench) -> Iterator[Row]:
    settings = bench.topic(_FIRST_PARTITIONS)
    with Wiring(settings) as wiring, wiring.publisher() as publisher, CompactorProcess(settings):
        publisher.warm()
        fresh = [_first_wait(wiring, publisher, number) for number in range(_FIRSTS)]
        yield values_row("join_first_in_partition", fresh, "ms", "p50; a client that reads nothing yet")
        following = _following_waits(wiring, publisher)
        yield values_row("join_next_partition", following, "ms", "p50; a client that reads other partitions")


def _first_wait(wiring: Wiring, publisher: Publisher, number: int) -> float:
    """Return the milliseconds of the first wait of a client that knows where topic and view are."""
    task_id = workload.task_ids(1)[0]
    with wiring.client() as client, WaitingThread(lambda task_id: client.get(task_id, 20, via="topic")) as waiter:
        client.lookup_many(workload.task_ids(1))
        return waiter.latency_ms(task_id, partial(_publish, publisher, task_id, workload.values(number)), settle=0.0)


def _following_waits(wiring: Wiring, publisher: Publisher) -> list[float]:
    by_partition: dict[int, str] = {}
    for task_id in workload.task_ids(2000):
        by_partition.setdefault(wiring.broker().partition_of(task_id.encode(), _FIRST_PARTITIONS), task_id)
    with wiring.client() as client, WaitingThread(lambda task_id: client.get(task_id, 20, via="topic")) as waiter:
        found = []
        for number, task_id in enumerate(by_partition.values()):
            time.sleep(SETTLE)
            found.append(
                waiter.latency_ms(task_id, partial(_publish, publisher, task_id, workload.values(number)), settle=0.0)
            )
        return found[1:]
