"""
A desk for chords: an application whose messages go to a broker in memory and that has no worker.

The messages are Celery's own; what a worker would say of each task is said by the test, in any order and as often as
it likes.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from celery import chord, signals
from celery.app.task import Context

from streamresults.settings import Settings
from streamresults.store.memory import MemoryStore
from streamresults.topic.memory import MemoryBroker
from streamresults.wiring import Wiring
from tests.celery_desk import closing_backends, make_app
from tests.conftest import create_topics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from streamresults.celery import StreamResultsBackend
    from streamresults.store.base import Store
    from streamresults.store.parts import PartSet

#: Longer than any lease of a claim, in milliseconds.
LATER = 3_600_000


@dataclass
class Desk:
    """An application without a worker, and what it has sent."""

    app: Celery
    wiring: Wiring
    store: MemoryStore
    #: Names, positional arguments and requests of the tasks that were sent since :meth:`begin`.
    sent: list[tuple[str, Any, Context]] = field(default_factory=list)
    #: How much later it is for the store than for everybody else.
    ahead_ms: int = 0

    @property
    def backend(self) -> StreamResultsBackend:
        found: StreamResultsBackend = self.app.backend
        return found

    def task(self, name: str = "member", *args: Any, **options: Any) -> Any:
        """Return a signature."""
        return self.app.signature(name, args=args, **options)

    def chord(self, count: int, body: Any = None, name: str = "member") -> Any:
        """Return a chord of so many tasks."""
        return chord([self.task(name, number) for number in range(count)], self.task("body") if body is None else body)

    def begin(self, canvas: Any) -> tuple[Any, list[Context]]:
        """Send a canvas; return its result, and the requests of the tasks that were sent, in their order."""
        del self.sent[:]
        result = canvas.apply_async()
        requests = [request for _, _, request in self.sent]
        del self.sent[:]
        return result, requests

    def rest_of(self, request: Context) -> Any:
        """Return what a worker sends when a task of a chain has succeeded."""
        return self.app.signature(request.chain.pop())

    def bodies(self, name: str = "body") -> list[Any]:
        """Return with what each body was called that was sent since."""
        return [args[0] for sent, args, _ in self.sent if sent == name]

    def done(self, request: Context, value: Any) -> None:
        """Say what a worker says of a task that has succeeded."""
        self.backend.mark_as_done(request.id, value, request)

    def failed(self, request: Context, said: str = "no") -> None:
        """Say what a worker says of one that has failed."""
        self.backend.mark_as_failure(request.id, ValueError(said), "traceback", request)

    def revoked(self, request: Context) -> None:
        """Say what a worker says of one that it was told not to run."""
        self.backend.mark_as_revoked(request.id, "revoked", request)

    def meta(self, result: Any) -> dict[str, Any]:
        """Return what this process knows of a task by what it has said itself."""
        found: dict[str, Any] = self.backend.get_task_meta(result.id)
        return found

    def parts(self, request: Context) -> PartSet | None:
        """Return what is counted of a task's chord."""
        return self.backend.connections.parts.read(request.group)

    def another_process(self) -> None:
        """Go on as another process, which has said nothing so far and looks at no chord."""
        self.backend.connections.after_fork()
        self.backend.__dict__.pop("_accounts", None)


@contextmanager
def at_desk(*, counting_on: Store | None = None, **conf: Any) -> Iterator[Desk]:
    """Give a desk of its own, whose view and whose parts are in memory unless another store is given."""
    store = MemoryStore(lambda: time.time_ns() // 1_000_000 + desk.ahead_ms)
    with Wiring(Settings(), broker=MemoryBroker(), store=counting_on or store) as wiring, closing_backends():
        create_topics(wiring)
        app = make_app(wiring, **conf)
        desk = Desk(app, wiring, store)
        for name in ("member", "body", "after"):
            app.task(_nothing, name=name, shared=False)
        # Celery sends errbacks of one argument as tasks, and calls those of more by itself.
        app.task(_errback, name="errback", shared=False)
        app.task(_nothing, name="ignored", shared=False, ignore_result=True)

        def heard(sender: str, body: Any, headers: Any, **_: Any) -> None:
            desk.sent.append((sender, body[0], Context({**headers, **body[2], "delivery_info": {}})))

        signals.before_task_publish.connect(heard)
        try:
            yield desk
        finally:
            signals.before_task_publish.disconnect(heard)


def _nothing(*args: Any) -> Any:
    return args


def _errback(task_id: str) -> str:
    return task_id
