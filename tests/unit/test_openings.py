"""What is opened and then cannot be used is closed again, and what a configuration names is made sure of at once."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.deadline import Deadline
from streamresults.errors import ConfigurationError, TopicMissing, TopicUnavailable
from streamresults.settings import Settings
from streamresults.store.memory import MemoryStore
from streamresults.topic.memory import MemoryBroker
from streamresults.topic.records import TopicSettings
from streamresults.wiring import Wiring
from tests.conftest import create_topics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.topic.base import TopicInspector
    from streamresults.topic.memory_reader import MemoryGroup


class Watched(MemoryBroker):
    """Notes which of what it opened are closed."""

    def __init__(self) -> None:
        super().__init__()
        #: Everything opened, and whether it was closed since.
        self.closed: dict[str, bool] = {}

    def _watched(self, name: str, opened: Any) -> Any:
        name = f"{name}-{len(self.closed)}"
        self.closed[name] = False
        real = opened.close

        def close() -> None:
            self.closed[name] = True
            real()

        opened.close = close
        return opened

    def inspector(self, topic: str) -> TopicInspector:
        found: TopicInspector = self._watched("inspector", super().inspector(topic))
        return found

    def group(self, topic: str, group: str) -> MemoryGroup:
        found: MemoryGroup = self._watched("group", super().group(topic, group))
        return found


@pytest.fixture
def broker() -> Watched:
    """Give a broker without topics."""
    return Watched()


@pytest.fixture
def wiring(broker: Watched) -> Iterator[Wiring]:
    """Give a wiring on it."""
    with Wiring(Settings(), broker=broker, store=MemoryStore()) as wiring:
        yield wiring


def test_compactor_that_is_refused_leaves_nothing_open(broker: Watched, wiring: Wiring) -> None:
    """The topic breaks a promise: who opened the inspector closes it."""
    compacted = TopicSettings(partitions=1, config={"cleanup.policy": "compact"})
    broker.create_topics({"results": compacted}, Deadline(10))
    with pytest.raises(ConfigurationError, match="cannot be compacted"):
        wiring.compactor()

    assert {"inspector-0": True} == broker.closed


def test_compactor_without_a_topic_leaves_nothing_open(broker: Watched, wiring: Wiring) -> None:
    """The first question already fails."""
    with pytest.raises(TopicMissing):
        wiring.compactor()

    assert {"inspector-0": True} == broker.closed


def test_compactor_that_cannot_start_releases_everything(
    broker: Watched, wiring: Wiring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the last step, joining the group: connections are closed, and no thread is left."""
    create_topics(wiring, 1)
    broker.closed.clear()
    compactor = wiring.compactor()

    def refused(_events: object) -> None:
        raise TopicUnavailable("not now")

    monkeypatch.setattr(compactor._group, "join", refused)
    with pytest.raises(TopicUnavailable, match="not now"):
        compactor.run(Event())

    assert broker.closed
    assert all(broker.closed.values())
    with pytest.raises(RuntimeError, match="shutdown"):
        compactor._live._sender.submit(print)


def test_warming_finds_out_that_there_is_no_topic(broker: Watched, wiring: Wiring) -> None:
    """When a worker starts, not with its first result."""
    broker.create_topics({"results.schemas": TopicSettings(partitions=1)}, Deadline(10))
    with wiring.publisher() as publisher, pytest.raises(TopicMissing):
        publisher.warm(5)


def test_accept_takes_names_and_content_types() -> None:
    """As the setting that encodes takes a name."""
    settings = Settings(accept=("json",), serializer="msgpack")
    with Wiring(settings, broker=MemoryBroker(), store=MemoryStore()) as wiring:
        assert frozenset({"application/json"}) == wiring.decoding().accept


def test_accept_of_what_there_is_not_is_an_error() -> None:
    """A misspelt content type would otherwise refuse every result."""
    with (
        Wiring(Settings(accept=("application/jsno",)), broker=MemoryBroker(), store=MemoryStore()) as wiring,
        pytest.raises(ConfigurationError, match="jsno"),
    ):
        wiring.decoding()
