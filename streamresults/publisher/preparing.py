"""What happens to an event between its publisher's call and its encoding, in this order: redacted, cut, packed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from streamresults.events.event import Event
from streamresults.publisher.making import without_extended

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.payload_store.bodies import Packing


class Preparing:
    """
    Thread-safe.

    Args:
        packing: How payloads travel.
        redact: The user's own; sees a payload before it is compressed or kept anywhere.
        extended: Whether the extended metadata is recorded.
    """

    def __init__(self, packing: Packing, redact: Callable[[Event], Event] | None, *, extended: bool) -> None:
        self._packing: Final = packing
        self._redact: Final = redact
        self._extended: Final = extended
        #: Whether anything at all may happen to an event.
        self.needed: Final = redact is not None or not extended or packing.active

    def __call__(self, event: Event) -> Event:
        """
        Return what is encoded in an event's place; blocks while a large payload is written to the payload store.

        Raises:
            PayloadTooLarge, PayloadStoreUnavailable: See their names.
            TypeError: What ``redact`` has returned is no event.
        """
        if self._redact is not None:
            event = self._redacted(self._redact, event)
        if not self._extended:
            event = without_extended(event)
        body = event.payload.body
        if body is not None and len(body) > self._packing.above:
            event = msgspec.structs.replace(event, payload=self._packing.pack(event.payload))
        return event

    @staticmethod
    def _redacted(redact: Callable[[Event], Event], event: Event) -> Event:
        redacted = redact(event)
        if not isinstance(redacted, Event):
            msg = f"redact returns the event that is published, not {type(redacted).__name__}: nothing was sent"
            raise TypeError(msg)
        return redacted

    def can_keep_outside(self, event: Event) -> bool:
        """Tell whether an event that is too large for the log would be smaller without its payload."""
        return self._packing.has_store and event.payload.body is not None

    def kept_outside(self, event: Event) -> Event:
        """
        Return an event with its payload in the payload store, whatever its size.

        Raises:
            PayloadStoreUnavailable: It could not be kept.
        """
        return msgspec.structs.replace(event, payload=self._packing.pack(event.payload, outside=True))
