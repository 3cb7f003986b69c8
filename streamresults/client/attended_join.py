"""A join whose thread is told meanwhile of every event of the tasks that it waits for."""

from __future__ import annotations

import time
from contextlib import closing
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from streamresults.client.joining import AT_ONCE, REMIND, Joining
from streamresults.client.result import Result
from streamresults.client.set_feed import SetFeed
from streamresults.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from streamresults.client.joining import Ended
    from streamresults.client.waiter import Waiter
    from streamresults.client.waiting import Waiting

#: Seconds between two looks whether partitions were added; whatever comes is told at once.
_HOMES_EVERY: Final = 5.0


class AttendedJoin:
    """
    Waits for many tasks, and tells of each all that happens to it, from its first event to the one that ends it.

    Of a set that has ended when it is first waited for the ends alone are told, without asking the log. May be waited
    for again and again, for what is left of it: nothing is told twice. Used by one thread; whoever made it closes it.

    Args:
        on_message: Called with each event, as a result, by the thread that waits. Where the end is no event, as it was
            taken from a view that says only that, it is called with that.
        deadline: For all of it.
    """

    def __init__(self, client: Waiting, on_message: Callable[[Result], object], deadline: Deadline) -> None:
        self._client: Final = client
        self._on_message: Final = on_message
        self._deadline: Final = deadline
        #: Rung whenever something has happened.
        self._bell: Final[SimpleQueue[None]] = SimpleQueue()
        self._feed: SetFeed | None = None

    def ends(self, task_ids: Sequence[str], timeout: float | None) -> Iterator[Ended]:
        """
        Give each task as it ends, once everything was told of it: the result, or why there is none.

        Raises:
            WaitTimeout: Some have not ended within this step.
            TopicUnavailable: What happened before could not be read in the log.
            ClientClosed, WaitRefused, TopicRecreated, TopicMissing, ConfigurationError: See their names.
        """
        step = Deadline(timeout)
        with closing(Joining(self._client, task_ids, "auto", step, self._ring)) as joining:
            ended = joining.look()
            if len(ended) < len(task_ids) and step.total and self._feed is None:
                self._feed = SetFeed(self._client, task_ids, self._ring, self._deadline)
            yield from self._told(ended)
            joining.check_time_to_wait()
            joining.submit(len(task_ids))
            reminded = time.monotonic()
            while joining.waits:
                over = self._next(joining, step)
                if not over and step.passed():
                    over = joining.shown()
                    if not over:
                        raise joining.timed_out()
                if time.monotonic() - reminded >= REMIND:
                    reminded = time.monotonic()
                    joining.remind()
                yield from self._told(joining.results(over))

    def _ring(self) -> None:
        self._bell.put(None)

    def _next(self, joining: Joining, step: Deadline) -> list[Waiter]:
        """Block until something has happened, tell of it, and return who has ended."""
        try:
            self._bell.get(timeout=step.remaining(_HOMES_EVERY))
            for _ in range(AT_ONCE):
                self._bell.get_nowait()
        except Empty:
            pass
        if self._feed is not None:
            self._feed.cover_new_homes()
            for event in self._feed.take(self._deadline):
                self._on_message(event)
        return joining.taken()

    def _told(self, ended: Sequence[Ended]) -> Iterator[Ended]:
        """Tell all that there is of tasks that have ended, and give them."""
        ends = [end for _, end in ended if isinstance(end, Result)]
        feed = self._feed
        if feed is not None and ended:
            feed.cover_new_homes()  # an end may stand in a partition that was added since the last look
            positions = [(end.task_id, end.position) for end in ends if end.position is not None]
            for event in feed.take_until(positions, self._deadline):
                self._on_message(event)
            feed.leave([task_id for task_id, _ in ended])
        for end in ends:
            if end.ready and (feed is None or end.position is None):
                self._on_message(end)
        yield from ended

    def close(self) -> None:
        """Be told no more. Takes no lock."""
        if self._feed is not None:
            self._feed.close()
