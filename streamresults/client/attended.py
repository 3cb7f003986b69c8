# ruff: noqa: SLF001 -- a wait of the client's own, in a file of its own
"""A wait whose thread does something meanwhile: it tells of events and of time that passes, and watches ancestors."""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from streamresults.client.connected import within
from streamresults.client.options import stated
from streamresults.client.waiter import Phase
from streamresults.errors import NotYetCovered, ServiceUnavailable
from streamresults.events import states

if TYPE_CHECKING:
    from streamresults.client.options import Via, WaitOptions
    from streamresults.client.result import Result
    from streamresults.client.task_events import Feed
    from streamresults.client.waiter import Waiter
    from streamresults.client.waiting import Waiting
    from streamresults.deadline import Deadline

#: Seconds between two looks whether partitions were added; whatever comes is told at once.
_HOMES_EVERY: Final = 5.0
#: Most ancestors that are followed. Larger lets a broken chain of parents cost a look each.
_ANCESTORS: Final = 1000


class AttendedWait:
    """One such wait, by the thread that calls."""

    def __init__(self, client: Waiting, task_id: str, via: Via, deadline: Deadline, options: WaitOptions) -> None:
        self._client: Final = client
        self._task_id: Final = task_id
        self._deadline: Final = deadline
        self._options: Final = options
        self._interval: Final = options.get("interval", client._options.wait_interval)
        #: Rung whenever something has happened.
        self._bell: Final[SimpleQueue[None]] = SimpleQueue()
        self._place, self._engine = client._entrance(task_id, within(deadline))
        self._through_topic: Final = client._through_topic(via, self._engine)
        self._feed: Final = client._open_feed(task_id, self._ring, deadline) if "on_message" in options else None
        self._ancestors: Final[dict[str, Waiter]] = {}

    def _ring(self) -> None:
        self._bell.put(None)

    def run(self) -> Result:
        """Block until the task has ended; see :meth:`Client.wait`."""
        waiter = self._submit(self._task_id)
        try:
            self._attend(waiter)
            return self._result(waiter)
        finally:
            for one in (waiter, *self._ancestors.values()):
                self._engine.give_up(one)
            if self._feed is not None:
                self._feed.close()

    def _submit(self, task_id: str) -> Waiter:
        partition = self._client._whereabouts.partition_of(task_id, self._place)
        through_topic, spent = self._through_topic, self._deadline.elapsed()
        return self._engine.submit(task_id, partition, self._ring, through_topic=through_topic, spent=spent)

    def _attend(self, waiter: Waiter) -> None:
        tick = time.monotonic()
        while True:
            if waiter.phase is Phase.OVER or self._deadline.passed():
                return
            if time.monotonic() >= tick:
                tick = time.monotonic() + self._interval
                self._tick(waiter)
            self._follow_homes()
            self._tell(self._feed)
            self._check_ancestors()
            try:
                self._bell.get(timeout=self._deadline.remaining(min(_HOMES_EVERY, max(0.0, tick - time.monotonic()))))
            except Empty:
                continue

    def _follow_homes(self) -> None:
        """Follow the task in partitions that were added meanwhile, too."""
        if self._feed is not None:
            self._feed.cover(self._client._homes_now(self._task_id))

    def _tick(self, waiter: Waiter) -> None:
        on_interval = self._options.get("on_interval")
        if on_interval is not None:
            on_interval()
        if "interval" in self._options:
            self._engine.look_again(waiter)
        if self._options.get("follow_parents"):
            self._find_ancestors(waiter)

    def _tell(self, feed: Feed | None) -> None:
        if feed is not None:
            for event in feed.take(self._deadline):
                self._options["on_message"](event)

    def _result(self, waiter: Waiter) -> Result:
        client = self._client
        answer = waiter.answer or self._engine.give_up(waiter)
        if answer is None:
            raise waiter.error or client._timed_out(waiter, self._deadline, self._engine)
        result = client._as_result(waiter, answer, self._place, self._deadline)
        if self._feed is not None and result.position is not None:
            self._follow_homes()  # the end may stand in a partition that was added since the last look
            for event in self._feed.take_until(result.position, within(self._deadline)):
                self._options["on_message"](event)
        return result

    # -- ancestors --------------------------------------------------------------------------------------------------

    def _find_ancestors(self, waiter: Waiter) -> None:
        """Wait for every ancestor too, as far as the view tells of them."""
        if self._engine.waits.view_trouble:
            self._engine.look_again(waiter)  # by the looker, whom it may hold up; ancestors are looked for after that
            return
        known = self._task_id if not self._ancestors else list(self._ancestors)[-1]
        while len(self._ancestors) < _ANCESTORS:
            try:
                parent = self._parent_of(known)
            except ServiceUnavailable:
                return
            if not parent or parent in self._ancestors or parent == self._task_id:
                return
            self._ancestors[parent] = self._submit(parent)
            known = parent

    def _parent_of(self, task_id: str) -> str:
        (found,) = self._client._lookups.look([task_id], self._place, within(self._deadline))
        return found.parent_id

    def _check_ancestors(self) -> None:
        """
        End with the error of an ancestor that has failed.

        Raises:
            BaseException: What the ancestor raised.
        """
        for ancestor in self._ancestors.values():
            if ancestor.answer is not None:
                found = self._client._as_result(ancestor, ancestor.answer, self._place, self._deadline)
                if found.ready and found.state in states.PROPAGATE:
                    found.value()


def wait_attended(client: Waiting, task_id: str, deadline: Deadline, via: Via, options: WaitOptions) -> Result:
    """
    Do :meth:`Client.wait` with options.

    Raises:
        TypeError, ValueError: One of them is misspelt, or is not what it has to be.
    """
    options = stated(options)
    at_least, fresh = options.get("at_least"), options.get("fresh", False)
    if at_least is not None or fresh:
        try:
            client.lookup(task_id, fresh=fresh, at_least=at_least, timeout=deadline.remaining())
        except NotYetCovered:
            if deadline.passed():
                raise
    if deadline.total == 0:
        return _look_once(client, task_id, options)
    return AttendedWait(client, task_id, via, deadline, options).run()


def _look_once(client: Waiting, task_id: str, options: WaitOptions) -> Result:
    """Take the one look of a timeout of 0, and tell what the log holds by then."""
    if "on_message" in options:
        for event in client.events(task_id, 0):
            options["on_message"](event)
    return client._look_once(task_id)
