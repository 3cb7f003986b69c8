"""
What there is to know of a chord: which tasks are its header, in which order and nesting, and what its body is.

It travels as a record of the log under a key of its own, and the same record is kept with the parts: so that whoever
counts a chord knows its members by name, a set that was lost can be begun again, and somebody who never saw the chord
can send its body.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec
from celery.canvas import _chain as chain
from celery.canvas import chord, group, maybe_signature

from streamresults.celery.encoding import decode, encode
from streamresults.events.event import Event, new_event_id

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

#: Stands before the group id in the id of a chord's record.
PREFIX: Final = "chord:"
#: The state of a chord whose parts are being counted, and of one whose body was sent or failed.
COUNTING: Final = "COUNTING"
COMPLETED: Final = "COMPLETED"

_BODY: Final = "celery.chord.body"
#: The label that says what became of a chord: one of the words below.
OUTCOME: Final = "celery.chord.outcome"
SENT: Final = "sent"
FAILED: Final = "failed"
_NESTED: Final = "celery.chord.header"
_ADDED: Final = "celery.chord.added"
_PLACES: Final = "celery.chord.places"

#: A task id, or the members of a group.
Nested = Any


@dataclass(frozen=True, slots=True)
class Layout:
    """A chord, as its record tells it."""

    group_id: str
    #: Task ids in the header's order, lists where a member is a group; ``None`` for a header that came out of a
    #: generator, of which nobody knows the ids.
    header: list[Nested] | None
    #: Tasks that will return; ``None`` until the generator was read to its end.
    size: int | None
    #: The id of the body's result, or of its group.
    body_id: str
    body_task: str
    #: Members that were added later, as far as the log knows.
    added: tuple[str, ...] = ()
    #: Where a header out of a generator has tasks that stand in it more than once, by their ids.
    places: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @property
    def members(self) -> tuple[str, ...]:
        """The ids of all tasks of the header that are known, each once, in its order."""
        return tuple(dict.fromkeys(_flat(self.header or ())))


def record_id(group_id: str) -> str:
    """Return the id under which a chord's record stands in the log."""
    return PREFIX + group_id


def part_id(group_id: str, task_id: str) -> str:
    """Return the id under which the log keeps the part of a task whose own result is ignored."""
    return f"{PREFIX}{group_id}:{task_id}"


def layout_of(group_id: str, results: Sequence[Any] | None, body: Any) -> Layout:
    """
    Return the layout of a chord that is about to begin.

    Args:
        results: The header's frozen results; ``None`` where they come out of a generator.
    """
    header = None if results is None else [ids_of(result) for result in results]
    size = None if header is None else len(dict.fromkeys(_flat(header)))
    return Layout(group_id, header, size, body_ids(body)[0], str(body.get("task") or ""))


def body_ids(body: Any) -> list[str]:
    """Return the id of a body's result; for a group its id, and then those of its members."""
    if isinstance(body, chord) and body.body is not None:
        return body_ids(body.body)
    if isinstance(body, group):
        return [str(body.options.get("task_id") or ""), *(one for task in body.tasks for one in body_ids(task))]
    if isinstance(body, chain) and body.tasks:
        return body_ids(body.tasks[-1])
    return [str(body.options.get("task_id") or "")]


def ends_of(body: Any, app: Any) -> Iterator[Any]:
    """Give the signatures whose results are a body's: where a chord around it is told of its end."""
    body = maybe_signature(body, app=app)
    if isinstance(body, chord) and body.body is not None:
        yield from ends_of(body.body, app)
    elif isinstance(body, group):
        for task in body.tasks:
            yield from ends_of(task, app)
    elif isinstance(body, chain) and body.tasks:
        yield from ends_of(body.tasks[-1], app)
    else:
        yield body


def record_of(layout: Layout, body: Any, serializer: str, expires_ms: int) -> Event:
    """
    Return the record of a chord.

    Raises:
        EncodeError: The body has no form in the serializer.
    """
    labels = {_BODY: layout.body_id}
    if layout.header is not None and list(layout.members) != layout.header:
        labels[_NESTED] = json.dumps(layout.header)
    return Event(
        task_id=record_id(layout.group_id),
        state=COUNTING,
        name=layout.body_task,
        chord_size=-1 if layout.size is None else layout.size,
        children=layout.members,
        labels=labels,
        payload=encode(dict(body), serializer),
        expires_after_ms=expires_ms,
    )


def resized(record: Event, size: int, places: Mapping[str, Sequence[int]]) -> Event:
    """Return the record of the same chord with its size known, as a new event."""
    labels = {**record.labels, _PLACES: json.dumps(places)} if places else record.labels
    return _again(record, chord_size=size, labels=labels)


def with_added(record: Event, added: Sequence[str]) -> Event:
    """Return the record of the same chord with members that were added, as a new event."""
    return _again(record, labels={**record.labels, _ADDED: json.dumps(list(added))})


def _again(record: Event, **changed: Any) -> Event:
    return msgspec.structs.replace(record, event_id=new_event_id(), occurred_at_us=time.time_ns() // 1000, **changed)


def completed(layout: Layout, how: str, expires_ms: int) -> Event:
    """Return the record that says that a chord's body was sent, or failed."""
    return Event(
        task_id=record_id(layout.group_id),
        state=COMPLETED,
        terminal=True,
        name=layout.body_task,
        chord_size=-1 if layout.size is None else layout.size,
        children=layout.members,
        labels={_BODY: layout.body_id, OUTCOME: how},
        expires_after_ms=expires_ms,
    )


def layout_in(record: Event) -> Layout:
    """Return the layout that a record tells; what it does not tell is not there."""
    labels = record.labels
    nested = _json(labels.get(_NESTED))
    header = nested if isinstance(nested, list) else list(record.children) or None
    added = _json(labels.get(_ADDED))
    return Layout(
        group_id=record.task_id.removeprefix(PREFIX),
        header=header,
        size=record.chord_size if record.chord_size >= 0 else None,
        body_id=labels.get(_BODY, ""),
        body_task=record.name,
        added=tuple(str(one) for one in added) if isinstance(added, list) else (),
        places=_places(_json(labels.get(_PLACES))),
    )


def shared_ids(header: Iterable[Nested]) -> dict[str, list[int]]:
    """
    Return the tasks of a header whose id another one has, with the numbers of their places.

    A frozen signature may stand in a header twice. There is one result of that id, so it counts once; Celery counts it
    as often as it stands there.
    """
    places: dict[str, list[int]] = {}
    for number, task_id in enumerate(_flat(header)):
        places.setdefault(task_id, []).append(number)
    return {task_id: numbers for task_id, numbers in places.items() if len(numbers) > 1}


def _places(found: Any) -> dict[str, list[int]]:
    """Return the places that a record tells; none where it tells something else."""
    if not isinstance(found, dict):
        return {}
    return {
        task_id: [number for number in numbers if isinstance(number, int)]
        for task_id, numbers in found.items()
        if isinstance(numbers, list)
    }


def body_in(record: Event, accept: Collection[str] | None) -> Any:
    """
    Return the body's signature, as a dict.

    Raises:
        ContentDisallowed, DecodeError: kombu's own; the application does not accept what it was encoded with.
    """
    payload = record.payload
    return None if payload.body is None else decode(payload.content_type, payload.body, accept)


def ids_of(result: Any) -> Nested:
    """Return the id of a frozen result; of a group those of its members."""
    members = getattr(result, "results", None)
    return str(result.id) if members is None else [ids_of(member) for member in members]


def _flat(nested: Iterable[Nested]) -> Iterator[str]:
    for one in nested:
        if isinstance(one, list):
            yield from _flat(one)
        else:
            yield str(one)


def _json(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
