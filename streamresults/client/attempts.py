"""The runs of a task, told by its events: one entry for each attempt."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from streamresults.errors import StreamResultsError
from streamresults.events import states

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamresults.client.result import Result
    from streamresults.events.event import Event


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a task."""

    #: 1 for the first one; 0 where its publisher did not say.
    number: int
    #: What the task entered last in this run.
    state: str
    worker: str
    started_at: datetime | None
    #: When the last event of this run happened, by the worker's clock; by the brokers' where its body is broken.
    last_at: datetime
    #: How many events of this run the log holds.
    events: int
    #: The last event itself.
    last: Result


def attempts_of(events: Iterable[Result]) -> list[Attempt]:
    """
    Return one entry for each attempt that events tell of, by number, each as its last event has it.

    An event that does not say its run, such as a report of progress, belongs to the run of the event before it. Of one
    whose body is broken only the state is known.
    """
    found: dict[int, Attempt] = {}
    number = 0
    for result in events:
        number = result.prefix.attempt or number
        found[number] = _with(found.get(number), number, result)
    return [found[number] for number in sorted(found)]


def _with(before: Attempt | None, number: int, result: Result) -> Attempt:
    """Return a run with one more event."""
    try:
        event: Event | None = result.event
    except StreamResultsError:
        event = None
    appended = datetime.fromtimestamp(result.appended_ms / 1000, tz=UTC)
    started = before.started_at if before is not None else None
    if started is None and event is not None:
        started = event.started_at or (event.occurred_at if event.state == states.STARTED else None)
    return Attempt(
        number=number,
        state=result.state,
        worker=(event.worker if event is not None else "") or (before.worker if before is not None else ""),
        started_at=started,
        last_at=event.occurred_at if event is not None else appended,
        events=1 + (before.events if before is not None else 0),
        last=result,
    )
