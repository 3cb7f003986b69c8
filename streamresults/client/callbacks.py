"""
Waits that cost no thread: a function is called when one has ended.

A wait ends under the dispatch lock, on the thread of whoever saw it end. What is called then is not ours and may take
its time, so it is called from a thread of its own, without any lock: a slow function delays the functions behind it,
and no wait.
"""

from __future__ import annotations

import logging
from queue import SimpleQueue
from threading import Lock, Thread, current_thread
from typing import TYPE_CHECKING, Final

from streamresults.client.waiter import Phase
from streamresults.errors import WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.client.engine import Engine
    from streamresults.client.result import Result
    from streamresults.client.waiter import Waiter

_log: Final = logging.getLogger("streamresults.waiter")


class Registration:
    """One wait whose end calls a function; made by :meth:`Client.on_result`. Tens of thousands may stand at once."""

    __slots__ = ("_callback", "_callbacks", "_waiter")

    def __init__(self, callback: Callable[[Registration], object], callbacks: Callbacks) -> None:
        #: ``None`` once it is being called, or never will be.
        self._callback: Callable[[Registration], object] | None = callback
        self._callbacks: Final = callbacks
        self._waiter: Waiter

    def __call__(self) -> None:
        """Take word that the wait has ended; the engine calls this once, under its lock."""
        self._callbacks.ended(self)

    def __repr__(self) -> str:
        return f"<Registration {self.task_id!r} {self._waiter.phase.value}>"

    @property
    def task_id(self) -> str:
        """The task that is waited for."""
        return self._waiter.task_id

    def result(self) -> Result:
        """
        Return what is known of the task that has ended; for the function that was called, or for later.

        Blocks only where the value is too large for the view and has to be fetched from the log.

        Raises:
            WaitTimeout: The task has not ended yet, or the registration was cancelled.
            ClientClosed: The client was closed first.
            TopicRecreated, TopicMissing: The topic was deleted first, and made again or not.
            MalformedRecord, TopicUnavailable: See their names.
        """
        if self._waiter.phase is not Phase.OVER:
            msg = f"task {self.task_id!r} has not ended yet"
            raise WaitTimeout(msg, task_id=self.task_id, state=self._waiter.state_seen)
        return self._callbacks.result_of(self._waiter)

    def cancel(self) -> bool:
        """End the wait and tell whether that came in time: ``True``, and the function is never called. Never blocks."""
        return self._callbacks.cancel(self)


class Callbacks:
    """
    The registrations of one client. Thread-safe.

    Args:
        result_of: Returns the result of a wait that is over, or raises why there is none.
    """

    def __init__(self, engine: Engine, result_of: Callable[[Waiter], Result]) -> None:
        self._engine: Final = engine
        self.result_of: Final = result_of
        #: Guards what registrations hold, and the thread; never held while anything is called, taken before any other.
        self._lock = Lock()
        self._abandoned = False
        self._ended: Final[SimpleQueue[Registration | None]] = SimpleQueue()
        self._thread: Thread | None = None

    def register(
        self,
        task_id: str,
        partition: int,
        callback: Callable[[Registration], object],
        *,
        through_topic: bool,
        spent: float,
    ) -> Registration:
        """
        Begin a wait and return at once.

        Args:
            spent: As for :meth:`Engine.submit`.

        Raises:
            ClientClosed: The engine is closed.
        """
        registration = Registration(callback, self)
        # Held until the registration knows its wait, which may end before submit returns.
        with self._lock:
            registration._waiter = self._engine.submit(  # noqa: SLF001 -- one step of making it
                task_id, partition, registration, through_topic=through_topic, spent=spent
            )
            if self._thread is None:
                self._thread = Thread(target=self._call_forever, name="streamresults-callbacks", daemon=True)
                self._thread.start()
        return registration

    def ended(self, registration: Registration) -> None:
        """Have the function of a wait that is over called. Never blocks."""
        self._ended.put(registration)

    def cancel(self, registration: Registration) -> bool:
        """End a wait, unless its function was called or is being called; tell which."""
        in_time = self._take(registration) is not None
        if in_time and not self._abandoned:
            self._engine.give_up(registration._waiter)  # noqa: SLF001
        return in_time

    def end(self) -> None:
        """
        Have the thread end once every function was called whose wait has ended; the engine is closed, so no more will.

        Never blocks: for whoever holds what such a function may want to have.
        """
        self._ended.put(None)

    def close(self) -> None:
        """Do :meth:`end`, and return when it has happened."""
        self.end()
        with self._lock:
            thread = self._thread
        if thread is not None and thread is not current_thread():
            thread.join()

    def abandon(self) -> None:
        """Leave every registration to the parent, in a forked child: here none of them is ever called."""
        self._lock = Lock()  # another thread may have held it
        self._abandoned = True

    def _take(self, registration: Registration) -> Callable[[Registration], object] | None:
        """Return a registration's function to the first who asks."""
        with self._lock:
            callback, registration._callback = registration._callback, None  # noqa: SLF001 -- under this lock alone
        return callback

    def _call_forever(self) -> None:
        while self._call(self._ended.get()):
            pass

    def _call(self, registration: Registration | None) -> bool:
        """Call one function; tell whether there may be more."""
        if registration is None:
            return False
        callback = self._take(registration)
        if callback is None:
            return True  # cancelled as it ended
        try:
            callback(registration)
        except Exception:  # noqa: BLE001 -- whatever it raises harms nobody but itself
            _log.exception(
                "what was to be called at the end of task %s failed",
                registration.task_id,
                extra={"action": "callback_failed", "task_id": registration.task_id},
            )
        return True
