"""Rows of what a client reads of a busy topic: nothing without a waiter, with one the partition that it waits on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from benchmarks.bench import PARTITIONS, Bench
from benchmarks.child_process import ChildProcess
from benchmarks.client_process import ClientProcess
from benchmarks.compactor_process import CompactorProcess
from benchmarks.measure import Pairs, Row, values_row
from benchmarks.reference.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


NAMES: Final = ("idle_client_fetches", "idle_client_bytes", "one_waiter_fetches", "one_waiter_bytes")
_ROUNDS: Final = 5
_EVENTS_PER_SECOND: Final = 10_000
#: Seconds of one measurement, and until the statistics of what went before have come.
_WINDOW: Final = 3.0
_SETTLE: Final = 1.5


def rows(bench: Bench, wanted: Collection[str]) -> Iterator[Row]:
    """Measure what is wanted."""
    settings = bench.topic(PARTITIONS)
    load = ["reference.load", settings.kafka_bootstrap, settings.topic, str(_EVENTS_PER_SECOND)]
    with (
        CompactorProcess(settings),
        ChildProcess(*load),
        ClientProcess(settings) as client,
        Traffic(settings.kafka_bootstrap, settings.topic, PARTITIONS) as traffic,
    ):
        client.wait(1)
        waiting = [_rates(client, traffic) for _ in range(_ROUNDS)]
        client.release()
        idle = [_rates(client, traffic) for _ in range(_ROUNDS)]
    kib = [one[1] / 1024 for one in idle]
    found = {
        "idle_client_fetches": values_row("idle_client_fetches", [one[0] for one in idle], "1/s", "no waiter any more"),
        "idle_client_bytes": values_row("idle_client_bytes", kib, "KiB/s", "no waiter any more; metadata every 10 s"),
        "one_waiter_fetches": values_row("one_waiter_fetches", [one[0] for one in waiting], "1/s"),
        "one_waiter_bytes": Pairs([w[1] / 1024 for w in waiting], [w[2] / 1024 for w in waiting]).row(
            "one_waiter_bytes", "KiB/s", f"one of {PARTITIONS} partitions; the reference reads all"
        ),
    }
    yield from (row for name, row in found.items() if name in wanted)
    bench.flush()


def _rates(client: ClientProcess, traffic: Traffic) -> tuple[float, float, float]:
    """Return the client's Fetch requests and bytes a second, and the bytes a second of the whole topic."""
    time.sleep(_SETTLE)
    before, whole = client.fetched(), traffic.received()
    time.sleep(_WINDOW)
    after, whole_after = client.fetched(), traffic.received()
    seconds, whole_seconds = after.at - before.at, whole_after[0] - whole[0]
    requests, received = after.requests - before.requests, after.bytes - before.bytes
    return requests / seconds, received / seconds, (whole_after[1] - whole[1]) / whole_seconds
