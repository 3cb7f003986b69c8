"""Publishing with a bare producer and a delivery callback."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from benchmarks.reference import librdkafka, records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import KafkaError, Message


class Delivered:
    """Counts acknowledgements."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, error: KafkaError | None, _message: Message) -> None:
        """Serve as the delivery callback."""
        if error is not None:
            raise RuntimeError(str(error))
        self.count += 1


class RawPublisher:
    """One warm producer on one topic."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._producer = Producer(librdkafka.producer(bootstrap))
        self._encode = records.encoder()

    def pipelined(self, task_ids: Sequence[str]) -> float:
        """Encode and publish an event for each id; return how many were acknowledged per second."""
        delivered, encode, produce = Delivered(), self._encode, self._producer.produce
        poll, topic = self._producer.poll, self._topic
        began = time.perf_counter()
        for number, task_id in enumerate(task_ids):
            produce(topic, encode(task_id, number), task_id.encode(), on_delivery=delivered)
            poll(0)
        self._producer.flush()
        return self._rate(delivered, len(task_ids), began)

    def bytes_only(self, ready: Sequence[tuple[bytes, bytes]]) -> float:
        """Publish records that are encoded already; return how many were acknowledged per second."""
        delivered, produce, poll, topic = Delivered(), self._producer.produce, self._producer.poll, self._topic
        began = time.perf_counter()
        for key, value in ready:
            while True:
                try:
                    produce(topic, value, key, on_delivery=delivered)
                    break
                except BufferError:
                    poll(0.01)
            poll(0)
        self._producer.flush()
        return self._rate(delivered, len(ready), began)

    def one_by_one(self, task_ids: Sequence[str]) -> float:
        """Encode, publish and flush one event after the other; return how many per second."""
        delivered = Delivered()
        began = time.perf_counter()
        for number, task_id in enumerate(task_ids):
            value = self._encode(task_id, number)
            self._producer.produce(self._topic, value, task_id.encode(), on_delivery=delivered)
            self._producer.flush()
        return self._rate(delivered, len(task_ids), began)

    def send(self, key: bytes, value: bytes) -> None:
        """Queue one record whose acknowledgement nobody waits for."""
        self._producer.produce(self._topic, value, key)

    def serve(self) -> None:
        """Let go of what was acknowledged."""
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait for all acknowledgements."""
        self._producer.flush()

    @staticmethod
    def _rate(delivered: Delivered, expected: int, began: float) -> float:
        seconds = time.perf_counter() - began
        if delivered.count != expected:
            msg = f"{delivered.count} of {expected} records were acknowledged"
            raise RuntimeError(msg)
        return expected / seconds
