# ruff: noqa: SLF001 -- a part of the client's face
"""Reading what is known of one task, awaited: each property of a handle, or all of one moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar, overload

from streamresults.aio.asked import Asked
from streamresults.deadline import NOT_STATED

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.aio.client import AsyncClient
    from streamresults.client import Result
    from streamresults.client.handle import ResultHandle
    from streamresults.deadline import OptionalTimeout
    from streamresults.events.event import Position

T = TypeVar("T")


class _Read(Generic[T]):
    """A property of :class:`ResultHandle`, to be awaited."""

    def __init__(self, read: Callable[[ResultHandle], T]) -> None:
        self._read: Final = read

    @overload
    def __get__(self, handle: None, owner: type) -> Self: ...
    @overload
    def __get__(self, handle: AsyncSnapshots, owner: type) -> Asked[T]: ...
    def __get__(self, handle: AsyncSnapshots | None, owner: type) -> Self | Asked[T]:
        if handle is None:
            return self
        return Asked(handle._face._questions, lambda: self._read(handle._handle))


class AsyncSnapshots:
    """
    What is known of one task.

    Each property is that of :class:`~streamresults.ResultHandle` and asks the view until the task has ended:
    ``await handle.state``. :meth:`snapshot` gives all of one moment at once.

    Args:
        handle: The same for threads.
    """

    __slots__ = ("_face", "_handle")

    def __init__(self, face: AsyncClient, handle: ResultHandle) -> None:
        self._face: Final = face
        self._handle: Final = handle

    def __eq__(self, other: object) -> bool:
        return self.task_id == other.task_id if isinstance(other, AsyncSnapshots) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.task_id)

    @property
    def task_id(self) -> str:
        """Which task it is."""
        return self._handle.task_id

    async def snapshot(
        self,
        *,
        fresh: bool = False,
        at_least: Position | None = None,
        timeout: OptionalTimeout = NOT_STATED,  # noqa: ASYNC109 -- the same name everywhere
    ) -> Result:
        """Return what is known of the task at one moment; see :meth:`ResultHandle.snapshot`."""
        ask = self._face._questions.ask
        return await self._face._found(
            await ask(self._handle.snapshot, fresh=fresh, at_least=at_least, timeout=timeout)
        )

    state = _Read(lambda handle: handle.state)
    ready = _Read(lambda handle: handle.ready)
    successful = _Read(lambda handle: handle.successful)
    failed = _Read(lambda handle: handle.failed)
    result = _Read(lambda handle: handle.result)
    exception = _Read(lambda handle: handle.exception)
    traceback = _Read(lambda handle: handle.traceback)
    date_done = _Read(lambda handle: handle.date_done)
    name = _Read(lambda handle: handle.name)
    args = _Read(lambda handle: handle.args)
    kwargs = _Read(lambda handle: handle.kwargs)
    worker = _Read(lambda handle: handle.worker)
    queue = _Read(lambda handle: handle.queue)
    retries = _Read(lambda handle: handle.retries)
    labels = _Read(lambda handle: handle.labels)
    position = _Read(lambda handle: handle.position)
    group = _Read(lambda handle: handle.group)
