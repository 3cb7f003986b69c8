"""Fills topics with records that are valid to every reader, a hundred thousand a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.reference import records, workload
from benchmarks.reference.publish import RawPublisher

if TYPE_CHECKING:
    from streamresults.settings import Settings

_AT_ONCE: Final = 50_000


def prefill(settings: Settings, count: int) -> list[str]:
    """Append that many results of different tasks; return their ids."""
    raw = RawPublisher(settings.kafka_bootstrap, settings.topic)
    task_ids: list[str] = []
    while len(task_ids) < count:
        fresh = workload.task_ids(min(_AT_ONCE, count - len(task_ids)))
        raw.bytes_only(records.stamped(fresh))
        task_ids += fresh
    return task_ids
