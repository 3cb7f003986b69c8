"""The waits of ``AsyncResult.then``: each a registration of the engine, and no thread."""

from __future__ import annotations

import logging
import weakref
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from streamresults.celery.task_ids import text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.client import Client, Registration, Result

_log: Final = logging.getLogger("streamresults.celery")


class Thens:
    """
    Who is to be called when a task ends. Thread-safe, and safe to leave from a finalizer.

    Args:
        client: Asked for when a first wait begins.
    """

    def __init__(self, client: Callable[[], Client], meta_of: Callable[[Result], dict[str, Any]]) -> None:
        self._client: Final = client
        self._meta_of: Final = meta_of
        self._registrations: Final[dict[int, Registration]] = {}
        #: Those who want nothing more. A finalizer may run while this very thread holds the engine's lock, so it only
        #: leaves word; the next one who registers, or is called, gives their waits up.
        self._left: Final[SimpleQueue[int]] = SimpleQueue()

    def register(self, result: Any, *, weak: bool) -> None:
        """Have a result told of its task's end. A weak wait does not keep the result alive."""
        self._give_up()
        key = id(result)
        if key in self._registrations:
            return
        held: Callable[[], Any] = weakref.ref(result) if weak else (lambda: result)

        def ended(registration: Registration) -> None:
            self._registrations.pop(key, None)
            found = held()
            if found is not None:
                self._tell(found, registration)

        self._registrations[key] = self._client().on_result(text_of(result.id), ended)

    def leave(self, result: Any) -> None:
        """Take note that a result wants nothing any more; takes no lock."""
        if self._registrations and id(result) in self._registrations:
            self._left.put(id(result))

    def _tell(self, result: Any, registration: Registration) -> None:
        try:
            meta = self._meta_of(registration.result())
        except Exception:  # noqa: BLE001 -- whatever the record holds, the other waits go on
            _log.exception(
                "what was to be called at the end of task %s was not: its result cannot be read",
                result.id,
                extra={"action": "then_failed", "task_id": str(result.id)},
            )
            return
        result._maybe_set_cache(meta)  # noqa: SLF001 -- the way of all backends
        self._give_up()

    def _give_up(self) -> None:
        try:
            while True:
                registration = self._registrations.pop(self._left.get_nowait(), None)
                if registration is not None:
                    registration.cancel()
        except Empty:
            return
