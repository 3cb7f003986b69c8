# ruff: noqa: SLF001 -- waits of the client's own, in a file of its own
"""Waiting for many tasks by one thread: one pipelined read for what has ended, and one queue for what ends later."""

from __future__ import annotations

import logging
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from streamresults.client.connected import within
from streamresults.client.unfetched import UnfetchedResult
from streamresults.client.waiter import Phase
from streamresults.errors import ServiceUnavailable, StreamResultsError, WaitTimeout
from streamresults.events.running import check_waiting_allowed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamresults.client.options import Via
    from streamresults.client.result import Result
    from streamresults.client.waiter import Waiter
    from streamresults.client.waiting import Waiting
    from streamresults.deadline import Deadline

_log: Final = logging.getLogger("streamresults.client")
#: Seconds between two lines of log of a join that never ends.
_REMIND: Final = 60.0
#: Ends that are taken at once. Larger gives the first of them later, smaller fetches large values in more steps.
_AT_ONCE: Final = 500

Ended = tuple[str, "Result | Exception"]


class Joining:
    """One join. Used by one thread; whoever ends it early closes it."""

    def __init__(self, client: Waiting, task_ids: Sequence[str], via: Via, deadline: Deadline) -> None:
        if deadline.total and task_ids:
            check_waiting_allowed(task_ids[0])
        self._client: Final = client
        self._ids: Final = task_ids
        self._via: Final[Via] = via
        self._deadline: Final = deadline
        self._place, self._engine = client._entrance(task_ids[0], within(deadline))
        self._waiters: Final[dict[str, Waiter]] = {}
        self._over: Final[SimpleQueue[str]] = SimpleQueue()

    def ends(self) -> Iterator[list[Ended]]:
        """
        Give the tasks as they end, those together that are known together: the result, or why there is none.

        Raises:
            WaitTimeout: The deadline has passed before all of them have ended; the text says which have not.
        """
        try:
            ended = self._ended_already()
            if ended:
                yield ended
            known = {task_id for task_id, _ in ended}
            self._submit([task_id for task_id in self._ids if task_id not in known])
            while self._waiters:
                ended = self._next()
                if ended:
                    yield ended
                elif self._deadline.passed():
                    ended = self._last()
                    if ended:
                        yield ended
                    break
            if self._waiters:
                raise self._timed_out()
        finally:
            self.close()

    def close(self) -> None:
        """Give up what has not ended."""
        for waiter in self._waiters.values():
            self._engine.give_up(waiter)
        self._waiters.clear()

    def _ended_already(self) -> list[Ended]:
        """Look once for all of them."""
        if self._place.view is None:
            return []
        lookups = self._client._lookups
        try:
            found = [one for one in lookups.look_in_view(self._ids, self._place) if one.mark is not None or one.ready]
        except ServiceUnavailable:
            if not self._deadline.total:
                raise
            return []  # the waits do without, or say what is wrong
        if any(type(one) is UnfetchedResult for one in found):
            lookups.fetch(found, within(self._deadline))
        return [(one.task_id, one) for one in found]

    def _submit(self, task_ids: Sequence[str]) -> None:
        client, engine = self._client, self._engine
        through_topic = client._through_topic(self._via, engine)
        partition_of, place = client._whereabouts.partition_of, self._place
        for task_id in task_ids:
            self._waiters[task_id] = engine.submit(
                task_id,
                partition_of(task_id, place),
                partial(self._over.put, task_id),
                through_topic=through_topic,
                spent=self._deadline.elapsed(),
            )

    def _next(self) -> list[Ended]:
        """Block until one has ended; return all that have."""
        over: list[str] = []
        try:
            over.append(self._over.get(timeout=self._deadline.remaining(_REMIND)))
            while len(over) < _AT_ONCE:
                over.append(self._over.get_nowait())
        except Empty:
            if not over and not self._deadline.passed():
                _log.info("still waiting for %d tasks", len(self._waiters), extra={"action": "waiting"})
        return self._results([self._waiters.pop(task_id) for task_id in over if task_id in self._waiters])

    def _last(self) -> list[Ended]:
        """Return what the topic has shown of those that have not ended."""
        shown = []
        for waiter in list(self._waiters.values()):
            answer = waiter.answer or self._engine.give_up(waiter)
            if answer is not None or waiter.error is not None:
                waiter.answer, waiter.phase = answer, Phase.OVER
                shown.append(self._waiters.pop(waiter.task_id))
        return self._results(shown)

    def _results(self, waiters: Sequence[Waiter]) -> list[Ended]:
        client, place = self._client, self._place
        spots = {
            (waiter.partition, waiter.answer.offset)
            for waiter in waiters
            if waiter.answer is not None and waiter.answer.value is None and waiter.answer.offset >= 0
        }
        fetched = client._fetcher.fetch_many(spots, within(self._deadline)) if spots else {}
        ended: list[Ended] = []
        for waiter in waiters:
            answer = waiter.answer
            if answer is None:
                ended.append(
                    (waiter.task_id, waiter.error or WaitTimeout("given up", task_id=waiter.task_id, state=""))
                )
                continue
            value = fetched.get((waiter.partition, answer.offset), answer.value) if spots else answer.value
            if isinstance(value, Exception):
                ended.append((waiter.task_id, value))
                continue
            try:
                whole = answer._replace(value=value) if spots else answer
                result = client._as_result(waiter, whole, place, self._deadline)
            except StreamResultsError as exc:
                ended.append((waiter.task_id, exc))
            else:
                ended.append((waiter.task_id, result))
        return ended

    def _timed_out(self) -> WaitTimeout:
        left = list(self._waiters.values())
        if len(self._ids) == 1:
            return self._client._timed_out(left[0], self._deadline, self._engine)
        some = ", ".join(repr(waiter.task_id) for waiter in left[:3]) + (", ..." if len(left) > 3 else "")  # noqa: PLR2004
        msg = (
            f"{len(left)} of {len(self._ids)} tasks have not ended after {self._deadline.total:g} s: {some} "
            f"(partition {left[0].partition}; {self._engine.describe(left[0].partition)})"
        )
        return WaitTimeout(msg, task_id=left[0].task_id, state=left[0].state_seen or "UNKNOWN")
