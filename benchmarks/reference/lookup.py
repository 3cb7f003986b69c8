"""Looking up with a bare Redis client: GET or MGET, then fastavro over whole records."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import fastavro
import redis

from benchmarks.reference import records

if TYPE_CHECKING:
    from collections.abc import Sequence

_PREFIX = "reference:v:"


class RawLookup:
    """Holds records in Redis, by their ids."""

    def __init__(self, redis_url: str, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        self._redis = redis.Redis.from_url(redis_url)
        self._redis.mset({_PREFIX + key.decode(): value for key, value in pairs})

    def one(self, task_id: str) -> object:
        """Return the decoded record of one task."""
        return _decoded(self._redis.get(_PREFIX + task_id))  # type: ignore[arg-type]  # bytes: it is no async client

    def many(self, task_ids: Sequence[str]) -> list[object]:
        """Return the decoded records of many tasks."""
        values: list[bytes] = self._redis.mget([_PREFIX + task_id for task_id in task_ids])  # type: ignore[assignment]
        return [_decoded(value) for value in values]


def _decoded(value: bytes) -> object:
    source = BytesIO(value)
    source.seek(len(records.HEADER))
    return fastavro.schemaless_reader(source, records.SCHEMA, None)
