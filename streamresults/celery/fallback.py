"""
The backend that an application used before: asked for what is not known here, and never written to.

Clients that have one can be switched over before their workers: what a worker still stores in the old backend is found
there, by lookups and by waits.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from threading import local
from typing import TYPE_CHECKING, Any, Final

from celery import states as celery_states
from celery.app.backends import by_url
from celery.backends.base import BaseKeyValueStoreBackend, DisabledBackend
from celery.exceptions import ImproperlyConfigured
from kombu.exceptions import ContentDisallowed, DecodeError

from streamresults.celery.urls import masked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_log: Final = logging.getLogger("streamresults.celery")
#: Seconds between two looks of a wait: the old backend tells nobody of what comes.
LOOK: Final = 0.5
#: Seconds for which a backend that does not answer is not asked again. Shorter slows every lookup while it is away,
#: longer hides its results for longer than it was away.
_AWAY: Final = 5.0
#: Backends that cannot be asked about a task more than once, or from elsewhere.
_UNFIT: Final = frozenset({"rpc", "amqp"})


class Fallback:
    """
    The old backend. Thread-safe: each thread has one of its own, as Celery itself does it.

    It holds an application up for nothing: while it cannot be reached, the answers are those without it, and the log
    says so.

    Args:
        app: Its settings are those of the old backend too.
        url: As ``result_backend`` took it.
        exception_to_python: Decides about stored exceptions in the place of the old backend, which would look up and
            call whatever class a record names.

    Raises:
        ImproperlyConfigured: There is no such backend, or none that could be asked.
    """

    def __init__(self, app: Any, url: str, exception_to_python: Callable[[Any], Any]) -> None:
        self._app: Final = app
        self._url: Final = url
        self._exception_to_python: Final = exception_to_python
        self._local: Final = local()
        self._away_until = 0.0
        if url.partition(":")[0] in _UNFIT:
            msg = f"fallback_backend {masked(url)!r}: its results can be read once, and by their sender alone"
            raise ImproperlyConfigured(msg)
        if isinstance(self.backend, DisabledBackend):
            msg = f"fallback_backend {masked(url)!r} keeps no results"
            raise ImproperlyConfigured(msg)

    @property
    def backend(self) -> Any:
        """The old backend of this thread; making it connects to nothing."""
        found = getattr(self._local, "backend", None)
        if found is None:
            cls, url = by_url(self._url, self._app.loader)
            found = cls(app=self._app, url=url)
            found.exception_to_python = self._exception_to_python
            self._local.backend = found
        return found

    def metas(self, task_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """
        Return what it holds of tasks, by their ids; nothing of a task that it does not know.

        Raises:
            ContentDisallowed, DecodeError: A result there cannot be read.
        """
        found = self._asked(self._metas, task_ids) or {}
        return {
            task_id: {**meta, "task_id": task_id}
            for task_id, meta in found.items()
            if meta["status"] != celery_states.PENDING
        }

    def _metas(self, task_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        backend = self.backend
        if not isinstance(backend, BaseKeyValueStoreBackend):
            return {task_id: backend.get_task_meta(task_id, cache=False) for task_id in task_ids}
        try:
            values = backend.mget([backend.get_key_for_task(task_id) for task_id in task_ids])
        except NotImplementedError:  # not every one of Celery's can
            values = [backend.get(backend.get_key_for_task(task_id)) for task_id in task_ids]
        found = zip(task_ids, values, strict=True)
        return {task_id: self._decoded(task_id, value) for task_id, value in found if value}

    def _decoded(self, task_id: str, value: bytes) -> dict[str, Any]:
        try:
            meta: dict[str, Any] = self.backend.decode_result(value)
        except (ContentDisallowed, DecodeError):
            raise
        except Exception as exc:  # a record may hold anything; that one cannot be read says nothing of the backend
            msg = f"what {masked(self._url)} holds of task {task_id!r} cannot be read: {exc!r}"
            raise DecodeError(msg) from exc
        return meta

    def group_meta(self, group_id: str) -> dict[str, Any] | None:
        """Return what it holds of a saved group, ``None`` for nothing."""
        found: dict[str, Any] | None = self._asked(
            lambda known: self.backend.get_group_meta(known, cache=False), group_id
        )
        return found

    def forget(self, task_id: str) -> None:
        """Forget a task there too: else it would come back as soon as it is gone here."""
        self._asked(self.backend.forget, task_id)

    def delete_group(self, group_id: str) -> None:
        """Delete a saved group there too."""
        self._asked(self.backend.delete_group, group_id)

    def _asked(self, ask: Callable[[Any], Any], about: Any) -> Any:
        """Return its answer; ``None`` where it has none because it is away, or because it keeps no such thing."""
        if not about or time.monotonic() < self._away_until:
            return None
        with suppress(NotImplementedError):
            try:
                return ask(about)
            except (ContentDisallowed, DecodeError, NotImplementedError):
                raise
            except Exception as exc:  # noqa: BLE001 -- each backend has its own errors, and they have no common base
                self._away_until = time.monotonic() + _AWAY
                _log.warning(
                    "fallback_backend %s did not answer, and is not asked again for %g s: %s: %s",
                    masked(self._url),
                    _AWAY,
                    type(exc).__name__,
                    exc,
                    extra={"action": "fallback_away"},
                )
        return None


class FoundElsewhere(Exception):
    """No error, but the way out of a wait: the task has ended in the backend that was used before."""

    def __init__(self, meta: dict[str, Any]) -> None:
        super().__init__(meta["task_id"])
        self.meta: Final = meta


def looking_elsewhere(task_id: str, fallback: Fallback, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a wait with which it looks into the old backend too; FoundElsewhere ends it."""
    on_interval = options.get("on_interval")

    def look() -> None:
        meta = fallback.metas([task_id]).get(task_id)
        if meta is not None and meta["status"] in celery_states.READY_STATES:
            raise FoundElsewhere(meta)
        if on_interval is not None:
            on_interval()

    return {"on_interval": look, "interval": options.get("interval", LOOK)}
