"""Rows of the worker's side: many events, one at a time, and the first of a process."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

import msgspec

from benchmarks.bench import PARTITIONS, ROOT, Bench, event
from benchmarks.measure import Pairs, Row, alternately, values_row
from benchmarks.reference import records, workload
from benchmarks.reference.publish import RawPublisher
from streamresults.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from streamresults.publisher import Publisher
    from streamresults.settings import Settings

NAMES: Final = ("publish_pipelined", "publish_raw_no_encoding", "publish_sync", "publish_first")
_ROUNDS: Final = 7
_MANY: Final = 20_000
_FEW: Final = 400


def rows(bench: Bench, wanted: Collection[str]) -> Iterator[Row]:
    """Measure what is wanted."""
    settings = bench.topic(PARTITIONS)
    with Wiring(settings) as wiring, wiring.publisher() as publisher:
        raw = RawPublisher(bench.bootstrap, settings.topic)
        publisher.warm()
        pipelined(publisher, workload.task_ids(_MANY))
        raw.pipelined(workload.task_ids(_MANY))
        if {"publish_pipelined", "publish_raw_no_encoding"} & set(wanted):
            yield from _many(publisher, raw)
        if "publish_sync" in wanted:
            yield _sync(publisher, raw)
    if "publish_first" in wanted:
        yield _first(settings)


def pipelined(publisher: Publisher, task_ids: list[str]) -> float:
    """Publish an event for each id; return how many were acknowledged per second."""
    began = time.perf_counter()
    pendings = [publisher.send(event(publisher, task_id, number)) for number, task_id in enumerate(task_ids)]
    publisher.flush()
    seconds = time.perf_counter() - began
    for pending in pendings:
        pending.position(0)  # raises for an event that was not acknowledged
    return len(task_ids) / seconds


def one_by_one(publisher: Publisher, task_ids: list[str]) -> float:
    """Publish one event after the other, each confirmed; return how many per second."""
    began = time.perf_counter()
    for number, task_id in enumerate(task_ids):
        publisher.publish(event(publisher, task_id, number))
    return len(task_ids) / (time.perf_counter() - began)


def _many(publisher: Publisher, raw: RawPublisher) -> Iterator[Row]:
    ours, reference, bare = alternately(
        _ROUNDS,
        lambda: pipelined(publisher, workload.task_ids(_MANY)),
        lambda: raw.pipelined(workload.task_ids(_MANY)),
        _bare(raw),
    )
    yield Pairs(ours, reference).row("publish_pipelined", "events/s")
    yield values_row("publish_raw_no_encoding", bare, "events/s")


def _bare(raw: RawPublisher) -> Callable[[], float]:
    return lambda: raw.bytes_only(records.stamped(workload.task_ids(_MANY)))


def _sync(publisher: Publisher, raw: RawPublisher) -> Row:
    one_by_one(publisher, workload.task_ids(_FEW))
    raw.one_by_one(workload.task_ids(_FEW))
    ours, reference = alternately(
        _ROUNDS,
        lambda: one_by_one(publisher, workload.task_ids(_FEW)),
        lambda: raw.one_by_one(workload.task_ids(_FEW)),
    )
    return Pairs(ours, reference).row("publish_sync", "events/s")


def _first(settings: Settings) -> Row:
    ours = ["benchmarks.first_publish", msgspec.json.encode(settings).decode()]
    reference = ["benchmarks.reference.first_publish", settings.kafka_bootstrap, settings.topic]
    found = alternately(_ROUNDS, lambda: _printed_ms(ours), lambda: _printed_ms(reference))
    return Pairs(*found).row("publish_first", "ms")


def _printed_ms(arguments: list[str]) -> float:
    command = [sys.executable, "-m", *arguments]
    return float(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout) * 1000
