"""
Counts the parts of chords, and sees to it that each body is sent by one process: the one whose part completes it.

A part is what became of one member: idempotent by (group id, task id), its payload beside the count. What may get lost
is found again. Where a dispatcher dies between its claim and its message, its lease ends, and whoever comes next takes
over: a part that returns once more, a process that has met the claim and looks again, an operator. Where the counting
itself was lost, it is begun again by the next part that returns, from the chord's record and its members' events.
"""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from celery import states as celery_states
from msgspec import structs

from streamresults.celery.chord_finishing import Finishing
from streamresults.celery.chord_layout import layout_in, part_id, with_added
from streamresults.celery.chord_recovery import NotKnownYet, begin_again, ends_in_log
from streamresults.celery.chord_suspicion import Suspicion
from streamresults.celery.chord_watch import Watch
from streamresults.errors import PublishError, ServiceUnavailable
from streamresults.events.event import Event, new_event_id
from streamresults.store.parts import Claim, Counted, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from streamresults.celery.chord_finishing import Completed
    from streamresults.celery.process import Connections

_log: Final = logging.getLogger("streamresults.celery")
#: Most seconds between two looks, and how many there are before a process gives a chord up: a day's worth.
_PAUSE_MAX: Final = 60.0
_LOOKS: Final = 1_440
#: Between two sweeps, in intervals; and most chords that one of them looks at. More often, or more of them, costs Redis
#: more; less often leaves the body of a dispatcher that died unsent for longer.
_SWEEP: Final = 30
_SWEPT: Final = 200
#: Stands for the sweep among the group ids that are looked at; none is empty.
_ALL: Final = ""


class Rules(NamedTuple):
    """How long things take and are kept."""

    #: Milliseconds, 0 for ever.
    keep_ms: int
    #: How long a dispatcher may take to read the parts before another one takes over, in milliseconds.
    lease_ms: int
    #: Seconds until the first look at a chord that could not be finished; each later one takes twice as long.
    interval: float


class Accounts:
    """
    The chords of one backend. Thread-safe, and usable in forked children.

    Args:
        dispatch: Sends a body, or has it fail; returns what it did, empty where the claim was lost before. It is handed
            a function that holds the claim for as many milliseconds more, and tells whether it is still held.
        accept: Content types of bodies that are decoded.
    """

    def __init__(
        self,
        connections: Connections,
        rules: Rules,
        dispatch: Callable[[Completed, Callable[[int], bool]], str],
        accept: Iterable[str],
    ) -> None:
        self._connections: Final = connections
        self._rules: Final = rules
        self._finishing: Final = Finishing(connections, dispatch, accept, keep_ms=rules.keep_ms)
        self._watch: Final = Watch(self.look_again)
        #: Parts that Redis did not take, by group id and task id; dict operations are atomic, no lock is inherited.
        self._unput: Final[dict[str, dict[str, Event]]] = {}
        #: Chords that are being begun again from the log, with how often they were looked at.
        self._rebuilding: Final[dict[str, int]] = {}
        self._suspicion: Final = Suspicion(connections)

    # -- beginning --------------------------------------------------------------------------------------------------

    def begin(self, record: Event) -> None:
        """
        Begin to count, before the first member is sent; survives the loss of Redis from then on.

        Raises:
            PublishError, ServiceUnavailable: The chord must not be begun.
        """
        layout, keep_ms = layout_in(record), self._rules.keep_ms
        parts = self._connections.parts
        if parts.begin(layout.group_id, self._encode(record), layout.size, keep_ms=keep_ms, anew=True):
            # A frozen chord that is applied again: the log must not take it for the one that is done.
            self._connections.forget(record.task_id)
        parts.name(layout.body_id, layout.group_id, keep_ms=keep_ms)
        parts.watch(layout.group_id, self._sweep_ms)
        self._connections.publish(record, final=True)

    def resize(self, record: Event) -> None:
        """Say how many parts there are to be, where that was not known or not so at the beginning."""
        layout = layout_in(record)
        parts = self._connections.parts
        parts.begin(layout.group_id, self._encode(record), layout.size, keep_ms=self._rules.keep_ms, anew=False)
        self._connections.publish(record, final=True)

    def resize_unknown(self, group_id: str, size: int) -> None:
        """Do the same for a chord that another process may have begun; nothing where there is none."""
        self._connections.parts.resize(group_id, size)

    def add(self, group_id: str, task_ids: Iterable[str]) -> None:
        """Have more members expected, before they are sent."""
        parts = self._connections.parts
        open_still = [parts.add(group_id, task_id, keep_ms=self._rules.keep_ms) for task_id in task_ids]
        if not all(open_still):
            _log.warning(
                "chord %s: a task was added to it when all its parts had come; its body is called without it",
                group_id,
                extra={"action": "chord_added_late", "group_id": group_id},
            )
            return
        found = parts.read(group_id)
        if found is not None and found.about:
            self._connections.publish(with_added(self._decode(found.about), found.added), final=True)

    # -- counting ---------------------------------------------------------------------------------------------------

    def part(self, group_id: str, event: Event, body: Any = None, *, logged: bool) -> None:
        """
        Count what became of a member, and send the body if that completes the chord.

        Redis being away raises nothing: what became of the member is in the log, and this process tries again.

        Args:
            body: The body's signature, where it is at hand.
            logged: Whether the log holds the member's own result; else the part is written there.
        """
        claim = self._claim()
        try:
            counted = self._put(group_id, event, claim)
        except ServiceUnavailable as exc:
            self._unput.setdefault(group_id, {})[event.task_id] = event
            _log.error(
                "chord %s: the part of task %s could not be counted, and is tried again: %s. If this process ends "
                "before: streamresults celery chord %s --dispatch",
                group_id,
                event.task_id,
                exc,
                group_id,
                extra={"action": "chord_part_not_counted", "group_id": group_id, "task_id": event.task_id},
            )
            self._watch.add(group_id, self._rules.interval)
            counted = None
        if not logged and (counted is None or counted.status in (Status.WAITING, Status.UNKNOWN)):
            self._log_part(group_id, event)
        if counted is not None:
            pause = self._followed(group_id, counted, claim, body)
            if pause is not None:
                self._watch.add(group_id, pause)

    def _log_part(self, group_id: str, event: Event) -> None:
        """Have the log know a part whose task stores no result, for when Redis loses it."""
        own = structs.replace(event, task_id=part_id(group_id, event.task_id), event_id=new_event_id())
        try:
            self._connections.publish(own, final=True)
        except (PublishError, ServiceUnavailable) as exc:
            _log.warning(
                "chord %s: the part of task %s stands in Redis alone: %s",
                group_id,
                event.task_id,
                exc,
                extra={"action": "chord_part_not_logged", "group_id": group_id, "task_id": event.task_id},
            )

    def _put(self, group_id: str, event: Event, claim: Claim) -> Counted:
        final = event.state == celery_states.SUCCESS
        parts, keep_ms = self._connections.parts, self._rules.keep_ms
        return parts.put(group_id, event.task_id, self._encode(event), claim, final=final, keep_ms=keep_ms)

    def _claim(self) -> Claim:
        return Claim(secrets.token_hex(8), self._rules.lease_ms)

    def _followed(self, group_id: str, counted: Counted, claim: Claim, body: Any) -> float | None:
        """Do the same as :meth:`_follow`, for a task that has ended: nothing that goes wrong here is its failure."""
        try:
            return self._follow(group_id, counted, claim, body)
        except Exception:  # noqa: BLE001 -- a signature, and what it is encoded with, may raise anything
            _log.exception("chord %s: it is tried again", group_id, extra={"action": "chord_failed"})
            return claim.lease_ms / 1000

    def _follow(self, group_id: str, counted: Counted, claim: Claim, body: Any = None) -> float | None:
        """Do what is to be done now; return the seconds until the chord is to be looked at again, if it is."""
        if counted.status is Status.CLAIMED:
            finished = self._finishing.finish(group_id, claim, body, taken_over=counted.taken_over)
            return None if finished else self._rules.interval
        if counted.status is Status.HELD:
            # Its holder is most likely about to send the body; should it be dead, this process will do it.
            return counted.held_ms / 1000 + 0.05
        if counted.status is Status.UNKNOWN:
            return self._recover(group_id)
        return None

    def _recover(self, group_id: str) -> float | None:
        """Begin a set again that is not there; return the seconds until it is to be looked at, if it is."""
        try:
            found = begin_again(
                self._connections, group_id, keep_ms=self._rules.keep_ms, settled_ms=self._finishing.settled_ms
            )
        except NotKnownYet:
            return self._pause(group_id)
        if found:
            self._rebuilding.setdefault(group_id, 0)
            return 0.0
        self._rebuilding.pop(group_id, None)
        return None

    def _count_from_log(self, group_id: str, claim: Claim) -> None:
        for event in ends_in_log(self._connections, group_id):
            self._put(group_id, event, claim)

    def finish(self, group_id: str) -> None:
        """Do at once what can be done for a chord: count what the log knows, and send its body if it is complete."""
        claim = self._claim()
        parts = self._connections.parts
        counted = parts.claim(group_id, claim)
        if counted.status is Status.UNKNOWN:
            self._recover(group_id)
        if counted.status in (Status.UNKNOWN, Status.WAITING):
            self._count_from_log(group_id, claim)
            counted = parts.claim(group_id, claim)
        self._rebuilding.pop(group_id, None)
        if counted.status is Status.CLAIMED:
            self._finishing.finish(group_id, claim, None, taken_over=counted.taken_over)

    def look_again(self, group_id: str) -> float | None:
        """Look at a chord that could not be finished; return the seconds until the next look, if there is to be one."""
        if group_id == _ALL:
            self.sweep()
            return self._sweep_ms / 1000
        if self._finishing.settle_sent(group_id):
            return None
        claim = self._claim()
        for event in list(self._unput.get(group_id, {}).values()):
            self._put(group_id, event, claim)
            self._unput[group_id].pop(event.task_id, None)
        self._unput.pop(group_id, None)
        if group_id in self._rebuilding:
            self._count_from_log(group_id, claim)
        counted = self._connections.parts.claim(group_id, claim)
        pause = self._follow(group_id, counted, claim)
        if pause is None and counted.status is Status.WAITING and group_id in self._rebuilding:
            return self._pause(group_id)
        if pause is None:
            self._rebuilding.pop(group_id, None)
        return pause

    # -- sweeping ---------------------------------------------------------------------------------------------------

    @property
    def _sweep_ms(self) -> int:
        return int(self._rules.interval * _SWEEP * 1000)

    def keep_sweeping(self) -> None:
        """Look, for as long as this process lives, after chords whose dispatcher has died; returns at once."""
        self._watch.add(_ALL, self._sweep_ms / 1000)

    def sweep(self) -> None:
        """
        Send the bodies of complete chords that nobody sends, and forget those that are done or have expired; count what
        a failover has lost.
        """
        parts = self._connections.parts
        for group_id in parts.due(_SWEPT, self._sweep_ms):
            try:
                self._sweep_one(group_id)
            except ServiceUnavailable:
                raise
            except Exception:  # noqa: BLE001 -- of one chord; those behind it must not wait for it
                _log.exception("chord %s: it is tried again", group_id, extra={"action": "chord_failed"})

    def _sweep_one(self, group_id: str) -> None:
        claim, parts = self._claim(), self._connections.parts
        counted = parts.claim(group_id, claim)
        if counted.status is not Status.WAITING:
            self._suspicion.forget(group_id)
        elif self._suspicion.recount(group_id, lambda event: self._put(group_id, event, claim)):
            counted = parts.claim(group_id, claim)
        if counted.status is Status.CLAIMED:
            self._finishing.finish(group_id, claim, None, taken_over=counted.taken_over)
        elif counted.status in (Status.SETTLED, Status.UNKNOWN):
            parts.unwatch(group_id)

    def _pause(self, group_id: str) -> float | None:
        looks = self._rebuilding[group_id] = self._rebuilding.get(group_id, 0) + 1
        if looks > _LOOKS:
            del self._rebuilding[group_id]
            return None
        pause: float = self._rules.interval * 2.0 ** min(looks, 16)
        return min(_PAUSE_MAX, pause)

    def _encode(self, event: Event) -> bytes:
        return self._connections.wiring.codec().encode(event)

    def _decode(self, data: bytes) -> Event:
        return self._connections.wiring.codec().decode(data)
