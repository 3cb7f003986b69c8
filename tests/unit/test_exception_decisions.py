"""
What is decided about exceptions, and who learns of it.

We test these aspects: classes that code lists, the never-list by name, a file of entries, counts by type and outcome,
one log line for each unlisted type, on the reading and on the writing side, and the rule in words.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

import streamresults
from streamresults.errors import ConfigurationError, RemoteTaskError
from streamresults.events import allowlist as allowlist_module
from streamresults.events.allow_file import entries_of
from streamresults.events.allowlist import ExceptionAllowlist, allow
from streamresults.events.decisions import LOGGED_MAX, OTHER, TYPES_MAX
from streamresults.events.exceptions import capture
from streamresults.events.payloads import default_registry
from streamresults.events.revive import revive
from streamresults.settings import Settings, load
from streamresults.store.memory import MemoryStore
from streamresults.topic.memory import MemoryBroker
from streamresults.wiring import Wiring
from tests.conftest import create_topics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REGISTRY = default_registry()
JSON = REGISTRY.by_name("json")
HERE = __name__


class Declined(Exception):
    """An exception of a user."""


class Other(Exception):
    """Another one."""


@pytest.fixture(autouse=True)
def _nothing_listed_by_code() -> Iterator[None]:
    """Forget what a test has listed for the process."""
    before = dict(allowlist_module._BY_CODE)
    yield
    allowlist_module._BY_CODE.clear()
    allowlist_module._BY_CODE.update(before)


def seen(allowlist: ExceptionAllowlist, exc: BaseException) -> BaseException:
    """Send an exception to a reader."""
    return revive(*capture(exc, JSON), allowlist, REGISTRY)


# -- listed by code ---------------------------------------------------------------------------------------------


def test_code_lists_a_class_in_every_client_of_the_process() -> None:
    """Also in one that was opened before."""
    allowlist = ExceptionAllowlist()
    assert isinstance(seen(allowlist, Declined(1)), RemoteTaskError)

    assert Declined is streamresults.allow(Declined)
    assert isinstance(seen(allowlist, Declined(1)), Declined)
    assert Declined in allowlist
    assert "listed by code" in allowlist.rule(HERE, "Declined")


def test_code_can_list_nothing_that_must_never_be() -> None:
    """Neither control, nor what has no importable name, nor what is no exception; each is named."""

    class Local(Exception):
        """Nobody else can import it."""

    for cls, hint in ((SystemExit, "must never"), (TimeoutError, "must never"), (Local, "no importable name")):
        with pytest.raises(ConfigurationError, match=f"{cls.__name__}.* {hint}"):
            allow(cls)
    with pytest.raises(ConfigurationError, match="not an exception class"):
        allow(object)  # type: ignore[type-var]


def test_what_one_allowlist_must_never_rebuild_code_cannot_list_there() -> None:
    """An adapter's control exceptions stay out whatever the process lists."""
    allow(Declined)
    strict = ExceptionAllowlist(never=[Declined])

    assert Declined not in strict
    assert isinstance(seen(strict, Declined(1)), RemoteTaskError)


@pytest.mark.parametrize(
    "base",
    [
        ("celery.exceptions", "Ignore"),
        ("dramatiq.errors", "Retry"),
        ("arq.worker", "Retry"),
        ("twisted.internet.defer", "CancelledError"),
        ("a.library.of.tomorrow", "Task.CancelledError"),
    ],
)
def test_a_framework_s_control_exceptions_are_known_by_name(base: tuple[str, str]) -> None:
    """They need not be imported, and a subclass is one too."""
    control = type(base[1], (Exception,), {"__module__": base[0], "__qualname__": base[1]})
    derived = type("Derived", (control,), {"__module__": "shop", "__qualname__": "Derived"})

    for cls in (control, derived):
        with pytest.raises(ConfigurationError, match="must never be rebuilt"):
            ExceptionAllowlist([cls])
    assert not ExceptionAllowlist().may_be_listed(*base)


# -- a file -----------------------------------------------------------------------------------------------------


def test_a_file_lists_exceptions_beside_the_settings(tmp_path: Path) -> None:
    """One that many services share."""
    file = tmp_path / "exceptions.toml"
    file.write_text(f'allow = ["{HERE}:Declined"]')
    settings = load({"allow": [f"{HERE}:Other"], "allow_file": str(file)})
    with Wiring(settings, broker=MemoryBroker(), store=MemoryStore()) as wiring:
        assert Declined in wiring.allowlist()
        assert Other in wiring.allowlist()
        assert wiring.allowlist() is wiring.decoding().allowlist


@pytest.mark.parametrize(
    "text", ["", "allow = 5", 'allow = "a:b"', "allow = [5]", 'allow = []\nalso = "x"', "allow = [", "\x00"]
)
def test_a_file_that_holds_something_else_is_named(tmp_path: Path, text: str) -> None:
    """A typo in a key does not list nothing in silence."""
    file = tmp_path / "exceptions.toml"
    file.write_text(text)

    with pytest.raises(ConfigurationError, match=r"exceptions\.toml"):
        entries_of(str(file))


def test_no_file_is_no_entries_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    """Only a file that was named has to be there."""
    assert [] == entries_of("")
    with pytest.raises(ConfigurationError, match="nowhere"):
        entries_of(str(tmp_path / "nowhere"))


def test_a_wrong_entry_stops_client_and_publisher_when_they_open() -> None:
    """The error names it; nobody learns of it with the first failure."""
    settings = Settings(allow=("os:system",))
    with Wiring(settings, broker=MemoryBroker(), store=MemoryStore()) as wiring:
        for open_it in (wiring.client, wiring.publisher):
            with pytest.raises(ConfigurationError, match=r"os:system.*not an exception class"):
                open_it()


# -- counts and the log -----------------------------------------------------------------------------------------


def test_decisions_are_counted_by_type_and_outcome() -> None:
    """Of every exception of a record, causes included."""
    allowlist = ExceptionAllowlist()
    exc = ValueError(1)
    exc.__cause__ = Declined(2)
    seen(allowlist, exc)
    seen(allowlist, ValueError(3))
    allowlist.judge("os", "system")
    allowlist.judge("no\nname", "x")

    assert {
        ("builtins:ValueError", "allowed"): 2,
        (f"{HERE}:Declined", "not_listed"): 1,
        ("os:system", "refused"): 1,
        (OTHER, "not_listed"): 1,
    } == allowlist.decisions.counts


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_forked_child_counts_from_nothing() -> None:
    """It is another process, and does not wait for a lock that a thread of its parent held."""
    allowlist = ExceptionAllowlist()
    allowlist.judge("builtins", "KeyError")
    with allowlist.decisions._lock:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                allowlist.judge("builtins", "ValueError")
                code = 0 if allowlist.decisions.counts == {("builtins:ValueError", "allowed"): 1} else 2
            finally:
                os._exit(code)

    assert 0 == os.waitpid(child, 0)[1]
    assert {("builtins:KeyError", "allowed"): 1} == allowlist.decisions.counts


def test_names_of_records_fill_neither_counts_nor_log(caplog: pytest.LogCaptureFixture) -> None:
    """Beyond a number of types they are counted together, and no longer logged."""
    allowlist = ExceptionAllowlist()
    with caplog.at_level(logging.WARNING):
        for number in range(TYPES_MAX + 10):
            allowlist.judge("shop", f"E{number}")

    assert TYPES_MAX + 1 == len(allowlist.decisions.counts)
    assert 10 == allowlist.decisions.counts[OTHER, "not_listed"]
    assert LOGGED_MAX == len(caplog.records)


def test_an_unlisted_type_is_logged_once_with_the_line_that_would_list_it(caplog: pytest.LogCaptureFixture) -> None:
    """Once for each process, not once for each failure; what can be on no list, and what is no name, is not logged."""
    allowlist = ExceptionAllowlist()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            seen(allowlist, Declined(1))
        for name in ("SystemExit", "TimeoutError", "a\nb"):
            allowlist.judge("builtins", name)

    (record,) = caplog.records
    assert (
        f'allow = ["{HERE}:Declined"] in streamresults.toml, or STREAMRESULTS_ALLOW={HERE}:Declined' in record.message
    )
    assert ("exception_not_listed", f"{HERE}:Declined") == (record.action, record.type)  # type: ignore[attr-defined]
    assert ExceptionAllowlist([f"{HERE}:Declined"]).find(HERE, "Declined") is Declined


def test_a_worker_learns_that_its_exception_is_on_no_list(caplog: pytest.LogCaptureFixture) -> None:
    """When it publishes, by its log and its counts; the publish itself succeeds."""
    with Wiring(Settings(), broker=MemoryBroker(), store=MemoryStore()) as wiring:
        create_topics(wiring, 1)
        with caplog.at_level(logging.WARNING), wiring.publisher() as publisher:
            publisher.failed_with("t-1", Declined("no"))
            publisher.failed_with("t-2", ValueError("no"))

        counts = wiring.allowlist().decisions.counts
    told = [record for record in caplog.records if record.name == "streamresults.exceptions"]

    assert {(f"{HERE}:Declined", "not_listed"): 1, ("builtins:ValueError", "allowed"): 1} == counts
    assert [True] == [f'allow = ["{HERE}:Declined"]' in record.message for record in told]


# -- the rule in words ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "qualname", "rule"),
    [
        ("builtins", "ValueError", "default list"),
        (HERE, "Declined", f"listed by '{HERE}:Declined'"),
        ("json.decoder", "JSONDecodeError", r"listed by 'json.decoder:\*'"),
        ("os", "system", "not an exception class"),
        ("builtins", "SystemExit", "must never"),
        ("builtins", "TimeoutError", "remote timeout"),
        ("streamresults.errors", "WaitTimeout", "remote error"),
        ("celery.exceptions", "Ignore", "worker framework"),
        ("shop", "Declined", "no entry names it"),
        ("shop", "a b", "no class is named so"),
    ],
)
def test_the_rule_that_decided_is_said_in_words(module: str, qualname: str, rule: str) -> None:
    """For people, and for ``exceptions explain``."""
    allowlist = ExceptionAllowlist([f"{HERE}:Declined", "json.decoder:*"])
    actual: Any = allowlist.rule(module, qualname)

    assert __import__("re").search(rule, actual), actual


def test_the_accept_list_holds_for_an_exception_s_arguments() -> None:
    """A content type that a client does not accept is not decoded because it stands inside an exception."""
    broker, store = MemoryBroker(), MemoryStore()
    with Wiring(Settings(serializer="msgpack"), broker=broker, store=store) as worker:
        create_topics(worker, 1)
        with worker.publisher() as publisher:
            publisher.failed_with("t-1", ValueError({"amount": 5}))
        worker.compactor(from_earliest=True).run_once(threading.Event(), 30.0)
    for accept, expected in ((("json",), RemoteTaskError), (("json", "msgpack"), ValueError)):
        with Wiring(Settings(accept=accept), broker=broker, store=store) as wiring, wiring.client() as client:
            assert expected is type(client.lookup("t-1").exception)
