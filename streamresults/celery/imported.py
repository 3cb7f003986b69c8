"""
What Celery's backend on Redis has stored, as events. Pure: nothing is read or sent here.

The same record always becomes an event of the same id, so that a reader of the log can tell that it came twice.
"""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from celery import states as celery_states
from celery.utils.serialization import UnpickleableExceptionWrapper

from streamresults.celery.exceptions import described
from streamresults.celery.groups import group_event
from streamresults.errors import MalformedRecord

if TYPE_CHECKING:
    from streamresults.celery.making import Making
    from streamresults.events.event import Event

#: What Celery's extended results call a field, and what a request calls it.
_OF_REQUEST: Final = {"name": "task", "worker": "hostname", "group_id": "group"}
_EXTENDED: Final = ("name", "args", "kwargs", "worker", "retries", "queue")


def task_event(making: Making, task_id: str, meta: Any, value: bytes, expires_after_ms: int) -> Event:
    """
    Return the event of a stored meta.

    Args:
        making: Of the backend that takes the results over, with extended fields.
        value: The bytes that the meta was decoded from.
        expires_after_ms: What is left of its life; 0 until retention takes it.

    Raises:
        MalformedRecord: It is no meta.
        EncodeError: Its result has no form in the serializer.
    """
    if not isinstance(meta, dict) or not isinstance(meta.get("status"), str) or not meta["status"]:
        raise MalformedRecord("it is no meta of a task: it has no status")
    state, result = meta["status"], meta.get("result")
    fields = _identity(value, meta.get("date_done"))
    if state in celery_states.EXCEPTION_STATES:
        if isinstance(result, UnpickleableExceptionWrapper):
            result = _wrapped(result)
        node = described(result)
        if node is not None:
            fields["exception"], result = (node,), None
    return making.event(
        task_id,
        result,
        state,
        traceback=meta.get("traceback"),
        request=_request_of(meta),
        children=meta.get("children"),
        expires=0,
        extended=any(name in meta for name in _EXTENDED),
        expires_after_ms=expires_after_ms,
        **fields,
    )


def saved_group_event(group_id: str, meta: Any, serializer: str, value: bytes, expires_after_ms: int) -> Event:
    """
    Return the event of a saved group; see :func:`task_event`.

    Raises:
        MalformedRecord: It is none.
    """
    if not isinstance(meta, dict) or not isinstance(meta.get("result"), list | tuple):
        raise MalformedRecord("it is no saved group")
    try:
        return group_event(group_id, meta["result"], serializer, expires_after_ms, **_identity(value, None))
    except (TypeError, ValueError) as exc:
        msg = f"its members are not Celery's tuples: {exc}"
        raise MalformedRecord(msg) from exc


def _identity(value: bytes, date_done: Any) -> dict[str, Any]:
    """Return id and time of an event: of the same record always the same."""
    done = _moment(date_done)
    milliseconds = 0 if done is None else int(done.timestamp() * 1000)
    drawn = bytearray(milliseconds.to_bytes(6, "big") + hashlib.sha256(value).digest()[:10])
    drawn[6] = drawn[6] & 0x0F | 0x70  # as RFC 9562 marks a UUIDv7
    drawn[8] = drawn[8] & 0x3F | 0x80
    occurred = time.time_ns() // 1000 if done is None else int(done.timestamp() * 1_000_000)
    return {"event_id": bytes(drawn), "occurred_at_us": occurred}


def _moment(date_done: Any) -> datetime | None:
    if isinstance(date_done, str):
        try:
            date_done = datetime.fromisoformat(date_done)
        except ValueError as exc:
            msg = f"its date_done is no time: {date_done!r}"
            raise MalformedRecord(msg) from exc
    if not isinstance(date_done, datetime):
        return None
    return date_done if date_done.tzinfo else date_done.replace(tzinfo=UTC)


def _wrapped(wrapper: UnpickleableExceptionWrapper) -> dict[str, Any]:
    """Return what stands in the place of an exception that could not be pickled."""
    return {
        "exc_type": wrapper.exc_cls_name,
        "exc_message": wrapper.exc_args,
        "exc_module": wrapper.exc_module,
    }


def _request_of(meta: dict[str, Any]) -> Any:
    """Return what a request would have said of the task."""
    fields = {_OF_REQUEST.get(name, name): value for name, value in meta.items()}
    headers = meta.get("stamped_headers") or ()
    return SimpleNamespace(
        **{name: fields.get(name) for name in ("task", "args", "kwargs", "hostname", "retries", "group", "parent_id")},
        delivery_info={"routing_key": meta.get("queue")},
        stamped_headers=headers,
        stamps={header: meta.get(header) for header in headers},
    )
