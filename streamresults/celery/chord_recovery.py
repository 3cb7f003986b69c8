"""Counts a chord again whose parts were lost in Redis: from its record in the log, and from its members' events."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final

from celery import states as celery_states
from msgspec import structs

from streamresults.celery.chord_layout import COMPLETED, layout_in, part_id, record_id
from streamresults.client import Basis
from streamresults.errors import NotYetCovered, ServiceUnavailable
from streamresults.events.event import Event, Payload

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamresults.celery.process import Connections
    from streamresults.client import Result

_log: Final = logging.getLogger("streamresults.celery")
#: Seconds for the log to say whether there is such a chord.
_FRESH: Final = 2.0


class NotKnownYet(Exception):
    """Nobody can tell now whether there is such a chord; it may be asked again."""


def begin_again(connections: Connections, group_id: str, *, keep_ms: int, settled_ms: int) -> bool:
    """
    Begin a set again that is not there, from the log; tell whether there is anything to be counted.

    A chord that is done is settled again, and so is one that nobody knows, so that nobody asks about it again.

    Raises:
        NotKnownYet: The log cannot be asked now.
        StoreUnavailable: See its name.
    """
    parts = connections.parts
    try:
        found = connections.client.lookup(record_id(group_id), fresh=True, timeout=_FRESH)
    except (NotYetCovered, ServiceUnavailable) as exc:
        _log.warning(
            "chord %s: its parts are not in Redis, and the log cannot be asked about it yet: %s",
            group_id,
            exc,
            extra={"action": "chord_not_known_yet", "group_id": group_id},
        )
        raise NotKnownYet(group_id) from exc
    if not found.found:
        _log.warning(
            "chord %s: neither Redis nor the log knows it: it was forgotten, it has expired, or it was begun by an "
            "application with another result backend. Its body is not called by this one",
            group_id,
            extra={"action": "chord_unknown", "group_id": group_id},
        )
    if not found.found or found.state == COMPLETED:
        parts.settle(group_id, "", keep_ms=settled_ms)
        return False
    record = _whole(found)
    layout = layout_in(record)
    data = connections.wiring.codec().encode(record)
    parts.begin(group_id, data, layout.size, keep_ms=keep_ms, anew=False)
    for task_id in layout.added:
        parts.add(group_id, task_id, keep_ms=keep_ms)
    _log.warning(
        "chord %s: its parts were lost in Redis, and are counted again from the log",
        group_id,
        extra={"action": "chord_begun_again", "group_id": group_id},
    )
    return True


def ends_in_log(connections: Connections, group_id: str) -> Iterator[Event]:
    """Give the ends of members that the view shows and whose parts have not come."""
    missing = _missing(connections, group_id)
    yield from _ends(connections, missing, missing)
    yield from _ends(connections, missing, [part_id(group_id, one) for one in missing])


def ends_of_lost_parts(connections: Connections, group_id: str) -> tuple[list[Event], float]:
    """
    Return the ends of members that were counted once, as far as the view shows them, and whose parts are not there; and
    how old the view is, in seconds, infinite where it does not show all.

    An end that nobody has counted, such as that of a task which was revoked before any worker had it, is none of them:
    it does not name the group.
    """
    missing = _missing(connections, group_id)
    if not missing:
        return [], 0.0
    looked = connections.client.lookup_many([*missing, *(part_id(group_id, one) for one in missing)])
    ends = [
        structs.replace(_whole(result), task_id=task_id)
        for task_id, result in zip((*missing, *missing), looked, strict=True)
        if result.state in celery_states.READY_STATES and result.event.group_id == group_id
    ]
    ages = [math.inf if one.as_of is None or one.basis is Basis.PARTIAL else one.as_of for one in looked]
    return ends, max(ages)


def _missing(connections: Connections, group_id: str) -> list[str]:
    """Return the members that are known of a set that is counted, and whose parts are not there."""
    found = connections.parts.read(group_id)
    if found is None or not found.about or found.settled:
        return []
    layout = layout_in(connections.wiring.codec().decode(found.about))
    return [one for one in dict.fromkeys((*layout.members, *found.added)) if one not in found.parts]


def _ends(connections: Connections, task_ids: Sequence[str], under: Sequence[str]) -> Iterator[Event]:
    if not task_ids:
        return
    for task_id, result in zip(task_ids, connections.client.lookup_many(under), strict=True):
        if result.state in celery_states.READY_STATES:
            yield structs.replace(_whole(result), task_id=task_id)


def _whole(result: Result) -> Event:
    """Return the event of a result with its payload as it was before it was compressed or kept elsewhere."""
    event = result.event
    if event.exception or not event.payload.content_type:
        return event
    content_type, body = result.encoded()
    return structs.replace(event, payload=Payload(content_type=content_type, body=body))
