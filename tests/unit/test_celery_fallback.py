"""``fallback_backend``: what is not known here is read where results were kept before; nothing is written there."""

from __future__ import annotations

import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import celery
import pytest
from celery import states
from celery.exceptions import ImproperlyConfigured
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.result import GroupResult
from kombu.exceptions import DecodeError

from streamresults.errors import RemoteTaskError
from tests.celery_desk import make_app
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from celery import Celery

    from streamresults.wiring import Wiring

#: Seconds within which anything here happens on a loaded machine.
SOON = 20.0


class Hidden(Exception):
    """An exception of the application's own that nobody lists."""


@pytest.fixture
def old(tmp_path: Path) -> Celery:
    """Give an application on the backend that was used before: Celery's own, on files."""
    return celery.Celery(broker="memory://", backend=f"file://{tmp_path}", set_as_current=False)


@pytest.fixture
def app(folded: Wiring, tmp_path: Path) -> Celery:
    """Give the application that was switched over."""
    return make_app(folded, result_backend_transport_options={"fallback_backend": f"file://{tmp_path}"})


def in_thread(call: Any) -> Any:
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(call)
    finally:
        pool.shutdown(wait=False)


def test_what_is_not_known_here_is_read_there(app: Celery, old: Celery) -> None:
    """By every way of asking."""
    old.backend.store_result("t", {"a": 1}, states.SUCCESS)

    found = app.AsyncResult("t")
    assert (found.state, found.result, found.ready()) == ("SUCCESS", {"a": 1}, True)
    assert app.AsyncResult("t").get(timeout=0) == {"a": 1}
    assert app.backend.get_task_meta("t")["date_done"] == old.backend.get_task_meta("t")["date_done"]
    assert app.backend.get("celery-task-meta-t") is not None
    assert app.backend.task_result_exists("t")
    assert not app.backend.task_result_exists("u")
    assert app.AsyncResult("u").state == "PENDING"


def test_what_is_known_here_stands_over_it(app: Celery, old: Celery) -> None:
    old.backend.store_result("t", "old", states.SUCCESS)
    app.backend.store_result("t", None, states.STARTED)

    assert app.AsyncResult("t").state == "STARTED"
    assert app.AsyncResult("u").state == "PENDING"


def test_nothing_is_written_there(app: Celery, old: Celery) -> None:
    app.backend.store_result("t", 1, states.SUCCESS)
    GroupResult("g", [app.AsyncResult("t")], app=app).save()

    assert old.AsyncResult("t").state == "PENDING"
    assert old.backend.restore_group("g") is None


def test_a_group_is_joined_of_both(app: Celery, old: Celery) -> None:
    old.backend.store_result("a", 1, states.SUCCESS)
    app.backend.store_result("b", 2, states.SUCCESS)
    group = GroupResult("g", [app.AsyncResult("a"), app.AsyncResult("b")], app=app)

    assert group.get(timeout=SOON) == [1, 2]
    assert GroupResult("g", [app.AsyncResult("a"), app.AsyncResult("b")], app=app).completed_count() == 2


def test_a_group_that_was_saved_there_is_restored(app: Celery, old: Celery) -> None:
    old.backend.store_result("a", 1, states.SUCCESS)
    GroupResult("g", [old.AsyncResult("a")], app=old).save()

    restored = GroupResult.restore("g", app=app)

    assert restored.get(timeout=SOON) == [1]
    assert restored.results[0].app is app
    restored.delete()
    assert GroupResult.restore("g", app=app) is None


def test_a_wait_hears_of_what_a_worker_stores_there_meanwhile(app: Celery, old: Celery) -> None:
    """So clients can be switched over before their workers."""
    ticks: list[int] = []
    got = in_thread(partial(app.AsyncResult("t").get, timeout=SOON, interval=0.05, on_interval=lambda: ticks.append(1)))
    joined = in_thread(partial(GroupResult("g", [app.AsyncResult("t")], app=app).join_native, timeout=SOON))
    eventually(lambda: ticks)

    old.backend.store_result("t", 5, states.SUCCESS)

    assert got.result(SOON) == 5
    assert joined.result(SOON) == [5]


def test_a_wait_hears_of_what_comes_here_and_keeps_its_deadline(app: Celery, folded: Wiring) -> None:
    with pytest.raises(CeleryTimeoutError):
        app.AsyncResult("t").get(timeout=0.01)
    with pytest.raises(CeleryTimeoutError):
        GroupResult("g", [app.AsyncResult("t")], app=app).join_native(timeout=0.01)

    make_app(folded).backend.store_result("t", 5, states.SUCCESS)

    assert app.AsyncResult("t").get(timeout=SOON) == 5


def test_then_is_called_with_what_is_there_already(app: Celery, old: Celery) -> None:
    old.backend.store_result("t", 5, states.SUCCESS)
    seen: list[Any] = []

    app.AsyncResult("t").then(lambda result: seen.append(result.result))

    assert seen == [5]


def test_exceptions_there_are_rebuilt_by_the_list_alone(app: Celery, old: Celery) -> None:
    """The old backend would look the class up in whatever is loaded, and call it."""
    old.backend.store_result("a", Hidden("x"), states.FAILURE)
    old.backend.store_result("b", KeyError("k"), states.FAILURE)
    assert Hidden.__module__ in sys.modules

    assert type(app.AsyncResult("a").result) is RemoteTaskError
    with pytest.raises(KeyError, match="k"):
        app.AsyncResult("b").get(timeout=0)


def test_what_is_forgotten_does_not_come_back_from_there(app: Celery, old: Celery) -> None:
    old.backend.store_result("t", 5, states.SUCCESS)

    app.AsyncResult("t").forget()

    assert app.AsyncResult("t").state == "PENDING"
    assert old.AsyncResult("t").state == "PENDING"


def test_the_url_names_it_as_well_and_its_password_is_hidden() -> None:
    url = f"streamresults://k/t?redis=redis://r&fallback_backend={quote('redis://:AAA@old:1/2', safe='')}"
    app = celery.Celery(backend=url, set_as_current=False)

    assert app.backend._fallback.backend.connparams["port"] == 1
    assert "AAA" not in app.backend.as_uri()


def test_one_that_is_away_is_said_once_and_holds_nothing_up(folded: Wiring, caplog: pytest.LogCaptureFixture) -> None:
    """What is known here is read as ever."""
    options = {"fallback_backend": "redis://:AAA@127.0.0.1:1/0"}
    app = make_app(folded, result_backend_transport_options=options)
    app.backend.store_result("t", 5, states.SUCCESS)

    with caplog.at_level(logging.WARNING, "streamresults.celery"):
        states_seen = [app.AsyncResult(task_id).state for task_id in ("t", "u", "u")]

    assert states_seen == ["SUCCESS", "PENDING", "PENDING"]
    (line,) = [record.getMessage() for record in caplog.records if "fallback_backend" in record.getMessage()]
    assert "redis://:**@127.0.0.1:1/0" in line


@pytest.mark.parametrize("url", ["rpc://", "disabled://", "nonsense://x"])
def test_one_that_cannot_be_asked_is_refused_at_once(folded: Wiring, url: str) -> None:
    with pytest.raises((ImproperlyConfigured, ModuleNotFoundError), match=url.partition(":")[0]):
        _ = make_app(folded, result_backend_transport_options={"fallback_backend": url}).backend.settings


def test_a_record_that_is_strange_there_hides_no_other(app: Celery, old: Celery) -> None:
    old.backend.store_result("strange", ValueError("bad \udcff"), states.FAILURE, traceback="TB")
    old.backend.store_result("t", 7, states.SUCCESS)

    assert app.AsyncResult("strange").state == "FAILURE"
    assert type(app.AsyncResult("strange").result) is ValueError
    assert app.AsyncResult("t").get(timeout=0) == 7


def test_one_that_cannot_be_read_is_no_backend_that_is_away(app: Celery, old: Celery) -> None:
    old.backend.set(old.backend.get_key_for_task("broken"), b"[1")
    old.backend.store_result("t", 7, states.SUCCESS)

    with pytest.raises(DecodeError):
        app.backend.get_task_meta("broken")
    assert app.AsyncResult("t").get(timeout=0) == 7
