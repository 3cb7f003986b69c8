"""
What a compactor's allowlist says to the exceptions that pass it.

We test these aspects: what is counted and logged, and what is not looked at; broken records; a configuration that
names classes that are not installed; nothing of it where no exception is listed.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.compactor.judging import Judging
from streamresults.deadline import Deadline
from streamresults.events.codec import Codec
from streamresults.settings import Settings
from streamresults.store.memory import MemoryStore
from streamresults.topic.memory import MemoryBroker
from streamresults.wiring import Wiring
from tests.conftest import create_topics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamresults.publisher import Publisher

SOON = 30.0


class Declined(Exception):
    """An exception of a user."""


LISTED = f"{__name__}:Declined"


@pytest.fixture
def topic() -> Iterator[Callable[..., Wiring]]:
    """Give a function that opens one topic with other settings."""
    broker, store = MemoryBroker(), MemoryStore()
    opened: list[Wiring] = []

    def configured(**settings: Any) -> Wiring:
        opened.append(Wiring(Settings(**settings), broker=broker, store=store))
        return opened[-1]

    create_topics(configured(), 2)
    yield configured
    for wiring in opened:
        wiring.close()


def compact(wiring: Wiring) -> None:
    wiring.compactor(from_earliest=True).run_once(threading.Event(), SOON)


def publish(wiring: Wiring, say: Callable[[Publisher], object]) -> None:
    with wiring.publisher() as publisher:
        say(publisher)


def test_it_counts_by_type_and_outcome_and_logs_once(
    topic: Callable[..., Wiring], caplog: pytest.LogCaptureFixture
) -> None:
    """Of every exception of a record that ends a task, causes included."""

    def say(publisher: Publisher) -> None:
        for number in range(3):
            publisher.failed_with(f"t{number}", KeyboardInterrupt())
        exc = Declined(1)
        exc.__cause__ = UnicodeError("no")
        publisher.failed_with("caused", exc)
        publisher.revoked("revoked", "enough")
        publisher.succeeded("good", 1)

    publish(topic(), say)
    compactor = topic(allow=(LISTED,))
    with caplog.at_level(logging.WARNING, "streamresults.exceptions"):
        compact(compactor)

    assert {
        ("builtins:KeyboardInterrupt", "not_listed"): 3,
        (LISTED, "allowed"): 1,
        ("builtins:UnicodeError", "allowed"): 1,
        ("streamresults.errors:TaskRevoked", "not_listed"): 1,
    } == compactor.decisions


def test_an_unlisted_type_is_logged_with_the_line_that_would_list_it(
    topic: Callable[..., Wiring], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, however many records have it."""
    monkeypatch.setattr(Declined, "__module__", "shop.errors")
    publish(topic(), lambda publisher: [publisher.failed_with(f"t{number}", Declined()) for number in range(5)])
    compactor = topic(allow=("json.decoder:JSONDecodeError",))
    with caplog.at_level(logging.WARNING, "streamresults.exceptions"):
        caplog.clear()
        compact(compactor)

    (told,) = [record.getMessage() for record in caplog.records if record.name == "streamresults.exceptions"]
    assert told.startswith("the exception shop.errors:Declined passed here and is on no allowlist")
    assert {("shop.errors:Declined", "not_listed"): 5} == compactor.decisions


def test_without_a_list_nothing_is_looked_at(topic: Callable[..., Wiring]) -> None:
    """The codec itself ranks."""
    publish(topic(), lambda publisher: publisher.failed_with("t", Declined()))
    compactor = topic()
    compact(compactor)

    assert {} == compactor.decisions
    assert isinstance(compactor._ranks(), Codec)
    assert isinstance(topic(allow=(LISTED,))._ranks(), Judging)


def test_a_broken_exception_counts_as_nothing_and_is_folded(topic: Callable[..., Wiring]) -> None:
    """Its reader gets the typed error, as without a list."""
    wiring = topic(allow=(LISTED,))
    publish(wiring, lambda publisher: publisher.failed_with("t", Declined()))
    (record,) = (r for part in _parts(wiring) for r in part.records)
    writer = wiring.broker().writer("results")
    writer.produce(record.key_, record.value_[:-1], None)
    writer.produce(b"other", b"nothing", None)
    writer.close(Deadline(SOON))
    compactor = topic(allow=(LISTED,))
    compact(compactor)

    assert {(LISTED, "allowed"): 1} == compactor.decisions
    with wiring.client() as client:
        assert "FAILURE" == client.lookup("t").state


def _parts(wiring: Wiring) -> Any:
    return wiring.broker()._cluster.topics["results"].partitions  # type: ignore[attr-defined]


def test_a_list_of_classes_that_are_not_installed_stops_no_compactor(
    topic: Callable[..., Wiring], caplog: pytest.LogCaptureFixture
) -> None:
    """A configuration that is shared with workers is said to be so, and the view is kept."""
    compactor = topic(allow=("not.installed:Error",))
    publish(topic(), lambda publisher: publisher.failed_with("t", Declined()))
    with caplog.at_level(logging.WARNING, "streamresults.wiring"):
        compact(compactor)

    assert any("exceptions that pass are not looked at: " in record.getMessage() for record in caplog.records)
    with topic().client() as client:
        assert "FAILURE" == client.lookup("t", fresh=True).state
