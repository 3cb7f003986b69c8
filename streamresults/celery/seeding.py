"""Lists the exceptions of an application: what its tasks say they throw or retry, and what a setting names."""

from __future__ import annotations

from threading import Lock
from typing import Any, Final

from celery.exceptions import ImproperlyConfigured
from celery.utils.imports import symbol_by_name

from streamresults.celery.exceptions import exceptions_of_task, list_exceptions


class Seeding:
    """
    Keeps the list of one application up to date. Thread-safe.

    Args:
        app: Its tasks are read when it is finalized, and again where there are more of them: a client that only sends
            tasks may never finalize it, and modules of tasks may be imported late.
    """

    def __init__(self, app: Any) -> None:
        self._app: Final = app
        self._lock: Final = Lock()
        self._known = 0
        list_exceptions(_stated(app.conf.get("streamresults_allow") or ()))
        app.on_after_finalize.connect(self._seed, weak=False)
        if app.finalized:
            self._seed()

    def refresh(self) -> None:
        """List what has come since the last time; for whoever is about to rebuild an exception."""
        app = self._app
        if not app.finalized and app.autofinalize:
            app.finalize(auto=True)
        if len(app._tasks) != self._known:  # noqa: SLF001 -- app.tasks raises where an application is not finalized
            self._seed()

    def _seed(self, **_: Any) -> None:
        with self._lock:
            tasks = list(self._app._tasks.values())  # noqa: SLF001 -- as above
            for task in tasks:
                list_exceptions(exceptions_of_task(task))
            self._known = len(tasks)


def _stated(entries: Any) -> list[Any]:
    """
    Return the classes of ``streamresults_allow``, of which some may be named by text.

    Raises:
        ImproperlyConfigured: There is none of a name.
    """
    return [_class_named(entry) if isinstance(entry, str) else entry for entry in entries]


def _class_named(name: str) -> Any:
    try:
        return symbol_by_name(name)
    except (ImportError, AttributeError, ValueError) as exc:
        msg = f"streamresults_allow: there is no {name!r} to list: {exc}. Correct the name, or leave it out"
        raise ImproperlyConfigured(msg) from exc
