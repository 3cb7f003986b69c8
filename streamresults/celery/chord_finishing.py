"""Finishes a chord for the process that has claimed it: has its body sent, and makes that known."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from celery import states as celery_states

from streamresults.celery.chord_body import Part
from streamresults.celery.chord_layout import SENT, Layout, body_in, completed, layout_in
from streamresults.store.parts import Claim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from streamresults.celery.process import Connections
    from streamresults.events.event import Event
    from streamresults.store.parts import PartSet

_log: Final = logging.getLogger("streamresults.celery")
#: How long it is known in Redis that a chord is done. Shorter asks the log about every copy of a part that comes
#: later; longer is memory. Behind it the log knows.
_SETTLED_MS: Final = 86_400_000


class Completed(NamedTuple):
    """A chord all of whose parts have come, for the one who has claimed it."""

    layout: Layout
    parts: Mapping[str, Part]
    added: tuple[str, ...]
    #: The body's signature, or what it is made from.
    body: Any


class Finishing:
    """
    Finishes the chords of one backend. Thread-safe.

    Args:
        dispatch: Sends a body, or has it fail; returns what it did, empty where the claim was lost before. It is handed
            a function that holds the claim for as many milliseconds from then on, and tells whether it is still held.
        accept: Content types of bodies that are decoded.
        keep_ms: How long it is kept in the log that a chord is done; 0 for ever.
    """

    def __init__(
        self,
        connections: Connections,
        dispatch: Callable[[Completed, Callable[[int], bool]], str],
        accept: Iterable[str],
        *,
        keep_ms: int,
    ) -> None:
        self._connections: Final = connections
        self._dispatch: Final = dispatch
        self._accept: Final = frozenset(accept)
        self._keep_ms: Final = keep_ms
        self.settled_ms: Final = min(keep_ms or _SETTLED_MS, _SETTLED_MS)
        #: Chords whose bodies were sent, until Redis knows.
        self._sent: Final[dict[str, tuple[Layout, Claim, str]]] = {}

    def finish(self, group_id: str, claim: Claim, body: Any, *, taken_over: bool) -> bool:
        """
        Have the body of a chord sent; tell whether it was still there, and still this claim's.

        Args:
            body: Its signature, where it is at hand.
            taken_over: Somebody else has held the claim before, and may have sent it.

        Raises:
            StoreUnavailable: See its name; :meth:`settle_sent` goes on from there.
        """
        parts = self._connections.parts
        found = parts.read(group_id)
        if found is None or found.token != claim.token:
            return False
        record = self._decode(found.about)
        layout = layout_in(record)
        if taken_over and self._has_ended(layout.body_id):
            outcome = SENT
        else:
            chord = self._completed(layout, found, record, body)
            outcome = self._dispatch(chord, lambda ms: parts.prolong(group_id, Claim(claim.token, ms)))
        if outcome:
            self._sent[group_id] = (layout, claim, outcome)
            self.settle_sent(group_id)
        return True

    def settle_sent(self, group_id: str) -> bool:
        """Make known that a body was sent, if this process has sent it; tell whether it has."""
        sent = self._sent.get(group_id)
        if sent is None:
            return False
        layout, claim, outcome = sent
        parts = self._connections.parts
        if not parts.settle(group_id, claim.token, keep_ms=self.settled_ms):
            _log.warning(
                "chord %s: its body was sent later than its claim was held for, and may have been sent twice",
                group_id,
                extra={"action": "chord_claim_lost", "group_id": group_id},
            )
        parts.unwatch(group_id)
        # Not waited for: it says that nothing is to be done, to whoever finds that Redis has forgotten it.
        self._connections.publish(completed(layout, outcome, self._keep_ms), final=False)
        self._sent.pop(group_id, None)
        return True

    def _completed(self, layout: Layout, found: PartSet, record: Event, body: Any) -> Completed:
        codec = self._connections.wiring.codec()
        parts = {task_id: Part(data, codec) for task_id, data in found.parts.items()}
        return Completed(layout, parts, found.added, body or body_in(record, self._accept))

    def _has_ended(self, body_id: str) -> bool:
        """Tell whether a body has ended that a dispatcher which died may have sent or not."""
        if not body_id:
            return False
        return self._connections.client.lookup_many([body_id])[0].state in celery_states.READY_STATES

    def _decode(self, data: bytes) -> Event:
        return self._connections.wiring.codec().decode(data)
