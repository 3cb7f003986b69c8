"""Apache Kafka as a broker of topics, through librdkafka. Holds settings and opens the parts; no record passes here."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
from confluent_kafka import KafkaError, KafkaException, murmur2
from confluent_kafka.cimpl import NewTopic

from streamresults.errors import TopicUnavailable
from streamresults.topic.base import Broker, TopicGroup, TopicInspector, TopicReader, TopicWriter
from streamresults.topic.kafka_errors import error_of, translate
from streamresults.topic.kafka_group import KafkaGroup, Protocol
from streamresults.topic.kafka_handles import COMMON, RETRY_PAUSE, Settings, list_topics
from streamresults.topic.kafka_hubs import resolved
from streamresults.topic.kafka_inspector import EMBEDDED_CLUSTER, RESOLVES_WITHIN, AdminConnection, KafkaInspector
from streamresults.topic.kafka_reader import KafkaReader
from streamresults.topic.kafka_writer import FRAMING_BYTES, KafkaWriter
from streamresults.topic.records import RECORD_BYTES, ClusterDescription, TopicSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from confluent_kafka.admin import AdminClient, ClusterMetadata  # type: ignore[attr-defined]  # public by its documentation

    from streamresults.deadline import Deadline

#: Replicas of a new topic where there are enough brokers. Fewer lose acknowledged records with one disk.
REPLICAS: Final = 3

#: Of every consumer. fetch.wait.max.ms: a partition added behind a waiting fetch waits that long; smaller costs
#: requests while nothing happens. Backoffs: larger leave gaps of that length, smaller spin. Metadata: larger hides
#: new partitions for longer, smaller asks the brokers more often.
CONSUMER: Final[Mapping[str, Any]] = {
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

#: How far a tailing reader fetches ahead. Smaller slows bursts down, larger lets one reader hold more memory.
TAIL: Final[Mapping[str, Any]] = {"queued.min.messages": 10_000, "queued.max.messages.kbytes": 8_192}

#: The same for reading a whole log: below 20 000 the fetches no longer keep up with the reader.
BULK: Final[Mapping[str, Any]] = {"queued.min.messages": 20_000, "queued.max.messages.kbytes": 65_536}

#: The same for a group's member, which rests between two polls: while it has not taken what it was given, what comes
#: is fetched together after the backoff. More messages ask the brokers again for each record of a steady stream; a
#: shorter backoff does, too, and a longer one delays what comes behind.
GROUP: Final[Mapping[str, Any]] = {"queued.min.messages": 1, "fetch.queue.backoff.ms": 3}

#: Milliseconds between two polls of a group's member. Smaller throws out a member whose store is slow, larger leaves
#: the partitions of one that hangs unread.
GROUP_POLL_MS: Final = 60_000

#: What a cluster says to a topic that it will never create as asked.
REFUSED: Final = frozenset(
    {
        KafkaError.INVALID_CONFIG,
        KafkaError.INVALID_PARTITIONS,
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.INVALID_REQUEST,
        KafkaError.POLICY_VIOLATION,
        KafkaError.TOPIC_EXCEPTION,
    }
)

#: librdkafka wants a group id of every consumer; a reader never uses it.
NO_GROUP: Final = "streamresults.reader"


class WriterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How records are queued before they are sent."""

    #: Seconds to wait for company. Smaller is faster for single records, larger makes batches bigger.
    linger: float = 0.0
    #: Seconds until an unacknowledged record fails. Smaller gives up during a leader's election.
    timeout: float = 30.0
    #: Most records in the queue. Smaller blocks callers in short outages, larger lets an outage fill memory.
    queue_records: int = 100_000
    #: Most bytes in the queue, in KiB; the same trade.
    queue_kib: int = 65_536
    #: Largest record in bytes, key and value together; at most what the topic takes.
    record_bytes: int = RECORD_BYTES

    def to_librdkafka(self) -> Settings:
        """Return librdkafka's settings."""
        return {
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": self.linger * 1000,
            "message.max.bytes": self.record_bytes + FRAMING_BYTES,
            "message.timeout.ms": round(self.timeout * 1000),
            "partitioner": "murmur2_random",
            "queue.buffering.max.kbytes": self.queue_kib,
            "queue.buffering.max.messages": self.queue_records,
        }


class KafkaBroker(Broker):
    """
    A Kafka cluster, or librdkafka's embedded broker.

    Args:
        bootstrap: ``host:port`` of some brokers, separated by commas.
        properties: librdkafka's own settings by their own names; they win over everything set here.
        client_id: How the brokers' logs and quotas call this process.
        writing: How records are queued.
        group_fetch_bytes: Most bytes that a group's member fetches ahead of what it has handled.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        properties: Mapping[str, str] | None = None,
        client_id: str = "streamresults",
        writing: WriterSettings | None = None,
        group_fetch_bytes: int = 16 * 1024 * 1024,
    ) -> None:
        self._group_fetch_kib = max(1, group_fetch_bytes // 1024)
        self._bootstrap = bootstrap
        self._properties = dict(properties or {})
        self._writing = writing or WriterSettings()
        self._common: Settings = {**COMMON, "bootstrap.servers": bootstrap, "client.id": client_id}
        self._protocol = Protocol(classic=self._properties.get("group.protocol") == "classic")

    def __repr__(self) -> str:
        # Properties may hold passwords.
        return f"{type(self).__name__}({self._bootstrap!r})"

    def writer(self, topic: str) -> TopicWriter:
        """Open a writer."""
        return KafkaWriter(topic, {**self._common, **self._writing.to_librdkafka(), **self._properties})

    def reader(self, topic: str, *, bulk: bool = False) -> TopicReader:
        """Open a reader."""
        ahead = BULK if bulk else TAIL
        return KafkaReader(topic, {**self._common, **CONSUMER, **ahead, "group.id": NO_GROUP, **self._properties})

    def group(self, topic: str, group: str) -> TopicGroup:
        """Open a group's member."""
        settings = {**self._common, **CONSUMER, **GROUP, "group.id": group, "max.poll.interval.ms": GROUP_POLL_MS}
        settings["queued.max.messages.kbytes"] = self._group_fetch_kib
        return KafkaGroup(topic, settings, self._protocol, dict(self._properties))

    def inspector(self, topic: str) -> TopicInspector:
        """Open an inspector."""
        return KafkaInspector(topic, self._connection())

    def partition_of(self, key: bytes, partitions: int) -> int:
        """Return Kafka's usual choice: the one of the Java clients."""
        return murmur2(key, partitions)

    def _connection(self) -> AdminConnection:
        return AdminConnection({**self._common, **self._properties})

    def cluster(self, deadline: Deadline) -> ClusterDescription:
        """Return what there is."""
        connection = self._connection()
        try:
            doing = f"cannot list the topics of {self._bootstrap}"
            found = connection.ask(deadline, doing, list_topics)
        finally:
            connection.close()
        topics = {
            name: (len(topic.partitions), min((len(p.replicas) for p in topic.partitions.values()), default=0))
            for name, topic in found.topics.items()
        }
        return ClusterDescription(len(found.brokers), str(found.cluster_id).startswith(EMBEDDED_CLUSTER), topics)

    def create_topics(self, topics: Mapping[str, TopicSettings], deadline: Deadline) -> dict[str, bool]:
        """Create what is missing."""
        connection = self._connection()
        doing = f"cannot create topics on {self._bootstrap}"
        try:
            metadata = connection.ask(deadline, doing, list_topics)
            missing = {name: settings for name, settings in topics.items() if name not in metadata.topics}
            created = dict.fromkeys(topics, False)
            if missing:
                created |= self._create(connection, metadata, missing, deadline)
            for name in topics:
                _wait_for_leaders(connection, name, deadline)
            return created
        finally:
            connection.close()

    def _create(
        self,
        connection: AdminConnection,
        metadata: ClusterMetadata,
        topics: Mapping[str, TopicSettings],
        deadline: Deadline,
    ) -> dict[str, bool]:
        if str(metadata.cluster_id).startswith(EMBEDDED_CLUSTER):
            names = ", ".join(sorted(topics))
            msg = f"the embedded broker cannot create topics: name these when it starts: {names}"
            raise TopicUnavailable(msg)
        replicas = REPLICAS if len(metadata.brokers) >= REPLICAS else 1
        doing = f"cannot create topics on {self._bootstrap}"
        return {
            name: connection.ask(deadline, doing, partial(_create_topic, _new_topic(name, settings, replicas)))
            for name, settings in topics.items()
        }


def _new_topic(name: str, settings: TopicSettings, replicas: int) -> NewTopic:
    replication = replicas if settings.replication < 0 else settings.replication
    return NewTopic(
        name, num_partitions=settings.partitions, replication_factor=replication, config=dict(settings.config)
    )


def _create_topic(topic: NewTopic, client: AdminClient, limit: float) -> bool:
    """Create one topic; return whether nobody else had."""
    [future] = client.create_topics([topic], request_timeout=limit).values()
    try:
        resolved(future, limit + RESOLVES_WITHIN)
    except KafkaException as exc:
        error = error_of(exc)
        if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        if error.code() in REFUSED:
            raise translate(error, f"cannot create topic {topic.topic!r}") from exc
        raise
    return True


def _wait_for_leaders(connection: AdminConnection, topic: str, deadline: Deadline) -> None:
    """Wait until every partition can be written and read."""
    inspector = KafkaInspector(topic, connection)
    while True:
        try:
            partitions = connection.metadata(deadline, topic).topics[topic].partitions
        except TopicUnavailable:
            # The broker that was asked may not have heard of the new topic yet.
            if deadline.passed():
                raise
        else:
            if all(partition.leader >= 0 for partition in partitions.values()):
                inspector.ends(list(partitions), deadline)
                return
            if deadline.passed():
                msg = f"topic {topic!r} has partitions without a leader after {deadline.total:g} s"
                raise TopicUnavailable(msg)
        time.sleep(RETRY_PAUSE)
