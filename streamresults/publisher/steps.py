"""
The steps of publishing one by one, for whoever does not block for the acknowledgement in the middle.

They are those of :meth:`Publisher.publish`: an event is made, prepared and queued; the brokers speak; what has failed
is tried again where that may help.
"""

# ruff: noqa: SLF001 -- the same steps as in publisher.py, seen from outside

from __future__ import annotations

from typing import TYPE_CHECKING

from streamresults.errors import PublishFailed, Spooled
from streamresults.events import states
from streamresults.publisher.saying import Saying

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.deadline import Deadline, OptionalTimeout
    from streamresults.events.event import Event, Position
    from streamresults.publisher.pending import Pending
    from streamresults.publisher.publisher import Publisher


class _Making(Saying):
    """Says something to nobody: keeps the event that was made."""

    event_made: Event

    def __init__(self, publisher: Publisher) -> None:
        self._making = publisher._making

    def publish(self, event: Event) -> Position | None:
        self.event_made = event
        return None


def made(publisher: Publisher, say: Callable[[Saying], object]) -> Event:
    """Return the event that something said would publish."""
    making = _Making(publisher)
    say(making)
    return making.event_made


def begin(publisher: Publisher, make: Callable[[], Event], budget: Deadline) -> Pending | Position | None:
    """
    Make an event and queue it; return what is to be waited for, or what publishing it has come to already.

    Blocks as :meth:`Publisher.send` does; where it cannot be queued at first, until it was tried again.

    Raises:
        PublishFailed: See :meth:`Publisher.publish`.
    """
    event = make()
    if publisher._prepare is not None:
        event = publisher._prepare(event)
    ends = states.is_terminal(event.state, terminal=event.terminal)
    try:
        pending = publisher._queue(event, budget.remaining())
    except Spooled:
        if not ends:
            raise
        return None
    except PublishFailed as exc:
        if not ends:
            raise
        return publisher._confirming.try_again(event, exc, budget)
    return pending if ends else None


def finish(publisher: Publisher, pending: Pending, budget: Deadline) -> Position | None:
    """
    Return where an event stands that was begun, ``None`` where it rests in the spool.

    Blocks until its acknowledgement, if that has not come, and while it is tried again: :func:`is_written` says before
    whether it will.

    Raises:
        PublishFailed: See :meth:`Publisher.publish`.
    """
    try:
        return publisher._confirming.confirmed(pending, budget)
    except Spooled:
        return None
    except PublishFailed as exc:
        return publisher._confirming.try_again(pending.event, exc, budget)


def is_written(publisher: Publisher, pending: Pending) -> bool:
    """Tell whether the brokers hold an event, and its position can be said without asking anybody."""
    return pending.acknowledged and publisher._outcomes.knows_topic_id


def deadline_of(publisher: Publisher, timeout: OptionalTimeout) -> Deadline:
    """Return the deadline of a call; the publisher's own where none is stated."""
    return publisher._deadline(timeout)
