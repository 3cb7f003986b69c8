"""What becomes of events: failures are counted, logged and turned into the errors that callers get."""

from __future__ import annotations

import logging
from threading import RLock
from typing import TYPE_CHECKING, Final, NamedTuple

from streamresults.errors import PublishFailed, RecordTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.events.event import Event

_log: Final = logging.getLogger("streamresults.publisher")


class Flushed(NamedTuple):
    """What a flush found."""

    #: Events that the brokers had not acknowledged when the time was over.
    unacknowledged: int
    #: Events given up since the publisher was opened: each was reported to its caller, or logged if nobody asked.
    failed: int


class Outcomes:
    """
    Shared by a publisher and its pending events. Thread-safe.

    Args:
        find_topic_id: Finds the topic's id, which only positions need; called once, when a first one is asked for.
        urge: Called when somebody begins to wait for a pending event; must not block.
        attend: The same by the thread that waits, with what tells whether it has come, and seconds: it may be made use
            of for a moment.
    """

    def __init__(
        self,
        find_topic_id: Callable[[], str],
        urge: Callable[[], None],
        attend: Callable[[Callable[[], bool], float], None],
    ) -> None:
        #: Guards the count of failures and who waits for a pending event; never held while anything blocks. The handler
        #: of a signal may come upon it in the hands of the thread that it interrupts.
        self.lock = RLock()
        self.failed = 0
        self._find_topic_id: Final = find_topic_id
        self.urge: Final = urge
        self.attend: Final = attend
        self._topic_id: str | None = None

    def after_fork(self) -> None:
        """Replace, in a forked child, what another thread of the parent may have held at that moment."""
        self.lock = RLock()
        self.failed = 0

    @property
    def topic_id(self) -> str:
        """The topic id that positions carry."""
        if self._topic_id is None:
            self._topic_id = self._find_topic_id()
        return self._topic_id

    @property
    def knows_topic_id(self) -> bool:
        """Whether the topic's id was found, so that asking for it does not block."""
        return self._topic_id is not None

    def refused(self, event: Event, error: Exception) -> PublishFailed:
        """Count an event that the brokers or the writer did not take; return the error its caller gets."""
        if isinstance(error, RecordTooLarge):
            return self._too_large(event, error)
        written = getattr(error, "written", None)
        outcome = "not written" if written is False else "outcome unknown"
        failed = self.gave_up(event, f"{outcome}: {error}", written=written)
        failed.__cause__ = error
        return failed

    def gave_up(self, event: Event, why: str, *, written: bool | None) -> PublishFailed:
        """Count an event that is given up; return the error its caller gets."""
        msg = f"task {event.task_id!r}, {event.state}: {why}"
        self._count(event, msg)
        return PublishFailed(msg, task_id=event.task_id, event_id=event.event_id.hex(), written=written)

    def not_given_up(self, attempts: int) -> None:
        """Take back the count of attempts that failed, as the event was tried again after them."""
        with self.lock:
            self.failed -= attempts

    def _too_large(self, event: Event, error: RecordTooLarge) -> RecordTooLarge:
        if error.limit:
            over = f"the {error.limit} bytes that a publisher sends"
            raised = "message.max.bytes here, and max.message.bytes of the topic with it"
        else:
            over, raised = "the topic takes", "max.message.bytes of the topic"
        msg = (
            f"task {event.task_id!r}, {event.state}: not written: the record has {error.size} bytes, more than {over}. "
            f"Publish less, have payload_store keep large results, or raise {raised}"
        )
        self._count(event, msg)
        return RecordTooLarge(
            msg, task_id=event.task_id, event_id=event.event_id.hex(), size=error.size, limit=error.limit
        )

    def _count(self, event: Event, message: str) -> None:
        with self.lock:
            self.failed += 1
        _log.error(message, extra={"action": "publish_failed", "task_id": event.task_id, "state": event.state})
