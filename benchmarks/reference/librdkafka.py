"""librdkafka's settings of the references: the same that streamresults uses, written down a second time."""

from __future__ import annotations

import logging
from typing import Any, Final

_LOG: Final = logging.getLogger("benchmarks.librdkafka")
_LOG.addHandler(logging.NullHandler())

_COMMON: Final[dict[str, Any]] = {
    "logger": _LOG,
    "reconnect.backoff.ms": 100,
    "reconnect.backoff.max.ms": 5000,
    "socket.nagle.disable": True,
}
_PRODUCER: Final[dict[str, Any]] = {
    "acks": "all",
    "enable.idempotence": True,
    "linger.ms": 0,
    "message.max.bytes": 1_000_000,
    "message.timeout.ms": 30_000,
    "partitioner": "murmur2_random",
    "queue.buffering.max.kbytes": 65_536,
    "queue.buffering.max.messages": 100_000,
}
_CONSUMER: Final[dict[str, Any]] = {
    "group.id": "reference",
    "auto.offset.reset": "error",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "fetch.error.backoff.ms": 50,
    "fetch.queue.backoff.ms": 5,
    "fetch.wait.max.ms": 50,
    "isolation.level": "read_committed",
    "topic.metadata.refresh.interval.ms": 10_000,
}
_TAIL: Final = {"queued.min.messages": 10_000, "queued.max.messages.kbytes": 8_192}
_COMPACTOR: Final = {"queued.min.messages": 20_000, "queued.max.messages.kbytes": 16_384}


def producer(bootstrap: str) -> dict[str, Any]:
    """Return the settings of a producer."""
    return {**_COMMON, **_PRODUCER, "bootstrap.servers": bootstrap}


def tailing_consumer(bootstrap: str) -> dict[str, Any]:
    """Return the settings of a consumer that follows the end of a topic."""
    return {**_COMMON, **_CONSUMER, **_TAIL, "bootstrap.servers": bootstrap}


def draining_consumer(bootstrap: str) -> dict[str, Any]:
    """Return the settings of a consumer that reads a whole topic."""
    return {**_COMMON, **_CONSUMER, **_COMPACTOR, "bootstrap.servers": bootstrap}
