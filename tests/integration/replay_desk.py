"""What the tests of replay and verification do to a topic and its view, in memory or on real Kafka and Redis."""

from __future__ import annotations

import threading
from itertools import islice
from typing import TYPE_CHECKING, Any

import redis
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from streamresults.deadline import Deadline
from streamresults.store.keys import Keys
from streamresults.store.memory import MemoryStore, MemoryView
from streamresults.topic.memory import MemoryBroker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamresults.events.event import Position
    from streamresults.replay import Replayed
    from streamresults.wiring import Wiring

PARTITIONS = 4


def publish(wiring: Wiring, ids: list[str], state: str = "SUCCESS", **fields: Any) -> list[Position]:
    """Publish one event of each task, and wait for all acknowledgements."""
    publisher = wiring.publisher()
    try:
        pending = [publisher.send(publisher.event(task_id, state, **fields)) for task_id in ids]
        return [one.future().result(30) for one in pending]
    finally:
        publisher.close()


def produce(wiring: Wiring, key: bytes, value: bytes | None, partition: int) -> None:
    """Append any bytes."""
    writer = wiring.broker().writer(wiring.settings.topic)
    writer.produce(key, value, None, partition=partition)
    writer.close(Deadline(20))


def one_partition(wiring: Wiring, count: int, partition: int = 1) -> list[str]:
    """Return task ids that share a partition."""
    names = (f"task-{number}" for number in range(count * 50))
    place = wiring.broker().partition_of
    return list(islice((name for name in names if place(name.encode(), PARTITIONS) == partition), count))


def compact(wiring: Wiring, *, from_earliest: bool = True) -> None:
    """Fold all that there is."""
    wiring.compactor(from_earliest=from_earliest).run_once(threading.Event(), 40)


def trim(wiring: Wiring, partition: int, low: int) -> None:
    """Drop the oldest records, as retention does."""
    broker, topic = wiring.broker(), wiring.settings.topic
    if isinstance(broker, MemoryBroker):
        broker.trim(topic, partition, low)
        return
    admin = AdminClient({"bootstrap.servers": wiring.settings.kafka_bootstrap})
    for future in admin.delete_records([TopicPartition(topic, partition, low)]).values():
        future.result(20)


def stored(wiring: Wiring, task_id: str, change: Callable[[bytes], bytes | None]) -> None:
    """Change what the view holds of a task behind everybody's back."""
    inspector, broker = wiring.inspector(), wiring.broker()
    about = inspector.describe(Deadline(20))
    inspector.close()
    partition = broker.partition_of(task_id.encode(), PARTITIONS)
    store = wiring.store()
    if isinstance(store, MemoryStore):
        view = store.view(wiring.namespace(about), about.topic_id)
        assert isinstance(view, MemoryView)
        values = view.partitions[partition].values
        changed = change(values.pop(task_id))
        if changed is not None:
            values[task_id] = changed
        return
    store.close()
    key = Keys(wiring.namespace(about), about.topic_id).value_prefix(partition) + task_id
    with redis.Redis.from_url(wiring.settings.redis_url) as client:
        found = client.get(key)
        assert isinstance(found, bytes)
        changed = change(found)
        if changed is None:
            client.delete(key)
        else:
            client.set(key, changed, keepttl=True)


def by_task(records: Iterator[Replayed]) -> dict[str | None, list[int]]:
    """Read everything; return the offsets by task."""
    found: dict[str | None, list[int]] = {}
    for record in records:
        found.setdefault(record.task_id, []).append(record.offset)
    return found


def flush(wiring: Wiring) -> None:
    """Lose the view."""
    store = wiring.store()
    if isinstance(store, MemoryStore):
        store.flush()
        return
    store.close()
    with redis.Redis.from_url(wiring.settings.redis_url) as client:
        for key in list(client.scan_iter(match=f"{wiring.settings.namespace}:*", count=1000)):
            client.delete(key)
