"""
Configuration is read once, and what is wrong with it is said at once.

We test these aspects: the order of sources, Kafka's own properties, secrets from files and their masking, and that a
wrong value, a missing file and a misspelt variable are errors that name it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from streamresults.errors import ConfigurationError
from streamresults.settings import Settings, describe, load

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("STREAMRESULTS_")]:
        monkeypatch.delenv(name)


def test_without_any_source_the_defaults_hold() -> None:
    """Nothing stated, nothing changed."""
    assert Settings() == load()


def test_a_call_beats_the_environment_and_that_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults < file < environment < what a caller states."""
    (tmp_path / "streamresults.toml").write_text('topic = "file"\nnamespace = "file"\ngroup = "file"\n')
    monkeypatch.setenv("STREAMRESULTS_NAMESPACE", "environment")
    monkeypatch.setenv("STREAMRESULTS_GROUP", "environment")
    found = load({"group": "call"})

    assert ("file", "environment", "call") == (found.topic, found.namespace, found.group)


def test_none_counts_as_not_stated() -> None:
    """An option that was left out does not erase a default."""
    assert load({"topic": None}).topic == "results"


def test_none_is_any_number_of_kept_results() -> None:
    """A caller who states it does not mean none of them."""
    assert load({"result_cache_max": None}).result_cache_max is None
    assert load({}).result_cache_max == -1


def test_numbers_and_lists_are_read_from_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything in the environment is text."""
    monkeypatch.setenv("STREAMRESULTS_WAIT_TIMEOUT", "2.5")
    monkeypatch.setenv("STREAMRESULTS_BATCH_EVENTS", "7")
    monkeypatch.setenv("STREAMRESULTS_ALLOW_EVICTION", "true")
    monkeypatch.setenv("STREAMRESULTS_ALLOW", "a:B, c:D")
    found = load()

    assert (2.5, 7, True, ("a:B", "c:D")) == (
        found.wait_timeout,
        found.batch_events,
        found.allow_eviction,
        found.allow,
    )


def test_kafka_properties_keep_their_own_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``STREAMRESULTS_KAFKA__SASL_USERNAME`` is ``sasl.username``, over the file's, under a caller's."""
    (tmp_path / "streamresults.toml").write_text('[kafka]\n"sasl.username" = "file"\n"client.rack" = "file"\n')
    monkeypatch.setenv("STREAMRESULTS_KAFKA__SASL_USERNAME", "environment")
    monkeypatch.setenv("STREAMRESULTS_KAFKA__SASL_PASSWORD", "environment")
    found = load({"kafka": {"sasl.password": "call"}})

    assert {"sasl.username": "environment", "client.rack": "file", "sasl.password": "call"} == found.kafka


def test_secrets_are_read_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``_FILE`` behind its name, a variable names the file that holds the value."""
    (tmp_path / "secret").write_text("redis://:hunter2@r:6379/0\n")
    monkeypatch.setenv("STREAMRESULTS_REDIS_URL_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("STREAMRESULTS_KAFKA__SASL_PASSWORD_FILE", str(tmp_path / "secret"))
    found = load()

    assert found.redis_url == found.kafka["sasl.password"] == "redis://:hunter2@r:6379/0"


def test_a_setting_that_ends_in_file_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """``allow_file`` is a setting of its own: its variable does not say where ``allow`` is to be read."""
    monkeypatch.setenv("STREAMRESULTS_ALLOW_FILE", "allowed.toml")
    found = load()

    assert ("allowed.toml", ()) == (found.allow_file, found.allow)


def test_secrets_are_masked_for_people() -> None:
    """No password appears in what is shown."""
    shown = str(describe(load({"redis_url": "redis://me:hunter2@r:6379/0", "kafka": {"sasl.password": "hunter2"}})))

    hidden = load({"redis_url": "redis+sentinel://h/m?db=1&sentinel_password=hunter2"})

    assert "redis+sentinel://h/m?db=1&sentinel_password=***" in str(describe(hidden))
    assert "hunter2" not in shown
    assert "redis://me:***@r:6379/0" in shown


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"batch_events": 0}, "batch_events"),
        ({"publish_timeout": -5.0}, "publish_timeout"),
        ({"wait_interval": float("nan")}, "wait_interval"),
        ({"wait_timeout": "soon"}, "wait_timeout"),
        ({"no_such_setting": 1}, "no_such_setting"),
        ({"result_expires": 10.0, "longest_expiry": 5.0}, "longest_expiry"),
    ],
)
def test_a_wrong_value_is_named(overrides: dict[str, object], named: str) -> None:
    """The error says which setting is wrong."""
    with pytest.raises(ConfigurationError, match=named):
        load(overrides)


@pytest.mark.parametrize("text", ["topic = ", 'topic = "\\xff'])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    """The error says which file cannot be read."""
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"mine\.toml"):
        load(file=str(path))


def test_a_missing_file_that_was_named_is_an_error() -> None:
    """Only the default file may be missing."""
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml"):
        load(file="nowhere.toml")


def test_a_missing_file_that_the_environment_names_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the variable too: who reads the error may not know of it."""
    monkeypatch.setenv("STREAMRESULTS_CONFIG", "nowhere.toml")
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml, which STREAMRESULTS_CONFIG names"):
        load()


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("STREAMRESULTS_KAFKA_BOOTSTRP", "STREAMRESULTS_KAFKA_BOOTSTRAP"),
        ("STREAMRESULTS_KAFKA_BOOTSTRAP_SERVERS", "STREAMRESULTS_KAFKA_BOOTSTRAP"),
        ("STREAMRESULTS_PUBLISH_TIMOUT", "STREAMRESULTS_PUBLISH_TIMEOUT"),
        ("STREAMRESULTS_REDISURL", "STREAMRESULTS_REDIS_URL"),
        ("STREAMRESULTS_REDIS_URL_FIEL", "STREAMRESULTS_REDIS_URL"),
        ("STREAMRESULTS_topic", "STREAMRESULTS_TOPIC"),
    ],
)
def test_a_misspelt_variable_is_an_error(monkeypatch: pytest.MonkeyPatch, misspelt: str, meant: str) -> None:
    """Whoever sets it wants something; the error says what it should be called."""
    monkeypatch.setenv(misspelt, "x")
    with pytest.raises(ConfigurationError, match=f"{misspelt} is no setting: did you mean {meant}\\?"):
        load()


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("STREAMRESULTS_WEB_COLOUR", "STREAMRESULTS_WEB_COLOUR is no setting"),
        ("STREAMRESULTS_KAFKA_SASL_USERNAME", "two underscores"),
        ("STREAMRESULTS_REDIS_PORT", "is no setting"),
        ("STREAMRESULTS_REDIS_SERVICE_HOST", "is no setting"),
        ("STREAMRESULTS_KAFKA_PORT_9092_TCP_ADDR", "is no setting"),
        ("STREAMRESULTS_SERVICE_PORT", "is no setting"),
        ("STREAMRESULTS_PORT", "is no setting"),
    ],
)
def test_a_variable_that_is_like_no_setting_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, variable: str, said: str
) -> None:
    """Others may have set it: a cluster does, for each service."""
    monkeypatch.setenv(variable, "x")
    load()

    assert [("unknown_variable", variable)] == [(r.action, r.variable) for r in caplog.records]  # type: ignore[attr-defined]
    assert said in caplog.text


def test_what_is_known_is_not_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Settings, their files, Kafka's properties, and what deploy/local reads and exports."""
    (tmp_path / "it").write_text("")
    for name in ("CONFIG", "CACHE", "LOCAL", "REDIS_SERVER", "TOPIC_FILE", "KAFKA__CLIENT_ID"):
        monkeypatch.setenv(f"STREAMRESULTS_{name}", str(tmp_path / "it"))
    load()

    assert "" == caplog.text
