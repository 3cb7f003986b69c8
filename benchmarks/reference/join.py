"""A bare consumer that polls in a thread: the least that a join can cost."""

from __future__ import annotations

import time
from queue import SimpleQueue
from threading import Event, Thread
from typing import Self

from confluent_kafka import Consumer, TopicPartition

from benchmarks.reference import librdkafka


class RawReader:
    """Reads all partitions from their ends; tells the key and the moment of every record that poll returns."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        self.arrived: SimpleQueue[tuple[bytes | str | None, float]] = SimpleQueue()
        self._stop = Event()
        self._consumer = Consumer(librdkafka.tailing_consumer(bootstrap))
        ends = [TopicPartition(topic, at) for at in range(partitions)]
        for end in ends:
            end.offset = self._consumer.get_watermark_offsets(end, timeout=10)[1]
        self._consumer.assign(ends)
        self._thread = Thread(target=self._read)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def moment_of(self, key: bytes) -> float:
        """Block until a record of this key was polled; return when."""
        while True:
            found, moment = self.arrived.get(timeout=10)
            if found == key:
                return moment

    def _read(self) -> None:
        while not self._stop.is_set():
            message = self._consumer.poll(0.1)
            if message is not None and message.error() is None:
                self.arrived.put((message.key(), time.perf_counter()))
