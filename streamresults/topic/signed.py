"""
A cluster whose records are signed: what is written gets a signature, and what is read without a right one is refused.

It stands around any other broker, and only where signatures are configured: elsewhere they cost nothing. It signs and
checks the topics that it is told of, the results and their schemas, and leaves all others alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streamresults.errors import SignatureRefused
from streamresults.events.signatures import SIGNATURE
from streamresults.topic.base import Broker, TopicGroup, TopicReader, TopicWriter
from streamresults.topic.headers import read_headers
from streamresults.topic.records import Polled
from streamresults.topic.refusals import Refusals
from streamresults.topic.refused import RefusedRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    from streamresults.deadline import Deadline
    from streamresults.events.signatures import Keyring
    from streamresults.topic.base import GroupEvents, TopicInspector
    from streamresults.topic.records import Acknowledgement, ClusterDescription, Headers, Record, TopicSettings

#: What Kafka calls a time that the broker has set.
_BY_BROKER: Final = 2


class SignedBroker(Broker):
    """
    Args:
        inner: The cluster itself.
        topics: The topics whose records are signed.
    """

    def __init__(self, inner: Broker, keyring: Keyring, topics: Container[str]) -> None:
        self._inner: Final = inner
        self._keyring: Final = keyring
        self._topics: Final = topics
        #: What this process has refused.
        self.refusals: Final = Refusals()

    def writer(self, topic: str) -> TopicWriter:
        """Open a writer that signs; one of another topic as it is."""
        writer = self._inner.writer(topic)
        return SigningWriter(writer, self._keyring, topic, self._topics) if topic in self._topics else writer

    def reader(self, topic: str, *, bulk: bool = False) -> TopicReader:
        """Open a reader that checks."""
        reader = self._inner.reader(topic, bulk=bulk)
        return CheckingReader(reader, self._check(topic)) if topic in self._topics else reader

    def group(self, topic: str, group: str) -> TopicGroup:
        """Open a group's member that checks."""
        member = self._inner.group(topic, group)
        return CheckingGroup(member, self._check(topic)) if topic in self._topics else member

    def _check(self, topic: str) -> Check:
        return Check(topic, self._keyring, self.refusals)

    def inspector(self, topic: str) -> TopicInspector:
        """Open an inspector."""
        return self._inner.inspector(topic)

    def cluster(self, deadline: Deadline) -> ClusterDescription:
        """Return what there is."""
        return self._inner.cluster(deadline)

    def create_topics(self, topics: Mapping[str, TopicSettings], deadline: Deadline) -> dict[str, bool]:
        """Create what is missing."""
        return self._inner.create_topics(topics, deadline)

    def partition_of(self, key: bytes, partitions: int) -> int:
        """Return the partition of a key."""
        return self._inner.partition_of(key, partitions)


class Check:
    """Looks at the records of one topic as they are read. Thread-safe."""

    def __init__(self, topic: str, keyring: Keyring, refusals: Refusals) -> None:
        self._topic: Final = topic
        self._keyring: Final = keyring
        self._refusals: Final = refusals

    def polled(self, polled: Polled) -> Polled:
        """Return what a poll has brought, with what is refused marked as that."""
        if not polled.records:
            return polled
        return Polled([self._checked(record) for record in polled.records], polled.ends, polled.out_of_range)

    def _checked(self, record: Record) -> Record:
        kind, milliseconds = record.timestamp()
        try:
            self._keyring.check(
                self._topic,
                _as_bytes(record.key()),
                _as_bytes(record.value()),
                _signatures(record),
                milliseconds if kind == _BY_BROKER else None,
            )
        except SignatureRefused as exc:
            self._refusals.count(self._topic, record, exc)
            return RefusedRecord(record, exc)
        return record


def _as_bytes(data: bytes | str | None) -> bytes | None:
    return data.encode() if isinstance(data, str) else data


def _signatures(record: Record) -> list[bytes | None]:
    """Return the values of all headers that are to hold a signature."""
    headers = read_headers(record)
    if headers is None:
        raise SignatureRefused("the record's headers cannot be read: a name is no UTF-8", why="malformed")
    return [value for name, value in headers if name == SIGNATURE]


class SigningWriter(TopicWriter):
    """A writer whose records are signed as they are queued."""

    def __init__(self, inner: TopicWriter, keyring: Keyring, topic: str, topics: Container[str]) -> None:
        self._inner: Final = inner
        self._keyring: Final = keyring
        self._topic: Final = topic
        self._topics: Final = topics

    def produce(
        self,
        key: bytes,
        value: bytes | None,
        on_ack: Callable[[Acknowledgement], None] | None,
        *,
        headers: Headers | None = None,
        partition: int = -1,
        topic: str | None = None,
    ) -> bool:
        """
        Sign and queue a record.

        Raises:
            ConfigurationError: This process has no key to sign with.
        """
        target = topic or self._topic
        if target in self._topics:
            headers = [*(headers or ()), (SIGNATURE, self._keyring.sign(target, key, value))]
        return self._inner.produce(key, value, on_ack, headers=headers, partition=partition, topic=topic)

    def attend(self, done: Callable[[], bool], seconds: float) -> None:
        """Say that this thread waits for an acknowledgement."""
        self._inner.attend(done, seconds)

    def urge(self) -> None:
        """Say that somebody waits for an acknowledgement."""
        self._inner.urge()

    def wait_for_room(self, deadline: Deadline) -> bool:
        """Wait until the queue is not full."""
        return self._inner.wait_for_room(deadline)

    def flush(self, deadline: Deadline) -> int:
        """Wait for all acknowledgements."""
        return self._inner.flush(deadline)

    def warm(self, deadline: Deadline) -> None:
        """Connect."""
        self._inner.warm(deadline)

    def close(self, deadline: Deadline) -> int:
        """Flush and close."""
        return self._inner.close(deadline)


class CheckingReader(TopicReader):
    """A reader whose records are checked as they arrive."""

    def __init__(self, inner: TopicReader, check: Check) -> None:
        self._inner: Final = inner
        self._check: Final = check

    def assign(self, offsets: Mapping[int, int]) -> None:
        """Add partitions."""
        self._inner.assign(offsets)

    def unassign(self, partitions: Sequence[int]) -> None:
        """Stop reading partitions."""
        self._inner.unassign(partitions)

    def poll(self, timeout: float) -> Polled:
        """Return what has arrived; what is refused stands there as a :class:`RefusedRecord`."""
        return self._check.polled(self._inner.poll(timeout))

    def wake(self) -> None:
        """Make a blocked poll return."""
        self._inner.wake()

    def close(self) -> None:
        """Release the connection."""
        self._inner.close()


class CheckingGroup(TopicGroup):
    """A group's member whose records are checked as they arrive."""

    def __init__(self, inner: TopicGroup, check: Check) -> None:
        self._inner: Final = inner
        self._check: Final = check

    def join(self, events: GroupEvents) -> None:
        """Begin to take part."""
        self._inner.join(events)

    def poll(self, timeout: float) -> Polled:
        """Return what has arrived; what is refused stands there as a :class:`RefusedRecord`."""
        return self._check.polled(self._inner.poll(timeout))

    def seek(self, partition: int, offset: int) -> None:
        """Read on from an offset."""
        self._inner.seek(partition, offset)

    def ends(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """Return where partitions ended."""
        return self._inner.ends(partitions)

    def pause(self, partitions: Sequence[int]) -> None:
        """Deliver nothing of these partitions."""
        self._inner.pause(partitions)

    def resume(self, partitions: Sequence[int]) -> None:
        """Deliver again."""
        self._inner.resume(partitions)

    def commit(self, offsets: Mapping[int, int], *, wait: bool) -> None:
        """Store offsets with the group."""
        self._inner.commit(offsets, wait=wait)

    def close(self) -> None:
        """Leave the group."""
        self._inner.close()
