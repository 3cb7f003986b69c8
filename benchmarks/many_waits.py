"""Rows of ten thousand waits in one process, none of which has a thread: what they hold, and what they open."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, Final

import redis

from benchmarks.bench import PARTITIONS, Bench
from benchmarks.client_process import ClientProcess
from benchmarks.compactor_process import CompactorProcess
from benchmarks.measure import Row, values_row

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from benchmarks.client_process import Waited

NAMES: Final = ("waiters_10000", "waiters_10000_readers", "waiters_10000_redis_connections")
_ROUNDS: Final = 3
_WAITERS: Final = 10_000


def rows(bench: Bench, wanted: Collection[str]) -> Iterator[Row]:
    """Measure what is wanted."""
    settings = bench.topic(PARTITIONS)
    waited: list[Waited] = []
    connections: list[float] = []
    commands: list[float] = []
    with redis.Redis.from_url(bench.redis.url) as server, CompactorProcess(settings):
        for _ in range(_ROUNDS):
            others = len(server.client_list())
            with ClientProcess(settings) as client:
                client.wait(PARTITIONS * 10)  # every partition is read, every thread runs
                scripts = _scripts(server)
                waited.append(client.wait(_WAITERS))
                commands.append(_scripts(server) - scripts)
                connections.append(len(server.client_list()) - others)
    if "waiters_10000" in wanted:
        yield _memory(waited, commands)
    if "waiters_10000_readers" in wanted:
        readers = [float(one.threads.count("streamresults-reader")) for one in waited]
        names = ", ".join(waited[-1].threads)
        yield values_row("waiters_10000_readers", readers, "threads", f"all Python threads: {names}")
    if "waiters_10000_redis_connections" in wanted:
        yield values_row("waiters_10000_redis_connections", connections, "connections")
    bench.flush()


def _memory(waited: list[Waited], commands: list[float]) -> Row:
    each = [one.kib / _WAITERS for one in waited]
    note = (
        f"a wait's share of RSS, its id included; registered in {median(w.registered for w in waited):.2f} s, "
        f"asleep after {median(w.asleep for w in waited):.2f} s and {median(commands):.0f} scripts in Redis"
    )
    return values_row("waiters_10000", each, "KiB", note)


def _scripts(server: Any) -> int:
    """Return how many scripts the server has run, those of a running compactor included."""
    return int(server.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0))
