"""
What an application sees of its result backend, on Celery's own with Redis and on ours: the same scenarios, with a real
worker and a real broker. Where the two differ, ``says`` has both, and docs/celery.md says which is right and why.
"""

from __future__ import annotations

import json
import pickle
import threading
import traceback
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import billiard.exceptions
import celery
import kombu.exceptions
import pytest
from celery import chain, chord, group
from celery.exceptions import SoftTimeLimitExceeded, WorkerLostError
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.result import GroupResult, ResultSet, result_from_tuple

from tests.acceptance.celery_world import SOON, World, world_on
from tests.acceptance.flower_web import flower
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.redis,
    pytest.mark.slow,
    # Celery's own backend and its broker's client call redis in ways of the past, and leave sockets to the collector.
    pytest.mark.filterwarnings("ignore:Call to deprecated"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module", params=["celery", "streamresults"])
def scene(
    request: pytest.FixtureRequest, kafka_bootstrap: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Give an application with a worker, once for each backend."""
    conf = {"task_track_started": True, "result_extended": True}
    folder = tmp_path_factory.mktemp(request.param)
    with world_on(request.param, kafka_bootstrap, redis_url, folder, "-c", "2", "-E", **conf) as found:
        yield found


def knows_more_than_one_result_of_a_task(scene: World) -> None:
    """Skip where it does not: Celery's own backend before 5.7 never tells the second of two result objects."""
    if celery.VERSION < (5, 7) and not scene.ours:
        pytest.skip("a second result object of one task waits for ever before 5.7")


# -- one task -----------------------------------------------------------------------------------------------------


def test_a_result_is_returned(scene: World) -> None:
    result = scene.tasks.add.delay(2, 3)

    assert result.get(timeout=SOON) == 5
    assert (result.state, result.successful(), result.failed(), result.ready()) == ("SUCCESS", True, False, True)
    assert (result.name, result.args, result.kwargs) == ("tests.acceptance.celery_project.add", [2, 3], {})
    assert result.retries == 0
    assert result.worker == scene.worker.name
    assert result.date_done is not None
    assert result.date_done.tzinfo is not None


def test_a_result_is_read_by_its_id_alone(scene: World) -> None:
    task_id = scene.tasks.echo.delay({"a": [1, None, "ü"]}).id

    assert scene.app.AsyncResult(task_id).get(timeout=SOON) == {"a": [1, None, "ü"]}


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_a_wait_that_is_too_short_says_so(scene: World, timeout: float) -> None:
    if celery.VERSION < (5, 7) and not scene.ours and timeout == 0:
        pytest.skip("waits for ever before 5.7")
    with pytest.raises(CeleryTimeoutError):
        scene.app.AsyncResult("never-sent").get(timeout=timeout)


def test_an_unknown_task_is_pending(scene: World) -> None:
    found = scene.app.AsyncResult("never-sent")

    assert (found.state, found.result, found.ready()) == ("PENDING", None, False)


def test_a_failure_is_raised(scene: World) -> None:
    result = scene.tasks.fail.delay("broken")

    with pytest.raises(ValueError, match="broken"):
        result.get(timeout=SOON)
    assert (result.state, result.failed()) == ("FAILURE", True)
    assert "ValueError: broken" in result.traceback
    assert repr(result.get(propagate=False)) == "ValueError('broken')"


def test_the_traceback_of_a_failure_leads_into_the_task(scene: World) -> None:
    task_id = scene.tasks.fail.delay("broken").id

    with pytest.raises(ValueError, match="broken") as raised:
        scene.client(task_remote_tracebacks=True).AsyncResult(task_id).get(timeout=SOON)

    assert "fail" in [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]


def test_an_exception_of_the_applications_own_is_itself(scene: World) -> None:
    with pytest.raises(scene.tasks.OutOfStock) as raised:
        scene.tasks.out_of_stock.delay("tea").get(timeout=SOON)

    assert (raised.value.item, raised.value.left) == ("tea", 3)
    assert type(raised.value.__cause__) is scene.says(celery=type(None), ours=KeyError)


@pytest.mark.parametrize(
    "error",
    [
        billiard.exceptions.TimeLimitExceeded(3.0),
        billiard.exceptions.WorkerLostError("Worker exited prematurely: signal 9 (SIGKILL) Job: 1."),
        billiard.exceptions.Terminated(15),
        celery.exceptions.BackendStoreError("not stored", state="SUCCESS", task_id="t"),
        celery.exceptions.BackendGetMetaError("not read", task_id="t"),
        celery.exceptions.ChordError("Dependency t raised KeyError()"),
        celery.exceptions.ImproperlyConfigured("x"),
        celery.exceptions.IncompleteStream(),
        celery.exceptions.InvalidTaskError("x"),
        celery.exceptions.MaxRetriesExceededError("Can't retry t[1] args:() kwargs:{}"),
        celery.exceptions.NotRegistered("t"),
        celery.exceptions.QueueNotFound("q"),
        celery.exceptions.TaskRevokedError("terminated"),
        kombu.exceptions.ContentDisallowed("x"),
        kombu.exceptions.DecodeError("x"),
        kombu.exceptions.EncodeError("x"),
        kombu.exceptions.OperationalError("no broker"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_ordinary_exception_of_celerys_is_itself(scene: World, error: Exception) -> None:
    task_id = str(uuid4())
    scene.app.backend.store_result(task_id, error, "FAILURE")

    found = scene.client().AsyncResult(task_id).get(timeout=SOON, propagate=False)

    assert (type(found), found.args) == (type(error), error.args)


@pytest.mark.parametrize(
    "error",
    [
        SoftTimeLimitExceeded(),
        celery.exceptions.Ignore("x"),
        celery.exceptions.Reject("x", requeue=False),
        celery.exceptions.Retry("x"),
        CeleryTimeoutError("x"),
        celery.exceptions.SecurityError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_that_would_steer_its_reader_is_told_by_its_name(scene: World, error: Exception) -> None:
    task_id = str(uuid4())
    scene.app.backend.store_result(task_id, error, "FAILURE")

    found = scene.client().AsyncResult(task_id).get(timeout=SOON, propagate=False)

    assert type(found).__name__ == scene.says(celery=type(error).__name__, ours="RemoteTaskError")
    if scene.ours:
        assert found.is_type(f"{type(error).__module__}:{type(error).__name__}")


def test_an_exception_that_cannot_be_pickled_is_told(scene: World) -> None:
    error = scene.tasks.unpicklable.delay().get(timeout=SOON, propagate=False)

    kinds = {True: "Unpicklable", False: "UnpickleableExceptionWrapper"}
    assert type(error).__name__ == kinds[scene.ours]
    assert getattr(error, "left", None) == scene.says(celery=None, ours=4)


def test_an_exception_that_nobody_has_listed_is_raised_all_the_same(scene: World) -> None:
    error = scene.tasks.unlisted.delay("tea").get(timeout=SOON, propagate=False)

    assert type(error).__name__ == scene.says(celery="Unlisted", ours="RemoteTaskError")
    assert "tea" in str(error)


def test_a_result_that_has_no_form_is_a_failure(scene: World) -> None:
    error = scene.tasks.unencodable.delay().get(timeout=SOON, propagate=False)

    assert type(error).__name__ == "EncodeError" or "EncodeError" in str(error)


def test_progress_is_told_as_it_comes(scene: World) -> None:
    seen: list[Any] = []

    assert scene.tasks.progress.delay(3).get(timeout=SOON, on_message=lambda meta: seen.append(meta["status"])) == 3
    assert seen[-1] == "SUCCESS"
    if scene.ours:
        assert seen == ["STARTED", "PROGRESS", "PROGRESS", "PROGRESS", "SUCCESS"]


def test_progress_of_each_member_of_a_group_is_told_as_it_comes(scene: World) -> None:
    seen: dict[str, list[str]] = {}
    result = group(scene.tasks.progress.s(3), scene.tasks.progress.s(2), scene.tasks.sleep.s(2)).apply_async()

    result.get(timeout=SOON, on_message=lambda meta: seen.setdefault(meta["task_id"], []).append(meta["status"]))

    three, two, _ = [seen.get(member.id, []) for member in result.results]
    assert (three[-4:], two[-3:]) == (["PROGRESS"] * 3 + ["SUCCESS"], ["PROGRESS"] * 2 + ["SUCCESS"])
    if scene.ours:
        assert (three[0], two[0], len(three), len(two)) == ("STARTED", "STARTED", 5, 4)


def test_a_task_reads_the_state_that_it_has_just_said(scene: World) -> None:
    assert scene.tasks.own_state.delay().get(timeout=SOON) == ["HALF", {"done": 50}]


def test_a_task_that_is_retried_succeeds(scene: World) -> None:
    result = scene.tasks.third_time.delay()

    assert result.get(timeout=SOON) == 2
    assert result.retries == 2


def test_a_task_that_waits_for_its_retry_says_why(scene: World) -> None:
    result = scene.tasks.waits_for_retry.delay()

    eventually(lambda: result.state == "RETRY", SOON)
    assert repr(result.result) == "ValueError('again')"
    result.revoke()


def test_a_task_that_gives_up_has_the_error_of_its_last_try(scene: World) -> None:
    with pytest.raises(scene.tasks.OutOfStock):
        scene.tasks.never_works.delay().get(timeout=SOON)


def test_a_task_that_may_not_try_again_says_so(scene: World) -> None:
    with pytest.raises(celery.exceptions.MaxRetriesExceededError, match="Can't retry"):
        scene.tasks.may_not_retry.delay().get(timeout=SOON)


def test_an_ignored_result_is_none_at_once(scene: World) -> None:
    assert scene.tasks.ignored.delay().get() is None


def test_an_ignored_result_is_stored_where_the_call_says_so(scene: World) -> None:
    wanted = scene.tasks.ignored.apply_async(ignore_result=False)
    unwanted = scene.tasks.add.apply_async((1, 1), ignore_result=True)

    assert (wanted.get(timeout=SOON), unwanted.get(timeout=SOON)) == (1, None)
    scene.wait_until_run(unwanted)
    assert scene.app.AsyncResult(unwanted.id).state == "PENDING"


def test_the_error_of_a_task_whose_result_is_ignored_is_stored_if_it_asks_for_that(scene: World) -> None:
    task_id = scene.tasks.ignored_but_for_errors.delay().id

    with pytest.raises(ValueError, match="kept"):
        scene.app.AsyncResult(task_id).get(timeout=SOON)


def test_a_task_that_ignores_itself_stays_as_it_was(scene: World) -> None:
    result = scene.tasks.ignores_itself.delay()

    scene.wait_until_run(result)
    eventually(lambda: result.state == "STARTED", SOON)


def test_a_task_that_rejects_its_message_has_failed(scene: World) -> None:
    if celery.VERSION < (5, 7):
        pytest.skip("nothing is stored before Celery 5.7")
    error = scene.tasks.rejects_itself.delay().get(timeout=SOON, propagate=False)

    assert type(error).__name__ == scene.says(celery="Reject", ours="RemoteTaskError")
    assert "not for us" in str(error)


def test_a_task_that_is_aborted_notices(scene: World) -> None:
    result = scene.tasks.abortable.delay(200)
    eventually(lambda: result.state == "STARTED", SOON)

    result.abort()

    assert result.is_aborted() or result.successful()  # it may have noticed by now
    assert result.get(timeout=SOON) < 200


def test_a_task_must_not_wait_for_another_one_unless_it_insists(scene: World) -> None:
    refused, value = scene.tasks.asks_within.delay().get(timeout=SOON)

    assert "Never call result.get() within a task!" in refused
    assert value == 2


def test_a_task_calls_those_that_are_linked_to_it(scene: World) -> None:
    after, failed = str(uuid4()), str(uuid4())

    scene.tasks.add.apply_async((1, 1), link=scene.tasks.add.s(3).set(task_id=after))
    result = scene.tasks.fail.apply_async(("broken",), link_error=scene.tasks.echo.s().set(task_id=failed))

    assert scene.app.AsyncResult(after).get(timeout=SOON) == 5
    assert scene.app.AsyncResult(failed).get(timeout=SOON) == result.id


def test_a_task_that_was_run_in_the_callers_process_is_nobodys_business(scene: World) -> None:
    result = scene.tasks.add.apply((1, 1))

    assert (result.get(), result.state) == (2, "SUCCESS")
    assert scene.app.AsyncResult(result.id).state == "PENDING"


def test_a_forgotten_result_is_pending(scene: World) -> None:
    result = scene.tasks.add.delay(1, 1)
    assert result.get(timeout=SOON) == 2

    result.forget()

    assert scene.app.AsyncResult(result.id).state == "PENDING"


def test_forgetting_a_chain_forgets_its_parents(scene: World) -> None:
    result = chain(scene.tasks.add.s(1, 1), scene.tasks.add.s(1))()
    assert result.get(timeout=SOON) == 3
    parent = result.parent.id

    result.forget()

    assert [scene.app.AsyncResult(task_id).state for task_id in (result.id, parent)] == ["PENDING", "PENDING"]


def test_a_result_that_was_pickled_is_the_same(scene: World) -> None:
    result = chain(scene.tasks.add.s(1, 1), scene.tasks.add.s(1))()

    again = pickle.loads(pickle.dumps(result))
    assert again == result
    assert again.get(timeout=SOON) == 3
    assert result_from_tuple(result.as_tuple(), app=scene.app).parent.get(timeout=SOON) == 2


def test_what_a_wait_is_told_to_call_is_called(scene: World) -> None:
    called: list[Any] = []
    result = scene.tasks.sleep.delay(0.6)

    value = result.get(
        timeout=SOON,
        interval=0.1,
        callback=lambda *told: called.append(told),
        on_interval=lambda: called.append("tick"),
    )

    assert value == 0.6
    assert called[-1] == (result.id, 0.6)
    assert "tick" in called


def test_many_threads_wait_for_one_task(scene: World) -> None:
    task_id = scene.tasks.sleep.delay(0.3).id
    found: list[float] = []

    def wait() -> None:
        found.append(scene.app.AsyncResult(task_id).get(timeout=SOON))

    threads = [threading.Thread(target=wait) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [0.3] * 10


def test_a_state_that_was_stored_is_told_from_an_unknown_one(scene: World) -> None:
    if celery.VERSION < (5, 7):
        pytest.skip("Celery asks that from 5.7 on")
    task_id = str(uuid4())
    assert not scene.app.AsyncResult(task_id).exists()

    scene.app.backend.store_result(task_id, None, "PENDING")

    assert scene.app.AsyncResult(task_id).exists()


def test_the_command_line_shows_a_result(scene: World) -> None:
    done, failed = scene.tasks.add.delay(20, 22), scene.tasks.fail.delay("broken")
    for result in (done, failed):
        result.get(timeout=SOON, propagate=False)

    assert scene.command("result", done.id).strip() == "42"
    assert "ValueError: broken" in scene.command("result", failed.id, "--traceback")


def test_the_command_line_has_our_commands_for_our_results(scene: World) -> None:
    result = scene.tasks.add.delay(20, 22)
    result.get(timeout=SOON)

    ran = scene.worker.command("streamresults", "-o", "jsonl", "get", result.id)

    if scene.ours:
        found = json.loads(ran.stdout)
        assert (found["state"], found["result"]) == ("SUCCESS", 42)
    else:
        assert "the application has another result backend: RedisBackend" in ran.stderr


def test_stamps_are_kept_with_a_result(scene: World) -> None:
    stamped = group(scene.tasks.add.s(1, 1), scene.tasks.fail.s("broken"))
    stamped.stamp(customer="c1", order=7)
    result = stamped.apply_async()
    result.get(timeout=SOON, propagate=False)

    for member in result.results:
        meta = scene.client().backend.get_task_meta(member.id)
        assert sorted(meta["stamped_headers"]) == ["customer", "order"]
        assert (meta["customer"], meta["order"]) == ("c1", 7)


def test_flower_shows_results(scene: World) -> None:
    done, failed = scene.tasks.add.delay(20, 22), scene.tasks.fail.delay("broken")
    for result in (done, failed):
        result.get(timeout=SOON, propagate=False)

    with flower(scene) as shows:
        found = shows(f"/api/task/result/{done.id}")
        assert found == {"task-id": done.id, "state": "SUCCESS", "result": 42}
        found = shows(f"/api/task/result/{failed.id}")
        assert (found["state"], found["result"]) == ("FAILURE", "ValueError('broken')")
        assert "ValueError: broken" in found["traceback"]
        assert shows("/api/task/result/never-sent") == {"task-id": "never-sent", "state": "PENDING"}

        later = scene.tasks.echo.delay("seen")
        assert shows(f"/api/task/result/{later.id}?timeout={SOON:g}")["result"] == "seen"

        heard: list[str] = []

        def knows_what_it_has_heard() -> bool:
            heard.append(scene.tasks.echo.delay("heard").id)
            told = [shows(f"/api/task/info/{task_id}") for task_id in heard]
            return any(info["result"] == "'heard'" for info in told if isinstance(info, dict))

        eventually(knows_what_it_has_heard, SOON)


def test_children_are_known_to_every_process(scene: World) -> None:
    knows_more_than_one_result_of_a_task(scene)
    result = scene.tasks.parent.delay()
    result.get(timeout=SOON)

    children = scene.app.AsyncResult(result.id).children
    assert [type(child).__name__ for child in children] == ["AsyncResult", "GroupResult"]
    assert children[0].get(timeout=SOON) == 2
    assert children[1].get(timeout=SOON) == [1, 2]


def test_who_listens_is_called(scene: World) -> None:
    called = threading.Event()
    result = scene.tasks.add.delay(1, 1)
    result.then(lambda _: called.set())

    result.get(timeout=SOON)

    assert called.wait(SOON)


# -- what is stored -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "then", "celerys", "ours"),
    [
        ("SUCCESS", "FAILURE", "SUCCESS", "SUCCESS"),
        ("SUCCESS", "STARTED", "SUCCESS", "SUCCESS"),
        ("REVOKED", "SUCCESS", "SUCCESS", "SUCCESS"),
        ("FAILURE", "SUCCESS", "SUCCESS", "SUCCESS"),
        ("FAILURE", "REVOKED", "REVOKED", "REVOKED"),
        ("PROGRESS", "STARTED", "STARTED", "STARTED"),
        ("FAILURE", "STARTED", "STARTED", "FAILURE"),
        ("REVOKED", "RETRY", "RETRY", "REVOKED"),
        ("STARTED", "RECEIVED", "RECEIVED", "STARTED"),
    ],
)
def test_a_state_behind_another_one(scene: World, first: str, then: str, celerys: str, ours: str) -> None:
    task_id = str(uuid4())
    backend = scene.app.backend
    for state in (first, then):
        error = ValueError(state) if state in backend.EXCEPTION_STATES else None
        backend.store_result(task_id, error or state, state)

    expected = scene.says(celery=celerys, ours=ours)
    assert scene.app.AsyncResult(task_id).state == expected
    eventually(lambda: scene.client().AsyncResult(task_id).state == expected, SOON)


VALUES: list[Any] = [None, True, 7, 2.5, "ü", b"\x00\xff", [1, [2]], {"a": {"b": None}}, Decimal("1.10"), uuid4()]
KEPT: dict[str, list[Any]] = {
    "json": VALUES,
    "pickle": [*VALUES, {1, 2}, (1, 2)],
    "msgpack": VALUES[:8],
    "yaml": VALUES[:8],
}


@pytest.mark.parametrize("serializer", KEPT)
@pytest.mark.filterwarnings("ignore:Results are not stored in backend")
def test_a_value_is_what_it_was(scene: World, serializer: str) -> None:
    settings = {"result_serializer": serializer, "task_serializer": serializer, "accept_content": [serializer]}
    writer = scene.client(task_always_eager=True, task_store_eager_result=True, **settings)

    def own(value: Any) -> Any:
        return value

    echo = writer.task(own, shared=False)
    values = KEPT[serializer]
    tasks = [echo.delay(value).id for value in values]

    reader = scene.client(**settings)
    assert [reader.AsyncResult(task_id).get(timeout=SOON) for task_id in tasks] == values


def test_a_serializer_that_is_not_accepted(scene: World) -> None:
    task_id = str(uuid4())
    scene.client(result_serializer="yaml").backend.store_result(task_id, [1], "SUCCESS")

    with pytest.raises(Exception, match=scene.says(celery="JSON|Expecting value", ours="yaml")) as raised:
        scene.app.AsyncResult(task_id).get(timeout=SOON)
    assert type(raised.value).__name__ == scene.says(celery="DecodeError", ours="ContentDisallowed")


@pytest.mark.parametrize("compression", ["gzip", "zlib", "bzip2"])
def test_a_result_that_was_compressed_is_read_by_everybody(scene: World, compression: str) -> None:
    task_id, value = str(uuid4()), ["long"] * 5000
    scene.client(result_compression=compression).backend.store_result(task_id, value, "SUCCESS")

    assert scene.client().AsyncResult(task_id).get(timeout=SOON) == value
    assert scene.client(result_compression="gzip").AsyncResult(task_id).get(timeout=SOON) == value


@pytest.mark.parametrize(("cache_max", "kept"), [(-1, []), (1, ["b"]), (2, ["a", "b"]), (0, ["a", "b"])])
def test_results_that_were_read_are_kept_in_the_process_if_it_asks_for_that(
    scene: World, cache_max: int, kept: list[str]
) -> None:
    reader, ids = scene.client(result_cache_max=cache_max), {name: str(uuid4()) for name in "ab"}
    for task_id in ids.values():
        scene.app.backend.store_result(task_id, 1, "SUCCESS")
        assert reader.AsyncResult(task_id).get(timeout=SOON) == 1
    for task_id in ids.values():
        scene.app.AsyncResult(task_id).forget()

    assert [name for name, task_id in ids.items() if reader.backend.is_cached(task_id)] == kept
    states = ["SUCCESS" if name in kept else "PENDING" for name in ids]
    eventually(lambda: [reader.AsyncResult(task_id).state for task_id in ids.values()] == states, SOON)


def test_a_result_expires(scene: World) -> None:
    task_id = str(uuid4())
    scene.client(result_expires=1).backend.store_result(task_id, 1, "SUCCESS")
    assert scene.app.AsyncResult(task_id).get(timeout=SOON) == 1

    eventually(lambda: scene.client().AsyncResult(task_id).state == "PENDING", SOON)


# -- canvas -------------------------------------------------------------------------------------------------------


def test_a_chain_returns_its_last_result_and_knows_its_parents(scene: World) -> None:
    result = chain(scene.tasks.add.s(1, 1), scene.tasks.add.s(1), scene.tasks.add.s(1))()

    assert result.get(timeout=SOON) == 4
    assert result.parent.parent.get(timeout=SOON) == 2


def test_a_tree_of_tasks_is_walked(scene: World) -> None:
    result = chain(scene.tasks.add.s(1, 1), scene.tasks.add.s(1), scene.tasks.add.s(1))()
    first = result.parent.parent

    assert [value for _, value in first.collect(timeout=SOON)] == [2, 3, 4]
    assert first.get_leaf() == 4
    graph = first.build_graph()
    assert [node.id for node in graph.topsort()] == [result.id, result.parent.id, first.id]


def test_a_chain_fails_with_its_first_failure(scene: World) -> None:
    result = chain(scene.tasks.fail.si("first"), scene.tasks.add.si(1, 1), scene.tasks.add.si(1, 1))()

    with pytest.raises(ValueError, match="first"):
        result.get(timeout=SOON)
    eventually(lambda: scene.app.AsyncResult(result.id).state == "FAILURE", SOON)


def test_a_group_is_joined_in_its_order(scene: World) -> None:
    result = group(scene.tasks.add.s(number, number) for number in range(20)).apply_async()

    assert result.get(timeout=SOON) == [2 * number for number in range(20)]
    assert result.completed_count() == 20
    assert result.successful()


def test_a_group_with_a_failure_raises_it_or_has_it(scene: World) -> None:
    members = [scene.tasks.add.s(1, 1), scene.tasks.fail.s("broken")]
    with pytest.raises(ValueError, match="broken"):
        group(members).apply_async().get(timeout=SOON)

    found = group(members).apply_async().get(timeout=SOON, propagate=False)
    assert repr(found) == "[2, ValueError('broken')]"


def test_a_saved_group_is_restored(scene: World) -> None:
    knows_more_than_one_result_of_a_task(scene)
    result = group(scene.tasks.add.s(1, number) for number in range(3)).apply_async()
    result.save()

    found = GroupResult.restore(result.id, app=scene.app)
    assert found.get(timeout=SOON) == [1, 2, 3]
    found.delete()
    assert GroupResult.restore(result.id, app=scene.app) is None


def test_the_same_task_twice_in_a_set(scene: World) -> None:
    one = scene.tasks.add.delay(1, 1)
    twice = ResultSet([one, scene.app.AsyncResult(one.id)], app=scene.app)

    assert twice.join(timeout=SOON) == [2, 2]
    if scene.ours:
        assert twice.join_native(timeout=SOON) == [None, 2]  # Celery's own sorting; its backend waits for ever


def test_a_set_says_how_far_it_is(scene: World) -> None:
    done, failed = scene.tasks.add.delay(1, 1), scene.tasks.fail.delay("broken")
    for result in (done, failed):
        result.get(timeout=SOON, propagate=False)
    found = ResultSet([done, failed, scene.app.AsyncResult(str(uuid4()))], app=scene.app)

    assert (found.ready(), found.successful(), found.failed(), found.waiting()) == (False, False, True, True)
    assert found.completed_count() == 1


def test_a_set_tells_each_result(scene: World) -> None:
    told: list[Any] = []
    results = [scene.tasks.add.delay(number, 0) for number in range(5)]

    ResultSet(results, app=scene.app).join_native(timeout=SOON, callback=lambda *result: told.append(result))

    assert sorted(told) == sorted((result.id, number) for number, result in enumerate(results))


def test_an_empty_set_has_nothing(scene: World) -> None:
    assert ResultSet([], app=scene.app).join(timeout=SOON) == []
    if scene.ours:
        assert ResultSet([], app=scene.app).join_native(timeout=SOON) == []


def test_a_group_of_groups_is_joined(scene: World) -> None:
    inner = group(scene.tasks.add.s(1, number) for number in range(3))
    result = group(inner, scene.tasks.add.s(9, 9)).apply_async()

    assert result.get(timeout=SOON) == [1, 2, 3, 18]


def test_a_group_whose_time_is_up_says_so(scene: World) -> None:
    result = group(scene.tasks.add.s(1, 1), scene.tasks.sleep.s(3)).apply_async()

    with pytest.raises(CeleryTimeoutError):
        result.get(timeout=0.2)
    assert result.get(timeout=SOON) == [2, 3]


def test_a_chord_gives_its_body_the_results_in_the_order_of_the_header(scene: World) -> None:
    result = chord([scene.tasks.add.s(number, 0) for number in range(8)])(scene.tasks.echo.s())

    assert result.get(timeout=SOON) == list(range(8))


@pytest.mark.parametrize("header", [list, lambda tasks: (task for task in tasks)])
def test_a_frozen_task_stands_in_a_header_twice(scene: World, header: Any) -> None:
    frozen = scene.tasks.add.s(1, 1)
    frozen.freeze()

    result = chord(header([frozen, scene.tasks.add.s(2, 2), frozen]))(scene.tasks.echo.s())

    if scene.ours:
        assert result.get(timeout=SOON) == [2, 4, 2]
    else:
        with pytest.raises(CeleryTimeoutError):  # two parts of three have come, and no more will
            result.get(timeout=1)


def test_a_chord_of_groups(scene: World) -> None:
    inner = group(scene.tasks.add.s(1, number) for number in range(3))

    found = chord([inner, scene.tasks.add.s(9, 9)])(scene.tasks.echo.s()).get(timeout=SOON)

    assert sorted(found) == [1, 2, 3, 18]  # Celery unrolls the inner group into the header, backwards


def test_a_chord_whose_body_is_a_group(scene: World) -> None:
    header = [scene.tasks.add.s(number, 0) for number in range(3)]
    body = group(scene.tasks.echo.s(), scene.tasks.total.s())

    assert chord(header)(body).get(timeout=SOON) == [[0, 1, 2], 3]


def test_chords_in_a_chain(scene: World) -> None:
    header = group(scene.tasks.add.s(number) for number in range(3))
    result = chain(scene.tasks.add.s(1, 1), header, scene.tasks.total.s(), header, scene.tasks.total.s())()

    assert result.get(timeout=SOON) == 3 * (2 + 3 + 4) + 3


def test_a_chord_whose_member_is_a_chain(scene: World) -> None:
    header = [chain(scene.tasks.add.s(1, 1), scene.tasks.add.s(1)), scene.tasks.add.s(0, 1)]

    assert chord(header)(scene.tasks.echo.s()).get(timeout=SOON) == [3, 1]


def test_a_chord_whose_member_is_replaced(scene: World) -> None:
    header = [scene.tasks.replaced.s(4), scene.tasks.add.s(1, 1)]

    assert sorted(chord(header)(scene.tasks.echo.s()).get(timeout=SOON)) == [2, 5]


def test_a_chord_whose_member_is_retried(scene: World) -> None:
    header = [scene.tasks.third_time.s(), scene.tasks.add.s(1, 1)]

    assert chord(header)(scene.tasks.echo.s()).get(timeout=SOON) == [2, 2]


def test_an_empty_chord_has_a_body(scene: World) -> None:
    assert chord([])(scene.tasks.echo.s()).get(timeout=SOON) == []


def test_the_errback_of_a_chords_body_is_called(scene: World) -> None:
    failed = str(uuid4())
    body = scene.tasks.echo.s().on_error(scene.tasks.echo.s().set(task_id=failed))

    result = chord([scene.tasks.add.s(1, 1), scene.tasks.fail.s("broken")])(body)

    assert scene.app.AsyncResult(failed).get(timeout=SOON) == result.id
    eventually(lambda: type(scene.app.AsyncResult(result.id).result).__name__ == "ChordError", SOON)


def test_a_chord_with_a_failing_member_fails(scene: World) -> None:
    result = chord([scene.tasks.add.s(1, 1), scene.tasks.fail.s("broken")])(scene.tasks.echo.s())

    # Its own error is a ChordError, but get() asks the parents first, however late they failed.
    with pytest.raises(ValueError, match="broken"):
        result.get(timeout=SOON)
    knows_more_than_one_result_of_a_task(scene)
    with pytest.raises(celery.exceptions.ChordError, match="broken"):
        scene.app.AsyncResult(result.id).get(timeout=SOON)


def test_a_chord_fails_with_a_chord_within_it(scene: World) -> None:
    inner = chord([scene.tasks.add.s(1, 1), scene.tasks.fail.s("broken")], scene.tasks.echo.s())
    result = chord([scene.tasks.add.s(1, 1), inner])(scene.tasks.echo.s())

    alone = scene.app.AsyncResult(result.id)
    if scene.ours:
        with pytest.raises(celery.exceptions.ChordError, match="broken"):
            alone.get(timeout=SOON)
    else:
        with pytest.raises(CeleryTimeoutError):  # nothing will ever come
            alone.get(timeout=1)


def test_a_replaced_task_has_the_result_of_its_replacement(scene: World) -> None:
    assert scene.tasks.replaced.delay(4).get(timeout=SOON) == 5


@pytest.mark.parametrize("kind", ["celery", "streamresults"])
def test_a_task_that_has_succeeded_is_not_run_again(
    kind: str, kafka_bootstrap: str, redis_url: str, tmp_path: Path
) -> None:
    conf = {"worker_deduplicate_successful_tasks": True}
    with world_on(kind, kafka_bootstrap, redis_url, tmp_path, "-c", "1", **conf) as scene:
        path = str(tmp_path / "runs")
        first = scene.tasks.note.delay(path)
        assert first.get(timeout=SOON) == 1

        # Another worker process than the one that has run it: it has to ask the backend.
        scene.tasks.die.delay().get(timeout=SOON, propagate=False)
        again = {"task_id": first.id, "delivery_info": {"redelivered": True}}
        scene.tasks.note.apply_async((path,), **again)
        eventually(lambda: "Task already completed successfully." in scene.worker.log.read_text(), SOON)

        assert scene.client().AsyncResult(first.id).get(timeout=SOON) == 1
        assert len(Path(path).read_text().splitlines()) == 1


def test_an_application_moves_over_and_goes_back(kafka_bootstrap: str, redis_url: str, tmp_path: Path) -> None:
    """As docs/celery.md says: who reads first, who writes last; on the way back who writes first."""
    with world_on("celery", kafka_bootstrap, redis_url, tmp_path, "-c", "1") as scene:
        on_redis, both = (scene.client(**scene.backends[kind]) for kind in ("celery", "both"))
        before, cold = scene.tasks.add.delay(1, 0).id, scene.tasks.sleep.delay(1.5).id
        assert both.AsyncResult(before).get(timeout=SOON) == 1
        assert both.AsyncResult(cold).get(timeout=SOON) == 1.5

        scene.work_with("both")
        during = scene.tasks.add.delay(2, 0).id
        assert both.AsyncResult(during).get(timeout=SOON) == 2
        assert on_redis.AsyncResult(during).state == "PENDING"

        scene.work_with("celery")
        after, failed = scene.tasks.add.delay(3, 0).id, scene.tasks.fail.delay("broken").id
        chorded = chord([scene.tasks.add.s(4, 0)])(scene.tasks.total.s()).id
        for reader in (both, scene.client(**scene.backends["both"]), on_redis):
            assert [reader.AsyncResult(task_id).get(timeout=SOON) for task_id in (before, after, chorded)] == [1, 3, 4]
            with pytest.raises(ValueError, match="broken"):
                reader.AsyncResult(failed).get(timeout=SOON)
        assert scene.client(**scene.backends["both"]).AsyncResult(during).get(timeout=SOON) == 2


# -- processes ----------------------------------------------------------------------------------------------------


def test_a_task_that_was_delivered_twice_has_its_first_result(scene: World, tmp_path: Path) -> None:
    path = str(tmp_path / "runs")
    first = scene.tasks.note.delay(path)
    assert first.get(timeout=SOON) == 1

    scene.tasks.note.apply_async((path,), task_id=first.id)
    scene.wait_until_run(first, times=2)

    assert scene.client().AsyncResult(first.id).get(timeout=SOON) == 1
    assert len(Path(path).read_text().splitlines()) == 2


def test_a_task_whose_process_dies_has_failed(scene: World) -> None:
    with pytest.raises(WorkerLostError):
        scene.tasks.die.delay().get(timeout=SOON)


def test_a_task_above_its_time_limit_has_failed(scene: World) -> None:
    with pytest.raises(Exception, match="TimeLimitExceeded") as raised:
        scene.tasks.too_long.delay().get(timeout=SOON)

    assert "TimeLimitExceeded" in type(raised.value).__name__


def test_a_revoked_task_is_revoked(scene: World) -> None:
    for _ in range(2):
        scene.tasks.sleep.delay(1)
    result = scene.tasks.sleep.apply_async((30,), countdown=1)
    result.revoke()

    with pytest.raises(celery.exceptions.TaskRevokedError):
        result.get(timeout=SOON)
    assert result.state == "REVOKED"
