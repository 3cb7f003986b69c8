"""The runs of a task, told by its events: one entry for each attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from streamresults.client.result import Result


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a task."""

    #: 1 for the first one; 0 where its publisher did not say.
    number: int
    #: What the task entered last in this run.
    state: str
    worker: str
    started_at: datetime | None
    #: When the last event of this run happened, by the worker's clock.
    last_at: datetime
    #: How many events of this run the log holds.
    events: int
    #: The last event itself.
    last: Result


def attempts_of(events: Iterable[Result]) -> list[Attempt]:
    """Return one entry for each attempt that events tell of, by number, each as its last event has it."""
    found: dict[int, Attempt] = {}
    for result in events:
        event = result.event
        before = found.get(event.attempt)
        started = before.started_at if before is not None else None
        if started is None:
            started = event.started_at or (event.occurred_at if event.state == "STARTED" else None)
        found[event.attempt] = Attempt(
            number=event.attempt,
            state=event.state,
            worker=event.worker or (before.worker if before is not None else ""),
            started_at=started,
            last_at=event.occurred_at,
            events=1 + (before.events if before is not None else 0),
            last=result,
        )
    return [found[number] for number in sorted(found)]
