"""Takes part in a Kafka consumer group, by the newest protocol that the brokers speak. Decides no offset by itself."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streamresults.errors import TopicUnavailable
from streamresults.topic.base import GROUP_POLL_MAX, GroupEvents, TopicGroup
from streamresults.topic.kafka_errors import COMMIT_REFUSED, UNSUPPORTED, describe, error_of, translate
from streamresults.topic.kafka_handles import GROUP_REQUEST, Forkable, LastError, Settings, open_handle
from streamresults.topic.kafka_reader import NOTHING, Sorter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from confluent_kafka import Message

    from streamresults.topic.records import Polled

log: Final = logging.getLogger(__name__)

#: Seconds for which a seek waits for a partition that was assigned just now and is not being fetched yet. Smaller
#: fails on a loaded machine, larger hides a partition that will never be fetched.
SEEK_WITHIN: Final = 5.0

#: Seconds for a commit that is waited for, and for leaving the group, each. Smaller gives up during an election;
#: larger makes a process outlive the grace that it is given to stop, where the brokers do not answer.
LEAVE_WITHIN: Final = 8.0

#: Seconds after which a member that was given nothing says so. Smaller cries during a normal rebalance, larger leaves
#: whoever runs an old broker without a hint.
SILENT_FOR: Final = 20.0

#: Of a classic member only; the newer protocol takes these times from the brokers. Smaller throws out members in a
#: long garbage collection, larger leaves the partitions of a killed member unread for longer.
CLASSIC: Final[Mapping[str, Any]] = {
    "group.protocol": "classic",
    "partition.assignment.strategy": "cooperative-sticky",
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 1_000,
}


class Protocol:
    """
    Which group protocol the brokers speak; one per cluster, learned from their first refusal.

    Brokers older than Kafka 3.7 do not refuse, they never answer: for these the property ``group.protocol=classic``
    is needed.
    """

    __slots__ = ("classic",)

    def __init__(self, *, classic: bool = False) -> None:
        self.classic = classic

    def settings(self) -> Mapping[str, Any]:
        """Return librdkafka's settings for it."""
        return CLASSIC if self.classic else {"group.protocol": "consumer"}


class KafkaGroup(Forkable, TopicGroup):
    """One librdkafka consumer that is subscribed to one topic."""

    def __init__(self, topic: str, settings: Settings, protocol: Protocol, overrides: Settings) -> None:
        super().__init__()
        self._topic = topic
        self._doing = f"cannot read topic {topic!r} in group {settings['group.id']!r}"
        self._settings = settings
        self._overrides = overrides
        self._protocol = protocol
        self._sorter = Sorter(topic)
        self._events: GroupEvents | None = None
        self._opened: Consumer | None = None
        self._leaving = False
        self._raised: BaseException | None = None
        #: When a member that was never given anything says so; ``None`` once it was, or has said so.
        self._complain_at: float | None = None
        #: Partitions that were taken away, and where those begin that were given, since the current poll began.
        self._taken: set[int] = set()
        self._given: dict[int, int] = {}

    def join(self, events: GroupEvents) -> None:
        """Subscribe."""
        self._events = events
        settings = {
            **self._settings,
            **self._protocol.settings(),
            **self._overrides,
            "error_cb": LastError(),
            "on_commit": _log_commit,
        }
        consumer = self._opened = open_handle(Consumer, settings, self._doing)
        self._complain_at = None if self._protocol.classic else time.monotonic() + SILENT_FOR
        consumer.subscribe([self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    def _consumer(self) -> Consumer:
        if self.forked:
            raise self.not_here()
        if self._opened is None:
            msg = f"{self._doing}: it has not joined, or has left"
            raise TopicUnavailable(msg)
        return self._opened

    def poll(self, timeout: float) -> Polled:
        """Return what arrived."""
        consumer = self._consumer()
        self._sorter.raise_failure()
        self._taken, self._given = set(), {}
        try:
            first = consumer.poll(timeout)
            messages = [] if first is None else [first, *consumer.consume(GROUP_POLL_MAX - 1, 0)]
        except KafkaException as exc:
            raise translate(error_of(exc), self._doing, topic=self._topic) from exc
        if self._raised is not None:
            raised, self._raised = self._raised, None
            raise raised
        if not self._protocol.classic and any(_says_unsupported(m) for m in messages if m.error() is not None):
            self._fall_back(consumer)
            return NOTHING
        if self._complain_at is not None and time.monotonic() > self._complain_at:
            self._complain()
        return self._sorter.sort(self._without_taken(consumer, messages))

    def _complain(self) -> None:
        self._complain_at = None
        log.warning(
            "this group member was given nothing within %g s: other members may have every partition; "
            "brokers older than Kafka 3.7 need the property group.protocol=classic",
            SILENT_FOR,
            extra={"action": "group_silent"},
        )

    def _fall_back(self, consumer: Consumer) -> None:
        """Join again with the protocol that every broker speaks."""
        log.info("the brokers know only the classic group protocol", extra={"action": "group_protocol_classic"})
        self._protocol.classic = True
        consumer.close()
        if self._events is not None:
            self.join(self._events)

    def _without_taken(self, consumer: Consumer, messages: list[Message]) -> list[Message]:
        """
        Drop what was fetched of partitions that were taken away while this poll ran.

        One that also came back is read again from where it was to begin: what is dropped may be its first records.
        """
        if not self._taken:
            return messages
        for partition in self._taken & self._given.keys():
            self._seek(consumer, partition, self._given[partition])
        return [message for message in messages if message.partition() not in self._taken]

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            offsets = self._tell("on_assigned", partitions)
        except BaseException as exc:  # noqa: BLE001 - kept, and raised by poll: librdkafka would lose it
            self._raised = exc
            # The group waits until these are taken; paused, they deliver nothing that nobody is prepared for.
            consumer.incremental_assign([TopicPartition(self._topic, at.partition, 0) for at in partitions])
            consumer.pause(partitions)
            return
        self._given.update(offsets)
        self._complain_at = None
        consumer.incremental_assign([TopicPartition(self._topic, at, offset) for at, offset in offsets.items()])

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._drop(consumer, "on_revoked", partitions)

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._drop(consumer, "on_lost", partitions)

    def _drop(self, consumer: Consumer, event: str, partitions: list[TopicPartition]) -> None:
        numbers = {at.partition for at in partitions}
        self._taken |= numbers
        for partition in numbers:
            self._given.pop(partition, None)
        try:
            if not self._leaving:
                self._tell(event, partitions)
        except BaseException as exc:  # noqa: BLE001 - kept, and raised by poll: librdkafka would lose it
            self._raised = exc
        consumer.incremental_unassign(partitions)

    def _tell(self, event: str, partitions: list[TopicPartition]) -> dict[int, int]:
        """Call the member's event; return the offsets that it answers with."""
        listener: Callable[[Sequence[int]], Mapping[int, int] | None] = getattr(self._events, event)
        return dict(listener(sorted(at.partition for at in partitions)) or {})

    def seek(self, partition: int, offset: int) -> None:
        """Read on from elsewhere."""
        self._seek(self._consumer(), partition, offset)

    def _seek(self, consumer: Consumer, partition: int, offset: int) -> None:
        give_up = time.monotonic() + SEEK_WITHIN
        while True:
            try:
                consumer.seek(TopicPartition(self._topic, partition, offset))
            except KafkaException as exc:
                error = error_of(exc)
                if error.code() != KafkaError._STATE or time.monotonic() > give_up:  # noqa: SLF001
                    raise translate(error, self._doing, topic=self._topic) from exc
                time.sleep(0.005)
            else:
                return

    def ends(self, partitions: Sequence[int]) -> dict[int, int]:
        """Return what the fetches told of the ends."""
        consumer, found = self._consumer(), {}
        for named in self._named(partitions):
            known = consumer.get_watermark_offsets(named, cached=True)
            if known is not None and known[1] >= 0:
                found[named.partition] = known[1]
        return found

    def pause(self, partitions: Sequence[int]) -> None:
        """Deliver nothing of these."""
        self._consumer().pause(self._named(partitions))

    def resume(self, partitions: Sequence[int]) -> None:
        """Deliver again."""
        self._consumer().resume(self._named(partitions))

    def _named(self, partitions: Sequence[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition) for partition in partitions]

    def commit(self, offsets: Mapping[int, int], *, wait: bool) -> None:
        """Store offsets for lag tools."""
        named = [TopicPartition(self._topic, at, offset) for at, offset in offsets.items()]
        if not named:
            return
        try:
            if wait:
                consumer = self._consumer()
                committed = _bounded(lambda: consumer.commit(offsets=named, asynchronous=False))
                if committed is not None:
                    _check(committed)
            else:
                self._consumer().commit(offsets=named, asynchronous=True)
        except KafkaException as exc:
            error = error_of(exc)
            if error.code() not in COMMIT_REFUSED:
                raise translate(error, f"cannot commit offsets of topic {self._topic!r}") from exc
            _log_commit(error, named)

    def close(self) -> None:
        """Leave the group."""
        if self.forked:
            return
        self._leaving = True
        consumer, self._opened = self._opened, None
        if consumer is not None:
            _bounded(consumer.close)

    def abandon(self) -> object | None:
        """Leave the handle to the parent."""
        return self._opened


def _bounded(act: Callable[[], Any]) -> Any:
    """
    Do what librdkafka gives no time limit for, and return what it gave; ``None`` when the time was over.

    What does not end is left to a daemon thread, which ends with the process: nothing depends on it.
    """
    done: list[Any] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(act())
        except BaseException as exc:  # noqa: BLE001 - raised below, on the caller's thread
            failed.append(exc)

    thread = threading.Thread(target=run, name="streamresults-leave", daemon=True)
    thread.start()
    thread.join(LEAVE_WITHIN)
    if failed:
        raise failed[0]
    if not done:
        log.warning("the brokers did not answer in %g s", LEAVE_WITHIN, extra={"action": "leave_unanswered"})
        return None
    return done[0]


def _says_unsupported(message: Message) -> bool:
    """Tell whether the brokers refused the newer group protocol."""
    error = message.error()
    if error is None:
        return False
    # librdkafka ends such a consumer with a fatal error, whose own code says no more than that.
    fatal = error.code() == KafkaError._FATAL and GROUP_REQUEST in error.str()  # noqa: SLF001
    return fatal or error.code() in UNSUPPORTED


def _check(committed: list[TopicPartition]) -> None:
    """Raise the first error of single partitions, as librdkafka does for the whole."""
    for at in committed:
        if at.error is not None:
            raise KafkaException(at.error)


def _log_commit(error: KafkaError | None, _offsets: list[TopicPartition]) -> None:
    if error is not None:
        log.debug("a commit was refused: %s", describe(error), extra={"action": "commit_refused"})
