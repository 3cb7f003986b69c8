"""A publisher on a topic in memory, for the tests of everything that publishes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from streamresults.settings import Settings
from streamresults.store.memory import MemoryStore
from streamresults.topic.memory import MemoryBroker
from streamresults.topic.records import RECORD_BYTES
from streamresults.wiring import Wiring
from tests.conftest import create_topics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamresults.events.event import Event
    from streamresults.publisher import Publisher

#: Seconds in which anything here happens on a loaded machine.
SOON = 10.0


class Desk:
    """A publisher and the topic that it writes to."""

    def __init__(self, *, queue: int = 1000, record_bytes: int = RECORD_BYTES, **settings: Any) -> None:
        self.broker = MemoryBroker(queue_records=queue, record_bytes=record_bytes)
        self.wiring = Wiring(Settings(**settings), broker=self.broker, store=MemoryStore())
        create_topics(self.wiring, 1)
        self.publisher = self.open()

    def open(self, **options: Any) -> Publisher:
        """Open another publisher on the same topic."""
        return self.wiring.publisher(**{"worker": "w-1", **options})

    def told(self) -> list[tuple[str, str]]:
        """Return whose events the topic holds, and of which states."""
        return [(event.task_id, event.state) for event in self.events()]

    def events(self, topic: str = "results") -> list[Event]:
        """Return what the topic holds."""
        codec = self.wiring.codec()
        return [codec.decode(r.value_) for r in self.broker._cluster.topics[topic].partitions[0].records if r.value_]

    def schemas(self) -> list[bytes]:
        """Return the keys that the schemas topic holds."""
        return [r.key_ for r in self.broker._cluster.topics["results.schemas"].partitions[0].records]

    def close(self) -> None:
        """Give everything back."""
        self.broker.release()
        self.publisher.close()
        self.wiring.close()


def publisher_desks() -> Iterator[Callable[..., Desk]]:
    """Give a function that opens a desk, for a fixture; closes them all."""
    desks: list[Desk] = []

    def opened(**settings: Any) -> Desk:
        desks.append(Desk(**settings))
        return desks[-1]

    yield opened
    for desk in desks:
        desk.close()


def in_thread(call: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Run a call in a thread; what it returns or raises is put into the list."""
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(call())
        except Exception as exc:  # noqa: BLE001 -- the test looks at it
            outcome.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome
