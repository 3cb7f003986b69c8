"""A Celery application whose results go through a wiring of the test's."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from celery import Celery

from streamresults.celery.process import close_all, use_wiring
from streamresults.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.celery import StreamResultsBackend

_numbers = itertools.count()


def make_app(wiring: Wiring, **conf: Any) -> Celery:
    """Return an application of its own, whose results go to a wiring's topic and view."""
    settings = wiring.settings
    # The client id alone tells them apart, so that no two share connections, as two processes would not.
    url = f"streamresults://{settings.kafka_bootstrap}/{settings.topic}?kafka.client.id=desk{next(_numbers)}"
    if settings.redis_url:
        url += f"&redis={settings.redis_url}&namespace={settings.namespace}"
    app = Celery(f"desk{next(_numbers)}", broker="memory://", backend=url, set_as_current=False)
    app.conf.update(conf)
    if not settings.redis_url:
        backend: StreamResultsBackend = app.backend
        own = Wiring(backend.settings, broker=wiring.broker(), store=wiring.store())
        backend.connections = use_wiring(backend.settings, own)
    return app


def backend_of(wiring: Wiring, **conf: Any) -> StreamResultsBackend:
    """Return the backend of an application of its own."""
    found: StreamResultsBackend = make_app(wiring, **conf).backend
    return found


def elsewhere(backend: StreamResultsBackend, task_id: str) -> Any:
    """Return what another process sees of a task once the view has folded all there is."""
    return backend.connections.wiring.client().lookup(task_id, fresh=True)


@contextmanager
def closing_backends() -> Iterator[None]:
    """Close, in the end, what backends of this process have opened."""
    try:
        yield
    finally:
        close_all()
