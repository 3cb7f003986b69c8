"""
Progress of many tasks, thinned out: of each task at most one report per interval, and the last one is never lost.

A first report goes at once. What comes within the interval replaces what is held; that goes when the interval is over,
or before the event that ends the task, whichever is first.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.events.event import Event

_log: Final = logging.getLogger("streamresults.publisher")
#: Seconds that closing waits for the thread, which may be held up by a full queue.
_JOIN: Final = 5.0


class _Task:
    """One task that reported within the interval."""

    __slots__ = ("event", "lock")

    def __init__(self) -> None:
        #: Held while one of its reports is queued, so that none comes behind the event that ends the task.
        self.lock = threading.Lock()
        #: The report that waits for the interval to pass.
        self.event: Event | None = None


class Progress:
    """
    Thread-safe; its thread starts with the first report.

    Args:
        interval: Seconds between two reports of a task; 0 thins out nothing.
        queue: Queues an event; may block while the queue is full.
    """

    def __init__(self, interval: float, queue: Callable[[Event], object]) -> None:
        self._interval: Final = interval
        self._queue: Final = queue
        #: Tasks that reported within the interval, by id. Empty: nobody needs to ask further.
        self.tasks: dict[str, _Task] = {}
        self._changed = threading.Condition()
        #: When to look at a task again; the interval is one for all, so these are in order.
        self._due: deque[tuple[float, str, _Task]] = deque()
        self._thread: threading.Thread | None = None
        self._closed = False

    def after_fork(self) -> None:
        """Forget, in a forked child, what the parent is going to publish."""
        self.tasks.clear()
        self._due.clear()
        self._changed = threading.Condition()
        self._thread = None

    def report(self, event: Event) -> None:
        """Queue a report now, or hold it until its turn comes."""
        if not self._interval:
            self._queue(event)
            return
        with self._changed:
            task = self.tasks.get(event.task_id)
            if task is not None:
                task.event = event
                return
            task = self.tasks[event.task_id] = _Task()
            # Nobody else knows it yet, so this does not wait: whoever finds it waits until the report is queued.
            task.lock.acquire()
            self._look_again(event.task_id, task)
        try:
            self._queue(event)
        finally:
            task.lock.release()

    def before_end(self, task_id: str) -> None:
        """Queue what is held of a task, which is about to end; a report that is being queued is waited for."""
        with self._changed:
            task = self.tasks.pop(task_id, None)
        if task is not None:
            self._send(task)

    def send_all(self) -> None:
        """Queue everything that is held."""
        for task_id in list(self.tasks):
            self.before_end(task_id)

    def close(self) -> None:
        """Queue everything that is held, and end the thread."""
        self.send_all()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_JOIN)

    def _send(self, task: _Task) -> bool:
        with task.lock:
            with self._changed:
                event, task.event = task.event, None
            if event is not None:
                self._queue(event)
        return event is not None

    def _look_again(self, task_id: str, task: _Task) -> None:
        self._due.append((time.monotonic() + self._interval, task_id, task))
        self._start()
        self._changed.notify_all()

    def _start(self) -> None:
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._run, name="streamresults-progress", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._due and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                if not self._due:
                    continue
                at, task_id, task = self._due[0]
                left = at - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                    continue
                self._due.popleft()
            self._turn(task_id, task)

    def _turn(self, task_id: str, task: _Task) -> None:
        """Send what a task holds; one that had nothing to say for an interval is forgotten."""
        try:
            sent = self._send(task)
        except Exception:  # noqa: BLE001 -- counted and logged where it failed: the others' reports go on
            _log.debug("a report of progress was given up", extra={"action": "progress_failed", "task_id": task_id})
            sent = True
        with self._changed:
            if self.tasks.get(task_id) is not task:
                return
            if sent or task.event is not None:
                self._look_again(task_id, task)
            else:
                del self.tasks[task_id]
