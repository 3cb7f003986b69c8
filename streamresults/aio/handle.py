# ruff: noqa: SLF001 -- a part of the client's face
"""A handle for coroutines: one task by its id. ``await`` it for its result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamresults.aio.tree import AsyncKin
from streamresults.deadline import NOT_STATED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator
    from typing import Unpack

    from streamresults.client import Registration, Result
    from streamresults.client.attempts import Attempt
    from streamresults.client.options import Via, WaitOptions
    from streamresults.deadline import OptionalTimeout, Timeout
    from streamresults.events.event import Position


class AsyncResultHandle(AsyncKin):
    """One task; made by :meth:`AsyncClient.result`. It needs not be known to anybody yet."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<AsyncResultHandle {self.task_id!r}>"

    def __await__(self) -> Generator[object, None, object]:
        """Wait until the task has ended, and return its result or raise its exception; see :meth:`get`."""
        return self.get().__await__()

    async def get(
        self,
        timeout: OptionalTimeout = NOT_STATED,  # noqa: ASYNC109 -- the same name everywhere
        *,
        via: Via = "auto",
        propagate: bool = True,
        callback: Callable[[str, object], object] | None = None,
        **options: Unpack[WaitOptions],
    ) -> object:
        """Wait until the task has ended, and return its result or raise its exception; see :meth:`Client.get`."""
        return await self._face.get(self.task_id, timeout, via=via, propagate=propagate, callback=callback, **options)

    async def wait(
        self,
        timeout: OptionalTimeout = NOT_STATED,  # noqa: ASYNC109
        *,
        via: Via = "auto",
        **options: Unpack[WaitOptions],
    ) -> Result:
        """Wait until the task has ended, however it ended; see :meth:`Client.wait`."""
        return await self._face.wait(self.task_id, timeout, via=via, **options)

    def events(self, timeout: Timeout = None) -> AsyncIterator[Result]:
        """Give every event of the task until it ends; see :meth:`Client.events`."""
        return self._face.events(self.task_id, timeout)

    async def on_result(self, callback: Callable[[Registration], object], *, via: Via = "auto") -> Registration:
        """Have a function called on this event loop once the task has ended; see :meth:`Client.on_result`."""
        return await self._face.on_result(self.task_id, callback, via=via)

    async def attempts(self) -> list[Attempt]:
        """Return the runs of the task that the log tells of; see :meth:`ResultHandle.attempts`."""
        return await self._face._questions.ask(self._handle.attempts)

    async def exists(self, timeout: OptionalTimeout = NOT_STATED) -> bool:  # noqa: ASYNC109
        """Tell whether the log holds an event of the task; see :meth:`ResultHandle.exists`."""
        return await self._face._questions.ask(self._handle.exists, timeout)

    async def forget(self, timeout: OptionalTimeout = NOT_STATED) -> Position:  # noqa: ASYNC109
        """Write the task's tombstone; see :meth:`Client.forget`."""
        return await self._face._questions.ask(self._handle.forget, timeout)
