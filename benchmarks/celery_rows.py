"""
Rows of the result backend for Celery, each beside Celery's own on Redis in the same run; skipped where it is missing.

The calls are Celery's own on both sides, extended results included. What is stored for somebody who waits comes from
connections of its own, as it would from a worker. A compactor runs while somebody waits or
looks, and not while storing alone is measured: where workers store, none runs.
"""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

import redis

from benchmarks.bench import PARTITIONS, Bench
from benchmarks.child_process import ChildProcess
from benchmarks.compactor_process import CompactorProcess
from benchmarks.measure import Pairs, Row, alternately, percentile
from benchmarks.publisher_process import PublisherProcess
from benchmarks.reference import celery_backend, workload
from benchmarks.samples import WaitingThread
from streamresults.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from streamresults.settings import Settings

NAMES: Final = (
    "celery_store_one",
    "celery_store_16_threads",
    "celery_get_ready",
    "celery_blocked_get_p50",
    "celery_blocked_get_p99",
    "celery_group_1000_finished",
    "celery_group_1000_finished_oldest",
    "celery_group_1000_join",
    "celery_50_waits_redis_connections",
)
_ROUNDS: Final = 5
_FEW: Final = 1_000
#: Thousands of results that are stored before anything is measured: a broker's first one takes seven times as long as
#: its tenth, and from there on little changes. Redis is compiled before it starts.
_WARMING: Final = 10
#: Groups that are joined while they run before that is measured: what a broker does for consumers is compiled later
#: than what it does for producers, and until then takes three times as long.
_JOINS_WARMING: Final = 14
#: Rounds of single waits before these are measured, for the same reason.
_WAITS_WARMING: Final = 10
_THREADS: Final = 16
_SAMPLES: Final = 100
_WARM: Final = 20
_MEMBERS: Final = 1_000
#: Processes that store what a group's join waits for, as the children of a worker do.
_STORING: Final = 2
_WAITS: Final = 50
_PATIENCE: Final = 60.0
#: Names the interpreter that has the oldest Celery that is supported; ``make bench`` sets it.
_OLDEST: Final = "OLDEST_CELERY_PYTHON"
#: Seconds that a row may take in a process of its own.
_ROW: Final = 300.0
#: Seconds between two looks whether a compactor has folded what was stored.
_FOLDING: Final = 0.02
#: Seconds from when all wait to the first result: what was still under way has ended.
_SETTLE: Final = 0.5


def rows(bench: Bench, wanted: Collection[str]) -> Iterator[Row]:
    """Measure what is wanted."""
    if not celery_backend.INSTALLED:
        yield from (Row(name, None, "", note=celery_backend.SKIPPED) for name in NAMES if name in wanted)
        return
    from streamresults.celery.process import close_all  # noqa: PLC0415 -- only where Celery is there

    settings = bench.topic(PARTITIONS)
    pair = (Side(backend_url(settings)), Side(bench.redis.url))
    _warm_up(pair[0])
    storing: dict[str, Callable[[], Row]] = {
        "celery_store_one": partial(_store_one, *pair),
        "celery_store_16_threads": partial(_store_threads, *pair),
    }
    measures: dict[str, Callable[[], Row]] = {
        "celery_get_ready": partial(_get_ready, *pair),
        "celery_blocked_get_p50": partial(_blocked, *pair, 50),
        "celery_blocked_get_p99": partial(_blocked, *pair, 99),
        "celery_group_1000_finished": partial(finished, *pair),
        "celery_group_1000_finished_oldest": partial(_oldest, "celery_group_1000_finished_oldest", *pair),
        "celery_group_1000_join": partial(_joined, bench.redis.url, *pair),
        "celery_50_waits_redis_connections": partial(_connections, bench.redis.url, settings),
    }
    for name, measure in storing.items():
        if name in wanted:
            yield measure()
    with CompactorProcess(settings):
        for name, measure in measures.items():
            if name in wanted:
                yield measure()
    close_all()
    bench.flush()


def backend_url(settings: Settings, client_id: str = "bench") -> str:
    """Return ``result_backend`` for ours; another client id has connections of its own."""
    return (
        f"streamresults://{settings.kafka_bootstrap}/{settings.topic}?redis={settings.redis_url}"
        f"&namespace={settings.namespace}&kafka.client.id={client_id}"
    )


class Side:
    """One of the two backends: an application that waits, and one that stores."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.app = celery_backend.open_app(url)
        self.worker = celery_backend.open_app(url.replace("client.id=bench", "client.id=worker"))

    @property
    def ours(self) -> bool:
        """Whether it is our backend."""
        return self.url.startswith("streamresults")

    def store(self, task_ids: Sequence[str], group_id: str | None = None) -> None:
        """Store results, and return once whoever asks can see them."""
        for number, task_id in enumerate(task_ids):
            celery_backend.store(self.worker, task_id, number, group_id)
        if self.ours:
            client = self.app.backend.connections.client
            until = Deadline(_PATIENCE)
            while not all(result.found for result in client.lookup_many(task_ids)):
                if until.passed():
                    msg = f"no compactor has folded all of {len(task_ids)} results in {_PATIENCE:g} s"
                    raise RuntimeError(msg)
                time.sleep(_FOLDING)


def _pairs(ours: Callable[[], float], theirs: Callable[[], float], name: str, unit: str, note: str = "") -> Row:
    """Return the row of two figures, each of which has been taken once to warm up."""
    ours()
    theirs()
    return Pairs(*alternately(_ROUNDS, ours, theirs)).row(
        name, unit, note or "reference: Celery's own backend on Redis"
    )


def _warm_up(ours: Side) -> None:
    """Have the broker's code compiled, so that a row does not depend on which ones were measured before it."""
    for _ in range(_WARMING):
        _stored(ours)


# -- storing --------------------------------------------------------------------------------------------------------


def _store_one(ours: Side, theirs: Side) -> Row:
    return _pairs(partial(_stored, ours), partial(_stored, theirs), "celery_store_one", "results/s")


def _stored(side: Side) -> float:
    task_ids = workload.task_ids(_FEW)
    began = time.perf_counter()
    for number, task_id in enumerate(task_ids):
        celery_backend.store(side.worker, task_id, number)
    return len(task_ids) / (time.perf_counter() - began)


def _store_threads(ours: Side, theirs: Side) -> Row:
    with ThreadPoolExecutor(_THREADS) as our_pool, ThreadPoolExecutor(_THREADS) as their_pool:
        return _pairs(
            partial(_stored_by_threads, ours, our_pool),
            partial(_stored_by_threads, theirs, their_pool),
            "celery_store_16_threads",
            "results/s",
        )


def _stored_by_threads(side: Side, pool: ThreadPoolExecutor) -> float:
    task_ids = workload.task_ids(_FEW)
    shares = [task_ids[begin::_THREADS] for begin in range(_THREADS)]

    def store(share: list[str]) -> None:
        for number, task_id in enumerate(share):
            celery_backend.store(side.worker, task_id, number)

    began = time.perf_counter()
    list(pool.map(store, shares))
    return len(task_ids) / (time.perf_counter() - began)


# -- getting --------------------------------------------------------------------------------------------------------


def _get_ready(ours: Side, theirs: Side) -> Row:
    task_ids = workload.task_ids(_FEW)
    for side in (ours, theirs):
        side.store(task_ids)
    return _pairs(partial(_got, ours, task_ids), partial(_got, theirs, task_ids), "celery_get_ready", "tasks/s")


def _got(side: Side, task_ids: Sequence[str]) -> float:
    began = time.perf_counter()
    for task_id in task_ids:
        assert side.app.AsyncResult(task_id).get(timeout=_PATIENCE) is not None
    return len(task_ids) / (time.perf_counter() - began)


def _blocked(ours: Side, theirs: Side, percent: int) -> Row:
    name = f"celery_blocked_get_p{percent}"
    for _ in range(_WAITS_WARMING):
        _blocked_for(ours, percent)
        _blocked_for(theirs, percent)
    return _pairs(partial(_blocked_for, ours, percent), partial(_blocked_for, theirs, percent), name, "ms")


def _blocked_for(side: Side, percent: int) -> float:
    """Return the milliseconds from storing to the value, by another thread with connections of its own."""
    with WaitingThread(lambda task_id: side.app.AsyncResult(task_id).get(timeout=20)) as waiter:
        found = [
            waiter.latency_ms(task_id, partial(celery_backend.store, side.worker, task_id, number))
            for number, task_id in enumerate(workload.task_ids(_WARM + _SAMPLES))
        ]
    return percentile(found[_WARM:], percent)


# -- groups ---------------------------------------------------------------------------------------------------------


def finished(ours: Side, theirs: Side) -> Row:
    """Return the row of groups that have ended before they are joined."""
    return _pairs(
        partial(_finished_group, ours), partial(_finished_group, theirs), "celery_group_1000_finished", "tasks/s"
    )


def _oldest(name: str, ours: Side, theirs: Side) -> Row:
    """Have the same measured where the oldest Celery is installed, on the same services."""
    interpreter = os.environ.get(_OLDEST)
    if not interpreter:
        return Row(name, None, "", note=f"skipped: {_OLDEST} names no interpreter; make bench makes one")
    try:
        with ChildProcess("oldest_celery", ours.url, theirs.url, interpreter=interpreter) as process:
            version, row = json.loads(process.answer("finished", _ROW))
    except (OSError, RuntimeError) as exc:
        return Row(name, None, "", note=f"failed: {exc}")
    return Row(*row)._replace(name=name, note=f"reference: Celery {version} on Redis")


def _finished_group(side: Side) -> float:
    """Join a group that nobody has asked for before."""
    (group_id, *task_ids) = workload.task_ids(1 + _MEMBERS)
    side.store(task_ids, group_id)
    began = time.perf_counter()
    values = celery_backend.group(side.app, group_id, task_ids).join_native(timeout=_PATIENCE)
    took = time.perf_counter() - began
    assert len(values) == _MEMBERS
    return _MEMBERS / took


def _joined(redis_url: str, ours: Side, theirs: Side) -> Row:
    join_ours = partial(_running_group, ours, partial(_asleep, ours.app))
    for _ in range(_JOINS_WARMING):
        join_ours()
    with redis.Redis.from_url(redis_url) as server:
        return _pairs(
            join_ours,
            partial(_running_group, theirs, partial(_subscribed, server)),
            "celery_group_1000_join",
            "tasks/s",
            f"{_STORING} processes store; reference: Celery's own backend on Redis",
        )


def _running_group(side: Side, waits: Callable[[], bool]) -> float:
    """Join a group while other processes store its results; return tasks a second from the first one on."""
    seeds = [workload.new_seed() for _ in range(_STORING)]
    share = _MEMBERS // _STORING
    storing = [PublisherProcess.celery(side.url.replace("client.id=bench", f"client.id=child{seed}")) for seed in seeds]
    (group_id,) = workload.task_ids(1)
    task_ids = [task_id for seed in seeds for task_id in workload.seeded_ids(seed, share)]
    try:
        for process, seed in zip(storing, seeds, strict=True):
            process.prepare(workload.new_seed(), 10)  # so that its connections are open
            process.tell("publish")
            process.published()
            process.prepare(seed, share)
        starter = Thread(target=_start_when, args=(waits, storing))
        starter.start()
        values = celery_backend.group(side.app, group_id, task_ids).join_native(timeout=_PATIENCE)
        done = time.perf_counter()
        starter.join()
        began = min(process.published().began for process in storing)
    finally:
        for process in storing:
            process.__exit__()
    assert len(values) == len(task_ids)
    return len(task_ids) / (done - began)


def _start_when(waits: Callable[[], bool], storing: Sequence[PublisherProcess]) -> None:
    until = Deadline(_PATIENCE)
    while not waits() and not until.passed():
        time.sleep(0.05)
    time.sleep(_SETTLE)
    for process in storing:
        process.tell("publish")


def _asleep(app: Any, count: int = _MEMBERS) -> bool:
    """Tell whether so many waits are for the reader alone."""
    engine = app.backend.connections.client._engine  # noqa: SLF001 -- who waits is no part of the public surface
    if engine is None:
        return False
    with engine.waits.lock:
        everybody = engine.waits.everybody()
        return len(everybody) == count and all(waiter.phase.value == "asleep" for waiter in everybody)


def _subscribed(server: Any, count: int = _MEMBERS) -> bool:
    """Tell whether a connection of Celery's listens on so many channels."""
    return any(int(client["sub"]) == count for client in server.client_list())


# -- connections ----------------------------------------------------------------------------------------------------


def _connections(redis_url: str, settings: Settings) -> Row:
    ours = Side(backend_url(settings, "waits"))
    with redis.Redis.from_url(redis_url) as server:
        taken = _connections_of(server, ours.app, lambda: _asleep(ours.app, _WAITS), ours.worker)
        theirs = Side(redis_url)
        celerys = _connections_of(server, theirs.app, lambda: _channels(server) >= _WAITS, theirs.worker)
    name = "celery_50_waits_redis_connections"
    return Row(name, taken, "connections", celerys, taken / celerys, note="reference: Celery's own backend on Redis")


def _connections_of(server: Any, app: Any, waits: Callable[[], bool], worker: Any) -> float:
    """Return how many connections more there are while so many threads wait."""
    before = len(server.client_list())
    task_ids = workload.task_ids(_WAITS)

    def get(task_id: str) -> None:
        app.AsyncResult(task_id).get(timeout=20)  # a backend of its own, where Celery makes one for each thread

    threads = [Thread(target=get, args=(task_id,)) for task_id in task_ids]
    for thread in threads:
        thread.start()
    until = Deadline(10)
    while not waits() and not until.passed():
        time.sleep(0.05)
    time.sleep(_SETTLE)
    found = len(server.client_list()) - before
    for number, task_id in enumerate(task_ids):
        celery_backend.store(worker, task_id, number)
    for thread in threads:
        thread.join()
    return float(found)


def _channels(server: Any) -> int:
    return sum(int(client["sub"]) for client in server.client_list())
