"""Many events at once: all are queued, then all are waited for, inside one deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamresults.errors import BatchFailed, PayloadStoreUnavailable, PublishError, Spooled, StreamResultsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from streamresults.deadline import Deadline, Timeout
    from streamresults.events.event import Event, Position
    from streamresults.publisher.pending import Pending


def publish_many(
    events: Iterable[Event],
    budget: Deadline,
    *,
    send: Callable[[Event, Timeout], Pending],
    confirm: Callable[[Pending, Deadline], Position],
) -> list[Position | None]:
    """
    Publish events in their order; see :meth:`Publisher.publish_many`.

    Args:
        send: Queues one.
        confirm: Blocks until one is acknowledged, or raises what became of it.
    """
    under_way: list[Pending | None] = []
    failures: dict[int, StreamResultsError] = {}
    for number, event in enumerate(events):
        try:
            under_way.append(send(event, budget.remaining()))
        except (PublishError, ValueError, PayloadStoreUnavailable) as exc:
            if not isinstance(exc, StreamResultsError):
                raise
            failures[number] = exc
            under_way.append(None)
    positions: list[Position | None] = []
    for number, pending in enumerate(under_way):
        position = None
        try:
            position = confirm(pending, budget) if pending is not None else None
        except Spooled:
            pass
        except PublishError as exc:
            failures[number] = exc
        positions.append(position)
    if failures:
        number, first = next(iter(sorted(failures.items())))
        msg = f"{len(failures)} of {len(positions)} events were not published; number {number}: {first}"
        raise BatchFailed(msg, positions=positions, failures=failures) from first
    return positions
