"""Single latencies: somebody waits in one thread, the result is published from another."""

from __future__ import annotations

import time
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds from the beginning of a wait to the publishing: enough for the wait to have settled.
SETTLE: Final = 0.02


class WaitingThread:
    """A thread that waits for one task after the other, and notes when each wait returned."""

    def __init__(self, wait: Callable[[str], object]) -> None:
        self._wait = wait
        self._asked: SimpleQueue[str | None] = SimpleQueue()
        self._returned: SimpleQueue[float | BaseException] = SimpleQueue()
        self._thread = Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._asked.put(None)
        self._thread.join()

    def latency_ms(self, task_id: str, publish: Callable[[], object], settle: float = SETTLE) -> float:
        """Begin a wait, publish, and return the milliseconds from the call that publishes to the wait's return."""
        self._asked.put(task_id)
        time.sleep(settle)
        began = time.perf_counter()
        publish()
        returned = self._returned.get(timeout=30)
        if isinstance(returned, BaseException):
            raise returned
        return (returned - began) * 1000

    def _run(self) -> None:
        while (task_id := self._asked.get()) is not None:
            try:
                self._wait(task_id)
                self._returned.put(time.perf_counter())
            except Exception as exc:  # noqa: BLE001 -- raised again where the figure is wanted
                self._returned.put(exc)
