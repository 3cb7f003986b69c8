"""
Celery finds the result backend by its names, and the backend its settings in all the places where they may stand.

We test these aspects: names and schemes of URLs; one backend for every thread, and a pickled one; secrets that are not
shown; settings that cannot hold; which setting is the strongest.
"""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, _state
from celery.exceptions import ImproperlyConfigured

from streamresults.celery import StreamResultsBackend
from tests.celery_desk import backend_of

if TYPE_CHECKING:
    from streamresults.wiring import Wiring


@pytest.mark.parametrize(
    "url", ["streamresults://k/t?redis=redis://r", "streamresults+kafka://k/t?redis=redis://r", "streamresults"]
)
def test_celery_finds_it_by_its_name(url: str) -> None:
    assert type(Celery(backend=url, set_as_current=False).backend) is StreamResultsBackend


def test_celery_finds_it_by_the_name_that_begins_with_redis() -> None:
    app = Celery(backend="redis-streamresults://r:6379/0?brokers=k:9092", set_as_current=False)

    assert type(app.backend) is StreamResultsBackend
    assert app.backend.settings.redis_url == "redis://r:6379/0"


def test_redis_is_still_celerys_own() -> None:
    assert type(Celery(backend="redis://r", set_as_current=False).backend).__module__ == "celery.backends.redis"


def test_every_thread_of_an_application_has_the_same_backend(backend: StreamResultsBackend) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: backend.app.backend).result() is backend


def test_a_pickled_backend_is_the_same_one(folded: Wiring, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = backend_of(folded, result_expires=60)
    monkeypatch.setattr(_state._tls, "current_app", backend.app)

    copy = pickle.loads(pickle.dumps(backend))

    assert (copy.url, copy.expires) == (backend.url, 60)
    assert copy.connections is backend.connections


def test_no_secret_is_in_its_uri() -> None:
    backend = Celery(backend="streamresults://me:AAA@k/t?redis=redis://:BBB@r", set_as_current=False).backend

    assert "AAA" not in backend.as_uri()
    assert "BBB" not in backend.as_uri()
    assert "AAA" in backend.as_uri(include_password=True)


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ({"result_expires": timedelta(days=30)}, "longest_expiry"),
        ({"result_backend_transport_options": {"publish_timeout": -1}}, "publish_timeout"),
        ({"result_compression": "squash"}, "squash"),
    ],
)
def test_settings_that_cannot_hold_are_refused_at_once(conf: dict[str, Any], said: str) -> None:
    app = Celery(backend="streamresults://k/t?redis=redis://r", set_as_current=False)
    app.conf.update(conf)

    with pytest.raises(ImproperlyConfigured, match=said):
        _ = app.backend


def test_settings_of_both_worlds_are_taken_and_the_url_is_the_strongest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMRESULTS_NAMESPACE", "env")
    monkeypatch.setenv("STREAMRESULTS_TOPIC", "env")
    app = Celery(backend="streamresults://k/?publish_timeout=7", set_as_current=False)
    app.conf.update(
        redis_host="rhost",
        redis_password="a/b",
        redis_db=3,
        result_expires=60,
        result_compression="gzip",
        result_backend_transport_options={"publish_timeout": 5, "wait_timeout": 9, "topic": "opt"},
    )

    settings = app.backend.settings

    assert settings.redis_url == "redis://:a%2Fb@rhost:6379/3"
    assert (settings.result_expires, settings.compression, settings.wait_timeout) == (60, "gzip", 9)
    assert (settings.publish_timeout, settings.topic, settings.namespace) == (7, "opt", "env")
