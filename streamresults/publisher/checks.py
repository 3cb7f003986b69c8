"""Refuses what no reader could make sense of, before anything is sent."""

from __future__ import annotations

from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING

from streamresults.errors import PublishFailed
from streamresults.events.event import GROUP_PREFIX, TASK_ID_MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamresults.events.event import Event


def checked_key(event: Event, longest_expiry_ms: float) -> bytes:
    """
    Return the key of an event's record.

    Raises:
        PublishFailed: The event must not be published; the message says why. Nothing was sent.
    """
    task_id = event.task_id
    key = _checked_id(task_id)
    if event.kind == "task" and task_id.startswith(GROUP_PREFIX):
        msg = f"task ids that begin with {GROUP_PREFIX!r} are reserved for saved groups: {task_id!r}"
        raise PublishFailed(msg, task_id=task_id, written=False)
    if event.kind == "group" and (not task_id.startswith(GROUP_PREFIX) or task_id == GROUP_PREFIX):
        msg = f"the id of a saved group begins with {GROUP_PREFIX!r}: {task_id!r}"
        raise PublishFailed(msg, task_id=task_id, written=False)
    if not 0 <= event.expires_after_ms <= longest_expiry_ms:
        raise _too_long(event, longest_expiry_ms)
    return key


def checked_members(group_id: str, members: Iterable[str]) -> tuple[str, ...]:
    """
    Return the members of a group that is to be saved: what is none would keep it from ever being restored.

    Raises:
        PublishFailed: The group's id is none, one of the members is none, or they are one text.
    """
    _checked_id(group_id, "the id of a group")
    if isinstance(members, str | bytes):
        msg = f"the members of group {group_id!r} are a list of task ids, also where it is one: [{members[:60]!r}]"
        raise PublishFailed(msg, task_id=GROUP_PREFIX + group_id, written=False)
    found = tuple(members)
    for member in found:
        _checked_id(member)
    return found


def _checked_id(task_id: str, called: str = "a task id") -> bytes:
    """Return an id's bytes, or raise why it is none."""
    if not isinstance(task_id, str) or not task_id:
        msg = f"{called} is a string of at least one character: {task_id!r:.60}"
        raise PublishFailed(msg, task_id=str(task_id), written=False)
    try:
        key = task_id.encode()
    except UnicodeEncodeError as exc:
        msg = f"{called} is text that UTF-8 can hold: {task_id[:40]!r}"
        raise PublishFailed(msg, task_id=repr(task_id), written=False) from exc
    if len(key) > TASK_ID_MAX_BYTES:
        msg = f"{called} has at most {TASK_ID_MAX_BYTES} bytes: {task_id[:40]!r}..."
        raise PublishFailed(msg, task_id=task_id, written=False)
    return key


def _too_long(event: Event, longest_expiry_ms: float) -> PublishFailed:
    if not event.expires_after_ms >= 0:
        msg = f"task {event.task_id!r}: expires_after_ms is a number from 0 up: {event.expires_after_ms}"
        return PublishFailed(msg, task_id=event.task_id, written=False)
    msg = (
        f"task {event.task_id!r}: expires after {event.expires_after_ms / 1000:g} s, longer than the longest "
        f"expiry of {longest_expiry_ms / 1000:g} s. Ask for less, or raise longest_expiry and the topic's retention"
    )
    return PublishFailed(msg, task_id=event.task_id, written=False)


def expiry_ms(expires: float | timedelta) -> int:
    """
    Return an expiry in milliseconds; 0 says until retention takes it, and nothing else is rounded to it.

    Raises:
        ValueError: It is negative, infinite or not a number.
    """
    seconds = expires.total_seconds() if isinstance(expires, timedelta) else expires
    if not isinstance(seconds, int | float) or not 0 <= seconds < inf:
        msg = f"an expiry is a number of seconds from 0 up: {expires!r}"
        raise ValueError(msg)
    return max(1, int(seconds * 1000)) if seconds else 0
