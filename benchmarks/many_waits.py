"""
Rows of ten and of a hundred thousand waits in one process, none of which has a thread.

What they hold and what they open; and how soon one of a hundred thousand is told, while a thousand results a second
arrive. The clock runs from the handing over to a bare producer of another process to the decoded value.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import redis

from benchmarks.bench import PARTITIONS, Bench
from benchmarks.child_process import ChildProcess
from benchmarks.client_process import ClientProcess
from benchmarks.compactor_process import CompactorProcess
from benchmarks.measure import Row, percentile, values_row
from benchmarks.reference import workload

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from benchmarks.client_process import Waited
    from streamresults.settings import Settings

_TEN: Final = ("waiters_10000", "waiters_10000_readers", "waiters_10000_redis_connections")
_HUNDRED: Final = (
    "waiters_100000",
    "waiters_100000_readers",
    "waiters_100000_redis_connections",
    "waiters_100000_wake_p50",
    "waiters_100000_wake_p99",
)
NAMES: Final = (*_TEN, *_HUNDRED)
_ROUNDS: Final = 3
_WAITERS: Final = 10_000

_MANY: Final = 100_000
#: Waits of a hundred thousand that end, and how many of them a second.
_WOKEN: Final = 10_000
_RATE: Final = 1_000
#: The first of them, which are not counted: nothing has been read yet.
_WARM: Final = 500


def rows(bench: Bench, wanted: Collection[str]) -> Iterator[Row]:
    """Measure what is wanted."""
    if set(_TEN) & set(wanted):
        yield from _ten_thousand(bench, wanted)
    if set(_HUNDRED) & set(wanted):
        yield from (row for row in _hundred_thousand(bench) if row.name in wanted)
    bench.flush()


# -- ten thousand -------------------------------------------------------------------------------------------------


def _ten_thousand(bench: Bench, wanted: Collection[str]) -> Iterator[Row]:
    settings = bench.topic(PARTITIONS)
    waited: list[Waited] = []
    connections: list[float] = []
    looks: list[float] = []
    with redis.Redis.from_url(bench.redis.url) as server, CompactorProcess(settings):
        for _ in range(_ROUNDS):
            others = len(server.client_list())
            with ClientProcess(settings) as client:
                client.wait(PARTITIONS * 10)  # every partition is read, every thread runs
                asked = _asked(server)
                waited.append(client.wait(_WAITERS))
                looks.append(_asked(server) - asked)
                connections.append(len(server.client_list()) - others)
    if "waiters_10000" in wanted:
        yield _memory(waited, looks)
    if "waiters_10000_readers" in wanted:
        readers = [float(one.threads.count("streamresults-reader")) for one in waited]
        names = ", ".join(waited[-1].threads)
        yield values_row("waiters_10000_readers", readers, "threads", f"all Python threads: {names}")
    if "waiters_10000_redis_connections" in wanted:
        yield values_row("waiters_10000_redis_connections", connections, "connections")


def _memory(waited: list[Waited], looks: list[float]) -> Row:
    each = [one.kib / _WAITERS for one in waited]
    note = (
        f"a wait's share of RSS, its id included; registered in {median(w.registered for w in waited):.2f} s, "
        f"asleep after {median(w.asleep for w in waited):.2f} s and {median(looks):.0f} looks in Redis"
    )
    return values_row("waiters_10000", each, "KiB", note)


def _asked(server: Any) -> int:
    """Return how often the server was asked for its time: once in each look and in each script of a compactor."""
    return int(server.info("commandstats").get("cmdstat_time", {}).get("calls", 0))


# -- a hundred thousand -------------------------------------------------------------------------------------------


class _Round(NamedTuple):
    """What one process of a hundred thousand waits has cost."""

    waited: Waited
    connections: float
    #: Milliseconds to each wake that counts.
    wakes: list[float]


def _hundred_thousand(bench: Bench) -> Iterator[Row]:
    settings = bench.topic(PARTITIONS)
    with (
        redis.Redis.from_url(bench.redis.url) as server,
        CompactorProcess(settings),
        ChildProcess("reference.paced", bench.bootstrap, settings.topic) as load,
    ):
        rounds = [_round(settings, server, load) for _ in range(_ROUNDS)]
    each = [one.waited.kib / _MANY for one in rounds]
    registered, asleep = (median(getattr(one.waited, name) for one in rounds) for name in ("registered", "asleep"))
    note = f"a handle and its wait, its id included; registered in {registered:.1f} s, asleep after {asleep:.1f} s"
    yield values_row("waiters_100000", each, "KiB", note)
    readers = [float(one.waited.threads.count("streamresults-reader")) for one in rounds]
    names = ", ".join(rounds[-1].waited.threads)
    yield values_row("waiters_100000_readers", readers, "threads", f"all Python threads: {names}")
    yield values_row("waiters_100000_redis_connections", [one.connections for one in rounds], "connections")
    for percent in (50, 99):
        found = [percentile(one.wakes, percent) for one in rounds]
        note = f"produce to value, {_RATE} results a second; the slowest {max(max(one.wakes) for one in rounds):.0f} ms"
        yield values_row(f"waiters_100000_wake_p{percent}", found, "ms", note)


def _round(settings: Settings, server: Any, load: ChildProcess) -> _Round:
    others = len(server.client_list())
    with ClientProcess(settings) as client:
        client.wait(PARTITIONS * 10)  # every partition is read, every thread runs
        seed = workload.new_seed()
        waited = client.wait_by_handles(seed, _MANY)
        connections = float(len(server.client_list()) - others)
        produced = msgspec.json.decode(load.answer(f"publish {seed} {_WOKEN} {_RATE}", 60), type=list[float])
        woken = client.woken(_WOKEN)
    numbered = list(zip(workload.seeded_ids(seed, _WOKEN), produced, strict=True))
    return _Round(waited, connections, [(woken[task_id] - moment) * 1000 for task_id, moment in numbered[_WARM:]])
