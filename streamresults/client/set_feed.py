# ruff: noqa: SLF001 -- a part of the client, in a file of its own
"""The events of many tasks as they come: followers of the one reader, and one read of the log for what was before."""

from __future__ import annotations

from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from streamresults.client.connected import within
from streamresults.client.followers import Follower
from streamresults.client.history import Header, spans
from streamresults.client.task_events import event_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from streamresults.client.history import Span
    from streamresults.client.result import Result
    from streamresults.client.waiting import Waiting
    from streamresults.deadline import Deadline
    from streamresults.events.event import Position
    from streamresults.topic.records import Record

#: Offsets that are read over to the next wanted one. Smaller opens a reader anew, which takes up to 50 ms each time;
#: larger reads what nobody wants.
_READ_OVER: Final = 10_000


class SetFeed:
    """
    The events of many tasks, of each from its first one on, in their order, none left out and none twice.

    Used by one thread. Costs a follower per task and no connection, and one read of the log for all that was before.

    Args:
        ring: Called when there is something to take, on another thread and under the dispatch lock: must not block.

    Raises:
        ConfigurationError: This process has no Kafka.
        ServiceUnavailable: Neither topic nor view could be found.
        ClientClosed, TopicRecreated: See their names.
    """

    def __init__(self, client: Waiting, task_ids: Sequence[str], ring: Callable[[], None], deadline: Deadline) -> None:
        self._client: Final = client
        self._ring: Final = ring
        self._log: Final = client._log_history()
        self._place, self._engine = client._entrance(task_ids[0], within(deadline))
        self._covered = self._place.counts
        #: By task and partition.
        self._followers: Final[dict[str, dict[int, Follower]]] = {task_id: {} for task_id in task_ids}
        #: Who has something to take.
        self._rung: Final[SimpleQueue[tuple[str, int]]] = SimpleQueue()
        self._cover()

    def cover_new_homes(self) -> None:
        """Follow the tasks in partitions that were added meanwhile, too."""
        place = self._client._whereabouts.place
        if place is not None and place.counts != self._covered:
            self._covered = place.counts
            self._cover()

    def _cover(self) -> None:
        place = self._client._whereabouts.place or self._place
        for task_id, followers in self._followers.items():
            for partition in reversed(self._client._whereabouts.homes(task_id, place)):
                if partition not in followers:
                    follower = Follower(task_id.encode(), partition, partial(self._told, (task_id, partition)))
                    self._engine.follow(follower)
                    followers[partition] = follower

    def _told(self, spot: tuple[str, int]) -> None:
        self._rung.put(spot)
        self._ring()

    # -- taking -----------------------------------------------------------------------------------------------------

    def take(self, deadline: Deadline) -> Iterator[Result]:
        """
        Return what has come; blocks while it is read from the log.

        Raises:
            ClientClosed, TopicRecreated, TopicMissing: Nothing more will come.
            TopicUnavailable: The log could not be read in time.
        """
        delivered: list[tuple[Follower, Record]] = []
        missed: dict[Follower, int] = {}
        for follower in self._drained():
            while (item := follower.take()) is not None:
                if isinstance(item, int):
                    missed[follower] = max(item, missed.get(follower, item))
                else:
                    delivered.append((follower, item))
            if follower.error is not None:
                raise follower.error
        yield from self._from_log(missed, deadline)
        for follower, record in delivered:
            offset = record.offset() or 0
            if offset >= follower.next_offset:
                follower.next_offset = offset + 1
                yield from self._event(follower, record)

    def _drained(self) -> list[Follower]:
        """Return each that has something to take, once."""
        rung: dict[Follower, None] = {}
        try:
            while True:
                task_id, partition = self._rung.get_nowait()
                follower = self._followers.get(task_id, {}).get(partition)
                if follower is not None:
                    rung[follower] = None
        except Empty:
            return list(rung)

    def take_until(self, positions: Iterable[tuple[str, Position]], deadline: Deadline) -> Iterator[Result]:
        """Return what there is of these tasks up to a position of each: their ends, before word of these came."""
        yield from self.take(deadline)
        missed = {}
        for task_id, position in positions:
            follower = self._followers.get(task_id, {}).get(position.partition)
            if follower is not None:
                missed[follower] = position.offset + 1
        yield from self._from_log(missed, deadline)

    def _event(self, follower: Follower, record: Record) -> Iterator[Result]:
        found = event_of(follower.key.decode(), record, self._place.topic_id, self._client._decoding)
        if found is not None:
            yield found

    # -- what the reader does not deliver ---------------------------------------------------------------------------

    def _from_log(self, missed: Mapping[Follower, int], deadline: Deadline) -> Iterator[Result]:
        """Read on to where the reader delivers, or to where an end is known to stand, for all of them together."""
        missed = {follower: end for follower, end in missed.items() if follower.next_offset < end}
        if not missed:
            return
        wanted = self._spans(missed, deadline)
        followers = {(follower.partition, follower.key): follower for follower in missed}
        for stretch in _stretches(wanted):
            for record in self._log.read_all(stretch, deadline):
                key, offset = record.key(), record.offset() or 0
                follower = followers.get((record.partition() or 0, key)) if isinstance(key, bytes) else None
                if follower is not None and any(begin <= offset < end for begin, end in wanted[follower]):
                    yield from self._event(follower, record)
        for follower, end in missed.items():
            follower.next_offset = end

    def _spans(self, missed: Mapping[Follower, int], deadline: Deadline) -> dict[Follower, list[Span]]:
        """Return what has to be read of the log for each."""
        headers = self._headers([follower for follower in missed if follower.next_offset < 0])
        lows: dict[int, int] = {}
        wanted = {}
        for follower, end in missed.items():
            begin, header, partition = follower.next_offset, headers.get(follower), follower.partition
            if begin < 0 and (header is None or not header.coverage.complete):
                if partition not in lows:
                    lows[partition] = self._log.low(partition, deadline)
                begin = lows[partition]
            wanted[follower] = spans(header, max(0, begin), end)
        return wanted

    def _headers(self, fresh: Sequence[Follower]) -> dict[Follower, Header | None]:
        """Return what the view says of those that nothing was read of."""
        if not fresh or self._engine.waits.view_trouble:  # a view that does not answer must not take the time
            return {}
        by_partition: dict[int, list[Follower]] = {}
        for follower in fresh:
            by_partition.setdefault(follower.partition, []).append(follower)
        ids = {partition: [one.key.decode() for one in there] for partition, there in by_partition.items()}
        found = self._log.headers(ids, self._place)
        return {
            follower: header
            for partition, there in by_partition.items()
            for follower, header in zip(there, found[partition], strict=True)
        }

    # -- the end ----------------------------------------------------------------------------------------------------

    def leave(self, task_ids: Iterable[str]) -> None:
        """Follow these no more: they have ended."""
        left = [self._followers.pop(task_id, {}) for task_id in task_ids]
        self._engine.unfollow([follower for followers in left for follower in followers.values()])

    def close(self) -> None:
        """Follow nobody any more. Takes no lock: a finalizer may come here."""
        self.leave(list(self._followers))


def _stretches(wanted: Mapping[Follower, Sequence[Span]]) -> Iterator[dict[int, Span]]:
    """Give what is to be read at the same time: a stretch of each partition, those that are near each other as one."""
    by_partition: dict[int, list[Span]] = {}
    for follower, there in wanted.items():
        by_partition.setdefault(follower.partition, []).extend(there)
    joined = {partition: _joined(sorted(there)) for partition, there in by_partition.items() if there}
    for number in range(max(map(len, joined.values()), default=0)):
        yield {partition: there[number] for partition, there in joined.items() if number < len(there)}


def _joined(there: Sequence[Span]) -> list[Span]:
    found: list[Span] = []
    for begin, end in there:
        if found and begin - found[-1][1] <= _READ_OVER:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((begin, end))
    return found
