"""
librdkafka's in-process broker, for demonstrations and tests. Never for durability, latency or transactions.

It speaks Kafka over TCP on the loopback interface, so other processes may connect, and dies with this process.
"""

from __future__ import annotations

import ctypes
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

import confluent_kafka
from confluent_kafka import Producer

from streamresults.errors import TopicUnavailable
from streamresults.topic.kafka_handles import Forkable, open_handle

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

log: Final = logging.getLogger(__name__)

#: Milliseconds between two heartbeats of a group's member. Smaller is a quicker rebalance, larger less traffic.
HEARTBEAT_MS: Final = 200

#: Seconds in which the broker has to say where it listens; it is in this process.
LISTENS_WITHIN: Final = 5.0


class EmbeddedBroker(Forkable):
    """
    A running in-process broker.

    Args:
        topics: The partitions of each topic. When this build of librdkafka cannot be told, topics get four
            partitions each, and that is logged.
        brokers: How many brokers to pretend.

    Attributes:
        bootstrap: Where it listens.
        controlled: Whether the topics have the partitions that were asked for.
    """

    def __init__(self, topics: Mapping[str, int], *, brokers: int = 1) -> None:
        super().__init__()
        settings = {"bootstrap.servers": "embedded", "test.mock.num.brokers": brokers}
        self._producer: Producer | None = open_handle(Producer, settings, "cannot start the embedded broker")
        self.controlled = self._control(self._producer, topics, brokers)
        metadata = self._producer.list_topics(timeout=LISTENS_WITHIN)
        self.bootstrap = ",".join(f"{broker.host}:{broker.port}" for broker in metadata.brokers.values())
        for topic in topics:
            # Known at once to who lists all topics; without control this is also what creates it.
            self._producer.list_topics(topic, timeout=LISTENS_WITHIN)

    def _control(self, producer: Producer, topics: Mapping[str, int], brokers: int) -> bool:
        try:
            library = _librdkafka()
            cluster = library.rd_kafka_handle_mock_cluster(_pointer(producer))
            if not cluster:
                raise TopicUnavailable("librdkafka has no handle of its embedded broker")  # noqa: TRY301
            library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0)
            library.rd_kafka_mock_set_group_consumer_heartbeat_interval_ms(cluster, HEARTBEAT_MS)
            for topic, partitions in topics.items():
                error = library.rd_kafka_mock_topic_create(cluster, topic.encode(), partitions, min(3, brokers))
                if error:
                    raise TopicUnavailable(f"librdkafka refused to create {topic!r}: error {error}")  # noqa: TRY301, EM102
        except (OSError, AttributeError, ValueError, TopicUnavailable) as exc:
            log.warning(
                "the embedded broker cannot be controlled, topics get 4 partitions: %s",
                exc,
                extra={"action": "embedded_broker_uncontrolled"},
            )
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop it; everything that it held is gone."""
        self._producer = None

    def abandon(self) -> object | None:
        """Leave the broker to the parent."""
        return self._producer


def _librdkafka() -> ctypes.CDLL:
    """Return the very library that confluent_kafka has loaded, which lies beside it in the wheel."""
    folder = Path(confluent_kafka.__file__).parent.with_name("confluent_kafka.libs")
    [found, *_] = [*folder.glob("librdkafka-*.so*"), *folder.glob("librdkafka*.dylib")]
    library = ctypes.CDLL(str(found))
    library.rd_kafka_handle_mock_cluster.restype = ctypes.c_void_p
    library.rd_kafka_handle_mock_cluster.argtypes = [ctypes.c_void_p]
    library.rd_kafka_mock_group_initial_rebalance_delay_ms.argtypes = [ctypes.c_void_p, ctypes.c_int32]
    library.rd_kafka_mock_set_group_consumer_heartbeat_interval_ms.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.rd_kafka_mock_topic_create.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]
    return library


def _pointer(producer: Producer) -> int | None:
    """Return librdkafka's own handle: the first field of the Python object, after what every object begins with."""
    return ctypes.c_void_p.from_address(id(producer) + object.__basicsize__).value
