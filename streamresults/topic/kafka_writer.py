"""Appends records to Kafka through one idempotent producer. Knows nothing of events, retries nothing by itself."""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaException, Producer

from streamresults.errors import ConfigurationError, StreamResultsError, TopicUnavailable
from streamresults.topic.base import TopicWriter
from streamresults.topic.kafka_deliveries import Interrupted, delivery, ignore, lost_acknowledgement, text
from streamresults.topic.kafka_errors import MISSING, append_failure, describe, error_of, is_fatal, translate
from streamresults.topic.kafka_handles import Forkable, LastError, Settings, list_topics, open_handle, retry
from streamresults.topic.kafka_turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import KafkaError

    from streamresults.deadline import Deadline
    from streamresults.topic.records import Acknowledgement, Headers

log: Final = logging.getLogger(__name__)

#: Bytes that librdkafka adds to key and value, and to headers, before it compares them with message.max.bytes.
FRAMING_BYTES: Final = 36

#: Seconds that the thread waits for acknowledgements at a time. Smaller wakes an idle process more often, larger makes
#: close() wait longer for the thread.
SERVE_SLICE: Final = 0.05

#: Records after which the thread that produces serves acknowledgements itself. The bindings hand the interpreter's lock
#: over for every acknowledgement, which costs 10 us between two threads that both want it, and nothing within one.
#: Fewer cost a call each, more leave so many waiting for the thread.
SERVE_EVERY: Final = 64

#: Seconds for which a thread that waits for an acknowledgement serves by itself: with the serving thread in between,
#: threads are switched twice more, up to a third of a confirmed publish. Shorter leaves slow brokers' answers to that
#: thread, longer holds up the handler of a signal.
ATTENDED: Final = 0.02

#: Seconds that a waiting caller sleeps at most before it looks again; a safety net, waking is by notification.
LOOK_AGAIN: Final = 0.1

#: Seconds in which purged records come back. They only pass through librdkafka's own queue, so this is generous.
PURGE_WITHIN: Final = 2.0

#: Seconds for which a new writer asks for metadata before it serves. Smaller is not enough for a distant broker,
#: larger makes close() wait when there is none.
HURRY_WITHIN: Final = 0.25


def _bytes_of(stated: Any) -> int:
    try:
        return int(stated)
    except ValueError as exc:
        msg = f"message.max.bytes of Kafka's properties is a number of bytes, not {stated!r}"
        raise ConfigurationError(msg) from exc


class KafkaWriter(Forkable, TopicWriter):
    """
    One librdkafka producer and the one thread that serves its acknowledgements; both start with the first use.

    Args:
        topic: Where the records go.
        settings: librdkafka's settings of the producer.

    Raises:
        ConfigurationError: message.max.bytes is no number.
    """

    def __init__(self, topic: str, settings: Settings) -> None:
        super().__init__()
        self._topic = topic
        self._settings = settings
        self._limit = _bytes_of(settings["message.max.bytes"]) - FRAMING_BYTES
        self._last = LastError()
        self._opening = threading.Lock()
        self._producer: Producer | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._turns = Turns()
        self._number = itertools.count().__next__
        #: The callbacks of what librdkafka was given and has not spoken of, by numbers that grow; its own count has its
        #: log lines too while a broker is down. It needs no lock: each step is one of the interpreter's.
        self._under_way: dict[int, Callable[[Acknowledgement], None]] = {}
        #: Records of lower numbers may be under way here and spoken of by librdkafka; 0 for none.
        self._in_doubt = 0
        #: Why a producer is given up, while its records are handed back.
        self._fatal: KafkaError | None = None
        self._deliver = delivery(self._under_way, lambda: self._fatal)
        #: The threads that serve: within a callback librdkafka must not be polled again, as a signal's handler would.
        self._within: set[int] = set()
        #: Grows with everything served.
        self._served = 0
        #: What ``_served`` was when the queue was last seen full.
        self._full_at = -1
        # Replaced by the producer's own method on first use, and by one that raises after close() or in a forked
        # child: so no call has to ask which of these it is.
        self._send: Callable[..., None] = self._send_first

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
        """Queue a record."""
        if topic is None:
            topic = self._topic
        number = self._number()
        callback = partial(self._deliver, number)
        # Before it is known how to send, so that closing sees it; no signal's handler can come between here and there.
        self._under_way[number] = on_ack or ignore
        send = self._send
        try:
            send(topic, value, key, partition, callback, None, 0, headers)
        except BufferError:
            return self._send_again(number, topic, value, key, partition, callback, None, 0, headers)
        except KafkaException as exc:
            if is_fatal(error_of(exc)):
                self._give_up(getattr(send, "__self__", None), error_of(exc))
                if self._send is not send:  # nothing of this record was taken
                    return self._send_again(number, topic, value, key, partition, callback, None, 0, headers)
            del self._under_way[number]
            raise self._refusal(exc, topic, value, key) from exc
        except Exception as exc:
            self._not_sent(number, exc)
            raise
        if not number % SERVE_EVERY:
            self._serve_here()
        return True

    def _serve_here(self) -> None:
        producer = self._producer
        if producer is None or threading.get_ident() in self._within:
            return
        if self._turns.take(SERVE_SLICE):
            try:
                self._serve_once(producer, 0)
            finally:
                self._turns.leave()
        self._turns.burst()

    def attend(self, done: Callable[[], bool], seconds: float) -> None:
        """Serve here for a moment, with the serving thread out of the way, unless somebody does already."""
        producer, seconds = self._producer, min(seconds, ATTENDED)
        if producer is None or threading.get_ident() in self._within:
            self._turns.urge()
        elif self._turns.take_to_wait(seconds):
            self._serve_until(done, producer, seconds)

    def _serve_until(self, done: Callable[[], bool], producer: Producer, seconds: float) -> None:
        try:
            until = time.monotonic() + seconds
            while not done() and (left := until - time.monotonic()) > 0:
                self._serve_once(producer, left)
        finally:
            self._turns.leave()
            # In this order: whoever comes in between has its own turn, and whoever came before is seen here.
            if self._under_way or not done():
                self._turns.urge()

    def urge(self) -> None:
        """Have the serving thread at work, burst or not."""
        self._turns.urge()

    def _send_again(self, number: int, *record: Any) -> bool:
        """
        Try a second time, knowing what had been served before it.

        So room that is made between the refusal and the wait for room is never missed: the wait compares with a
        count that was read before the last refusal.
        """
        self._full_at = self._served
        try:
            self._send(*record)
        except BufferError:
            del self._under_way[number]
            return False
        except KafkaException as exc:
            del self._under_way[number]
            raise self._refusal(exc, *record) from exc
        except Exception as exc:
            self._not_sent(number, exc)
            raise
        return True

    def _not_sent(self, number: int, exc: Exception) -> None:
        """Let go of a record that was not sent; if a signal's handler has raised, it may have been."""
        if isinstance(exc, StreamResultsError):
            del self._under_way[number]
        else:
            self._under_way[number] = ignore
            self._in_doubt = self._number()

    def _refusal(self, exc: KafkaException, topic: str, value: bytes | None, key: bytes, *_: Any) -> StreamResultsError:
        size = len(key) + len(value or b"")
        return append_failure(error_of(exc), topic, task_id=text(key), size=size, limit=self._limit)

    def _send_first(self, *record: Any) -> None:
        self._open().produce(*record)

    def wait_for_room(self, deadline: Deadline) -> bool:
        """Wait until something was acknowledged since the queue was seen full."""
        return self._wait(lambda: self._served != self._full_at, deadline)

    def flush(self, deadline: Deadline) -> int:
        """Wait for all acknowledgements."""
        if self.forked:
            raise self.not_here()
        if self._thread is None:
            return 0
        self._wait(lambda: not self._under_way, deadline)
        return len(self._under_way)

    def _wait(self, done: Callable[[], bool], deadline: Deadline) -> bool:
        if self.forked:
            raise self.not_here()
        turns = self._turns
        with turns.changed:
            # Counted before the first look: whoever serves after that look sees the count, and notifies.
            turns.waiting += 1
            turns.changed.notify_all()  # also the serving thread, if it keeps away from a burst
            try:
                while not done():
                    if deadline.passed() or self._stopping:
                        return False
                    turns.changed.wait(deadline.remaining(LOOK_AGAIN))
                return True
            finally:
                turns.waiting -= 1

    def warm(self, deadline: Deadline) -> None:
        """
        Connect, learn the partitions and let librdkafka fetch its producer id.

        A producer asks for its id when it finds a connected broker, and looks again only after 0.5 s. Metadata
        arrives over the connection that the id is fetched over; the second request outlasts the fetch.
        """
        doing = f"cannot write to topic {self._topic!r}: Kafka at {self._settings['bootstrap.servers']} did not answer"
        producer = self._open()
        for _ in range(2):
            metadata = retry(
                deadline,
                doing,
                lambda limit: list_topics(producer, limit, self._topic),
                fatal=frozenset(),
                last=self._last,
            )
        error = metadata.topics[self._topic].error
        if error is not None and error.code() in MISSING:
            raise translate(error, "cannot write", topic=self._topic)

    def close(self, deadline: Deadline) -> int:
        """Flush, fail what is left, end the thread."""
        with self._opening:
            closed, self._send = self._stopping, self._refuse
        thread = self._thread
        if closed or self.forked or thread is None:
            self._stopping = True
            return 0
        left = self.flush(deadline)
        producer = self._producer
        if left and producer is not None:
            producer.purge()
            self._wait_until_purged()
        self._stopping = True
        self.urge()  # out of its rest
        thread.join()
        with self._turns.changed:
            self._turns.changed.notify_all()
        self._producer = None
        return left

    def _wait_until_purged(self) -> None:
        from streamresults.deadline import Deadline  # noqa: PLC0415 - only this rare path needs more than the type

        self._wait(lambda: not self._under_way, Deadline(PURGE_WITHIN))

    def _open(self) -> Producer:
        """Return the producer, opened and served."""
        with self._opening:
            if self.forked:
                raise self.not_here()
            if self._send == self._refuse:
                self._refuse()
            if self._producer is None:
                doing = f"cannot open a writer of topic {self._topic!r}"
                producer = open_handle(Producer, {**self._settings, "error_cb": self._last}, doing)
                thread = threading.Thread(
                    target=self._serve, args=(producer,), name="streamresults-writer", daemon=True
                )
                self._producer, self._thread = producer, thread
                thread.start()
                self._send = producer.produce
            return self._producer

    def _serve(self, producer: Producer) -> None:
        """Serve acknowledgements until closed, but for bursts, which serve themselves."""
        with contextlib.suppress(KafkaException):
            # The same two questions as in warm(), so that a first record without it takes 60 ms instead of 0.5 s.
            for _ in range(2):
                producer.list_topics(self._topic, HURRY_WITHIN)
        while not self._stopping and self._producer is producer:
            if self._turns.next(SERVE_SLICE, idle=not self._under_way):
                self._serve_once(producer, SERVE_SLICE)
                self._turns.leave()
            if self._in_doubt and self._fatal is None and not len(producer):
                self._tell_of_lost()
        if self._producer is not producer:
            self._hand_back(producer)

    def _give_up(self, producer: object, error: KafkaError) -> None:
        """
        Let a producer go whose error is fatal: the next record opens another one, with another producer id.

        Its own thread hands back what it had not acknowledged.
        """
        with self._opening:
            if self._producer is not producer or self._stopping or self._send == self._refuse:
                return
            self._fatal = error
            self._producer, self._send = None, self._send_first
        log.error(
            "the producer of topic %s is given up, and the next record opens another one: %s",
            self._topic,
            describe(error),
            extra={"action": "producer_given_up", "topic": self._topic},
        )

    def _hand_back(self, producer: Producer) -> None:
        """Fail what a producer that was given up has not acknowledged; each record's callback hears of it."""
        deadline = time.monotonic() + PURGE_WITHIN
        producer.purge()
        while len(producer) and time.monotonic() < deadline:
            self._serve_once(producer, SERVE_SLICE)
        self._fatal = None
        with self._turns.changed:
            self._served += 1  # there is room again
            self._turns.changed.notify_all()

    def _serve_once(self, producer: Producer, seconds: float) -> None:
        served = 1
        me = threading.get_ident()
        try:
            self._within.add(me)
            served = producer.poll(seconds)
        except KafkaException as exc:
            # librdkafka's own word, raised in the middle of serving: what is left is served by the next call.
            if is_fatal(error_of(exc)):
                self._give_up(producer, error_of(exc))
            else:
                log.warning("%s", describe(error_of(exc)), extra={"action": "producer_error"})
        except BaseException as exc:
            on_main = threading.current_thread() is threading.main_thread()
            if self._told_all_the_same(exc) and (on_main or not isinstance(exc, Exception)):
                raise
            log.exception("a callback of a produced record failed", extra={"action": "ack_callback_failed"})
        finally:
            self._within.discard(me)
            if served:
                with self._turns.changed:
                    self._served += served
                    if self._turns.waiting:
                        self._turns.changed.notify_all()

    def _told_all_the_same(self, exc: BaseException) -> bool:
        """
        Call a callback once more that an exception has ended; ``False`` when it raises again: the exception is its own.

        Any other is that of a signal's handler, which on the main thread may raise anywhere: whoever produces there is
        to get it, and the record that was served at that moment is to be told of.
        """
        ended = Interrupted.by(exc, self._deliver)
        if ended is None:  # perhaps before a callback began
            self._in_doubt = self._number()
            return True
        return ended.again()

    def _tell_of_lost(self) -> None:
        """Tell of records that librdkafka has spoken of, once and for all, as a callback was ended before it began."""
        below, self._in_doubt = self._in_doubt, 0
        lost = [number for number in list(self._under_way) if number < below]
        for number in lost:
            on_ack = self._under_way.pop(number, ignore)
            try:
                on_ack(lost_acknowledgement(self._topic))
            except Exception:
                log.exception("a callback of a produced record failed", extra={"action": "ack_callback_failed"})
        with self._turns.changed:
            self._served += len(lost)
            self._turns.changed.notify_all()

    def _refuse(self, *_record: Any) -> None:
        raise self.not_here() if self.forked else TopicUnavailable(f"the writer of topic {self._topic!r} is closed")

    def abandon(self) -> object | None:
        """Leave the handle to the parent."""
        self._send = self._refuse
        # Another thread may have held these when the process forked.
        self._opening, self._turns = threading.Lock(), Turns()
        return self._producer
