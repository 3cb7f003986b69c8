"""One run of a task as a block: what becomes of the block becomes an event."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

from streamresults.errors import PayloadNotEncodable, RecordTooLarge

if TYPE_CHECKING:
    from types import TracebackType

    from streamresults.events.event import Position
    from streamresults.publisher.publisher import Publisher


class TaskRun:
    """One run of a task as a block; see :meth:`Publisher.run`."""

    def __init__(self, publisher: Publisher, task_id: str, fields: dict[str, Any]) -> None:
        self.task_id = task_id
        #: What SUCCESS carries when the block is left.
        self.result: object = None
        #: Where the final event stands, once the block is left.
        self.position: Position | None = None
        self._publisher = publisher
        self._fields = fields
        self._started_us = 0
        self._clock = 0.0

    def __enter__(self) -> Self:
        self._started_us = time.time_ns() // 1000
        self._publisher.started(self.task_id, started_at_us=self._started_us, **self._fields)
        self._clock = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        timing = {"started_at_us": self._started_us, "runtime": time.perf_counter() - self._clock}
        if exc is not None:
            self.position = self._publisher.failed_with(self.task_id, exc, **timing, **self._fields)
            return
        try:
            self.position = self._publisher.succeeded(self.task_id, self.result, **timing, **self._fields)
        except (PayloadNotEncodable, RecordTooLarge) as unusable:
            # The task has ended and this result will never be there: whoever waits is told why.
            self.position = self._publisher.failed_with(self.task_id, unusable, **timing, **self._fields)
            raise
