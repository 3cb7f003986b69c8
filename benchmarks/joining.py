"""
Rows of a set that is joined while another process publishes its results, and of the first of a set that ends.

The clock of ``join_10000`` runs from the other process's first publish to the moment at which every value is there; on
both sides everybody waits by then. A compactor runs throughout.
"""

from __future__ import annotations

import time
from functools import partial
from statistics import median
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

import redis

from benchmarks.bench import PARTITIONS, Bench, event_of
from benchmarks.compactor_process import CompactorProcess
from benchmarks.measure import Pairs, Row, alternately, percentile
from benchmarks.publisher_process import PublisherProcess
from benchmarks.reference import celery_backend, workload
from benchmarks.samples import WaitingThread
from streamresults.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from streamresults.client import Client
    from streamresults.publisher import Publisher
    from streamresults.settings import Settings

NAMES: Final = ("join_10000", "as_completed_first")
_ROUNDS: Final = 5
_MEMBERS: Final = 10_000
_FEW: Final = 120
_PATIENCE: Final = 60.0
#: Seconds from when all of a join's tasks are waited for to the first publish: what was still under way has ended.
_SETTLE: Final = 0.5

_SAMPLES: Final = 100
_WARM: Final = 20
#: Tasks of a set of which one ends.
_OF: Final = 100
#: Seconds from the beginning of a wait to the publish: a set of a hundred has settled by then.
_FIRST_SETTLE: Final = 0.05


def rows(bench: Bench, wanted: Collection[str]) -> Iterator[Row]:
    """Measure what is wanted."""
    settings = bench.topic(PARTITIONS)
    with Wiring(settings) as wiring, CompactorProcess(settings):
        if "join_10000" in wanted:
            yield _joins(bench, settings, wiring)
        if "as_completed_first" in wanted:
            yield _firsts(wiring)
    bench.flush()


# -- all of ten thousand ------------------------------------------------------------------------------------------


def _joins(bench: Bench, settings: Settings, wiring: Wiring) -> Row:
    if not celery_backend.INSTALLED:
        return Row("join_10000", None, "", note=celery_backend.SKIPPED)
    app = celery_backend.open_app(bench.redis.url)
    published: list[float] = []
    stored: list[float] = []
    with (
        wiring.client() as client,
        redis.Redis.from_url(bench.redis.url) as server,
        PublisherProcess.ours(settings) as publisher,
        PublisherProcess.celery(bench.redis.url) as storing,
    ):
        ours = _Join(publisher, lambda ids: client.results(ids).join(_PATIENCE), partial(_asleep, client), published)
        theirs = _Join(
            storing,
            lambda ids: celery_backend.group(app, workload.task_ids(1)[0], ids).join_native(timeout=_PATIENCE),
            partial(_subscribed, server),
            stored,
        )
        for one in (ours, theirs, ours, theirs):  # every partition is read, every connection open
            one.tasks_per_second(_FEW)
        published.clear()
        stored.clear()
        figures = alternately(
            _ROUNDS, lambda: ours.tasks_per_second(_MEMBERS), lambda: theirs.tasks_per_second(_MEMBERS)
        )
    note = (
        f"reference: Celery's store_result and join_native; all was published after {median(published):.2f} s, "
        f"by Celery after {median(stored):.2f} s"
    )
    return Pairs(*figures).row("join_10000", "tasks/s", note)


class _Join:
    """
    One way of joining what another process publishes.

    Args:
        join: Joins tasks and returns their values.
        waits: Tells whether so many tasks are waited for.
        published: Gets the seconds that publishing took, turn by turn.
    """

    def __init__(
        self,
        publisher: PublisherProcess,
        join: Callable[[list[str]], Sequence[object]],
        waits: Callable[[int], bool],
        published: list[float],
    ) -> None:
        self._publisher = publisher
        self._join = join
        self._waits = waits
        self._published = published

    def tasks_per_second(self, count: int) -> float:
        """Join so many tasks once; return how many a second, from the first publish on."""
        seed = workload.new_seed()
        self._publisher.prepare(seed, count)
        task_ids = list(workload.seeded_ids(seed, count))
        starter = Thread(target=self._start_when_all_wait, args=(count,))
        starter.start()
        values = self._join(task_ids)
        done = time.perf_counter()
        starter.join()
        assert len(values) == count
        assert None not in values
        published = self._publisher.published()
        self._published.append(published.done - published.began)
        return count / (done - published.began)

    def _start_when_all_wait(self, count: int) -> None:
        until = time.monotonic() + _PATIENCE
        while not self._waits(count) and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(_SETTLE)
        self._publisher.tell("publish")


def _asleep(client: Client, count: int) -> bool:
    """Tell whether so many waits are for the reader alone."""
    engine = client._engine  # noqa: SLF001 -- who waits is no part of the public surface
    if engine is None:
        return False
    with engine.waits.lock:
        everybody = engine.waits.everybody()
        return len(everybody) == count and all(waiter.phase.value == "asleep" for waiter in everybody)


def _subscribed(server: Any, count: int) -> bool:
    """Tell whether a connection of Celery's listens on so many channels."""
    return any(int(client["sub"]) == count for client in server.client_list())


# -- the first of a hundred -----------------------------------------------------------------------------------------


def _firsts(wiring: Wiring) -> Row:
    with wiring.publisher() as publisher, wiring.client() as client:
        publisher.warm()
        figures = alternately(
            _ROUNDS, lambda: _p50(client, publisher, _first_of), lambda: _p50(client, publisher, _get)
        )
    return Pairs(*figures).row("as_completed_first", "ms", f"p50, of a set of {_OF}; reference: join_p50 of ours")


def _p50(client: Client, publisher: Publisher, wait: Callable[[Client, str], object]) -> float:
    """Return the milliseconds from publish to the value."""
    with WaitingThread(lambda task_id: wait(client, task_id)) as waiter:
        found = []
        for number, task_id in enumerate(workload.task_ids(_WARM + _SAMPLES)):
            publish = partial(_publish, publisher, task_id, workload.values(number))
            found.append(waiter.latency_ms(task_id, publish, settle=_FIRST_SETTLE))
    return percentile(found[_WARM:], 50)


def _publish(publisher: Publisher, task_id: str, values: workload.Values) -> None:
    publisher.send(event_of(publisher, task_id, values))


def _get(client: Client, task_id: str) -> object:
    return client.get(task_id, 20, via="topic")


def _first_of(client: Client, task_id: str) -> object:
    """Take the first that ends of a set of which only this task ever will."""
    others = workload.task_ids(_OF - 1)
    for handle in client.results([*others[: _OF // 2], task_id, *others[_OF // 2 :]]).as_completed(20, via="topic"):
        assert handle.task_id == task_id
        return handle.result
    return None
