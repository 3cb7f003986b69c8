"""Waiting by Celery's result objects: every way of it is fed by the one engine; on the topic and store in memory."""

from __future__ import annotations

import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

import celery
import pytest
from celery import states
from celery.exceptions import TaskRevokedError
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.result import ResultSet

from streamresults.errors import StoreUnavailable
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery


#: Seconds within which anything here happens on a loaded machine.
SOON = 20.0


def waiting(app: Celery) -> int:
    """Return how many waits the engine of an application holds."""
    engine = app.backend.connections.client._engine
    if engine is None:
        return 0
    with engine.waits.lock:
        return len(engine.waits.everybody())


def in_thread(call: Callable[[], Any]) -> Any:
    """Run a call in a thread; its future has the outcome."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(call)
    finally:
        pool.shutdown(wait=False)


# -- one -----------------------------------------------------------------------------------------------------------


def test_get_returns_what_is_stored_later(app: Celery, worker: Any) -> None:
    found = in_thread(partial(app.AsyncResult("t").get, timeout=SOON))
    eventually(lambda: waiting(app) == 1)

    worker.store_result("t", 5, states.SUCCESS)

    assert found.result() == 5


@pytest.mark.parametrize("task_id", [b"t", UUID(int=7)])
def test_an_id_may_be_bytes_or_a_uuid(app: Celery, worker: Any, task_id: Any) -> None:
    found = in_thread(partial(app.AsyncResult(task_id).get, timeout=SOON))
    eventually(lambda: waiting(app) == 1)

    worker.store_result(task_id, 5, states.SUCCESS)

    assert found.result() == 5
    assert app.AsyncResult(task_id).get(timeout=0) == 5
    assert ResultSet([app.AsyncResult(task_id)], app=app).join_native(timeout=SOON) == [5]


@pytest.mark.parametrize("said", ["did not answer", "not ready"])
def test_a_look_that_takes_longer_than_the_deadline_is_the_last_one(
    app: Celery, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    looks = []

    def look(task_ids: Any) -> Any:
        looks.append(task_ids)
        time.sleep(0.02)
        if said == "did not answer":
            raise StoreUnavailable("Redis did not answer")
        return client.lookup_many(task_ids)

    client = app.backend.connections.client
    monkeypatch.setattr(app.backend.connections, "look", look)
    with pytest.raises(CeleryTimeoutError, match=said):
        app.AsyncResult("t").get(timeout=0.01)
    assert looks == [["t"]]


def test_get_returns_what_was_stored_before(app: Celery, worker: Any) -> None:
    worker.store_result("t", 5, states.SUCCESS)

    assert app.AsyncResult("t").get(timeout=SOON) == 5
    assert app.AsyncResult("t").get() == 5


def test_get_raises_what_the_task_raised(app: Celery, worker: Any) -> None:
    worker.store_result("t", KeyError("k"), states.FAILURE)

    with pytest.raises(KeyError, match="k"):
        app.AsyncResult("t").get(timeout=SOON)
    assert repr(app.AsyncResult("t").get(timeout=SOON, propagate=False)) == "KeyError('k')"


def test_get_calls_back_with_id_and_value(app: Celery, worker: Any) -> None:
    worker.store_result("t", 5, states.SUCCESS)
    seen: list[Any] = []

    assert app.AsyncResult("t").get(timeout=SOON, callback=lambda *found: seen.append(found)) == 5
    assert seen == [("t", 5)]


@pytest.mark.parametrize("timeout", [0, 0.01])
def test_a_deadline_is_celerys_error_and_says_what_was_seen(app: Celery, worker: Any, timeout: float) -> None:
    worker.store_result("t", {}, states.STARTED)
    worker.connections.flush()
    eventually(lambda: app.AsyncResult("t").state == "STARTED")

    with pytest.raises(CeleryTimeoutError, match="'t'"):
        app.AsyncResult("t").get(timeout=timeout)


def test_timeout_0_finds_what_is_there(app: Celery, worker: Any) -> None:
    worker.store_result("t", 5, states.SUCCESS)
    eventually(lambda: app.AsyncResult("t").ready())

    assert app.AsyncResult("t").get(timeout=0) == 5


def test_two_results_of_one_task_both_hear_of_it(app: Celery, worker: Any) -> None:
    found = [in_thread(partial(app.AsyncResult("t").get, timeout=SOON)) for _ in range(2)]
    eventually(lambda: waiting(app) == 2)

    worker.store_result("t", 5, states.SUCCESS)

    assert [one.result() for one in found] == [5, 5]


def test_200_threads_wait_on_one_application(app: Celery, worker: Any) -> None:
    with ThreadPoolExecutor(200) as pool:
        found = [pool.submit(app.AsyncResult(f"t{number}").get, timeout=SOON) for number in range(200)]
        eventually(lambda: waiting(app) == 200)
        for number in range(200):
            worker.store_result(f"t{number}", number, states.SUCCESS)

        assert [one.result() for one in found] == list(range(200))
    assert len([one for one in threading.enumerate() if one.name == "streamresults-reader"]) <= 1


def test_on_message_gets_every_meta_of_the_task(app: Celery, worker: Any) -> None:
    seen: list[Any] = []
    found = in_thread(
        partial(app.AsyncResult("t").get, timeout=SOON, on_message=lambda meta: seen.append(meta["status"]))
    )
    eventually(lambda: waiting(app) == 1)
    worker.store_result("t", {}, states.STARTED)
    worker.store_result("t", {"n": 1}, "PROGRESS")
    worker.store_result("t", 5, states.SUCCESS)

    assert found.result() == 5
    assert seen == ["STARTED", "PROGRESS", "SUCCESS"]


def test_on_interval_is_called_while_it_waits(app: Celery, worker: Any) -> None:
    called = threading.Event()
    found = in_thread(partial(app.AsyncResult("t").get, timeout=SOON, interval=0.01, on_interval=called.set))

    assert called.wait(SOON)
    worker.store_result("t", 5, states.SUCCESS)
    assert found.result() == 5


def test_a_parent_that_fails_ends_the_wait(app: Celery, worker: Any) -> None:
    child = app.AsyncResult("child", parent=app.AsyncResult("parent"))
    found = in_thread(partial(child.get, timeout=SOON, interval=0.01))
    eventually(lambda: waiting(app) == 1)

    worker.store_result("parent", KeyError("p"), states.FAILURE)

    with pytest.raises(KeyError, match="p"):
        found.result()


@pytest.mark.parametrize(
    ("state", "error"), [(states.FAILURE, ValueError("c")), (states.REVOKED, TaskRevokedError("c"))]
)
def test_a_parents_error_stands_before_the_one_of_the_child_that_ends_with_it(
    app: Celery, worker: Any, state: str, error: Exception
) -> None:
    """Both end between two ticks: the wait hears of the child first, and still looks at the parent."""
    child = app.AsyncResult("child", parent=app.AsyncResult("parent"))
    found = in_thread(partial(child.get, timeout=SOON, interval=3600))
    eventually(lambda: waiting(app) == 1)
    worker.store_result("parent", KeyError("p"), states.FAILURE)
    eventually(lambda: app.AsyncResult("parent").state == states.FAILURE)

    worker.store_result("child", error, state)

    with pytest.raises(KeyError, match="p"):
        found.result()


def test_an_ignored_result_is_none_at_once(app: Celery) -> None:
    result = app.AsyncResult("t")
    result.ignored = True

    assert result.get() is None


def test_forgetting_takes_the_parents_along(app: Celery, worker: Any) -> None:
    for task_id in ("child", "parent"):
        worker.store_result(task_id, 1, states.SUCCESS)
    child = app.AsyncResult("child", parent=app.AsyncResult("parent"))
    assert child.get(timeout=SOON) == 1

    child.forget()

    assert [app.AsyncResult(task_id).state for task_id in ("child", "parent")] == ["PENDING", "PENDING"]


def test_what_hangs_below_a_task_is_collected(app: Celery, worker: Any) -> None:
    from celery.app.task import Context  # noqa: PLC0415

    request = Context(id="a")
    request.children.append(app.AsyncResult("b"))
    worker.store_result("b", 2, states.SUCCESS)
    worker.store_result("a", 1, states.SUCCESS, request=request)
    root = app.AsyncResult("a")
    eventually(lambda: root.ready() and app.AsyncResult("b").ready())

    assert [(one.id, value) for one, value in root.collect(timeout=SOON)] == [("a", 1), ("b", 2)]
    assert set(root.graph) == {"a", "b"}
    assert root.get_leaf() == 2


# -- many ----------------------------------------------------------------------------------------------------------


def group_of(app: Celery, *task_ids: str) -> Any:
    return app.GroupResult("g", [app.AsyncResult(task_id) for task_id in task_ids])


def test_a_group_is_joined_in_its_order(app: Celery, worker: Any) -> None:
    ids = [f"t{number}" for number in range(20)]
    found = in_thread(partial(group_of(app, *ids).get, timeout=SOON))
    eventually(lambda: waiting(app) == 20)
    for task_id in reversed(ids):
        worker.store_result(task_id, task_id, states.SUCCESS)

    assert found.result() == ids


def test_a_group_that_has_ended_is_joined_without_any_wait(app: Celery, worker: Any) -> None:
    for number in range(3):
        worker.store_result(f"t{number}", number, states.SUCCESS)
    group = group_of(app, "t0", "t1", "t2")
    eventually(group.ready)

    assert app.GroupResult("g", [app.AsyncResult(f"t{number}") for number in range(3)]).get(timeout=0) == [0, 1, 2]
    assert app.backend.connections.client._engine is None or waiting(app) == 0


def test_the_first_failure_of_a_group_is_raised_before_the_others_have_ended(app: Celery, worker: Any) -> None:
    worker.store_result("bad", KeyError("k"), states.FAILURE)

    with pytest.raises(KeyError, match="k"):
        group_of(app, "never", "bad").get(timeout=SOON)
    assert waiting(app) == 0


def test_failures_of_a_group_are_values_where_that_is_asked_for(app: Celery, worker: Any) -> None:
    worker.store_result("bad", KeyError("k"), states.FAILURE)
    worker.store_result("good", 1, states.SUCCESS)

    found = group_of(app, "good", "bad").get(timeout=SOON, propagate=False)

    assert repr(found) == "[1, KeyError('k')]"


def test_one_deadline_holds_for_the_whole_group(app: Celery, worker: Any) -> None:
    worker.store_result("good", 1, states.SUCCESS)
    group = app.GroupResult("g", [app.AsyncResult("good"), app.GroupResult("h", [app.AsyncResult("never")])])

    with pytest.raises(CeleryTimeoutError):
        group.get(timeout=0.05)
    with pytest.raises(CeleryTimeoutError):
        group.get(timeout=0)
    assert waiting(app) == 0


def test_groups_inside_a_group_are_lists_inside_its_list(app: Celery, worker: Any) -> None:
    for number in range(3):
        worker.store_result(f"t{number}", number, states.SUCCESS)
    inner = app.GroupResult("h", [app.AsyncResult("t1"), app.AsyncResult("t2")])

    assert app.GroupResult("g", [app.AsyncResult("t0"), inner]).get(timeout=SOON) == [0, [1, 2]]


@pytest.mark.skipif(celery.VERSION < (5, 7), reason="Celery itself forgets to hand propagate down before 5.7")
def test_failures_in_a_group_inside_are_values_too(app: Celery, worker: Any) -> None:
    worker.store_result("bad", KeyError("k"), states.FAILURE)
    inner = app.GroupResult("h", [app.AsyncResult("bad")])

    found = app.GroupResult("g", [inner]).get(timeout=SOON, propagate=False)

    assert repr(found) == "[[KeyError('k')]]"


def test_an_empty_set_is_an_empty_list(app: Celery) -> None:
    assert ResultSet([], app=app).join_native() == []


def test_a_group_calls_back_for_each_member(app: Celery, worker: Any) -> None:
    worker.store_result("t", 5, states.SUCCESS)
    seen: list[Any] = []

    group_of(app, "t").get(timeout=SOON, callback=lambda *found: seen.append(found))

    assert seen == [("t", 5)]


def test_members_are_given_as_they_end(app: Celery, worker: Any) -> None:
    ends = group_of(app, "t0", "t1").iter_native(timeout=SOON)
    worker.store_result("t1", 1, states.SUCCESS)
    first = next(ends)
    worker.store_result("t0", 0, states.SUCCESS)

    assert [(task_id, meta["result"]) for task_id, meta in (first, *ends)] == [("t1", 1), ("t0", 0)]


def test_a_group_calls_on_interval_while_it_waits(app: Celery, worker: Any) -> None:
    called = threading.Event()
    found = in_thread(partial(group_of(app, "t").get, timeout=SOON, interval=0.01, on_interval=called.set))

    assert called.wait(SOON)
    worker.store_result("t", 5, states.SUCCESS)
    assert found.result() == [5]


def test_results_that_were_seen_are_not_asked_for_again(app: Celery, worker: Any) -> None:
    worker.store_result("t", 5, states.SUCCESS)
    group = group_of(app, "t")
    assert group.get(timeout=SOON) == [5]
    app.backend.connections.client.close()

    assert group.get(timeout=SOON) == [5]


# -- then ----------------------------------------------------------------------------------------------------------


def test_then_is_called_though_nobody_waits(app: Celery, worker: Any) -> None:
    seen: list[Any] = []
    app.AsyncResult("t").then(lambda result: seen.append(result.result))

    worker.store_result("t", 5, states.SUCCESS)

    eventually(lambda: seen == [5])


def test_a_group_that_nobody_asks_about_waits_for_nothing(app: Celery) -> None:
    group = group_of(app, "t0", "t1")

    assert len(group) == 2
    assert app.backend.connections._client is None, "making a group opens nothing, and reads no topic"


def test_a_weak_then_ends_with_its_result(app: Celery) -> None:
    app.AsyncResult("t").then(print, weak=True)
    gc.collect()
    app.AsyncResult("other").then(print, weak=True)

    eventually(lambda: waiting(app) <= 1)
