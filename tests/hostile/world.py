"""A topic, a view and a compactor in memory, with every hostile record in the topic and a good one behind each."""

from __future__ import annotations

import copy
import threading
import traceback
from typing import TYPE_CHECKING, Any, Final

from streamresults.deadline import Deadline
from streamresults.errors import RemoteTaskError
from streamresults.events.event import Event, Payload
from streamresults.settings import Settings
from streamresults.store.memory import MemoryStore
from streamresults.topic.memory import MemoryBroker
from streamresults.wiring import Wiring
from tests.conftest import create_topics
from tests.hostile.traps import LISTED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamresults.client import Client
    from tests.hostile.building import Hostile

SOON: Final = 50.0
#: What the good neighbour of every hostile record resulted in.
GOOD: Final = "good"
#: Of records here: smaller than what a topic takes by default, so that a record beyond it can be published at all.
RECORD_MAX: Final = 900_000


def settings() -> Settings:
    """Return what every process here is told: the traps may be rebuilt."""
    allow = tuple(f"{cls.__module__}:{cls.__qualname__}" for cls in LISTED)
    return Settings(allow=allow, record_max=RECORD_MAX)


class World:
    """Three partitions."""

    def __init__(self, corpus: Sequence[Hostile]) -> None:
        self.corpus: Final = corpus
        self.broker, self.store = MemoryBroker(), MemoryStore()
        self.wiring = Wiring(settings(), broker=self.broker, store=self.store)
        create_topics(self.wiring, 3)

    def publish(self) -> None:
        """Append every record, and a good one of another task behind it."""
        writer = self.broker.writer("results")
        codec = self.wiring.codec()
        payload = Payload(content_type="application/json", body=f'"{GOOD}"'.encode())
        for number, record in enumerate(self.corpus):
            writer.produce(record.key or b"", record.value, None)
            good = Event(task_id=self.neighbour(number), state="SUCCESS", payload=payload)
            writer.produce(good.task_id.encode(), codec.encode(good), None)
        assert writer.flush(Deadline(SOON)) == 0
        writer.close(Deadline(SOON))

    def compact(self) -> None:
        """Fold everything, as ``streamresults compactor --once`` does."""
        self.wiring.compactor(from_earliest=True).run_once(threading.Event(), SOON)

    def client(self) -> Client:
        return self.wiring.client()

    @staticmethod
    def neighbour(number: int) -> str:
        """Return the good task behind a record."""
        return f"good-{number}"

    def close(self) -> None:
        self.wiring.close()


def outcome_of(result: Any, *, printed: bool = False) -> str:
    """Return what a caller gets, by name: a value, or the class of what is raised, which may be printed besides."""
    try:
        result.value()
    except Exception as exc:  # noqa: BLE001 -- whatever it is, it is compared by name
        if printed:
            "".join(traceback.format_exception(exc))
            copy.copy(exc) if isinstance(exc, RemoteTaskError) else None
        return type(exc).__name__
    return "value"
