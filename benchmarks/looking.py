"""Rows of the lookup: one task, and a thousand at once; values are read."""

from __future__ import annotations

import time
from threading import Event as Signal
from typing import TYPE_CHECKING, Final

from benchmarks.bench import PARTITIONS, Bench
from benchmarks.measure import Pairs, Row, alternately
from benchmarks.prefill import prefill
from benchmarks.reference import records
from benchmarks.reference.lookup import RawLookup
from streamresults.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from streamresults.client import Client

NAMES: Final = ("lookup_one", "lookup_1000")
_ROUNDS: Final = 9
_TASKS: Final = 5_000
_ONES: Final = 1_000
_MANY: Final = 1_000


def rows(bench: Bench, wanted: Collection[str]) -> Iterator[Row]:
    """Measure what is wanted."""
    settings = bench.topic(PARTITIONS)
    task_ids = prefill(settings, _TASKS)
    raw = RawLookup(bench.redis.url, records.stamped(task_ids))
    with Wiring(settings) as wiring:
        wiring.compactor(from_earliest=True).run_once(Signal(), 60)
        with wiring.client() as client:
            if "lookup_one" in wanted:
                yield _ones(client, raw, task_ids[:_ONES])
            if "lookup_1000" in wanted:
                yield _thousands(client, raw, task_ids)
    bench.flush()


def ones(client: Client, task_ids: list[str]) -> float:
    """Look up one task after the other; return how many per second."""
    began = time.perf_counter()
    for task_id in task_ids:
        assert client.lookup(task_id).result is not None
    return len(task_ids) / (time.perf_counter() - began)


def thousands(client: Client, task_ids: list[str]) -> float:
    """Look up a thousand tasks at a time; return how many per second."""
    began = time.perf_counter()
    for start in range(0, len(task_ids), _MANY):
        for found in client.lookup_many(task_ids[start : start + _MANY]):
            assert found.result is not None
    return len(task_ids) / (time.perf_counter() - began)


def _ones(client: Client, raw: RawLookup, task_ids: list[str]) -> Row:
    def reference() -> float:
        began = time.perf_counter()
        for task_id in task_ids:
            assert raw.one(task_id) is not None
        return len(task_ids) / (time.perf_counter() - began)

    ones(client, task_ids)
    reference()
    return Pairs(*alternately(_ROUNDS, lambda: ones(client, task_ids), reference)).row("lookup_one", "tasks/s")


def _thousands(client: Client, raw: RawLookup, task_ids: list[str]) -> Row:
    def reference() -> float:
        began = time.perf_counter()
        for start in range(0, len(task_ids), _MANY):
            assert None not in raw.many(task_ids[start : start + _MANY])
        return len(task_ids) / (time.perf_counter() - began)

    thousands(client, task_ids)
    reference()
    return Pairs(*alternately(_ROUNDS, lambda: thousands(client, task_ids), reference)).row("lookup_1000", "tasks/s")
