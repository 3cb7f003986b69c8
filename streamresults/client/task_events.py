"""A task's events: what the log holds of them, then what comes. Each is a result, as it was at that moment."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from streamresults.client.connected import Connected, check_id, within
from streamresults.client.followers import Follower
from streamresults.client.history import LogHistory, spans
from streamresults.client.provenance import Basis, Provenance
from streamresults.client.result import Result
from streamresults.deadline import ANSWER, Deadline
from streamresults.errors import RecordError, WaitTimeout
from streamresults.events import states
from streamresults.events.fold import NEVER, Best
from streamresults.events.running import check_waiting_allowed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamresults.client.engine import Engine
    from streamresults.client.history import Header
    from streamresults.client.provenance import Decoding
    from streamresults.client.whereabouts import Place
    from streamresults.deadline import Timeout
    from streamresults.events.event import Position
    from streamresults.topic.records import Record

_log: Final = logging.getLogger("streamresults.client")
#: Seconds between two looks whether partitions were added; whatever comes is told at once.
_HOMES_EVERY: Final = 5.0


class Feed:
    """
    The events of one task as they come, none left out and none twice. Used by one thread.

    Args:
        homes: Every partition that the task can be in, the newest first.
        notify: Called when there is something to take; must not block.
    """

    def __init__(
        self,
        task_id: str,
        place: Place,
        engine: Engine,
        *,
        log: LogHistory,
        decoding: Decoding,
        notify: Callable[[], None],
    ) -> None:
        self.task_id: Final = task_id
        self._place: Final = place
        self._engine: Final = engine
        self._log: Final = log
        self._decoding: Final = decoding
        self._notify: Final = notify
        self._followers: dict[int, Follower] = {}

    def cover(self, homes: tuple[int, ...]) -> None:
        """Follow the task in each of these partitions, the oldest home first."""
        for partition in reversed(homes):
            if partition not in self._followers:
                follower = Follower(self.task_id.encode(), partition, self._notify)
                self._engine.follow(follower)
                self._followers[partition] = follower

    @property
    def caught_up(self) -> bool:
        """Whether everything from before it began was taken."""
        return all(follower.next_offset >= 0 for follower in self._followers.values())

    def take(self, deadline: Deadline) -> Iterator[Result]:
        """
        Return what has come; blocks while it is read from the log.

        Raises:
            ClientClosed, TopicRecreated, TopicMissing: Nothing more will come.
            TopicUnavailable: The log could not be read in time.
        """
        for follower in self._followers.values():
            while (item := follower.take()) is not None:
                if isinstance(item, int):
                    yield from self._from_log(follower, item, deadline)
                elif (item.offset() or 0) >= follower.next_offset:
                    follower.next_offset = (item.offset() or 0) + 1
                    yield from self._result(item)
            if follower.error is not None:
                raise follower.error

    def take_until(self, position: Position, deadline: Deadline) -> Iterator[Result]:
        """Return what there is up to a position, which the log holds: the end of the task, before word of it came."""
        yield from self.take(deadline)
        follower = self._followers.get(position.partition)
        if follower is not None:
            yield from self._from_log(follower, position.offset + 1, deadline)

    def _from_log(self, follower: Follower, end: int, deadline: Deadline) -> Iterator[Result]:
        """Read on to where the reader delivers."""
        header: Header | None = None
        begin = follower.next_offset
        if begin < 0:
            # A view that does not answer must not take the time of who follows.
            silent = self._engine.waits.view_trouble
            header = None if silent else self._log.header(self.task_id, follower.partition, self._place)
            begin = 0
            if header is None or not header.coverage.complete:
                begin = self._log.low(follower.partition, deadline)
        for span in spans(header, begin, end):
            for record in self._log.read(self.task_id, follower.partition, span, deadline):
                yield from self._result(record)
        follower.next_offset = max(follower.next_offset, end)

    def _result(self, record: Record) -> Iterator[Result]:
        found = event_of(self.task_id, record, self._place.topic_id, self._decoding)
        if found is not None:
            yield found

    def timed_out(self, deadline: Deadline, state: str) -> WaitTimeout:
        """Return the error that says what was seen by then, and what could not be asked."""
        seen = "no event of it was seen" if state == states.UNKNOWN else f"it is {state}"
        partition = next(iter(self._followers))
        msg = (
            f"task {self.task_id!r} has not ended after {deadline.total:g} s; {seen} "
            f"(partition {partition}; {self._engine.describe(partition)})"
        )
        return WaitTimeout(msg, task_id=self.task_id, state=state)

    def close(self) -> None:
        """Follow it no more. Takes no lock: a finalizer may come here."""
        self._engine.unfollow(list(self._followers.values()))


def event_of(task_id: str, record: Record, topic_id: str, decoding: Decoding) -> Result | None:
    """Return the event of a record; ``None`` for a tombstone, and for one that no reader can make sense of."""
    value = record.value()
    if not isinstance(value, bytes):
        return None
    try:
        prefix = decoding.codec.decode_prefix(value)
    except RecordError as exc:
        _log.debug("a record of task %s cannot be read: %s", task_id, exc, extra={"action": "event_unreadable"})
        return None
    rank = states.rank(prefix.state, terminal=prefix.terminal)
    best = Best(rank, record.offset() or 0, record.timestamp()[1], NEVER, value)
    return Result(task_id, Provenance(decoding, Basis.TOPIC, topic_id, record.partition() or 0), best)


class Following(Connected):
    """The face of the engine for who wants to see how a task comes to its end."""

    def events(self, task_id: str, timeout: Timeout = None) -> Iterator[Result]:
        """
        Give every event of a task, from its first one on, and stop with the one that ends it.

        What has happened is read from the log, between the offsets of the view's header where there is one; what
        happens from now on comes as the reader delivers it. An event that comes in again with a retry is given again:
        its ``event.event_id`` is the same. Events that came behind an end, before this was called, are given too.

        Args:
            timeout: Seconds or a timedelta for all of it; ``None`` follows until the task ends, 0 gives what is there.

        Raises:
            WaitTimeout: The task has not ended by then.
            ConfigurationError: This process has no Kafka.
            TopicUnavailable, TopicRecreated, ClientClosed: See their names.
            WaitRefused: A running task is about to wait for this one.
        """
        check_id(task_id)
        self._check_open(task_id)
        deadline = Deadline(timeout)
        if deadline.total:
            check_waiting_allowed(task_id)
        return self._history(task_id) if deadline.total == 0 else self._events(task_id, deadline)

    def _history(self, task_id: str) -> Iterator[Result]:
        """Give what the log holds now."""
        deadline = Deadline(ANSWER)
        log, place = self._log_history(), self._whereabouts.find(deadline)
        for partition in reversed(self._whereabouts.homes(task_id, place)):
            header = log.header(task_id, partition, place)
            begin = 0 if header is not None and header.coverage.complete else log.low(partition, deadline)
            for span in spans(header, begin, log.end(partition, deadline)):
                for record in log.read(task_id, partition, span, Deadline(None)):
                    found = event_of(task_id, record, place.topic_id, self._decoding)
                    if found is not None:
                        yield found

    def _events(self, task_id: str, deadline: Deadline) -> Iterator[Result]:
        signal = threading.Event()
        feed = self._open_feed(task_id, signal.set, deadline)
        ended, state = False, states.UNKNOWN
        try:
            while True:
                signal.clear()
                for found in feed.take(deadline):
                    yield found
                    ended, state = ended or found.ready, found.state
                    if ended and feed.caught_up:
                        break
                if ended and feed.caught_up:
                    return
                if deadline.passed():
                    raise feed.timed_out(deadline, state)
                signal.wait(deadline.remaining(_HOMES_EVERY))
                feed.cover(self._homes_now(task_id))
        finally:
            feed.close()

    def _open_feed(self, task_id: str, notify: Callable[[], None], deadline: Deadline) -> Feed:
        log = self._log_history()
        place, engine = self._entrance(task_id, within(deadline))
        feed = Feed(task_id, place, engine, log=log, decoding=self._decoding, notify=notify)
        feed.cover(self._whereabouts.homes(task_id, place))
        return feed

    def _homes_now(self, task_id: str) -> tuple[int, ...]:
        place = self._whereabouts.place
        return () if place is None else self._whereabouts.homes(task_id, place)

    def _log_history(self) -> LogHistory:
        return LogHistory(self._open_reader, self._inspector, self._watermarks, self._closing)
