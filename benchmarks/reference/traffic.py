"""All that a topic's readers can receive: a bare consumer of every partition, and what it has received so far."""

from __future__ import annotations

import json
from threading import Event, Thread
from typing import Final, Self

from confluent_kafka import Consumer, TopicPartition

from benchmarks.reference import librdkafka

#: Milliseconds between two statistics of librdkafka.
_STATISTICS: Final = 500


class Traffic:
    """Reads all partitions from their ends, and drops everything."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        self._received = (0.0, 0)
        self._stop = Event()
        settings = librdkafka.tailing_consumer(bootstrap)
        settings |= {"statistics.interval.ms": _STATISTICS, "stats_cb": self._note}
        self._consumer = Consumer(settings)
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

    def received(self) -> tuple[float, int]:
        """Return when the latest statistics were taken, in seconds, and how many bytes had come by then."""
        return self._received

    def _note(self, text: str) -> None:
        told = json.loads(text)
        self._received = told["ts"] / 1e6, sum(broker["rxbytes"] for broker in told["brokers"].values())

    def _read(self) -> None:
        while not self._stop.is_set():
            self._consumer.consume(1000, 0.1)
