"""The reader: matches every record of the partitions that somebody waits on. It decodes no more than a prefix."""

from __future__ import annotations

import logging
import time
from threading import current_thread
from typing import TYPE_CHECKING, Final

from streamresults.client.answers import delivered_summary, state_of
from streamresults.client.decisions import AfterRecord, after_record
from streamresults.client.provenance import Basis
from streamresults.client.turn import Turn
from streamresults.client.waiter import Answer, Phase
from streamresults.errors import StreamResultsError
from streamresults.topic.coalescing import Coalescing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from streamresults.client.threads import Threads
    from streamresults.client.turn import Bell
    from streamresults.client.waiter import Waiter, Watch
    from streamresults.client.waits import Waits
    from streamresults.deadline import Deadline
    from streamresults.events.codec import Codec
    from streamresults.events.fold import Summary
    from streamresults.topic.base import TopicReader
    from streamresults.topic.records import Polled, Record

_log: Final = logging.getLogger("streamresults.waiter")
#: Seconds that the reader's poll blocks; an assignment wakes it earlier.
_POLL: Final = 0.1
#: Seconds that a poll blocks while somebody asks for the turn, or has it. Shorter polls an idle topic more often;
#: longer delays the turn, and the end of a wait that came from elsewhere than the topic.
_POLL_OF_TURN: Final = 0.01
#: Seconds between two polls that bring something, while many wait. Shorter wakes the reader, and who joins a set, for
#: each record by itself; longer tells of the ends later, together.
_APART_FOR_MANY: Final = 0.004
#: Seconds without another question for a schema after one that found nothing. Shorter lets broken records hold up the
#: waits for good ones, larger makes a wait miss the first record of a release whose schema has just been written.
_SCHEMA_PAUSE: Final = 1.0


class Reader:
    """
    Reads the topic and hands each record to whoever waits for its key.

    Args:
        open_reader: Opens a connection when the first partition is to be read; ``None`` without Kafka.
        forgotten: Told of every tombstone that comes by; must not block.
    """

    def __init__(
        self,
        waits: Waits,
        threads: Threads,
        codec: Codec,
        open_reader: Callable[[], TopicReader] | None,
        forgotten: Callable[[str], None] | None = None,
    ) -> None:
        self._waits: Final = waits
        self._threads: Final = threads
        self._codec: Final = codec
        self._open_reader: Final = open_reader
        self._forgotten: Final = forgotten
        self.connection: TopicReader | None = None
        self._no_schema_until = 0.0
        self._bytes_read = 0
        self._rate_window = (time.monotonic(), 0)
        self._coalescing: Final = Coalescing(_APART_FOR_MANY)
        #: Whose turn it is to poll.
        self.turn: Final = Turn(lambda: waits.closed)
        #: Bytes a second that are read.
        self.traffic = 0.0

    # -- for the other threads --------------------------------------------------------------------------------------

    def opened(self) -> TopicReader:
        """Return the connection; only the assigner's thread calls this."""
        if self.connection is None:
            assert self._open_reader is not None
            self.connection = self._open_reader()
            self._threads.start("reader", self._read_forever)
        return self.connection

    def read_from(self, offsets: Mapping[int, int]) -> None:
        """Fix where reading begins and send everybody to step 1, *then* have it read from there. Takes the lock."""
        connection = self.opened()
        with self._waits.lock:
            if connection is not self.connection:
                return  # it broke meanwhile: the next round takes the new one
            self._waits.send_to_step_1(offsets)
        connection.assign(offsets)

    def release_idle(self) -> None:
        """Stop reading partitions that nobody has waited on for a while. Takes the lock."""
        with self._waits.lock:
            idle = self._waits.idle()
            for watch in idle:
                watch.next_offset = -1
            if idle and self.connection is not None:
                # Under the lock: whoever waits next has the partition assigned after this, not before.
                self.connection.unassign([watch.partition for watch in idle])

    def wake(self) -> None:
        """Make a poll that blocks return."""
        if self.connection is not None:
            self.connection.wake()

    def ask_for_turn(self, waiter: Waiter, bell: Bell) -> None:
        """Have a thread that is about to block poll by itself once it sleeps, if nobody else waits. Takes the lock."""
        connection = self.connection
        if connection is None or not waiter.through_topic:
            return
        with self._waits.lock:
            alone = self._waits.is_alone(waiter)
        if alone and self.turn.ask(bell, lambda: waiter.phase is Phase.ASLEEP):
            connection.wake()

    def poll_for(self, waiter: Waiter, bell: Bell, deadline: Deadline) -> bool:
        """Poll in the turn that was lent while a wait sleeps, until its time; tell whether the turn is still there."""
        connection = self.connection
        try:
            while waiter.phase is Phase.ASLEEP and not deadline.passed() and connection is not None:
                polled = connection.poll(deadline.remaining(_POLL_OF_TURN))
                if polled.records and self._unknown(polled.records):  # the reader has time to ask for their schemas
                    self.turn.leave(bell, polled)
                    return False
                self._hand_out(polled)
        except BaseException as exc:
            self.turn.leave(bell, exc)  # whose turn it is then starts the reader again
            if not isinstance(exc, Exception):
                raise
            return False
        if waiter.phase is Phase.ASLEEP:
            return True
        self.turn.leave(bell)
        return False

    def close(self) -> None:
        """Release the connection; the threads have ended."""
        if self.connection is not None:
            self.connection.close()

    # -- the thread -------------------------------------------------------------------------------------------------

    def _read_forever(self) -> None:
        reader = self.connection
        assert reader is not None
        self.turn.owner = current_thread()
        while not self._waits.closed:
            try:
                polled = reader.poll(_POLL_OF_TURN if self.turn.is_asked_for else _POLL)
                self._dispatch(polled)
                if polled.records and self._waits.are_many():
                    self._coalescing.rest()
                left = self.turn.lend()
                if left is not None:
                    self._dispatch(left)
            except BaseException as exc:  # noqa: BLE001 -- whatever a record or the client library does, waits must go on
                if self._waits.closed:
                    return
                _log.warning(
                    "the reader failed and starts again: %s",
                    exc,
                    exc_info=not isinstance(exc, StreamResultsError),
                    extra={"action": "reader_failed"},
                )
                reader = self._restart(reader)

    def _dispatch(self, polled: Polled) -> None:
        if polled.records:
            self._learn_schemas(self._unknown(polled.records))
        self._hand_out(polled)

    def _hand_out(self, polled: Polled) -> None:
        if polled.records:
            with self._waits.lock:
                rang = False
                for record in polled.records:
                    rang = self._match(record) or rang
                if rang:
                    self._waits.lock.notify_all()
        self._measure(polled.records)
        if polled.out_of_range:
            self._lose_place(polled.out_of_range)

    def _unknown(self, records: Sequence[Record]) -> list[bytes]:
        """Return awaited values of releases that are newer than this one, where their schemas are to be asked for."""
        header = self._codec.header
        unknown = []
        for record in records:
            value = record.value()
            if not isinstance(value, bytes) or value.startswith(header):  # nearly all
                continue
            watch = self._waits.watches.get(record.partition() or 0)
            key = record.key()
            if watch is not None and key in watch.waiters and not self._codec.is_known(value):
                unknown.append(value)
        return unknown if unknown and time.monotonic() >= self._no_schema_until else []

    def _learn_schemas(self, values: Sequence[bytes]) -> None:
        """
        Look for the schemas of values. May block; takes no lock.

        A record whose schema is not found is passed over: its wait ends through the view, or by the next record.
        """
        for value in values:
            try:
                self._codec.require(value)
            except StreamResultsError as exc:
                self._no_schema_until = time.monotonic() + _SCHEMA_PAUSE
                _log.warning(
                    "a record that somebody waits for cannot be read: %s", exc, extra={"action": "schema_not_found"}
                )
                return

    def _match(self, record: Record) -> bool:
        """Step 4: hand a record to whoever waits for its key; tell whether the looker has new work. Lock held."""
        offset = record.offset() or 0
        watch = self._waits.watches.get(record.partition() or 0)
        if watch is None or not 0 <= watch.next_offset <= offset:
            return False  # from before a reset
        watch.next_offset = offset + 1
        key = record.key()
        if watch.followers and key in watch.followers:
            for follower in watch.followers[key]:
                follower.deliver(record)
        waiters = watch.waiters.get(key) if isinstance(key, bytes) else None
        if not waiters:
            return False
        summary = delivered_summary(record, waiters[0].task_id, offset, self._codec)
        rings = False
        for waiter in list(waiters):
            if waiter.through_topic and not self._ends(waiter, watch, offset, summary):
                waiter.state_seen = state_of(summary, self._codec)
                rings = True
        return rings

    def _ends(self, waiter: Waiter, watch: Watch, offset: int, summary: Summary | None) -> bool:
        """Decide on a record for one wait, act on it, and tell whether it was the answer; the lock is held."""
        best = summary.best if summary else None
        asleep = waiter.phase is Phase.ASLEEP
        verdict = after_record(asleep=asleep, folded_to=waiter.folded_to, offset=offset, rank=best.rank if best else -1)
        if verdict is AfterRecord.DONE:
            assert best is not None
            self._waits.over(waiter, Answer(best, Basis.TOPIC))
            return True
        if verdict is AfterRecord.LOOK_BEYOND or (summary is None and asleep):
            waiter.next_offset = offset + 1
            if summary is not None:
                waiter.keep_best(summary)
            if asleep:  # an unreadable record: only the view can say what became of it
                waiter.phase = Phase.UNPROVEN
                waiter.seen = None
                watch.unproven.add(waiter)
            watch.hurry()
        return False

    # -- resets -----------------------------------------------------------------------------------------------------

    def _lose_place(self, partitions: Iterable[int]) -> None:
        """
        Note that the place in some partitions is lost. Takes the lock.

        The assigner resolves another one and sends everybody back to step 1.
        """
        with self._waits.lock:
            for partition in partitions:
                watch = self._waits.watches.get(partition)
                if watch is not None:
                    watch.next_offset = -1
            self._waits.lock.notify_all()

    def _restart(self, broken: TopicReader) -> TopicReader:
        broken.close()
        if self._waits.pause():
            return broken
        with self._waits.lock:
            assert self._open_reader is not None
            self.connection = self._open_reader()
            partitions = list(self._waits.watches)
        self._lose_place(partitions)
        return self.connection

    def _measure(self, records: Sequence[Record]) -> None:
        """Keep the rate of what is read, for ``via="auto"``."""
        for record in records:
            value = record.value()
            if value is not None:
                self._bytes_read += len(value)
            elif self._forgotten is not None and isinstance(key := record.key(), bytes):
                self._forgotten(key.decode(errors="replace"))
        since, before = self._rate_window
        now = time.monotonic()
        if now - since >= 1.0:
            self.traffic = (self._bytes_read - before) / (now - since)
            self._rate_window = (now, self._bytes_read)
