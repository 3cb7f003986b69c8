"""Finds the application that somebody names at a prompt."""

from __future__ import annotations

from typing import Any

from celery.app.utils import find_app

from streamresults.celery.backend import StreamResultsBackend
from streamresults.errors import ConfigurationError


def find_application(name: str) -> Any:
    """
    Return a Celery application by the name that ``celery -A`` takes.

    Raises:
        ConfigurationError: There is none of that name, or its results are stored elsewhere.
    """
    try:
        app = find_app(name)
    except (ImportError, AttributeError) as exc:
        msg = f"the application {name!r} cannot be imported: {exc}"
        raise ConfigurationError(msg) from exc
    if not isinstance(app.backend, StreamResultsBackend):
        msg = f"the application {name!r} has another result backend: {type(app.backend).__name__}"
        raise ConfigurationError(msg)
    return app
