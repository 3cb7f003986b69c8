"""The URL of a result backend: what it says, and what is shown of it."""

from __future__ import annotations

import pytest
from kombu.utils.url import maybe_sanitize_url

from streamresults.celery.urls import masked, settings_in
from streamresults.errors import ConfigurationError


@pytest.mark.parametrize("scheme", ["streamresults", "kafka"])
def test_the_address_is_a_broker_and_the_path_a_topic(scheme: str) -> None:
    found = settings_in(f"{scheme}://k:9092/shop.results?redis=redis://r:6379/2&namespace=shop")

    assert found == {
        "kafka_bootstrap": "k:9092",
        "topic": "shop.results",
        "redis_url": "redis://r:6379/2",
        "namespace": "shop",
    }


def test_the_address_of_the_other_scheme_is_redis() -> None:
    found = settings_in("redis-streamresults://:secret@r:6379/0?brokers=a:1,b:2&topic=results")

    assert found == {"redis_url": "redis://:secret@r:6379/0", "kafka_bootstrap": "a:1,b:2", "topic": "results"}


def test_further_brokers_stand_behind_the_first() -> None:
    assert settings_in("streamresults://a:1/?brokers=b:2,c:3") == {"kafka_bootstrap": "a:1,b:2,c:3"}
    assert settings_in("streamresults://a:1,b:2") == {"kafka_bootstrap": "a:1,b:2"}


def test_a_login_is_sasl_over_tls_unless_options_say_otherwise() -> None:
    found = settings_in("streamresults://me:p%40ss@k?kafka.sasl.mechanism=SCRAM-SHA-512&kafka.client.id=web")

    assert found["kafka"] == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "me",
        "sasl.password": "p@ss",
        "client.id": "web",
    }


def test_every_setting_is_an_option() -> None:
    assert settings_in("streamresults://?publish_timeout=5&allow=a:B,c:D") == {
        "publish_timeout": "5",
        "allow": ["a:B", "c:D"],
    }


def test_an_empty_url_states_nothing() -> None:
    assert settings_in("") == {}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://localhost", "streamresults://"),
        ("streamresults://k?namspace=x", "did you mean namespace?"),
        ("streamresults://k?kafka=x", "'kafka' in the result backend's URL is no setting"),
    ],
)
def test_what_is_wrong_is_named(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        settings_in(url)

    assert said in str(refused.value)


def test_no_secret_is_shown_wherever_it_stands() -> None:
    url = "streamresults://me:AAA@k:9092/t?redis=rediss://u:BBB@r:6379/0&kafka.sasl.password=CCC&kafka.ssl.key.pem=DDD"

    shown = masked(url)

    assert not any(secret in shown for secret in ("AAA", "BBB", "CCC", "DDD"))
    assert shown == (
        "streamresults://me:**@k:9092/t?redis=rediss://u:**@r:6379/0&kafka.sasl.password=**&kafka.ssl.key.pem=**"
    )


def test_tools_that_know_only_kombu_can_show_it() -> None:
    shown = maybe_sanitize_url("redis-streamresults://:AAA@r:6379/0?brokers=a:1,b:2")

    assert shown.startswith("redis-streamresults://")
    assert "AAA" not in shown
