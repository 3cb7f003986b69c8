"""A Celery application whose results go through a wiring of the test's, with a compactor that runs beside it."""

from __future__ import annotations

import itertools
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from celery import Celery

from streamresults.celery.process import close_all, use_wiring
from streamresults.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.celery import StreamResultsBackend

_numbers = itertools.count()


@contextmanager
def compacting(wiring: Wiring) -> Iterator[None]:
    """Fold the topic meanwhile, from its beginning."""
    stop = threading.Event()
    compactor = wiring.compactor(from_earliest=True)
    thread = threading.Thread(target=compactor.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


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


@contextmanager
def closing_backends() -> Iterator[None]:
    """Close, in the end, what backends of this process have opened."""
    try:
        yield
    finally:
        close_all()
