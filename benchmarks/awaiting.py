"""
Rows of ten thousand coroutines that wait at once, beside ten thousand registrations that each set a thread's event.

Both wait through the topic in this process, and the clock runs from the first publish to the moment at which the last
of them has its value decoded. A compactor runs throughout.
"""

from __future__ import annotations

import asyncio
import threading
import time
from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks.bench import PARTITIONS, Bench
from benchmarks.compactor_process import CompactorProcess
from benchmarks.measure import Pairs, Row, alternately, values_row
from benchmarks.reference import records, workload
from benchmarks.reference.publish import RawPublisher
from streamresults.aio import AsyncClient
from streamresults.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from streamresults.client import Client, Registration

NAMES: Final = ("await_10000", "await_10000_threads")
_ROUNDS: Final = 5
_WAITERS: Final = 10_000
#: Seconds after which a wait has failed.
_PATIENCE: Final = 60.0


class _Costs:
    """What one side has cost besides time, turn by turn."""

    def __init__(self) -> None:
        self.registered: list[float] = []
        self.threads: list[float] = []

    def note(self, began: float) -> None:
        self.registered.append((time.perf_counter() - began) * 1000)
        self.threads.append(float(threading.active_count()))


def rows(bench: Bench, wanted: Collection[str]) -> Iterator[Row]:
    """Measure what is wanted."""
    settings = bench.topic(PARTITIONS)
    ours, theirs = _Costs(), _Costs()
    with Wiring(settings) as wiring, CompactorProcess(settings):
        raw = RawPublisher(bench.bootstrap, settings.topic)
        with wiring.client() as client:
            client.on_result(workload.task_ids(1)[0], lambda _: None).cancel()  # the client knows where to wait
            for _ in range(2):  # every partition is read, every thread runs
                asyncio.run(_awaited(client, raw, PARTITIONS * 10, _Costs()))
                _signalled(client, raw, PARTITIONS * 10, _Costs())
            awaited, signalled = alternately(
                _ROUNDS,
                lambda: asyncio.run(_awaited(client, raw, _WAITERS, ours)),
                lambda: _signalled(client, raw, _WAITERS, theirs),
            )
    note = f"registered in {median(ours.registered):.0f} ms; the reference in {median(theirs.registered):.0f} ms"
    more = [one - other for one, other in zip(ours.threads, theirs.threads, strict=True)]
    found = {
        "await_10000": Pairs(awaited, signalled).row("await_10000", "ms", note),
        "await_10000_threads": values_row("await_10000_threads", more, "threads", "more than the reference has"),
    }
    yield from (row for name, row in found.items() if name in wanted)
    bench.flush()


async def _awaited(client: Client, raw: RawPublisher, count: int, costs: _Costs) -> float:
    ready = records.stamped(workload.task_ids(count))
    face, began = AsyncClient(client), time.perf_counter()
    waiting = [asyncio.create_task(face.get(key.decode(), _PATIENCE, via="topic")) for key, _ in ready]
    await asyncio.sleep(0)  # each registers in its first step
    costs.note(began)
    await asyncio.to_thread(_settled, client, count)
    everybody = asyncio.gather(*waiting)
    began = time.perf_counter()
    publishing = _publishing(raw, ready)
    await everybody
    took = time.perf_counter() - began
    publishing()
    return took * 1000


def _signalled(client: Client, raw: RawPublisher, count: int, costs: _Costs) -> float:
    ready = records.stamped(workload.task_ids(count))
    began = time.perf_counter()
    waiting = [_Signalled(client, key.decode()) for key, _ in ready]
    costs.note(began)
    _settled(client, count)
    began = time.perf_counter()
    publishing = _publishing(raw, ready)
    for one in waiting:
        one.value()
    took = time.perf_counter() - began
    publishing()
    return took * 1000


class _Signalled:
    """One registration, and the event that it sets."""

    __slots__ = ("_event", "_registration")

    def __init__(self, client: Client, task_id: str) -> None:
        self._event = threading.Event()
        self._registration: Registration = client.on_result(task_id, self._ended, via="topic")

    def _ended(self, _: Registration) -> None:
        self._event.set()

    def value(self) -> object:
        assert self._event.wait(_PATIENCE)
        return self._registration.result().value()


def _settled(client: Client, count: int) -> None:
    """Block until so many wait, and all of them for the reader alone."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        engine = client._engine  # noqa: SLF001 -- who waits is no part of the public surface
        assert engine is not None
        with engine.waits.lock:
            everybody = engine.waits.everybody()
            if len(everybody) == count and all(waiter.phase.value == "asleep" for waiter in everybody):
                return
        time.sleep(0.05)
    msg = f"not all of {count} waits settle"
    raise RuntimeError(msg)


def _publishing(raw: RawPublisher, ready: list[tuple[bytes, bytes]]) -> Callable[[], None]:
    """Publish on a thread from now on; return what waits for its end."""

    def publish() -> None:
        for key, value in ready:
            raw.send(key, value)
        raw.flush()

    thread = threading.Thread(target=publish)
    thread.start()
    return thread.join
