"""A process sees its own ends in every kind of wait, before the view does: nothing here is ever folded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from celery import states
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.result import ResultSet

from tests.celery_desk import closing_backends, make_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from streamresults.wiring import Wiring


@pytest.fixture
def app(memory_wiring: Wiring) -> Iterator[Celery]:
    """Give an application whose process has ended three tasks a moment ago."""
    with closing_backends():
        app = make_app(memory_wiring)
        for number in range(3):
            app.backend.mark_as_done(f"task{number}", number)
        yield app


def results(app: Celery, *numbers: int) -> ResultSet:
    return ResultSet([app.AsyncResult(f"task{number}") for number in numbers], app=app)


def test_one_that_ended_here_is_there_at_once(app: Celery) -> None:
    assert app.AsyncResult("task1").get(timeout=0) == 1


def test_a_set_whose_members_ended_here_is_joined_at_once(app: Celery) -> None:
    assert results(app, 2, 0, 1).join_native(timeout=0) == [2, 0, 1]


def test_each_member_that_ended_here_is_told_of_once(app: Celery) -> None:
    told: list[str] = []

    found = dict(
        app.backend.get_many(["task0", "task1"], timeout=0, on_message=lambda meta: told.append(meta["task_id"]))
    )

    assert {task_id: meta["result"] for task_id, meta in found.items()} == {"task0": 0, "task1": 1}
    assert sorted(told) == ["task0", "task1"]


def test_a_wait_for_others_names_only_those(app: Celery) -> None:
    with pytest.raises(CeleryTimeoutError, match="task 'task7' has not ended"):
        results(app, 0, 1, 7).join_native(timeout=0)


def test_what_was_forgotten_here_has_not_ended(app: Celery) -> None:
    app.AsyncResult("task1").forget()

    with pytest.raises(CeleryTimeoutError):
        results(app, 0, 1).join_native(timeout=0)


def test_one_look_at_many_gives_those_in_the_states_that_are_asked_for(app: Celery) -> None:
    app.backend.mark_as_failure("task7", KeyError("x"))

    found = app.backend.get_many(["task0", "task7", "task8"], max_iterations=1, READY_STATES={states.SUCCESS})

    assert [task_id for task_id, _ in found] == ["task0"]
