"""An event of a publisher with a spool: it is told of its fate by the brokers, or by the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamresults.errors import PublishFailed, RecordTooLarge, Spooled
from streamresults.publisher.pending import Pending

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamresults.events.event import Event
    from streamresults.publisher.outcomes import Outcomes
    from streamresults.topic.records import Acknowledgement


class Kept(Pending):
    """
    What the brokers do not take goes to the disk, and whoever asks for the position is told so.

    Args:
        later: Keeps it; called on the writer's thread, so it does not block.
    """

    __slots__ = ("_later", "refusal", "spooling")

    def __init__(self, event: Event, outcomes: Outcomes, later: Callable[[Kept], None]) -> None:
        super().__init__(event, outcomes)
        self._later = later
        #: Why the brokers do not have it; ``None`` while nobody knows whether they have.
        self.refusal: Exception | None = None
        #: Whether it is on its way to the disk, or there.
        self.spooling = False

    def __call__(self, acknowledgement: Acknowledgement) -> None:
        """Take the brokers' answer, on the writer's thread."""
        error = acknowledgement.error
        if error is None or isinstance(error, RecordTooLarge):
            super().__call__(acknowledgement)
        else:
            self.refusal = error
            self._later(self)

    def written(self, directory: Path) -> None:
        """Take the disk's answer: it has it."""
        event = self.event
        msg = f"task {event.task_id!r}, {event.state}: kept in {directory} until Kafka is back{self._why()}"
        self.settle(Spooled(msg, task_id=event.task_id, event_id=event.event_id.hex(), written=None))

    def refused(self, directory: Path, reason: Exception) -> None:
        """Take the disk's answer: it has not, so the event is given up."""
        if self.done:
            return  # the brokers have acknowledged it meanwhile
        cause = self.refusal
        # An event whose deadline passed may still be on its way to the brokers.
        written = getattr(cause, "written", None)
        why = f"not in the log{self._why()}; and the spool {directory} did not take it: {reason}"
        error: PublishFailed = self._outcomes.gave_up(self.event, why, written=written)
        error.__cause__ = cause
        self.settle(error)

    def _why(self) -> str:
        return "" if self.refusal is None else f": {self.refusal}"
