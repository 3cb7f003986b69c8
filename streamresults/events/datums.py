"""
Events to datums and back: a datum is a dict with the fields of the newest schema version. No bytes are met here.

It is nearly the event's own fields: a timestamp goes in as a number and comes out as a moment, what is optional is an
array of one or none.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from streamresults.errors import MalformedRecord
from streamresults.events.event import NO_PAYLOAD, Event, ExceptionNode, Payload, Prefix, Reference
from streamresults.events.ranges import STATE_MAX


def prefix_of(datum: dict[str, Any]) -> Prefix:
    """
    Return what every version begins with.

    Raises:
        MalformedRecord: No writer can have meant it.
    """
    state = datum["state"]
    if not 0 < len(state) <= STATE_MAX or datum["expires_after_ms"] < 0:
        msg = f"impossible prefix: state {state[:40]!r}, expires_after_ms {datum['expires_after_ms']}"
        raise MalformedRecord(msg)
    return Prefix(
        kind=datum["kind"],
        event_id=datum["event_id"],
        task_id=datum["task_id"],
        state=state,
        terminal=datum["terminal"],
        attempt=datum["attempt"],
        expires_after_ms=datum["expires_after_ms"],
    )


def payload_of(datum: dict[str, Any]) -> Payload:
    """Return the payload, given the field of that name."""
    references = datum["reference"]
    return Payload(
        content_type=datum["content_type"],
        content_encoding=datum["content_encoding"],
        body=datum["body"],
        reference=msgspec.convert(references[0], type=Reference) if references else None,
        key_id=datum["key_id"],
    )


def _payload_datum(payload: Payload) -> dict[str, Any]:
    return {
        "content_type": payload.content_type,
        "content_encoding": payload.content_encoding,
        "body": payload.body,
        "reference": [msgspec.structs.asdict(payload.reference)] if payload.reference else (),
        "key_id": payload.key_id,
    }


_NO_PAYLOAD_DATUM: Final = _payload_datum(NO_PAYLOAD)


def as_datum(event: Event) -> dict[str, Any]:
    """Return what is written of an event whose ranges were checked."""
    payload = event.payload
    return {
        "kind": event.kind,
        "event_id": event.event_id,
        "task_id": event.task_id,
        "state": event.state,
        "terminal": event.terminal,
        "attempt": event.attempt,
        "expires_after_ms": event.expires_after_ms,
        "payload": _NO_PAYLOAD_DATUM if payload is NO_PAYLOAD else _payload_datum(payload),
        "exception": [msgspec.to_builtins(node, builtin_types=(bytes,)) for node in event.exception],
        "traceback": event.traceback,
        "occurred_at": event.occurred_at_us,
        "started_at": event.started_at_us,
        "runtime": event.runtime,
        "parent_id": event.parent_id,
        "root_id": event.root_id,
        "group_id": event.group_id,
        "group_index": event.group_index,
        "chord_size": event.chord_size,
        "children": event.children,
        "trace_id": event.trace_id,
        "labels": event.labels,
        "name": event.name,
        "worker": event.worker,
        "queue": event.queue,
        "retries": event.retries,
        "call_content_type": event.call_content_type,
        "args": event.args,
        "kwargs": event.kwargs,
        "stamped_headers": event.stamped_headers,
        "stamps": event.stamps,
    }


def _microseconds(moment: datetime | int) -> int:
    """Undo the logical type, exactly: a float of seconds would lose microseconds after the year 2106."""
    if isinstance(moment, int):
        return moment
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def as_event(datum: dict[str, Any]) -> Event:
    """
    Return the event.

    Raises:
        MalformedRecord: Its prefix is impossible.
    """
    prefix = prefix_of(datum)
    fields = {name: datum[name] for name in _SAME_NAME}
    return Event(
        **msgspec.structs.asdict(prefix),
        payload=payload_of(datum["payload"]),
        exception=msgspec.convert(datum["exception"], type=tuple[ExceptionNode, ...]),
        occurred_at_us=_microseconds(datum["occurred_at"]),
        started_at_us=_microseconds(datum["started_at"]),
        children=tuple(datum["children"]),
        stamped_headers=tuple(datum["stamped_headers"]),
        **fields,
    )


_ELSEWHERE: Final = {"payload", "exception", "occurred_at_us", "started_at_us", "children", "stamped_headers"}
_SAME_NAME: Final = tuple(
    name for name in Event.__struct_fields__ if name not in _ELSEWHERE and name not in Prefix.__struct_fields__
)
