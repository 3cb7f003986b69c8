"""Reads chosen partitions of Kafka from explicit offsets. Joins no group, stores no offset, decodes nothing."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Final, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streamresults.deadline import Deadline
from streamresults.errors import StreamResultsError, TopicUnavailable
from streamresults.topic.base import POLL_MAX, TopicReader
from streamresults.topic.kafka_errors import FATAL, FORBIDDEN, MISSING, OUT_OF_RANGE, describe, error_of, translate
from streamresults.topic.kafka_handles import Forkable, LastError, Settings, open_handle
from streamresults.topic.records import Polled, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from confluent_kafka import Message

log: Final = logging.getLogger(__name__)

#: Seconds of one call into librdkafka. It serialises all calls on a consumer, so a change of the assignment waits for
#: the slice to end. Smaller costs CPU while idle (at 10 ms about 0.5 % of a core more than at 1 s), larger delays the
#: first record of a partition that is being added.
POLL_SLICE: Final = 0.01

#: Seconds for which a reader without partitions asks for leaders when it is opened. Smaller is not enough for a distant
#: broker, larger makes the first poll overrun its timeout when there is none.
LEARN_WITHIN: Final = 0.25

#: Seconds between two looks at librdkafka's log while nothing is assigned. Smaller wakes an idle process more often,
#: larger delays the log.
IDLE_SLICE: Final = 1.0

NOTHING: Final = Polled([], {}, {})


class Sorter:
    """
    Sorts what librdkafka hands over into records, ends and errors.

    An error that ends the reading is kept until the records before it were delivered.
    """

    __slots__ = ("_doing", "_failure", "_topic")

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._doing = f"cannot read topic {topic!r}"
        self._failure: StreamResultsError | None = None

    def raise_failure(self) -> None:
        """Raise what a former call kept."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def fail(self, failure: StreamResultsError) -> None:
        """Keep an error for the next :meth:`raise_failure`."""
        self._failure = failure

    def sort(self, messages: Sequence[Message]) -> Polled:
        """Return the messages sorted; raise at once when there are errors only."""
        # A message is a record as it is; its own type says more of headers than arrives, as nothing decodes them.
        records = cast("list[Record]", [message for message in messages if message.error() is None])
        if len(records) == len(messages):
            return Polled(records, {}, {})
        ends: dict[int, int] = {}
        out_of_range: dict[int, int] = {}
        for message in messages:
            self._sort_one(message, ends, out_of_range)
        if not records and not ends and not out_of_range:
            self.raise_failure()
        return Polled(records, ends, out_of_range)

    def _sort_one(self, message: Message, ends: dict[int, int], out_of_range: dict[int, int]) -> None:
        error, partition, offset = message.error(), message.partition(), message.offset()
        if error is None:
            # An end that was reached before this record is no longer the end.
            ends.pop(-1 if partition is None else partition, None)
            return
        code = error.code()
        if code == KafkaError._PARTITION_EOF and partition is not None and offset is not None:  # noqa: SLF001
            ends[partition] = offset
        elif code in OUT_OF_RANGE and partition is not None and offset is not None:
            out_of_range[partition] = offset
        elif error.fatal() or code in FATAL or code in MISSING or code in FORBIDDEN:
            self._failure = translate(error, self._doing, topic=self._topic)
        else:
            log.debug("librdkafka goes on after %s", describe(error), extra={"action": "read_error_passed"})


class KafkaReader(Forkable, TopicReader):
    """
    One librdkafka consumer, used by whoever polls, one thread at a time.

    Other threads leave their wishes in a list, which whoever polls fulfils at the next slice: librdkafka would
    make them wait for its lock, behind a thread that takes it again at once.
    """

    def __init__(self, topic: str, settings: Settings) -> None:
        super().__init__()
        self._topic = topic
        self._settings = settings
        self._sorter = Sorter(topic)
        self._consumer: Consumer | None = None
        #: Held by the thread inside poll.
        self._polling = threading.Lock()
        #: Guards the fields below it, and wakes a poll that has nothing to read.
        self._changed = threading.Condition()
        self._wishes: list[Callable[[Consumer], None]] = []
        self._woken = False
        self._closed = False
        #: Touched by whoever polls only.
        self._assigned: set[int] = set()

    def assign(self, offsets: Mapping[int, int]) -> None:
        """Add partitions."""
        wanted = dict(offsets)
        self._wish(lambda consumer: self._assign(consumer, wanted))

    def unassign(self, partitions: Sequence[int]) -> None:
        """Drop partitions."""
        unwanted = list(partitions)
        self._wish(lambda consumer: self._unassign(consumer, unwanted))

    def wake(self) -> None:
        """Return within a slice."""
        with self._changed:
            self._woken = True
            self._changed.notify()

    def _wish(self, wish: Callable[[Consumer], None]) -> None:
        if self.forked:
            raise self.not_here()
        with self._changed:
            self._wishes.append(wish)
            self._changed.notify()

    def _assign(self, consumer: Consumer, offsets: dict[int, int]) -> None:
        self._unassign(consumer, list(offsets))
        consumer.incremental_assign([TopicPartition(self._topic, at, offset) for at, offset in offsets.items()])
        self._assigned.update(offsets)

    def _unassign(self, consumer: Consumer, partitions: list[int]) -> None:
        known = self._assigned.intersection(partitions)
        if known:
            consumer.incremental_unassign([TopicPartition(self._topic, partition) for partition in known])
            self._assigned -= known

    def poll(self, timeout: float) -> Polled:
        """Return what arrived."""
        with self._polling:
            if self._closed or self.forked:
                raise self.not_here() if self.forked else TopicUnavailable(f"the reader of {self._topic!r} is closed")
            consumer = self._consumer
            if consumer is None:
                settings = {**self._settings, "error_cb": LastError()}
                consumer = self._consumer = open_handle(Consumer, settings, f"cannot read topic {self._topic!r}")
                if not self._wishes:
                    self._learn_leaders(consumer)
            self._sorter.raise_failure()
            return self._poll_slices(consumer, Deadline(timeout))

    def _learn_leaders(self, consumer: Consumer) -> None:
        """
        Connect while there is nothing else to do.

        librdkafka asks for a partition's leader when it is assigned, and if it is not connected yet, or has given up
        on its first try, asks again after 0.5 s or 1 s. It remembers the answer to this question.
        """
        with contextlib.suppress(KafkaException):
            consumer.list_topics(self._topic, LEARN_WITHIN)

    def _poll_slices(self, consumer: Consumer, deadline: Deadline) -> Polled:
        while True:
            self._fulfil(consumer)
            messages = self._take(consumer, deadline.remaining(POLL_SLICE if self._assigned else 0.0))
            if messages:
                polled = self._sorter.sort(messages)
                if polled != NOTHING:
                    return polled
            if self._interrupted(deadline) or deadline.passed():
                return NOTHING

    def _take(self, consumer: Consumer, seconds: float) -> list[Message]:
        """Wait for one message, then take all that there are: ``consume`` alone would wait for the last of many."""
        try:
            first = consumer.poll(seconds)
            return [] if first is None else [first, *consumer.consume(POLL_MAX - 1, 0)]
        except KafkaException as exc:
            raise translate(error_of(exc), f"cannot read topic {self._topic!r}", topic=self._topic) from exc

    def _fulfil(self, consumer: Consumer) -> None:
        if not self._wishes:
            return
        with self._changed:
            wishes, self._wishes = self._wishes, []
        for wish in wishes:
            try:
                wish(consumer)
            except KafkaException as exc:
                raise translate(error_of(exc), f"cannot read topic {self._topic!r}", topic=self._topic) from exc

    def _interrupted(self, deadline: Deadline) -> bool:
        """Tell whether poll is to return; with nothing to read, wait for a reason first."""
        if self._assigned and not self._woken and not self._closed:
            return False
        with self._changed:
            if not self._assigned:
                self._changed.wait_for(
                    lambda: self._wishes or self._woken or self._closed, deadline.remaining(IDLE_SLICE)
                )
            woken, self._woken = self._woken, False
            return woken or self._closed

    def close(self) -> None:
        """End a poll and release the consumer."""
        if self.forked:
            return
        with self._changed:
            self._closed = True
            self._changed.notify()
        with self._polling:
            consumer, self._consumer = self._consumer, None
            if consumer is not None:
                consumer.close()

    def abandon(self) -> object | None:
        """Leave the handle to the parent."""
        self._polling, self._changed = threading.Lock(), threading.Condition()
        return self._consumer
