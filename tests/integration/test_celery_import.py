"""``streamresults celery import``: what Celery's own backend keeps in a real Redis becomes events of the topic."""

from __future__ import annotations

import pickle
import secrets
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import celery
import pytest
from celery import states
from celery.app.task import Context
from celery.result import GroupResult
from redis import Redis

from streamresults.celery.importing import Importing
from streamresults.errors import ConfigurationError, RemoteTaskError, ServiceUnavailable
from tests.celery_desk import closing_backends, make_app
from tests.compacting import compacting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from streamresults.wiring import Wiring

pytestmark = [
    pytest.mark.redis,
    pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning"),  # by Celery itself
]


class Hidden(Exception):
    """An exception of the application's own that nobody lists."""


@pytest.fixture
def folded(memory_wiring: Wiring) -> Iterator[Wiring]:
    """Give a wiring in memory whose topic is folded meanwhile."""
    with compacting(memory_wiring), closing_backends():
        yield memory_wiring


@pytest.fixture
def conf() -> dict[str, Any]:
    """Give settings that both applications share; a prefix keeps tests apart, and has what SCAN takes for a pattern."""
    prefix = f"i[{secrets.token_hex(4)}]*_"
    return {"result_backend_transport_options": {"global_keyprefix": prefix}, "result_expires": 3600}


@pytest.fixture
def old(redis_url: str, conf: dict[str, Any]) -> Iterator[Celery]:
    """Give the application as it was."""
    app = celery.Celery(broker="memory://", backend=redis_url, set_as_current=False)
    app.conf.update(conf)
    yield app
    app.backend.client.connection_pool.disconnect()


@pytest.fixture
def app(folded: Wiring, conf: dict[str, Any]) -> Celery:
    """Give the application as it is."""
    return make_app(folded, **conf)


def imported(app: Celery, url: str, *, dry: bool = False) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Run it; return what it has counted but for zeros, and what was bad."""
    bad: list[tuple[str, str]] = []
    with Importing(app.backend, url, lambda key, why: bad.append((key, why))) as importing:
        counts = importing.run(dry=dry)
    return {name: count for name, count in asdict(counts).items() if count}, bad


def fresh(app: Celery, task_id: str) -> Any:
    """Return what the log holds of a task."""
    return app.backend.connections.client.lookup(task_id, fresh=True)


def events(app: Celery) -> list[Any]:
    """Return all events of the topic."""
    with app.backend.connections.wiring.replay() as replay:
        return [found.event for found in replay.read("earliest", "end")]


def test_values_times_children_and_the_call_are_taken_over(app: Celery, old: Celery, redis_url: str) -> None:
    """The meta is the same as before, but for what Celery's own backend forgets of types."""
    request = Context(
        id="t",
        task="shop.add",
        args=[1, 2],
        kwargs={"a": "b"},
        hostname="w1",
        retries=2,
        group="g1",
        parent_id="p1",
        delivery_info={"routing_key": "q"},
        stamps={"user": "me"},
        stamped_headers=["user"],
        _children=[app.AsyncResult("child"), GroupResult("kids", [app.AsyncResult("k")], app=app)],
    )
    old.conf.result_extended = True
    old.backend.store_result("t", {"a": [1, "x", None]}, states.SUCCESS, request=request)
    old.backend.store_result("nothing", None, states.SUCCESS)
    before = old.backend.get_task_meta("t")

    assert imported(app, redis_url) == ({"tasks": 2}, [])

    assert fresh(app, "t").successful
    after = app.backend.get_task_meta("t")
    assert {key: after[key] for key in before if key != "children"} == {
        key: before[key] for key in before if key != "children"
    }
    assert [result.as_tuple() for result in app.AsyncResult("t").children] == [
        (("child", None), None),
        (("kids", None), [(("k", None), None)]),
    ]
    assert (fresh(app, "nothing").state, app.AsyncResult("nothing").result) == ("SUCCESS", None)


def test_what_is_left_of_a_life_is_taken_over(app: Celery, old: Celery, redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        for task_id, expire in (("soon", 50), ("late", 90 * 86_400), ("never", 0)):
            old.backend.store_result(task_id, 1, states.SUCCESS)
            key = old.backend.get_key_for_task(task_id)
            redis.expire(key, expire) if expire else redis.persist(key)

    imported(app, redis_url)

    left = {event.task_id: event.expires_after_ms for event in events(app)}
    assert 0 < left["soon"] <= 50_000
    assert left["late"] == app.backend.settings.longest_expiry * 1000
    assert left["never"] == 0


def test_exceptions_become_data_and_none_is_called(app: Celery, old: Celery, redis_url: str) -> None:
    old.backend.store_result("listed", KeyError("k", 2), states.FAILURE, traceback="Traceback of old")
    old.backend.store_result("hidden", Hidden("x"), states.FAILURE)
    old.backend.store_result("again", ValueError("later"), states.RETRY)

    unlisted = {f"{Hidden.__module__}:Hidden": 1}
    assert imported(app, redis_url) == ({"tasks": 3, "unlisted": unlisted}, [])

    assert fresh(app, "again").state == "RETRY"
    result = app.AsyncResult("listed").get(timeout=0, propagate=False)
    assert (type(result), result.args) == (KeyError, ("k", 2))
    assert app.AsyncResult("listed").traceback == "Traceback of old"
    assert fresh(app, "hidden").event.exception[0].type_name == f"{Hidden.__module__}:Hidden"
    hidden = app.AsyncResult("hidden").get(timeout=0, propagate=False)
    assert type(hidden) is RemoteTaskError
    assert f"{Hidden.__module__}:Hidden" in str(hidden)


def test_pickled_exceptions_are_taken_over_where_the_application_accepts_pickle(
    folded: Wiring, old: Celery, redis_url: str, conf: dict[str, Any]
) -> None:
    pickling = {"result_serializer": "pickle", "result_accept_content": ["pickle"]}
    app = make_app(folded, **conf, **pickling)
    old.conf.update(pickling)
    old.backend.store_result("t", KeyError("k"), states.FAILURE)

    assert imported(app, redis_url) == ({"tasks": 1}, [])

    assert fresh(app, "t").state == "FAILURE"
    with pytest.raises(KeyError, match="k"):
        app.AsyncResult("t").get(timeout=0)


def test_saved_groups_are_taken_over(app: Celery, old: Celery, redis_url: str) -> None:
    old.backend.store_result("a", 1, states.SUCCESS)
    GroupResult("g", [app.AsyncResult("a")], app=app).save(old.backend)

    assert imported(app, redis_url) == ({"tasks": 1, "groups": 1}, [])

    assert GroupResult.restore("g", app=app).get(timeout=5) == [1]


def test_a_second_run_brings_nothing_twice(app: Celery, old: Celery, redis_url: str) -> None:
    old.backend.store_result("t", 1, states.SUCCESS)
    GroupResult("g", [app.AsyncResult("t")], app=app).save(old.backend)
    imported(app, redis_url)
    fresh(app, "t")

    old.backend.store_result("u", 2, states.SUCCESS)

    assert imported(app, redis_url) == ({"tasks": 1, "known": 2}, [])
    assert sorted(event.task_id for event in events(app)) == ["group:g", "t", "u"]


def test_the_same_record_is_an_event_of_the_same_id(app: Celery, old: Celery, redis_url: str, folded: Wiring) -> None:
    """So whoever reads a log into which it came twice can tell."""
    old.backend.store_result("t", 1, states.SUCCESS)
    imported(app, redis_url)
    fresh(app, "t")
    app.backend.forget("t")
    fresh(app, "t")

    assert imported(make_app(folded, **app.conf.changes), redis_url)[0] == {"tasks": 1}

    first, second = [event for event in events(app) if event is not None]
    assert first.event_id == second.event_id
    assert first.occurred_at_us == second.occurred_at_us
    assert first.event_id[6] >> 4 == 7


def test_what_was_stored_here_stays(app: Celery, old: Celery, redis_url: str) -> None:
    old.backend.store_result("t", KeyError("old"), states.FAILURE)
    app.backend.store_result("t", KeyError("new"), states.FAILURE)
    fresh(app, "t")

    assert imported(app, redis_url) == ({"known": 1}, [])

    assert app.AsyncResult("t").result.args == ("new",)


def test_bad_records_are_named_and_the_run_goes_on(
    app: Celery, old: Celery, redis_url: str, conf: dict[str, Any]
) -> None:
    prefix = conf["result_backend_transport_options"]["global_keyprefix"]
    old.backend.store_result("good", 1, states.SUCCESS)
    with Redis.from_url(redis_url) as redis:
        redis.set(f"{prefix}celery-task-meta-garbage", b"\xff{")
        redis.set(f"{prefix}celery-task-meta-pickle", pickle.dumps({"status": "SUCCESS"}))
        redis.set(f"{prefix}celery-task-meta-list", b"[1]")
        redis.set(f"{prefix}celery-task-meta-when", b'{"status": "SUCCESS", "result": 1, "date_done": "soon"}')
        redis.set(f"{prefix}celery-task-meta-" + "x" * 2000, b'{"status": "SUCCESS", "result": 1}')
        redis.lpush(f"{prefix}celery-task-meta-wrong", 1)
        redis.set(f"{prefix}celery-taskset-meta-g", b'{"result": [1]}')
        redis.zadd(f"{prefix}celery-taskset-meta-h.j", {"x": 1})
        # The newest Celery's: of a chord under way, and of one that is over.
        redis.sadd(f"{prefix}celery-taskset-meta-h.d", "x")
        redis.set(f"{prefix}celery-taskset-meta-i.c", "1")

    counts, bad = imported(app, redis_url)

    assert counts == {"tasks": 1, "chords": 2, "bad": 7}
    names = ("garbage", "pickle", "list", "when", "wrong", "x" * 30)
    assert {key.removeprefix(prefix)[:30] for key, _ in bad} == {
        *(f"celery-task-meta-{name}"[:30] for name in names),
        "celery-taskset-meta-g",
    }
    assert fresh(app, "good").successful


def test_a_dry_run_counts_and_publishes_nothing(app: Celery, old: Celery, redis_url: str) -> None:
    old.backend.store_result("t", 1, states.SUCCESS)

    assert imported(app, redis_url, dry=True) == ({"tasks": 1}, [])

    assert events(app) == []


def test_going_back_finds_the_old_backend_as_it_was_left(app: Celery, old: Celery, redis_url: str) -> None:
    """Nothing there was changed by the import; what was stored here since is not there."""
    old.backend.store_result("t", 1, states.SUCCESS)
    with Redis.from_url(redis_url) as redis:
        key = old.backend.get_key_for_task("t")
        before = redis.get(key), redis.expiretime(key)

        imported(app, redis_url)
        app.backend.store_result("u", 2, states.SUCCESS)
        app.backend.store_result("t", 3, states.SUCCESS)

        assert (redis.get(key), redis.expiretime(key)) == before
    assert old.AsyncResult("t").result == 1
    assert old.AsyncResult("u").state == "PENDING"


def test_an_old_backend_that_is_none_or_away_is_said(app: Celery, tmp_path: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"file://.*fallback_backend reads any other"):
        imported(app, f"file://{tmp_path}")
    with pytest.raises(ConfigurationError, match="nonsense"):
        imported(app, "nonsense://")
    with pytest.raises(ServiceUnavailable, match=r"redis://:\*\*@127\.0\.0\.1:1/0"):
        imported(app, "redis://:AAA@127.0.0.1:1/0")
