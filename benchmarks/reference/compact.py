"""Draining a topic into Redis with a bare consumer and one script per partition and batch. Decodes nothing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import redis
from confluent_kafka import Consumer, TopicPartition

from benchmarks.reference import librdkafka

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import Message

_SCRIPT: Final = Path(__file__).with_name("compact.lua").read_text()
_BATCH_EVENTS: Final = 500
_POLL_MAX: Final = 1000
_DAY_MS: Final = 86_400_000


class RawCompactor:
    """Drains one topic, from its beginning, as often as it is told to."""

    def __init__(self, bootstrap: str, redis_url: str, topic: str, partitions: int) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._partitions = partitions
        self._redis = redis.Redis.from_url(redis_url)
        self._sha = str(self._redis.script_load(_SCRIPT))

    def drain(self, expected: int) -> float:
        """Return how many events per second go into Redis until ``expected`` are there."""
        consumer = Consumer(librdkafka.draining_consumer(self._bootstrap))
        consumer.assign([TopicPartition(self._topic, at, 0) for at in range(self._partitions)])
        done = 0
        began = time.perf_counter()
        while done < expected:
            first = consumer.poll(0.2)
            messages = [] if first is None else [first, *consumer.consume(_POLL_MAX - 1, 0)]
            records = [message for message in messages if message.error() is None]
            if records:
                self._write(records)
                done += len(records)
        seconds = time.perf_counter() - began
        consumer.close()
        return done / seconds

    def _write(self, records: Sequence[Message]) -> None:
        by_partition: dict[int, list[Message]] = {}
        for record in records:
            by_partition.setdefault(record.partition() or 0, []).append(record)
        pipeline: Any = self._redis.pipeline(transaction=False)  # execute_command has no types
        for partition, found in by_partition.items():
            for start in range(0, len(found), _BATCH_EVENTS):
                pipeline.execute_command("EVALSHA", self._sha, *_call(partition, found[start : start + _BATCH_EVENTS]))
        pipeline.execute()


def _call(partition: int, records: Sequence[Message]) -> list[Any]:
    prefix = b"reference:topic-id-of-22-bytes:{%d.1a2b}:v:" % partition
    call: list[Any] = [1 + len(records), b"reference:offset:%d" % partition]
    call += [prefix + (record.key() or b"") for record in records]
    call += [(records[-1].offset() or 0) + 1, _DAY_MS]
    call += [record.value() for record in records]
    return call
