"""What a result says beside its value: who ran the task, when, with what, and which tasks it belongs to."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from streamresults.events import states

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from streamresults.client.provenance import Decoding
    from streamresults.events.event import Event


class Metadata:
    """
    Reads an event's fields. Where no event is known everything is absent: ``None``, or empty.

    Each may raise the typed errors of the record's bytes.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def _decoding(self) -> Decoding:
        """What turns its bytes into values."""

    @property
    @abstractmethod
    def state(self) -> str:
        """The task's state."""

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether nothing more will come."""

    @property
    @abstractmethod
    def event(self) -> Event:
        """The whole event."""

    @property
    @abstractmethod
    def found(self) -> bool:
        """Whether any event of the task is known."""

    @property
    def failed(self) -> bool:
        """Whether the task ended with FAILURE."""
        return self.state == states.FAILURE

    @property
    def date_done(self) -> datetime | None:
        """When the task ended, by its worker's clock, in UTC; ``None`` before."""
        return self.event.occurred_at if self.ready else None

    @property
    def name(self) -> str:
        """The task's registered name."""
        return self.event.name if self.found else ""

    @property
    def args(self) -> tuple[object, ...] | None:
        """The positional arguments; ``None`` where they were not recorded."""
        found = self._call_field(self.event.args) if self.found else None
        return tuple(found) if isinstance(found, list | tuple) else None

    @property
    def kwargs(self) -> dict[str, object] | None:
        """The keyword arguments; ``None`` where they were not recorded."""
        found = self._call_field(self.event.kwargs) if self.found else None
        return found if isinstance(found, dict) else None

    def _call_field(self, data: bytes) -> object:
        if not data:
            return None
        decoding = self._decoding
        return decoding.serializers.decode(self.event.call_content_type, data, accept=decoding.accept)

    @property
    def worker(self) -> str:
        """Who published the event."""
        return self.event.worker if self.found else ""

    @property
    def queue(self) -> str:
        """The queue that the task was taken from."""
        return self.event.queue if self.found else ""

    @property
    def retries(self) -> int | None:
        """How often the task was tried again; ``None`` where that was not recorded."""
        return self.event.retries if self.found and self.event.retries >= 0 else None

    @property
    def attempt(self) -> int | None:
        """Which run of the task this is, the first is 1; ``None`` where that was not recorded."""
        return (self.event.attempt or None) if self.found else None

    @property
    def labels(self) -> Mapping[str, str]:
        """What its publisher has noted of it."""
        return self.event.labels if self.found else {}

    @property
    def parent_id(self) -> str:
        """The task that called it."""
        return self.event.parent_id if self.found else ""

    @property
    def root_id(self) -> str:
        """The first of its ancestors."""
        return self.event.root_id if self.found else ""

    @property
    def group_id(self) -> str:
        """The group that it belongs to."""
        return self.event.group_id if self.found else ""

    @property
    def child_ids(self) -> tuple[str, ...]:
        """The tasks that it called, and groups of them with ``group:`` before their ids."""
        return self.event.children if self.found else ()
