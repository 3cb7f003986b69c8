"""Settings of both worlds where they meet: what is mapped, what passes through, and what is said to do nothing."""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import celery
import pytest
from celery import states

from streamresults.celery import configuration
from streamresults.settings import describe
from streamresults.store.redis import RedisStore
from tests.celery_desk import closing_backends, make_app
from tests.compacting import compacting

if TYPE_CHECKING:
    from streamresults.wiring import Wiring

URL = "streamresults://k/t?redis=redis://r"
SECRET = "0123456789abcdef" * 4


def settings_with(url: str = URL, **conf: Any) -> Any:
    app = celery.Celery(backend=url, set_as_current=False)
    app.conf.update(conf)
    return app.backend.settings


@pytest.mark.parametrize("asked", [True, False])
def test_a_failed_publish_is_repeated_by_one_of_the_two_alone(*, asked: bool) -> None:
    """By Celery where it is asked to, with its three numbers; else by the publisher, within its timeout."""
    assert settings_with(result_backend_always_retry=asked).always_retry is not asked


def test_nobody_retries_twice_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMRESULTS_ALWAYS_RETRY", "true")

    assert settings_with(result_backend_always_retry=True).always_retry is False


@pytest.mark.parametrize(
    ("url", "options"),
    [
        (URL, {"signing_key_id": "k1", "signing_keys": {"k1": SECRET}}),
        (f"{URL}&signing_key_id=k1&signing_keys=k1={SECRET},k2={SECRET}", {}),
        (f"{URL}&signing_key_id=k1&signing_keys=k1%3D{SECRET}", {}),
    ],
)
def test_signing_keys_pass_through_and_are_shown_nowhere(url: str, options: dict[str, Any]) -> None:
    app = celery.Celery(backend=url, set_as_current=False)
    app.conf.result_backend_transport_options = options

    assert (app.backend.settings.signing_key_id, app.backend.settings.signing_keys["k1"]) == ("k1", SECRET)
    assert SECRET not in app.backend.as_uri()


def test_what_is_not_signed_is_no_result_where_keys_are_configured(memory_wiring: Wiring) -> None:
    """The same through the adapter as through the library."""
    keys = {"signing_key_id": "k1", "signing_keys": {"k1": SECRET}}
    signing = make_app(memory_wiring, result_backend_transport_options=keys)
    plain = make_app(memory_wiring)
    with closing_backends(), compacting(signing.backend.connections.wiring):
        plain.backend.store_result("forged", 1, states.SUCCESS)
        signing.backend.store_result("t", 2, states.SUCCESS)
        reader = make_app(memory_wiring, result_backend_transport_options=keys)

        assert reader.AsyncResult("t").get(timeout=20) == 2
        reader.backend.connections.client.lookup("forged", fresh=True, timeout=20)
        assert reader.AsyncResult("forged").state == "PENDING"


@pytest.fixture
def _nothing_said() -> Any:
    """Have everything said anew."""
    before = set(configuration._said)
    configuration._said.clear()
    yield
    configuration._said.clear()
    configuration._said.update(before)


@pytest.mark.usefixtures("_nothing_said")
def test_what_has_no_effect_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    conf: dict[str, Any] = {
        "redis_socket_timeout": 5,
        "redis_max_connections": 20,
        "redis_retry_on_timeout": True,
        "result_backend_transport_options": {
            "global_keyprefix": "p",
            "retry_policy": {"timeout": 5},
            "master_name": "m",
        },
    }

    with caplog.at_level(logging.WARNING, "streamresults.celery"):
        settings_with(**conf)
        settings_with(**conf)

    (line,) = [record.getMessage() for record in caplog.records if record.name == "streamresults.celery"]
    assert line.startswith(
        "without effect on results here: global_keyprefix, retry_policy, master_name, redis_retry_on_timeout, "
        "redis_max_connections. "
    )


@pytest.mark.usefixtures("_nothing_said")
@pytest.mark.parametrize(
    "conf",
    [
        {},
        {"redis_socket_timeout": 5, "redis_host": "r"},
        {
            "redis_max_connections": 5,
            "result_backend_transport_options": {"global_keyprefix": "p", "fallback_backend": "redis://old"},
        },
    ],
)
def test_nothing_is_said_of_what_has_an_effect(conf: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """The old backend goes by its settings where it is still asked."""
    with caplog.at_level(logging.WARNING, "streamresults.celery"):
        settings_with(**conf)

    assert [] == [record for record in caplog.records if record.name == "streamresults.celery"]


OF_CELERY: dict[str, Any] = {
    "redis_socket_timeout": 5.5,
    "redis_socket_connect_timeout": 1,
    "redis_socket_keepalive": True,
    "redis_backend_health_check_interval": 30,
    "redis_client_name": "shop",
}
SAME = "socket_timeout=5.5&socket_connect_timeout=1&socket_keepalive=True&health_check_interval=30&client_name=shop"


@pytest.mark.parametrize(
    ("redis", "conf", "expected"),
    [
        ("redis://r/1", {}, "redis://r/1"),
        ("redis://r/1", {"redis_socket_timeout": 120.0, "redis_socket_keepalive": False}, "redis://r/1"),
        ("redis://r/1", OF_CELERY, f"redis://r/1?{SAME}"),
        ("redis://r/1?socket_timeout=9", {"redis_socket_timeout": 5}, "redis://r/1?socket_timeout=9"),
        ("redis://r/1", {"redis_backend_use_ssl": {"ssl_ca_certs": "/ca"}}, "redis://r/1"),
        (
            "rediss://r/1",
            {"redis_backend_use_ssl": {"ssl_ca_certs": "/ca", "ssl_cert_reqs": ssl.CERT_REQUIRED}},
            "rediss://r/1?ssl_ca_certs=%2Fca&ssl_cert_reqs=required",
        ),
        ("rediss://r/1?ssl_cert_reqs=CERT_NONE", {}, "rediss://r/1?ssl_cert_reqs=none"),
    ],
)
def test_how_redis_is_reached_is_taken_from_celerys_settings(redis: str, conf: dict[str, Any], expected: str) -> None:
    """Where the URL does not say it; the URL is not asked for more than it can hold."""
    assert settings_with(f"streamresults://k/t?redis={quote(redis, safe='')}", **conf).redis_url == expected


def test_sentinel_is_told_what_celerys_options_say() -> None:
    options = {"master_name": "mymaster", "sentinel_kwargs": {"password": "s", "ssl_context": object()}}
    url = "streamresults://k/t?redis=redis%2Bsentinel://a:1,b:2"

    with_options = settings_with(url, result_backend_transport_options=options)
    stated = settings_with(f"{url}/other", result_backend_transport_options=options)

    assert with_options.redis_url == "redis+sentinel://a:1,b:2/mymaster?sentinel_password=s"
    assert stated.redis_url == "redis+sentinel://a:1,b:2/other?sentinel_password=s"
    assert "sentinel_password=***" in describe(with_options)["redis_url"]


@pytest.mark.parametrize("redis", [f"redis://r/1?{SAME}", f"redis+sentinel://a:1/m?{SAME}&sentinel_password=s"])
def test_what_is_taken_from_celerys_settings_is_what_connections_take(redis: str) -> None:
    RedisStore(redis).close()
