"""The error of a parent is raised in the place of its child's, also where the view is behind the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import states
from celery.exceptions import ChordError
from celery.result import GroupResult

from streamresults.celery import waiting
from streamresults.client.waiter import Phase
from tests.celery_desk import closing_backends, make_app
from tests.compacting import compacting
from tests.unit.test_celery_waiting import SOON, in_thread
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from streamresults.wiring import Wiring


@pytest.fixture
def app(memory_wiring: Wiring) -> Iterator[Celery]:
    """Give the application of who waits; the view has been complete, and nothing is folded any more."""
    with closing_backends():
        app = make_app(memory_wiring)
        with compacting(memory_wiring):
            make_app(memory_wiring).backend.store_result("before", 1, states.SUCCESS)
            app.AsyncResult("before").get(timeout=SOON)
        yield app


@pytest.fixture
def worker(memory_wiring: Wiring, app: Celery) -> Any:
    """Give the backend of another process, which ends tasks."""
    del app  # which closes both
    return make_app(memory_wiring).backend


def is_asleep(app: Celery) -> bool:
    """Tell whether the one wait of an application will be told of its task by the topic, whatever the view does."""
    engine = app.backend.connections.client._engine
    if engine is None:
        return False
    with engine.waits.lock:
        return [waiter.phase for waiter in engine.waits.everybody()] == [Phase.ASLEEP]


def body_of(app: Celery, *members: str) -> Any:
    """Return the result of a chord's body."""
    header = GroupResult("header", [app.AsyncResult(member) for member in members], app=app)
    return app.AsyncResult("body", parent=header)


def test_a_member_that_failed_before_is_waited_for_in_the_view(
    app: Celery, worker: Any, memory_wiring: Wiring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait hears of the body in the topic, where members stand in other partitions."""
    monkeypatch.setattr(waiting, "_PARENTS_FOLDED", SOON)
    body = body_of(app, "a", "b", "c", "d")
    found = in_thread(lambda: body.get(timeout=SOON, interval=3600))
    eventually(lambda: is_asleep(app), SOON)
    for member in ("a", "b", "d"):
        worker.store_result(member, 1, states.SUCCESS)
    worker.store_result("c", KeyError("c"), states.FAILURE)
    worker.store_result("body", ChordError("Dependency c raised KeyError('c')"), states.FAILURE)

    with compacting(memory_wiring), pytest.raises(KeyError, match="c"):
        found.result()


def test_the_error_of_the_body_is_raised_where_the_view_does_not_come(
    app: Celery, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_PARENTS_FOLDED", 0.05)
    body = body_of(app, "a")
    found = in_thread(lambda: body.get(timeout=SOON))
    eventually(lambda: is_asleep(app), SOON)

    worker.store_result("body", ChordError("c"), states.FAILURE)

    with pytest.raises(ChordError):
        found.result()


def test_a_parent_that_nothing_is_known_of_holds_up_nobody(app: Celery, worker: Any, memory_wiring: Wiring) -> None:
    """Members that ignore their results never have one."""
    body = body_of(app, *(f"ignored{number}" for number in range(20)))
    with compacting(memory_wiring):
        found = in_thread(lambda: body.get(timeout=SOON))
        eventually(lambda: is_asleep(app), SOON)

        worker.store_result("body", ChordError("c"), states.FAILURE)

        with pytest.raises(ChordError):
            found.result()
