# ruff: noqa: SLF001 -- a part of the client's face
"""Tasks that called each other, for coroutines; read level by level on the threads of questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from streamresults.aio.asked import Asked
from streamresults.aio.snapshots import AsyncSnapshots
from streamresults.errors import StreamResultsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from streamresults.aio.handle import AsyncResultHandle
    from streamresults.client import Graph, ResultHandle

T = TypeVar("T")


class AsyncKin(AsyncSnapshots):
    """The face of a tree for a handle; see :class:`~streamresults.ResultHandle`."""

    __slots__ = ()

    @property
    def parent(self) -> Asked[AsyncResultHandle | None]:
        """The task that called this one, to be awaited."""
        return Asked(self._face._questions, lambda: self._relative(self._handle.parent))

    @property
    def root(self) -> Asked[AsyncResultHandle | None]:
        """The first of the ancestors, to be awaited."""
        return Asked(self._face._questions, lambda: self._relative(self._handle.root))

    def _relative(self, found: ResultHandle | None) -> AsyncResultHandle | None:
        return None if found is None else self._face.result(found.task_id)

    @property
    def children(self) -> Asked[list[AsyncResultHandle]]:
        """The tasks that this one called, to be awaited."""
        return Asked(
            self._face._questions, lambda: [self._face.result(child.task_id) for child in self._handle.children]
        )

    async def graph(self) -> Graph:
        """Return the tree below this task; see :meth:`ResultHandle.graph`."""
        return await self._face._questions.ask(self._handle.graph)

    async def leaf(self) -> AsyncResultHandle:
        """Return the last task of the chain that begins with this one; see :meth:`ResultHandle.leaf`."""
        return self._face.result((await self._face._questions.ask(self._handle.leaf)).task_id)

    async def iterdeps(
        self, *, intermediate: bool = False
    ) -> AsyncIterator[tuple[AsyncResultHandle | None, AsyncResultHandle]]:
        """Give (caller, task) to an ``async for``; see :meth:`ResultHandle.iterdeps`."""
        result = self._face.result
        given, error = await self._face._questions.ask(_given, self._handle.iterdeps(intermediate=intermediate))
        for caller, task in given:
            yield None if caller is None else result(caller.task_id), result(task.task_id)
        if error is not None:
            raise error

    async def collect(self, *, intermediate: bool = False) -> AsyncIterator[tuple[AsyncResultHandle, object]]:
        """Give (task, value) to an ``async for``; see :meth:`ResultHandle.collect`."""
        given, error = await self._face._questions.ask(_given, self._handle.collect(intermediate=intermediate))
        for task, value in given:
            yield self._face.result(task.task_id), value
        if error is not None:
            raise error


def _given(items: Iterator[T]) -> tuple[list[T], StreamResultsError | None]:
    """Return what there is, and why no more than that."""
    given: list[T] = []
    try:
        given.extend(items)
    except StreamResultsError as exc:
        return given, exc
    return given, None
