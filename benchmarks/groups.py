"""
Rows of a finished group of a thousand: joined, values read, beside a bare MGET and beside Celery's own join.

Each turn joins a group that nobody has asked for before. Its members' events say that they belong to it, as those of
real groups do, on every side.
"""

from __future__ import annotations

import time
import uuid
from threading import Event as Signal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from benchmarks.bench import PARTITIONS, Bench
from benchmarks.measure import Pairs, Row, alternately
from benchmarks.reference import celery_backend, records, workload
from benchmarks.reference.lookup import RawLookup
from benchmarks.reference.publish import RawPublisher
from streamresults.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from streamresults.client import Client

NAMES: Final = ("group_1000_finished", "group_1000_finished_celery")
_MEMBERS: Final = 1_000
_ROUNDS: Final = 15
#: Turns of Celery's, each of which takes as long as many of ours.
_CELERY_ROUNDS: Final = 9
_PATIENCE: Final = 30.0
#: Seconds before each turn: Celery's results take their leave of Redis when they are collected as garbage.
_SETTLE: Final = 0.05


class _Group(NamedTuple):
    group_id: str
    task_ids: list[str]


def rows(bench: Bench, wanted: Collection[str]) -> Iterator[Row]:
    """Measure what is wanted."""
    settings = bench.topic(PARTITIONS)
    groups = [_Group(str(uuid.uuid4()), workload.task_ids(_MEMBERS)) for _ in range(_ROUNDS + 1)]
    ready = [record for group in groups for record in records.of_group(*group)]
    RawPublisher(bench.bootstrap, settings.topic).bytes_only(ready)
    raw = RawLookup(bench.redis.url, ready)
    with Wiring(settings) as wiring:
        wiring.compactor(from_earliest=True).run_once(Signal(), 60)
        if "group_1000_finished" in wanted:
            with wiring.client() as client:
                figures = alternately(
                    _ROUNDS,
                    _in_turn(groups, lambda group: _joined(client, group)),
                    _in_turn(groups, lambda group: _read(raw, group)),
                )
            yield Pairs(*figures).row("group_1000_finished", "ms")
        if "group_1000_finished_celery" in wanted:
            with wiring.client() as client:
                yield _beside_celery(bench, client, groups[: _CELERY_ROUNDS + 1])
    bench.flush()


def _in_turn(groups: Sequence[_Group], measure: Callable[[_Group], float]) -> Callable[[], float]:
    """Return what measures the next group at each call, having measured the first one to warm up."""
    left = iter(groups)
    measure(next(left))

    def measure_next() -> float:
        time.sleep(_SETTLE)
        return measure(next(left))

    return measure_next


def _joined(client: Client, group: _Group) -> float:
    began = time.perf_counter()
    values = client.group(group.group_id, group.task_ids).join(_PATIENCE)
    took = time.perf_counter() - began
    _check(values)
    return took * 1000


def _read(raw: RawLookup, group: _Group) -> float:
    began = time.perf_counter()
    values = raw.many(group.task_ids)
    took = time.perf_counter() - began
    _check(values)
    return took * 1000


def _beside_celery(bench: Bench, client: Client, groups: Sequence[_Group]) -> Row:
    """Return the row of tasks a second; Celery's results are stored before."""
    name = "group_1000_finished_celery"
    if not celery_backend.INSTALLED:
        return Row(name, None, "", note=celery_backend.SKIPPED)
    app = celery_backend.open_app(bench.redis.url)
    for group in groups:
        for number, task_id in enumerate(group.task_ids):
            celery_backend.store(app, task_id, number, group.group_id)
    figures = alternately(
        _CELERY_ROUNDS,
        _in_turn(groups, lambda group: _MEMBERS * 1000 / _joined(client, group)),
        _in_turn(groups, lambda group: _MEMBERS * 1000 / _joined_by_celery(app, group)),
    )
    return Pairs(*figures).row(name, "tasks/s", "reference: Celery's GroupResult.join_native")


def _joined_by_celery(app: Any, group: _Group) -> float:
    began = time.perf_counter()
    values = celery_backend.group(app, *group).join_native(timeout=_PATIENCE)
    took = time.perf_counter() - began
    _check(values)
    return took * 1000


def _check(values: Sequence[object]) -> None:
    assert len(values) == _MEMBERS
    assert None not in values
