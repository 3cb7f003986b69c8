"""
The result backend for Celery: a door of its own, the only one to Celery, kombu, billiard and vine.

Celery finds it by its entry point; nothing here needs to be imported by an application. ``docs/celery.md`` is for its
users, "The Celery adapter" in docs/architecture.md for whoever changes it.
"""

from __future__ import annotations

from streamresults.celery.backend import StreamResultsBackend

__all__ = ["StreamResultsBackend"]
