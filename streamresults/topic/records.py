"""What passes between a log of records and the flows: records, what became of them, and what is said of their topic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Bytes of the largest batch that the topic of results is to take: Kafka's own default.
BATCH_BYTES: Final = 1_048_588
#: Bytes of the largest record, key and value together, so that a writer refuses what the topic would: what a batch
#: holds besides one record is less than the rest.
RECORD_BYTES: Final = 1_048_000

#: Topic id of a broker that has none to tell: a topic that was deleted and made again is then not noticed.
NO_TOPIC_ID: Final = "none"

Headers = list[tuple[str, bytes | None]]


class Record(Protocol):
    """One record as read. The methods are those of ``confluent_kafka.Message``, which is passed through as it is."""

    def partition(self) -> int | None:
        """Return the partition."""

    def offset(self) -> int | None:
        """Return the offset."""

    def key(self) -> bytes | str | None:
        """Return the key's bytes."""

    def value(self) -> bytes | str | None:
        """Return the value's bytes; ``None`` is a tombstone."""

    def timestamp(self) -> tuple[int, int]:
        """Return (kind, milliseconds since 1970): the broker's append time if the topic is set up as it should be."""

    def headers(self) -> Headers | Mapping[str, bytes | None] | None:
        """Return the headers, in order; ``None`` without any."""


class Acknowledgement(NamedTuple):
    """What became of one produced record: handed to its callback once."""

    #: ``None`` when the brokers hold the record; else an AppendFailed or a RecordTooLarge.
    error: Exception | None
    partition: int
    #: -1 when it is not known.
    offset: int


class TopicDescription(msgspec.Struct, frozen=True, kw_only=True):
    """Which topic this is, so that a view or a position of another one is recognised."""

    cluster_id: str
    topic: str
    #: Kafka's own id of this incarnation of the topic; :data:`NO_TOPIC_ID` where the broker has none to tell.
    topic_id: str
    partitions: int


class Watermarks(NamedTuple):
    """The bounds of what a partition holds."""

    #: The oldest offset that can still be read.
    low: int
    #: One past the last record that a reader may see.
    high: int


class Polled(NamedTuple):
    """What one poll brought."""

    records: Sequence[Record]
    #: Partitions whose end was reached, with the offset that the next record there will have or exceed.
    ends: Mapping[int, int]
    #: Partitions whose offset the log no longer holds, or never held: they deliver nothing until assigned anew.
    out_of_range: Mapping[int, int]


class TopicSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a topic is to be created; replication -1 takes 3 where there are 3 brokers, else 1."""

    partitions: int
    replication: int = -1
    #: Kafka's topic settings by their own names.
    config: dict[str, str] = msgspec.field(default_factory=dict)


class ClusterDescription(NamedTuple):
    """What the brokers say of themselves."""

    brokers: int
    #: A broker inside a client library, which has no settings of topics.
    embedded: bool
    #: By topic: partitions, and the least number of replicas that one of them has.
    topics: Mapping[str, tuple[int, int]]
