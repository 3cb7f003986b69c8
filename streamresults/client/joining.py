# ruff: noqa: SLF001 -- waits of the client's own, in a file of its own
"""
Waiting for many tasks: one pipelined read for what has ended, and one queue for what ends later.

Its steps are those of threads and of event loops alike; :meth:`Joining.ends` takes them for the thread that calls.
"""

from __future__ import annotations

import logging
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from streamresults.client.connected import within
from streamresults.client.unfetched import UnfetchedResult
from streamresults.client.waiter import Phase
from streamresults.errors import (
    ClientClosed,
    ServiceUnavailable,
    StreamResultsError,
    TopicMissing,
    TopicRecreated,
    WaitTimeout,
)
from streamresults.events import states
from streamresults.events.running import check_waiting_allowed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from streamresults.client.engine import Engine
    from streamresults.client.options import Via
    from streamresults.client.result import Result
    from streamresults.client.waiter import Waiter
    from streamresults.client.waiting import Waiting
    from streamresults.client.whereabouts import Place
    from streamresults.deadline import Deadline

_log: Final = logging.getLogger("streamresults.client")
#: Seconds between two lines of log of a join that never ends.
REMIND: Final = 60.0
#: Ends that are taken at once. Larger gives the first of them later, smaller fetches large values in more steps.
AT_ONCE: Final = 500

#: What becomes of the client or its topic is the end of a join, and not of one of its tasks.
_ENDS_ALL: Final = (ClientClosed, TopicMissing, TopicRecreated)

Ended = tuple[str, "Result | Exception"]


class Joining:
    """
    One join. Used by one thread or coroutine; whoever ends it early closes it.

    Args:
        ring: Called whenever one has ended, on another thread and under the dispatch lock: must not block, nor raise.
    """

    _place: Place
    _engine: Engine

    def __init__(
        self,
        client: Waiting,
        task_ids: Sequence[str],
        via: Via,
        deadline: Deadline,
        ring: Callable[[], None] | None = None,
    ) -> None:
        if deadline.total and task_ids:
            check_waiting_allowed(task_ids[0])
        self._client: Final = client
        self._ids: Final = task_ids
        self._via: Final[Via] = via
        self._deadline: Final = deadline
        self._ring: Final = ring
        #: What one look has shown of the first that has not ended; for a timeout of 0.
        self._seen = states.UNKNOWN
        #: Who has not been waited for yet, the last one first.
        self._left: list[str] = []
        self._waiters: Final[dict[str, Waiter]] = {}
        self._over: Final[SimpleQueue[str]] = SimpleQueue()

    def ends(self) -> Generator[list[Ended], None, None]:
        """
        Give the tasks as they end, those together that are known together: the result, or why there is none.

        Raises:
            WaitTimeout: The deadline has passed before all of them have ended; the text says which have not.
        """
        try:
            ended = self.look()
            if ended:
                yield ended
            self.check_time_to_wait()
            self.submit(len(self._ids))
            while self._waiters:
                over = self._next()
                if not over and self._deadline.passed():
                    over = self.shown()
                    if not over:
                        break
                yield self.results(over)
            if self._waiters:
                raise self.timed_out()
        finally:
            self.close()

    def _next(self) -> list[Waiter]:
        """Block until one has ended, the deadline has passed, or it is time to say so; return all that have ended."""
        try:
            first = self._over.get(timeout=self._deadline.remaining(REMIND))
        except Empty:
            if not self._deadline.passed():
                self.remind()
            return []
        return self.taken(first)

    # -- the steps --------------------------------------------------------------------------------------------------

    def look(self) -> list[Ended]:
        """Find topic and view, and look once for all of them: what has ended already. May block."""
        self._place, self._engine = self._client._entrance(self._ids[0], within(self._deadline))
        ended = self._ended_already()
        if len(ended) < len(self._ids):
            known = {task_id for task_id, _ in ended}
            self._left = [task_id for task_id in reversed(self._ids) if task_id not in known]
        return ended

    def _ended_already(self) -> list[Ended]:
        if self._place.view is None or (self._deadline.total and self._engine.waits.view_trouble):
            return []  # a view that does not answer must not hold up the waits, which say so
        lookups = self._client._lookups
        try:
            looked = lookups.look_in_view(self._ids, self._place)
        except ServiceUnavailable:
            if not self._deadline.total:
                raise
            return []  # the waits do without, or say what is wrong
        found = [one for one in looked if one.ready or one.mark is not None]
        if self._deadline.total and self._client._open_reader is not None:
            # What stands in the log alone is left to the waits, which fetch it for as long as there is time.
            found = [one for one in found if type(one) is not UnfetchedResult]
        elif any(type(one) is UnfetchedResult for one in found):
            lookups.fetch(found, within(self._deadline))
        if not self._deadline.total:
            self._seen = next((_state(one) for one in looked if one.mark is None and not one.ready), "")
        return [(one.task_id, one) for one in found]

    def check_time_to_wait(self) -> None:
        """
        Make sure that there is time to wait for the others, if there are any.

        Raises:
            WaitTimeout: There is none: a timeout of 0 takes one look.
        """
        if self._left and not self._deadline.total:
            left = self._left[::-1]
            some = f"task {left[0]!r} has" if len(self._ids) == 1 else f"{len(left)} of {len(self._ids)} tasks have"
            which = "" if len(self._ids) == 1 else f": {_some(left)}"
            looked = "it was looked at once" if self._place.view is not None else "no Redis is configured to look in"
            msg = f"{some} not ended after 0 s{which} ({looked})"
            raise WaitTimeout(msg, task_id=left[0], state=self._seen)

    def submit(self, count: int) -> bool:
        """Begin to wait for so many of the others; tell whether there are more. Blocks nowhere."""
        client, engine = self._client, self._engine
        through_topic = client._through_topic(self._via, engine)
        partition_of, place = client._whereabouts.partition_of, self._place
        tell = self._over.put if self._ring is None else self._tell
        while self._left and count:
            task_id = self._left.pop()
            self._waiters[task_id] = engine.submit(
                task_id,
                partition_of(task_id, place),
                partial(tell, task_id),
                through_topic=through_topic,
                spent=self._deadline.elapsed(),
            )
            count -= 1
        return bool(self._left)

    def _tell(self, task_id: str) -> None:
        self._over.put(task_id)
        assert self._ring is not None
        self._ring()

    @property
    def waits(self) -> bool:
        """Whether any of those that were begun has not been taken yet."""
        return bool(self._waiters)

    def taken(self, *first: str) -> list[Waiter]:
        """Return some of those that have ended since this was asked last."""
        over = list(first)
        try:
            while len(over) < AT_ONCE:
                over.append(self._over.get_nowait())
        except Empty:
            pass
        return [self._waiters.pop(task_id) for task_id in over if task_id in self._waiters]

    def shown(self) -> list[Waiter]:
        """End all waits; return those of which the topic has shown an end that was not believed yet."""
        shown = []
        for waiter in list(self._waiters.values()):
            answer = waiter.answer or self._engine.give_up(waiter)
            if answer is not None or waiter.error is not None:
                waiter.answer, waiter.phase = answer, Phase.OVER
                shown.append(self._waiters.pop(waiter.task_id))
        return shown

    @staticmethod
    def needs_fetch(waiters: Sequence[Waiter]) -> bool:
        """Tell whether :meth:`results` would block: a value stands in the log alone, and was not there in time."""
        return any(waiter.answer is not None and waiter.answer.is_unread for waiter in waiters)

    def results(self, waiters: Sequence[Waiter]) -> list[Ended]:
        """
        Return what is known of tasks that have ended, or why that is nothing.

        Raises:
            ClientClosed, TopicMissing, TopicRecreated: Nobody will hear of the others any more.
        """
        ended: list[Ended] = []
        for waiter in waiters:
            try:
                ended.append((waiter.task_id, self._result(waiter)))
            except _ENDS_ALL:
                raise
            except StreamResultsError as exc:
                ended.append((waiter.task_id, exc))
        return ended

    def _result(self, waiter: Waiter) -> Result:
        if waiter.answer is None:
            raise waiter.error or WaitTimeout("given up", task_id=waiter.task_id, state="")
        return self._client._as_result(waiter, waiter.answer, self._place, self._deadline)

    def remind(self) -> None:
        """Log that it still lasts."""
        _log.info("still waiting for %d tasks", len(self._waiters), extra={"action": "waiting"})

    def timed_out(self) -> WaitTimeout:
        """Return the error that says who has not ended; it was submitted."""
        left = list(self._waiters.values())
        if len(self._ids) == 1:
            return self._client._timed_out(left[0], self._deadline, self._engine)
        some = _some([waiter.task_id for waiter in left])
        msg = (
            f"{len(left)} of {len(self._ids)} tasks have not ended after {self._deadline.total:g} s: {some} "
            f"(partition {left[0].partition}; {self._engine.describe(left[0].partition)})"
        )
        return WaitTimeout(msg, task_id=left[0].task_id, state=left[0].state_seen or "UNKNOWN")

    def close(self) -> None:
        """Give up what has not ended; from then on nothing is begun. Takes no lock, and is harmless when that is so."""
        self._left.clear()
        if self._waiters:
            self._engine.leave(list(self._waiters.values()))
            self._waiters.clear()


def _state(result: Result) -> str:
    try:
        return result.state
    except StreamResultsError:
        return ""


def _some(task_ids: Sequence[str]) -> str:
    """Return the first ids of many, for people."""
    return ", ".join(map(repr, task_ids[:3])) + (", ..." if len(task_ids) > 3 else "")  # noqa: PLR2004
