"""Finds the application that somebody names at a prompt."""

from __future__ import annotations

from typing import Any

from celery.app.utils import find_app

from streamresults.celery.backend import StreamResultsBackend
from streamresults.errors import ConfigurationError


def find_any_application(name: str) -> Any:
    """
    Return a Celery application by the name that ``celery -A`` takes, wherever its results are stored.

    Raises:
        ConfigurationError: There is none of that name.
    """
    try:
        return find_app(name)
    except (ImportError, AttributeError) as exc:
        msg = f"the application {name!r} cannot be imported: {exc}"
        raise ConfigurationError(msg) from exc


def find_application(name: str) -> Any:
    """
    Return one whose results are stored here.

    Raises:
        ConfigurationError: There is none of that name, or its results are stored elsewhere.
    """
    app = find_any_application(name)
    if not isinstance(app.backend, StreamResultsBackend):
        msg = f"the application {name!r} has another result backend: {type(app.backend).__name__}"
        raise ConfigurationError(msg)
    return app


def backend_for(app: Any) -> StreamResultsBackend:
    """Return the backend of an application; of one that is not switched over yet, what its bare name would give it."""
    found = app.backend
    return found if isinstance(found, StreamResultsBackend) else StreamResultsBackend(app=app)
