"""Answers questions about a topic through a Kafka admin client. Reads no record and changes nothing."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import (
    OFFSET_INVALID,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public by its documentation, not by its types
    AdminClient,
    ConfigResource,
    OffsetSpec,
)

from streamresults.errors import TopicMissing, TopicUnavailable
from streamresults.topic.base import TopicInspector
from streamresults.topic.kafka_errors import FORBIDDEN, MISSING, UNSUPPORTED, error_of, translate
from streamresults.topic.kafka_handles import Forkable, LastError, Opened, Settings, list_topics, open_handle, retry
from streamresults.topic.kafka_hubs import resolved
from streamresults.topic.records import NO_TOPIC_ID, TopicDescription, Watermarks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from confluent_kafka.admin import ClusterMetadata, ListOffsetsResultInfo  # type: ignore[attr-defined]  # the same

    from streamresults.deadline import Deadline

log: Final = logging.getLogger(__name__)

#: How librdkafka's embedded broker names its cluster. It knows neither topic ids nor offsets by time, and questions
#: that it does not know would each wait for their whole deadline.
EMBEDDED_CLUSTER: Final = "mockCluster"

#: Seconds that a future is waited for beyond its request's own limit; librdkafka resolves it by then.
RESOLVES_WITHIN: Final = 5.0

EARLIEST: Final = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
LATEST: Final = OffsetSpec.latest()  # type: ignore[no-untyped-call]

#: librdkafka prints topic ids in the other base64.
URL_SAFE: Final = str.maketrans("+/", "-_")

#: Errors that no waiting helps against.
FINAL: Final = FORBIDDEN | UNSUPPORTED


class AdminConnection(Forkable):
    """One admin client of librdkafka, opened on first use, and its questions with a deadline. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        self._last = LastError()
        self._opening = threading.Lock()
        self._client: AdminClient | None = None
        self._closed = False

    @property
    def bootstrap(self) -> str:
        """Where the brokers are."""
        return str(self._settings["bootstrap.servers"])

    def ask(self, deadline: Deadline, doing: str, question: Callable[[AdminClient, float], Opened]) -> Opened:
        """Ask until answered; ``question`` gets the client and the seconds that one request may take."""
        client = self._open()

        def attempt(limit: float) -> Opened:
            try:
                return question(client, limit)
            finally:
                client.poll(0)

        words = f"{doing}: Kafka at {self.bootstrap} did not answer"
        return retry(deadline, words, attempt, fatal=FINAL, last=self._last)

    def metadata(self, deadline: Deadline, topic: str) -> ClusterMetadata:
        """Return what the brokers say about the topic; raise ``TopicUnavailable`` when it is not there."""
        doing = f"cannot look up topic {topic!r}"
        answer: ClusterMetadata = self.ask(deadline, doing, lambda client, limit: list_topics(client, limit, topic))
        error = answer.topics[topic].error
        if error is not None and error.code() in MISSING:
            msg = f"topic {topic!r} does not exist on {self.bootstrap}; create it: streamresults init"
            raise TopicMissing(msg) from KafkaException(error)
        if error is not None and error.code() in FINAL:
            raise translate(error, doing) from KafkaException(error)
        return answer

    def _open(self) -> AdminClient:
        with self._opening:
            if self._closed or self.forked:
                raise self.not_here() if self.forked else TopicUnavailable("this connection to Kafka is closed")
            if self._client is None:
                settings = {**self._settings, "error_cb": self._last}
                self._client = open_handle(AdminClient, settings, "cannot connect to Kafka")
            return self._client

    def close(self) -> None:
        """Release the client."""
        self._closed = True
        if not self.forked:
            self._client = None

    def abandon(self) -> object | None:
        """Leave the handle to the parent."""
        self._opening = threading.Lock()
        return self._client


class KafkaInspector(TopicInspector):
    """Questions about one topic."""

    def __init__(self, topic: str, connection: AdminConnection) -> None:
        self._topic = topic
        self._connection = connection
        self._doing = f"cannot look up topic {topic!r}"
        #: ``None`` until the cluster was seen.
        self._embedded: bool | None = None
        self._told = False

    def describe(self, deadline: Deadline) -> TopicDescription:
        """Return which topic this is."""
        metadata = self._connection.metadata(deadline, self._topic)
        cluster_id = str(metadata.cluster_id)
        self._embedded = cluster_id.startswith(EMBEDDED_CLUSTER)
        topic_id, partitions = NO_TOPIC_ID, len(metadata.topics[self._topic].partitions)
        if not self._embedded:
            topic_id, partitions = self._id_and_partitions(deadline) or (topic_id, partitions)
        return TopicDescription(cluster_id=cluster_id, topic=self._topic, topic_id=topic_id, partitions=partitions)

    def _id_and_partitions(self, deadline: Deadline) -> tuple[str, int] | None:
        """Return both from one answer, so that they are of one topic; ``None`` where the broker knows no ids."""

        def question(client: AdminClient, limit: float) -> tuple[str, int]:
            future = client.describe_topics(TopicCollection([self._topic]), request_timeout=limit)[self._topic]
            found = _resolve(future, limit)
            # The alphabet in which Kafka's own tools print it, which is also safe inside keys and paths.
            return str(found.topic_id).translate(URL_SAFE), len(found.partitions)

        try:
            return self._connection.ask(deadline, self._doing, question)
        except TopicUnavailable as exc:
            if not _is_unsupported(exc):
                raise
            return None

    def _is_embedded(self, deadline: Deadline) -> bool:
        if self._embedded is None:
            metadata = self._connection.metadata(deadline, self._topic)
            self._embedded = str(metadata.cluster_id).startswith(EMBEDDED_CLUSTER)
        return self._embedded

    def watermarks(self, partitions: Sequence[int], deadline: Deadline) -> dict[int, Watermarks]:
        """Return low and high; low first, so that retention in between does not put it above high."""
        lows = self._offsets(partitions, EARLIEST, deadline)
        highs = self._offsets(partitions, LATEST, deadline)
        return {partition: Watermarks(lows[partition], highs[partition]) for partition in partitions}

    def ends(self, partitions: Sequence[int], deadline: Deadline) -> dict[int, int]:
        """Return high alone."""
        return self._offsets(partitions, LATEST, deadline)

    def offsets_at(self, partitions: Sequence[int], milliseconds: int, deadline: Deadline) -> dict[int, int]:
        """Return the first offset at or after a time."""
        if self._is_embedded(deadline):
            if not self._told:
                log.warning(
                    "the embedded broker cannot look offsets up by time: all that it holds is taken",
                    extra={"action": "offsets_by_time_unknown"},
                )
                self._told = True
            return self._offsets(partitions, EARLIEST, deadline)
        # The ends first: a record that is appended in between is then found, at worst once more.
        ends = self.ends(partitions, deadline)
        found = self._offsets(partitions, OffsetSpec.for_timestamp(milliseconds), deadline)
        return {partition: found[partition] if found[partition] >= 0 else ends[partition] for partition in partitions}

    def _offsets(self, partitions: Sequence[int], spec: OffsetSpec, deadline: Deadline) -> dict[int, int]:
        if not partitions:
            return {}

        def question(client: AdminClient, limit: float) -> dict[int, int]:
            futures = client.list_offsets(
                {TopicPartition(self._topic, partition): spec for partition in partitions},
                isolation_level=IsolationLevel.READ_COMMITTED,
                request_timeout=limit,
            )
            try:
                return {at.partition: _offset(_resolve(future, limit)) for at, future in futures.items()}
            except KafkaException:
                # "No leaders found" may be an election, or a topic that is not there: the latter ends this at once.
                self._connection.metadata(deadline, self._topic)
                raise

        return self._connection.ask(deadline, self._doing, question)

    def topic_config(self, deadline: Deadline) -> dict[str, str] | None:
        """Return the settings."""
        if self._is_embedded(deadline):
            return None

        def question(client: AdminClient, limit: float) -> dict[str, str]:
            resource = ConfigResource(ConfigResource.Type.TOPIC, self._topic)
            [future] = client.describe_configs([resource], request_timeout=limit).values()
            return {name: str(entry.value) for name, entry in _resolve(future, limit).items()}

        try:
            return self._connection.ask(deadline, self._doing, question)
        except TopicUnavailable as exc:
            if not _is_unsupported(exc):
                raise
            return None

    def close(self) -> None:
        """Release the connection."""
        self._connection.close()


def _resolve(future: Future[Any], limit: float) -> Any:
    return resolved(future, limit + RESOLVES_WITHIN)


def _offset(found: ListOffsetsResultInfo) -> int:
    """
    Return an offset, -1 where there is none at or after a time.

    Raises:
        KafkaException: There is none because the broker did not answer. librdkafka, once it knows the leaders, tells
            of that in no other way; taken for an offset it would say that the log has lost all its records.
    """
    offset: int = found.offset
    if offset == OFFSET_INVALID:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001 -- so it is called
    return offset


def _is_unsupported(raised: TopicUnavailable) -> bool:
    cause = raised.__cause__
    return isinstance(cause, KafkaException) and error_of(cause).code() in UNSUPPORTED
