"""
Notices parts of chords that went down with a primary: its replica had not got them, but their tasks have ended.

A chord remembers which primary it was begun on. When another one holds it, members whose parts are missing are looked
up in the log. Nothing is counted that was not counted once, and a part counts once however often it is put, so that any
process may do this at any time.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from streamresults.celery.chord_recovery import ends_of_lost_parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.celery.process import Connections
    from streamresults.events.event import Event

_log: Final = logging.getLogger("streamresults.celery")


class Suspicion:
    """What one process suspects. Used by one thread."""

    def __init__(self, connections: Connections) -> None:
        self._connections: Final = connections
        #: The primary that holds a chord, and since when this process knows it.
        self._since: Final[dict[str, tuple[str, float]]] = {}

    def recount(self, group_id: str, put: Callable[[Event], object]) -> bool:
        """
        Put what was lost of a chord whose parts are missing, and tell whether there was any; asks the log only behind a
        failover.

        It is to be called again and again: a chord is suspected until the view, which may have lost something too,
        shows all that the log held when the failover was noticed.

        Raises:
            StoreUnavailable: See its name.
        """
        parts = self._connections.parts
        primary = parts.suspect(group_id)
        if not primary:
            self.forget(group_id)
            return False
        known, since = self._since.get(group_id, ("", 0.0))
        now = time.monotonic()
        if known != primary:
            self._since[group_id] = primary, now
        found, age = ends_of_lost_parts(self._connections, group_id)
        for event in found:
            put(event)
        if known == primary and age < now - since:
            parts.trust(group_id, primary)
            self.forget(group_id)
        if found:
            _log.warning(
                "chord %s: %d parts were lost with a primary of Redis, and are counted again from the log",
                group_id,
                len(found),
                extra={"action": "chord_parts_lost", "group_id": group_id, "parts": len(found)},
            )
        return bool(found)

    def forget(self, group_id: str) -> None:
        """Suspect nothing of a chord any more."""
        self._since.pop(group_id, None)
