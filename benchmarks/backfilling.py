"""Rows of back-fill: how fast a view that was lost completes itself, and whether new results wait for it."""

from __future__ import annotations

import time
from statistics import median
from threading import Event as Signal
from threading import Thread
from typing import TYPE_CHECKING, Final, Self

from benchmarks.bench import PARTITIONS, Bench, event
from benchmarks.compacting import EVENTS, drained
from benchmarks.compactor_process import CompactorProcess
from benchmarks.measure import Pairs, Row, alternately
from benchmarks.prefill import prefill
from benchmarks.reference import workload
from streamresults.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from streamresults.settings import Settings

NAMES: Final = ("backfill", "backfill_live_visible")
_ROUNDS: Final = 3
_EVENTS: Final = 1_000_000
#: Seconds in which a view must be complete, however slow the machine.
_LONGEST: Final = 300.0
#: Seconds between two results that are published while the view completes itself, and between two looks for one.
_EVERY: Final = 1.0
_LOOK_EVERY: Final = 0.01


class LiveResults:
    """Publishes a result now and then, and notes how long each took until the view showed it."""

    def __init__(self, settings: Settings) -> None:
        self.seconds: list[float] = []
        self._settings = settings
        self._stop = Signal()
        self._problem: Exception | None = None
        self._thread = Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._problem is not None:
            raise self._problem

    def _run(self) -> None:
        try:
            with Wiring(self._settings) as wiring, wiring.publisher() as publisher, wiring.client() as client:
                publisher.warm()
                while not self._stop.wait(_EVERY):
                    task_id = workload.task_ids(1)[0]
                    began = time.perf_counter()
                    publisher.publish(event(publisher, task_id, 1))
                    while not client.lookup_many([task_id])[0].found:
                        time.sleep(_LOOK_EVERY)
                    self.seconds.append(time.perf_counter() - began)
        except Exception as exc:  # noqa: BLE001 -- raised again where the figure is wanted
            self._problem = exc


def rows(bench: Bench, wanted: Collection[str]) -> Iterator[Row]:
    """Measure what is wanted."""
    settings, other = bench.topic(PARTITIONS), bench.topic(PARTITIONS)
    prefill(settings, _EVENTS)
    prefill(other, EVENTS)
    numbers = iter(range(1000))
    visible: list[float] = []

    def ours() -> float:
        bench.flush()
        return _completed(settings, visible)

    def reference() -> float:
        bench.flush()
        return drained(other, next(numbers), EVENTS)

    reference()
    found = Pairs(*alternately(_ROUNDS, ours, reference))
    if "backfill" in wanted:
        yield found.row("backfill", "events/s", f"{_EVENTS:,} events; the reference is our own compactor")
    if "backfill_live_visible" in wanted:
        yield _visible(visible)
    bench.flush()


def _completed(settings: Settings, visible: list[float]) -> float:
    """Have an empty view complete itself; return events per second, from its beginning to the last partition."""
    with CompactorProcess(settings, from_earliest=False) as compactor, LiveResults(settings) as live:
        began = compactor.moments["generation_began"]
        for _ in range(PARTITIONS):
            ended = compactor.await_action("backfill_complete", _LONGEST)
    visible += live.seconds
    return _EVENTS / (ended - began)


def _visible(seconds: list[float]) -> Row:
    note = f"the slowest of {len(seconds)}, while the view completes itself; median {median(seconds):.3f} s"
    return Row("backfill_live_visible", max(seconds), "s", spread=(min(seconds), max(seconds)), note=note)
