# ruff: noqa: SLF001 -- a part of the client's face
"""Many tasks as one thing for coroutines: the same joins by the same engine, waited for by no thread."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from streamresults.aio.asked import Asked
from streamresults.aio.bell import Bell
from streamresults.aio.members import AsyncMembers
from streamresults.client.begun import deadline_of
from streamresults.client.joining import AT_ONCE, REMIND, Joining
from streamresults.client.picking import Everything, First, FirstException, FirstSuccess, Values
from streamresults.client.result_set import keep_ends, kept_ends
from streamresults.deadline import NOT_STATED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from streamresults.aio.handle import AsyncResultHandle
    from streamresults.client import Counts, Result, ResultHandle
    from streamresults.client.joining import Ended
    from streamresults.client.options import Via
    from streamresults.client.picking import Picking
    from streamresults.client.result_group import ResultGroup
    from streamresults.client.waiter import Waiter
    from streamresults.deadline import Deadline, OptionalTimeout
    from streamresults.events.event import Position

T = TypeVar("T")


class AsyncResultSet(AsyncMembers):
    """
    Tasks and sets of them, in an order; made by :meth:`AsyncClient.results`.

    Every method is that of :class:`~streamresults.ResultSet`; what asks anybody is awaited.
    """

    # -- counting ---------------------------------------------------------------------------------------------------

    async def counts(self) -> Counts:
        """Count in one round trip, whatever the size; see :meth:`ResultSet.counts`."""
        return await self._face._questions.ask(self._set.counts)

    @property
    def ready(self) -> Asked[bool]:
        """Whether every task has ended, to be awaited; true of no tasks."""
        return Asked(self._face._questions, lambda: self._set.ready)

    @property
    def successful(self) -> Asked[bool]:
        """Whether every task has ended with SUCCESS, to be awaited; true of no tasks."""
        return Asked(self._face._questions, lambda: self._set.successful)

    @property
    def failed(self) -> Asked[bool]:
        """Whether any task has ended with FAILURE, to be awaited."""
        return Asked(self._face._questions, lambda: self._set.failed)

    @property
    def waiting(self) -> Asked[bool]:
        """Whether any task has not ended, to be awaited."""
        return Asked(self._face._questions, lambda: self._set.waiting)

    # -- waiting ----------------------------------------------------------------------------------------------------

    async def join(
        self,
        timeout: OptionalTimeout = NOT_STATED,  # noqa: ASYNC109 -- the same name everywhere
        *,
        propagate: bool = True,
        via: Via = "auto",
        callback: Callable[[str, object], object] | None = None,
    ) -> list[Any]:
        """Wait until every task has ended, and return their results in order; see :meth:`ResultSet.join`."""
        return await self._pick(Values(self._set, propagate=propagate, callback=callback), timeout, via)

    get = join

    async def all(self, timeout: OptionalTimeout = NOT_STATED, *, via: Via = "auto") -> list[Any]:  # noqa: ASYNC109
        """Wait until every task has ended, and return what is known of each; see :meth:`ResultSet.all`."""
        return await self._pick(Everything(self._set), timeout, via)

    async def ends(
        self,
        timeout: OptionalTimeout = NOT_STATED,  # noqa: ASYNC109
        *,
        via: Via = "auto",
    ) -> AsyncIterator[tuple[str, Result | Exception]]:
        """Give id and end of each task as it ends to an ``async for``; see :meth:`ResultSet.ends`."""
        with Bell(self._face._loops.here()) as bell:
            async for ended in self._ends(self._set.handles(), bell, via, deadline_of(self._face._client, timeout)):
                for one in ended:
                    yield one

    async def as_completed(
        self,
        timeout: OptionalTimeout = NOT_STATED,  # noqa: ASYNC109
        *,
        via: Via = "auto",
    ) -> AsyncIterator[AsyncResultHandle]:
        """Give a handle of each task as it ends to an ``async for``; see :meth:`ResultSet.as_completed`."""
        handles = self.handles()
        with Bell(self._face._loops.here()) as bell:
            async for ended in self._ends(self._set.handles(), bell, via, deadline_of(self._face._client, timeout)):
                for task_id, _ in ended:
                    yield handles[task_id]

    async def first(self, timeout: OptionalTimeout = NOT_STATED, *, via: Via = "auto") -> AsyncResultHandle:  # noqa: ASYNC109
        """Wait until one task has ended, however it ended, and return it; see :meth:`ResultSet.first`."""
        return self._handle(await self._pick(First(self._set.handles()), timeout, via))

    async def any(self, timeout: OptionalTimeout = NOT_STATED, *, via: Via = "auto") -> AsyncResultHandle:  # noqa: ASYNC109
        """Wait until one task has ended with SUCCESS, and return it; see :meth:`ResultSet.any`."""
        return self._handle(await self._pick(FirstSuccess(self._set.handles()), timeout, via))

    async def first_exception(
        self,
        timeout: OptionalTimeout = NOT_STATED,  # noqa: ASYNC109
        *,
        via: Via = "auto",
    ) -> AsyncResultHandle | None:
        """Wait until a task has failed or was revoked, and return it; see :meth:`ResultSet.first_exception`."""
        found = await self._pick(FirstException(self._set.handles()), timeout, via)
        return None if found is None else self._handle(found)

    async def forget(self, timeout: OptionalTimeout = NOT_STATED) -> None:  # noqa: ASYNC109
        """Forget every task of the set; see :meth:`ResultSet.forget`."""
        await self._face._questions.ask(self._set.forget, timeout)

    # -- within -----------------------------------------------------------------------------------------------------

    async def _pick(self, picking: Picking[T], timeout: OptionalTimeout, via: Via) -> T:  # noqa: ASYNC109
        with Bell(self._face._loops.here()) as bell:
            async for ended in self._ends(picking.handles, bell, via, deadline_of(self._face._client, timeout)):
                read = await self._face._questions.ask(picking.read, ended) if _blocks(ended) else picking.read(ended)
                if picking.take(read):
                    break
        return picking.picked()

    async def _ends(
        self, handles: Mapping[str, ResultHandle], bell: Bell, via: Via, deadline: Deadline
    ) -> AsyncIterator[list[Ended]]:
        """Give what ends, and let the handles keep it; what is to be given up when it is left is the bell's."""
        kept, left = kept_ends(handles)
        if kept:
            yield kept
        if not left:
            return
        joining = Joining(self._face._client, left, via, deadline, bell)
        bell.rung_by(joining.close)
        ended = await self._face._questions.ask(joining.look)
        if ended:
            yield await self._keep(handles, ended)
        joining.check_time_to_wait()
        while joining.submit(AT_ONCE):  # noqa: ASYNC110 -- it is not waited for
            await asyncio.sleep(0)  # others have their turn: a submission may be one of a hundred thousand
        while joining.waits:
            bell.forget()
            over = joining.taken()
            if not over and deadline.passed():
                over = joining.shown()
                if not over:
                    raise joining.timed_out()
            if over:
                yield await self._keep(handles, await self._results(joining, over))
            else:
                await self._heard(bell, joining, deadline)

    @staticmethod
    async def _heard(bell: Bell, joining: Joining, deadline: Deadline) -> None:
        before = deadline.elapsed()
        await bell.wait(deadline.remaining(REMIND))
        if deadline.elapsed() - before >= REMIND:
            joining.remind()

    async def _results(self, joining: Joining, over: Sequence[Waiter]) -> list[Ended]:
        if joining.needs_fetch(over):
            return await self._face._questions.ask(joining.results, over)
        await asyncio.sleep(0)  # where many end at once, everybody on this loop has a turn between two handfuls
        return joining.results(over)

    async def _keep(self, handles: Mapping[str, ResultHandle], ended: list[Ended]) -> list[Ended]:
        for _, found in ended:
            if not isinstance(found, Exception) and not found.has_schema:
                await self._face._questions.ask(found.find_schema)
        keep_ends(self._face._client._cache, handles, ended)
        return ended


class AsyncResultGroup(AsyncResultSet):
    """A set with a name; made by :meth:`AsyncClient.group` and :meth:`AsyncClient.restore_group`."""

    _set: ResultGroup  # type: ignore[misc] # final in the class above, and narrower here

    @property
    def group_id(self) -> str:
        """Its name."""
        return self._set.group_id

    @property
    def key(self) -> str:
        """Its id among those of tasks."""
        return self._set.key

    async def save(self, timeout: OptionalTimeout = NOT_STATED) -> Position:  # noqa: ASYNC109
        """Write the group to the topic, nested ones first; see :meth:`ResultGroup.save`."""
        return await self._face._questions.ask(self._set.save, timeout)

    async def delete(self, timeout: OptionalTimeout = NOT_STATED) -> Position:  # noqa: ASYNC109
        """Write the group's tombstone; its tasks stay. See :meth:`ResultGroup.delete`."""
        return await self._face._questions.ask(self._set.delete, timeout)


def _blocks(ended: Sequence[Ended]) -> bool:
    """Tell whether reading these would ask a service, or hold up the loop for long."""
    return len(ended) > AT_ONCE or any(not isinstance(found, Exception) and not found.at_hand for _, found in ended)
