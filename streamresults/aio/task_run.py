"""One run of a task as a block, awaited: neither its beginning nor its end holds up the event loop."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, Self

from streamresults.errors import PayloadNotEncodable, PayloadTooLarge, RecordTooLarge
from streamresults.publisher.task_run import TaskRun

if TYPE_CHECKING:
    from types import TracebackType

    from streamresults.aio.publisher import AsyncPublisher
    from streamresults.publisher import Publisher


class AsyncTaskRun(TaskRun):
    """One run of a task as a block, for ``async with``; see :meth:`AsyncPublisher.run`."""

    def __init__(self, face: AsyncPublisher, publisher: Publisher, task_id: str, fields: dict[str, Any]) -> None:
        super().__init__(publisher, task_id, fields)
        self._face: Final = face

    async def __aenter__(self) -> Self:
        self._started_us = time.time_ns() // 1000
        await self._face.started(self.task_id, started_at_us=self._started_us, **self._fields)
        self._enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        # Shielded: who is cancelled while it ends waits no longer, and the event goes its way all the same.
        await asyncio.shield(self._ended(exc, self._leave()))

    async def _ended(self, exc: BaseException | None, runtime: float) -> None:
        face, fields = self._face, {"started_at_us": self._started_us, "runtime": runtime, **self._fields}
        if isinstance(exc, asyncio.CancelledError):
            self.position = await face.revoked(self.task_id, exc, **fields)
        elif exc is not None:
            self.position = await face.failed_with(self.task_id, exc, **fields)
        else:
            try:
                self.position = await face.succeeded(self.task_id, self.result, **fields)
            except (PayloadNotEncodable, PayloadTooLarge, RecordTooLarge) as unusable:
                # The task has ended and this result will never be there: whoever waits is told why.
                self.position = await face.failed_with(self.task_id, unusable, **fields)
                raise
