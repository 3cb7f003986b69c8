"""A chord that this process has begun, until the last task of its header is about to be sent."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Final

from streamresults.celery.chord_layout import ids_of, layout_in, resized, shared_ids

if TYPE_CHECKING:
    from streamresults.events.event import Event


class Begun:
    """
    What the process that sends a header has to remember of it.

    Args:
        record: The chord's.
        results: The header's frozen results; read only once its last task is known. They stay their owner's: a header
            whose generator raises is never sent to its end.
    """

    def __init__(self, record: Event, results: Any) -> None:
        self._record: Final = record
        self._results: Final = weakref.ref(results) if layout_in(record).header is None else None

    def sized(self, chord_size: int) -> Event | None:
        """
        Return the record with its size, as a new event; ``None`` where it has been known.

        Args:
            chord_size: How many tasks Celery is about to have sent.
        """
        header = layout_in(self._record).header
        if self._results is None:
            size, places = chord_size - _more(shared_ids(header or ())), {}
        else:
            # Celery copies the tasks before they get their ids: of those that nobody has frozen before, these are not
            # the ids that they were sent with, and the id of no other one.
            places = shared_ids([ids_of(result) for result in self._results() or ()])
            size = chord_size - _more(places)
        return None if size == self._record.chord_size else resized(self._record, size, places)


def _more(places: dict[str, list[int]]) -> int:
    """Return how many places there are for which no task of their own will return."""
    return sum(len(numbers) - 1 for numbers in places.values())
