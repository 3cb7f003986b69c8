"""Says how a chord stands and why it does not go on: which parts have come, and what became of the missing ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from celery import states as celery_states

from streamresults.celery.chord_layout import COMPLETED, FAILED, OUTCOME, SENT, layout_in, record_id
from streamresults.errors import NotYetCovered, UnknownTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamresults.celery.chord_layout import Layout
    from streamresults.celery.process import Connections
    from streamresults.client import Result
    from streamresults.events.event import Event
    from streamresults.store.parts import PartSet

#: Seconds for the log to say whether there is such a chord.
_FRESH = 10.0


class Member(NamedTuple):
    """One task of a header."""

    task_id: str
    #: Whether its part was counted.
    come: bool
    #: Of the task, as the view shows it; ``UNKNOWN`` where the log holds no record of it.
    state: str
    #: It was added while the chord ran.
    added: bool


class Report(NamedTuple):
    """How a chord stands."""

    group_id: str
    #: ``counting``, ``claimed``, ``complete``, ``sent``, ``failed`` or ``lost``.
    status: str
    #: In words, with what to do.
    why: str
    come: int
    #: ``None`` while nobody knows.
    expected: int | None
    body_id: str
    body_task: str
    #: Of the body's result.
    body_state: str
    #: Those that are known, in the header's order.
    members: Sequence[Member]

    @property
    def stuck(self) -> bool:
        """Whether somebody has to do something."""
        return self.status in {"complete", "lost"} or (
            self.status == "counting" and any(one.state in celery_states.READY_STATES for one in _missing(self.members))
        )


def report_on(connections: Connections, name: str) -> Report:
    """
    Return how a chord stands.

    Args:
        name: The id of its group, or that of its body while it is counted.

    Raises:
        UnknownTask: Neither Redis nor the log knows such a chord.
        NotYetCovered: Redis does not know it, and the view does not cover the whole log yet.
        StoreUnavailable, TopicUnavailable: See their names.
    """
    parts = connections.parts
    group_id = parts.find(name) or name
    found = parts.read(group_id)
    counted = found if found is not None and found.about else None
    record = _recorded(connections, group_id) if counted is None else connections.wiring.codec().decode(counted.about)
    layout = layout_in(record)
    members = _members(connections, layout, counted)
    body_state = _state(connections.client.lookup_many([layout.body_id])[0]) if layout.body_id else ""
    status, why = _told(record, layout, counted, members, settled=found is not None and found.settled)
    if status in {SENT, FAILED}:  # their parts were dropped with that
        members = [member._replace(come=True) for member in members]
    return Report(
        group_id=group_id,
        status=status,
        why=why,
        come=sum(member.come for member in members) if counted is None else len(counted.parts),
        expected=layout.size if counted is None else counted.expected,
        body_id=layout.body_id,
        body_task=layout.body_task,
        body_state=body_state,
        members=members,
    )


def _recorded(connections: Connections, group_id: str) -> Event:
    try:
        result = connections.client.lookup(record_id(group_id))
    except NotYetCovered:
        result = connections.client.lookup(record_id(group_id), fresh=True, timeout=_FRESH)
    if not result.found:
        msg = (
            f"no chord {group_id!r} is known: take the id of the header's group (result.parent.id), or that of the "
            "body while the chord is counted; it may also have expired, or been begun with another result backend"
        )
        raise UnknownTask(msg, task_id=group_id)
    return result.event


def _members(connections: Connections, layout: Layout, counted: PartSet | None) -> list[Member]:
    added = layout.added if counted is None else counted.added
    come = () if counted is None else counted.parts
    known = dict.fromkeys((*layout.members, *added, *come))
    ids = list(known)
    results = connections.client.lookup_many(ids) if ids else []
    return [
        Member(task_id, task_id in come, _state(result), task_id in added)
        for task_id, result in zip(ids, results, strict=True)
    ]


def _state(result: Result) -> str:
    return str(result.state)


def _told(
    record: Event, layout: Layout, counted: PartSet | None, members: Sequence[Member], *, settled: bool
) -> tuple[str, str]:
    """Return in one word, and in a sentence, why a chord stands where it does."""
    if record.state == COMPLETED:
        outcome = record.labels.get(OUTCOME, SENT)
        return outcome, "its body was sent" if outcome == SENT else "it failed, and so did its body"
    if settled:
        return SENT, "its body was sent, or failed, a moment ago"
    dispatch = f"streamresults celery chord {layout.group_id} --dispatch -A YOUR_APP"
    if counted is None:
        return "lost", (
            "its parts are not in Redis, which was flushed or let them expire. They are counted again when the next "
            f"member returns; if none will: {dispatch}"
        )
    if counted.expected is not None and len(counted.parts) >= counted.expected:
        return _told_of_complete(counted, dispatch)
    return "counting", _told_of_missing(counted, members, dispatch)


def _told_of_complete(counted: PartSet, dispatch: str) -> tuple[str, str]:
    if counted.held_ms:
        return "claimed", (
            "all parts have come, and a worker is sending the body. Should it have died, another one takes over in "
            f"{counted.held_ms / 1000:.0f} s"
        )
    return "complete", (
        "all parts have come, and its dispatcher has died. Any worker of the application sends the body within half a "
        f"minute; at once: {dispatch}"
    )


def _told_of_missing(counted: PartSet, members: Sequence[Member], dispatch: str) -> str:
    if counted.expected is None:
        return "the application that sends its header has not said yet how many tasks there are"
    uncounted = sum(one.state in celery_states.READY_STATES for one in _missing(members))
    if uncounted:
        return (
            f"{uncounted} of the missing parts belong to tasks that have ended without being counted, such as one that "
            f"was revoked before any worker had it. To count them from the log: {dispatch}"
        )
    return "it waits for the members whose parts have not come"


def _missing(members: Sequence[Member]) -> list[Member]:
    return [member for member in members if not member.come]
