"""The row of real prefork workers, end to end: from the first call to the last value of a group, through a broker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from benchmarks.bench import PARTITIONS, ROOT, Bench
from benchmarks.celery_rows import backend_url
from benchmarks.compactor_process import CompactorProcess
from benchmarks.measure import Pairs, Row, alternately
from benchmarks.reference import celery_backend

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

NAMES: Final = ("celery_task_throughput",)
_ROUNDS: Final = 5
_TASKS: Final = 1_000
_WARM: Final = 50
_CHILDREN: Final = 2
_PATIENCE: Final = 120.0


def rows(bench: Bench, wanted: Collection[str]) -> Iterator[Row]:
    """Measure what is wanted."""
    (name,) = NAMES
    if name not in wanted:
        return
    if not celery_backend.INSTALLED:
        yield Row(name, None, "", note=celery_backend.SKIPPED)
        return
    from streamresults.celery.process import close_all  # noqa: PLC0415 -- only where Celery is there

    settings = bench.topic(PARTITIONS)
    with (
        CompactorProcess(settings),
        _worker(bench.redis.url, backend_url(settings)) as ours,
        _worker(bench.redis.url, bench.redis.url) as theirs,
    ):
        for app in (ours, theirs):
            _tasks_per_second(app, _WARM)
        figures = alternately(
            _ROUNDS, partial(_tasks_per_second, ours, _TASKS), partial(_tasks_per_second, theirs, _TASKS)
        )
    close_all()
    bench.flush()
    note = f"prefork, {_CHILDREN} children; reference: the same with Celery's own backend on Redis"
    yield Pairs(*figures).row(name, "tasks/s", note)


@contextmanager
def _worker(redis_url: str, backend: str) -> Iterator[Any]:
    """Run a worker, and give an application that sends to it."""
    from celery import Celery  # noqa: PLC0415 -- only where it is there

    queue = f"bench-{uuid.uuid4().hex[:8]}"
    stated = {"broker": f"{redis_url.rpartition('/')[0]}/1", "backend": backend, "queue": queue}
    command = [
        "worker",
        "-c",
        str(_CHILDREN),
        "-n",
        f"{queue}@bench",
        "--without-gossip",
        "--without-mingle",
        "-l",
        "error",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "benchmarks.celery_project", *command],
        cwd=ROOT,
        env={**os.environ, "BENCH_CELERY": json.dumps(stated)},
    )
    app = Celery("bench", broker=stated["broker"], backend=backend, set_as_current=False)
    app.conf.update(task_default_queue=queue)
    try:
        yield app
    finally:
        app.close()
        process.terminate()
        process.wait(30)


def _tasks_per_second(app: Any, count: int) -> float:
    """Call so many tasks, and return how many a second, to the last value."""
    began = time.perf_counter()
    results = [app.send_task("bench.charge", (number, "card_9f2c77", 12.5)) for number in range(count)]
    values = app.GroupResult(str(uuid.uuid4()), results).join_native(timeout=_PATIENCE)
    took = time.perf_counter() - began
    assert len(values) == count
    return count / took
