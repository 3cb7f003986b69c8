"""Every kind of topic, and what only a test may do to it."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from streamresults.deadline import Deadline
from streamresults.events.signatures import Keyring
from streamresults.topic.kafka import KafkaBroker, WriterSettings
from streamresults.topic.memory import MemoryBroker
from streamresults.topic.records import TopicSettings
from streamresults.topic.signed import SignedBroker
from tests.contract.topic_desk import PARTITIONS, SOON
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamresults.topic.base import Broker


class Harness(ABC):
    """A broker, one with small limits on the same cluster, and what only a test may do to it."""

    broker: Broker
    small: Broker

    def topic(self, partitions: int = PARTITIONS, config: Mapping[str, str] | None = None) -> str:
        """Make a topic by the broker's own means."""
        name = f"t-{uuid.uuid4().hex[:12]}"
        settings = TopicSettings(
            partitions=partitions, config={"message.timestamp.type": "LogAppendTime", **(config or {})}
        )

        assert self.broker.create_topics({name: settings}, Deadline(SOON)) == {name: True}

        return name

    @abstractmethod
    def trim(self, topic: str, partition: int, low: int) -> None:
        """Drop what is older than ``low``."""

    @abstractmethod
    def add_partitions(self, topic: str, partitions: int) -> None:
        """Give a topic ``partitions`` in all."""

    @abstractmethod
    def delete(self, topic: str) -> None:
        """Delete a topic."""

    def create_again(self, topic: str, partitions: int) -> None:
        """Create another topic by the name of one that was deleted."""
        settings = TopicSettings(partitions=partitions, config={"message.timestamp.type": "LogAppendTime"})
        # Kafka may say for a moment that the old one is still there.
        eventually(lambda: self.broker.create_topics({topic: settings}, Deadline(SOON))[topic], SOON, "it is created")

    @abstractmethod
    def committed(self, topic: str, group: str) -> dict[int, int]:
        """Return what a group has committed."""


class MemoryHarness(Harness):
    """The in-memory broker has test helpers of its own."""

    def __init__(self) -> None:
        self.broker = self.memory = MemoryBroker()
        self.small = MemoryBroker(queue_records=5, record_bytes=1000)
        self.small._cluster = self.memory._cluster

    def trim(self, topic: str, partition: int, low: int) -> None:
        self.memory.trim(topic, partition, low)

    def add_partitions(self, topic: str, partitions: int) -> None:
        self.memory.add_partitions(topic, partitions)

    def delete(self, topic: str) -> None:
        self.memory.delete_topic(topic)

    def committed(self, topic: str, group: str) -> dict[int, int]:
        return self.memory.committed(topic, group)


class SignedHarness(MemoryHarness):
    """The in-memory broker with signatures around it: they change nothing that an interface promises."""

    def __init__(self) -> None:
        super().__init__()
        keyring = Keyring({"k1": "b7e1" * 16}, sign_with="k1")
        self.broker = SignedBroker(self.memory, keyring, _Every())
        self.small = SignedBroker(self.small, keyring, _Every())


class _Every:
    """A container of every name."""

    def __contains__(self, _topic: object) -> bool:
        return True


class KafkaHarness(Harness):
    """Does to Kafka what an operator would."""

    def __init__(self, bootstrap: str) -> None:
        fast = {"topic.metadata.refresh.interval.ms": "300"}
        self.broker = KafkaBroker(bootstrap, properties=fast)
        # The queue is small, and its records wait for company, so that it stays full for a while.
        writing = WriterSettings(queue_records=5, record_bytes=1000, linger=0.05)
        self.small = KafkaBroker(bootstrap, writing=writing)
        self.admin = AdminClient({"bootstrap.servers": bootstrap})

    def trim(self, topic: str, partition: int, low: int) -> None:
        [future] = self.admin.delete_records([TopicPartition(topic, partition, low)]).values()
        future.result(SOON)

    def add_partitions(self, topic: str, partitions: int) -> None:
        self.admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(SOON)

    def delete(self, topic: str) -> None:
        self.admin.delete_topics([topic])[topic].result(SOON)

    def committed(self, topic: str, group: str) -> dict[int, int]:
        [future] = self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
        return {at.partition: at.offset for at in future.result(SOON).topic_partitions if at.topic == topic}
