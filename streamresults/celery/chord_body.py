"""A chord's parts as the arguments of its body: the header's order and nesting, whatever order they came in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from celery import states as celery_states
from celery.exceptions import ChordError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from streamresults.celery.chord_layout import Layout, Nested
    from streamresults.events.codec import Codec
    from streamresults.events.event import Event, Payload

#: Behind every other index: of parts that do not say where they belong.
_LAST: Final = 1 << 62


class Part:
    """
    What became of a member. Of most parts only state and payload are wanted, which is a fifth of decoding the whole.

    Args:
        data: Its event, encoded.
    """

    __slots__ = ("_codec", "_data", "_head")

    def __init__(self, data: bytes, codec: Codec) -> None:
        self._data: Final = data
        self._codec: Final = codec
        self._head = codec.decode_head(data)

    @property
    def state(self) -> str:
        """Its state."""
        return self._head[0].state

    @property
    def payload(self) -> Payload:
        """Its value, encoded."""
        return self._head[1]

    @property
    def event(self) -> Event:
        """All of it; decoded each time."""
        return self._codec.decode(self._data)


def values_of(
    layout: Layout, parts: Mapping[str, Part], added: Sequence[str], value_of: Callable[[Part], Any]
) -> list[Any]:
    """
    Return what a body is called with.

    Args:
        parts: What became of them, by their task ids.
        added: Tasks that were added to the chord while it ran: each stands behind the member of its index.
        value_of: Returns a task's value, or its exception.

    Raises:
        ChordError: Celery's own; a member failed or was revoked, the first of them in the header's order. Its cause is
            the member's exception.
    """
    header = arranged(layout, parts, added)
    values: dict[str, Any] = {}
    for task_id in _flat(header):
        part = parts[task_id]
        values[task_id] = found = value_of(part)
        if part.state in celery_states.PROPAGATE_STATES:
            error = ChordError(f"Dependency {task_id} raised {found!r}")
            if isinstance(found, BaseException):
                error.__cause__ = found
            raise error
    return [_filled(member, values) for member in header]


def arranged(layout: Layout, parts: Mapping[str, Part], added: Sequence[str]) -> list[Nested]:
    """Return the ids of all parts that have come, as the header has them."""
    known = set(layout.members)
    late = {task_id: number for number, task_id in enumerate(added)}
    # Where the ids of the header are known they say its order; all others stand where their index says.
    rest = {task_id: part.event for task_id, part in parts.items() if task_id not in known}
    others = sorted(rest, key=lambda one: (_index(rest[one]), late.get(one, -1), rest[one].occurred_at_us, one))
    if layout.header is None:
        return _with_places(others, {one: _index(event) for one, event in rest.items()}, layout.places)
    header: list[Nested] = []
    for index, member in enumerate(layout.header):
        present = _present(member, parts)
        if present is not None:
            header.append(present)
        header += [one for one in others if _index(rest[one]) == index]
    return header + [one for one in others if _index(rest[one]) >= len(layout.header)]


def _with_places(ids: list[str], index_of: Mapping[str, int], places: Mapping[str, Sequence[int]]) -> list[Nested]:
    """Return ids, and once more those that have several places, in the order of their places."""
    found = [(index_of[one], one) for one in ids if one not in places]
    found += [(number, one) for one in ids for number in places.get(one, ())]
    return [one for _, one in sorted(found, key=lambda place: place[0])]


def _present(member: Nested, parts: Mapping[str, Part]) -> Nested | None:
    if isinstance(member, list):
        return [one for one in (_present(inner, parts) for inner in member) if one is not None]
    return member if member in parts else None


def _index(event: Event) -> int:
    return event.group_index if event.group_index >= 0 else _LAST


def _filled(nested: Nested, values: Mapping[str, Any]) -> Any:
    return [_filled(one, values) for one in nested] if isinstance(nested, list) else values[nested]


def _flat(nested: Nested) -> list[str]:
    return [leaf for one in nested for leaf in (_flat(one) if isinstance(one, list) else [one])]
