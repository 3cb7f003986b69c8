"""One run of a task as a block: what becomes of the block becomes an event."""

from __future__ import annotations

import asyncio
import time
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, Final, Self

from streamresults.errors import PayloadNotEncodable, PayloadTooLarge, RecordTooLarge
from streamresults.events.running import begin_task, end_task

if TYPE_CHECKING:
    from types import TracebackType

    from streamresults.events.event import Position
    from streamresults.publisher.saying import Saying

_current: Final[ContextVar[TaskRun | None]] = ContextVar("streamresults_current_run", default=None)


def current_run() -> TaskRun | None:
    """Return the recorded run that this code is part of, ``None`` outside of any: its id, and a place for progress."""
    return _current.get()


class TaskRun:
    """One run of a task as a block, for ``with`` and ``async with``; see :meth:`Publisher.run`."""

    def __init__(self, publisher: Saying, task_id: str, fields: dict[str, Any]) -> None:
        self.task_id = task_id
        #: What SUCCESS carries when the block is left.
        self.result: object = None
        #: Where the final event stands, once the block is left; ``None`` also where it rests in the spool.
        self.position: Position | None = None
        self._publisher = publisher
        self._fields = fields
        self._started_us = 0
        self._clock = 0.0
        self._token: Token[TaskRun | None] | None = None
        self._running: Token[str] | None = None

    def progress(self, value: object = None, **fields: Any) -> None:
        """Report how far it is; see :meth:`Publisher.progress`. Queues at most, so also for coroutines."""
        self._publisher.progress(self.task_id, value, **{**self._fields, **fields})

    def __enter__(self) -> Self:
        self._begin()
        self._enter()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._end(exc, self._leave())

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._begin)
        self._enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        # Shielded: who is cancelled while it ends waits no longer, and the event goes its way all the same.
        await asyncio.shield(asyncio.to_thread(self._end, exc, self._leave()))

    def _begin(self) -> None:
        self._started_us = time.time_ns() // 1000
        self._publisher.started(self.task_id, started_at_us=self._started_us, **self._fields)

    def _enter(self) -> None:
        self._token, self._running = _current.set(self), begin_task(self.task_id)
        self._clock = time.perf_counter()

    def _leave(self) -> float:
        """Return the seconds that the block took."""
        runtime = time.perf_counter() - self._clock
        if self._token is not None and self._running is not None:
            _current.reset(self._token)
            end_task(self._running)
        return runtime

    def _end(self, exc: BaseException | None, runtime: float) -> None:
        fields = {"started_at_us": self._started_us, "runtime": runtime, **self._fields}
        if isinstance(exc, asyncio.CancelledError):
            self.position = self._publisher.revoked(self.task_id, exc, **fields)
            return
        if exc is not None:
            self.position = self._publisher.failed_with(self.task_id, exc, **fields)
            return
        try:
            self.position = self._publisher.succeeded(self.task_id, self.result, **fields)
        except (PayloadNotEncodable, PayloadTooLarge, RecordTooLarge) as unusable:
            # The task has ended and this result will never be there: whoever waits is told why.
            self.position = self._publisher.failed_with(self.task_id, unusable, **fields)
            raise
