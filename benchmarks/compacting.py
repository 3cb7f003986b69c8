"""Rows of the compactor: how fast it drains a topic, also into three primaries; what it holds while Redis is away."""

from __future__ import annotations

import logging
import time
from threading import Event as Signal
from typing import TYPE_CHECKING, Final, Self

import msgspec

from benchmarks.bench import PARTITIONS, Bench, RedisCluster
from benchmarks.compactor_process import CompactorProcess
from benchmarks.measure import Pairs, Row, alternately
from benchmarks.prefill import prefill
from benchmarks.reference.compact import RawCompactor
from streamresults.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from streamresults.settings import Settings

NAMES: Final = ("compactor", "cluster_compactor", "compactor_peak_memory")
_ROUNDS: Final = 5
#: Events of the topic that a compactor's rate is taken of.
EVENTS: Final = 120_000
_WAITING: Final = 1_000_000
#: Seconds for which the compactor's memory is watched once it has met a Redis that does not answer.
_HELD: Final = 15.0


class Moments(logging.Handler):
    """Notes when the compactor logged each of its actions; the joining of the group is no part of the figure."""

    def __init__(self) -> None:
        super().__init__()
        self.at: dict[str, float] = {}
        self._logger = logging.getLogger("streamresults.compactor")

    def emit(self, record: logging.LogRecord) -> None:
        """Note one."""
        self.at[getattr(record, "action", "")] = time.perf_counter()

    def __enter__(self) -> Self:
        self._logger.addHandler(self)
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate = True


def rows(bench: Bench, wanted: Collection[str]) -> Iterator[Row]:
    """Measure what is wanted."""
    if "compactor" in wanted:
        yield _rate(bench)
    if "cluster_compactor" in wanted:
        yield _cluster_rate(bench)
    if "compactor_peak_memory" in wanted:
        yield _memory(bench)
    bench.flush()


def drained(settings: Settings, number: int, expected: int) -> float:
    """Fold the whole topic into an empty view; return events per second, from the assignment to the end."""
    fresh = msgspec.structs.replace(settings, namespace=f"{settings.topic}.{number}")
    with Wiring(fresh) as wiring, Moments() as moments:
        wiring.compactor(from_earliest=True).run_once(Signal(), 120)
    return expected / (moments.at["compactor_stopping"] - moments.at["partitions_assigned"])


def _rate(bench: Bench) -> Row:
    settings = bench.topic(PARTITIONS)
    prefill(settings, EVENTS)
    raw = RawCompactor(bench.bootstrap, bench.redis.url, settings.topic, PARTITIONS)
    numbers = iter(range(1000))

    def ours() -> float:
        bench.flush()
        return drained(settings, next(numbers), EVENTS)

    def reference() -> float:
        bench.flush()
        return raw.drain(EVENTS)

    ours()
    reference()
    return Pairs(*alternately(_ROUNDS, ours, reference)).row("compactor", "events/s")


def _cluster_rate(bench: Bench) -> Row:
    """Return the rate into three primaries, beside our own into one server."""
    settings = bench.topic(PARTITIONS)
    prefill(settings, EVENTS)
    numbers = iter(range(1000))
    with RedisCluster() as cluster:

        def ours() -> float:
            for server in cluster.servers:
                server.execute("FLUSHALL")
            return drained(msgspec.structs.replace(settings, redis_url=cluster.url), next(numbers), EVENTS)

        def reference() -> float:
            bench.flush()
            return drained(settings, next(numbers), EVENTS)

        ours()
        reference()
        found = Pairs(*alternately(_ROUNDS, ours, reference))
    return found.row(
        "cluster_compactor", "events/s", "three primaries; the reference is our own compactor on one server"
    )


def _memory(bench: Bench) -> Row:
    bench.flush()
    settings = bench.topic(PARTITIONS)
    with CompactorProcess(settings) as compactor:
        before = compactor.peak_mib()
        bench.redis.pause()
        try:
            prefill(settings, _WAITING)
            compactor.await_action("paused", 60)
            time.sleep(_HELD)
            peak = compactor.peak_mib()
        finally:
            bench.redis.resume()
        compactor.await_action("resumed", 60)
    note = f"{before:.0f} MiB before; bounded by fetch_bytes = {settings.fetch_bytes >> 20} MiB"
    return Row("compactor_peak_memory", peak, "MiB", note=note)
