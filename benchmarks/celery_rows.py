"""The same work by Celery's own result backend on Redis, for orientation. Skipped where Celery is not installed."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from benchmarks.measure import Row, alternately, percentile, values_row
from benchmarks.reference import celery_backend, workload
from benchmarks.samples import WaitingThread

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from benchmarks.bench import Bench

NAMES: Final = ("celery_store_result", "celery_get_ready", "celery_blocked_get_p50", "celery_blocked_get_p99")
_ROUNDS: Final = 5
_FEW: Final = 1_000
_SAMPLES: Final = 400
_WARM: Final = 20


def rows(bench: Bench, wanted: Collection[str]) -> Iterator[Row]:
    """Measure what is wanted."""
    if not celery_backend.INSTALLED:
        yield from (Row(name, None, "", note=celery_backend.SKIPPED) for name in NAMES if name in wanted)
        return
    app = celery_backend.open_app(bench.redis.url)
    if {"celery_store_result", "celery_get_ready"} & set(wanted):
        yield from _throughput(app)
    if {"celery_blocked_get_p50", "celery_blocked_get_p99"} & set(wanted):
        yield from _latency(app)
    bench.flush()


def _throughput(app: Any) -> Iterator[Row]:
    task_ids = workload.task_ids(_FEW)
    stored, got = alternately(_ROUNDS, lambda: _stored(app, task_ids), lambda: _got(app, task_ids))
    yield values_row("celery_store_result", stored, "events/s")
    yield values_row("celery_get_ready", got, "tasks/s")


def _stored(app: Any, task_ids: list[str]) -> float:
    began = time.perf_counter()
    for number, task_id in enumerate(task_ids):
        celery_backend.store(app, task_id, number)
    return len(task_ids) / (time.perf_counter() - began)


def _got(app: Any, task_ids: list[str]) -> float:
    began = time.perf_counter()
    for task_id in task_ids:
        assert app.AsyncResult(task_id).get(timeout=10) is not None
    return len(task_ids) / (time.perf_counter() - began)


def _latency(app: Any) -> Iterator[Row]:
    with WaitingThread(lambda task_id: app.AsyncResult(task_id).get(timeout=20)) as waiter:
        found = [
            waiter.latency_ms(task_id, partial(celery_backend.store, app, task_id, number))
            for number, task_id in enumerate(workload.task_ids(_WARM + _SAMPLES))
        ][_WARM:]
    yield Row("celery_blocked_get_p50", percentile(found, 50), "ms", spread=(min(found), max(found)))
    yield Row("celery_blocked_get_p99", percentile(found, 99), "ms", spread=(min(found), max(found)))
