"""
The tasks that a task has called: Celery's nested tuples, and what an event says of them.

An event names the tasks alone, which is all that a reader of the log wants to know. Where Celery knows more, groups
with their members or chains with their parents, its own tuples travel in a label beside the names.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamresults.events.event import Event

#: The label that holds Celery's tuples, as JSON.
LABEL: Final = "celery.children"


def fields_of_children(children: Sequence[Any] | None) -> dict[str, Any]:
    """Return the fields of an event that say which tasks were called."""
    if not children:
        return {}
    found: dict[str, Any] = {"children": tuple(dict.fromkeys(_leaves(children)))}
    if any(not _is_plain(child) for child in children):
        found["labels"] = {LABEL: json.dumps(children, default=str)}
    return found


def children_in(event: Event) -> list[Any]:
    """Return the tasks that were called, as Celery's tuples."""
    kept = event.labels.get(LABEL)
    if kept is None:
        return [((child, None), None) for child in event.children]
    try:
        found = json.loads(kept)
    except ValueError:
        found = None
    return found if isinstance(found, list) else [((child, None), None) for child in event.children]


def leaves(nested: Any) -> tuple[str, ...]:
    """Return the ids of all tasks in one of Celery's tuples, in their order."""
    return tuple(_leaves([nested]))


def _is_plain(child: Any) -> bool:
    (_, parent), members = _parts(child)
    return parent is None and members is None


def _parts(child: Any) -> tuple[tuple[Any, Any], Any]:
    own, members = child
    task_id, parent = own if isinstance(own, list | tuple) else (own, None)
    return (task_id, parent), members


def _leaves(children: Sequence[Any]) -> Iterator[str]:
    for child in children:
        (task_id, _), members = _parts(child)
        if members is None:
            yield str(task_id)
        else:
            yield from _leaves(members)
