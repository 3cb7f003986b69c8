"""What is known of a task as Celery's meta: the dict that its result objects are made of."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from celery import states as celery_states

from streamresults.celery.encoding import decode
from streamresults.celery.kin import children_in

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import tzinfo

    from streamresults.client import Result
    from streamresults.events.event import Event


def pending(task_id: str) -> dict[str, Any]:
    """Return the meta of a task that nothing is known of: Celery has no other word for it than PENDING."""
    return {"status": celery_states.PENDING, "result": None, "task_id": task_id}


class Metas:
    """
    Makes metas. Thread-safe.

    Args:
        accept: Content types that are decoded.
        timezone: The application's, for ``date_done``.
        revive: Turns the recorded exception of an event into one.
        exception_of: Turns an exception that somebody has stored as a dict into one.
    """

    def __init__(
        self,
        accept: Collection[str] | None,
        timezone: tzinfo,
        *,
        revive: Callable[[Event], BaseException],
        exception_of: Callable[[Any], Any],
    ) -> None:
        self._accept = accept
        self._timezone = timezone
        self._revive = revive
        self._exception_of = exception_of

    def of_result(self, result: Result) -> dict[str, Any]:
        """
        Return the meta of what a client knows of a task.

        Raises:
            ContentDisallowed: Its content type is not accepted.
            DecodeError: Its bytes are not what the content type says.
            PayloadError, RecordError, ServiceUnavailable: See their names.
        """
        if not result.found:
            return pending(result.task_id)
        event = result.event
        if event.exception:
            return self._meta(event, self._revive(event))
        return self._meta(event, self._value(event, *result.encoded()))

    def of_event(self, event: Event) -> dict[str, Any]:
        """Return the meta of an event that this process has published itself."""
        if event.exception:
            return self._meta(event, self._revive(event))
        return self._meta(event, self._value(event, event.payload.content_type, event.payload.body))

    def _value(self, event: Event, content_type: str, body: bytes | None) -> Any:
        if body is None:
            return None
        value = decode(content_type, body, self._accept)
        return self._exception_of(value) if event.state in celery_states.EXCEPTION_STATES else value

    def _meta(self, event: Event, result: Any) -> dict[str, Any]:
        ready = event.state in celery_states.READY_STATES
        meta = {
            "status": event.state,
            "result": result,
            "traceback": event.traceback or None,
            "children": children_in(event),
            "date_done": self._date_done(event) if ready else None,
            "task_id": event.task_id,
        }
        if event.group_id:
            meta["group_id"] = event.group_id
        if event.parent_id:
            meta["parent_id"] = event.parent_id
        if event.call_content_type:
            meta |= self._extended(event)
        return meta

    def _date_done(self, event: Event) -> str:
        return datetime.fromtimestamp(event.occurred_at_us / 1e6, tz=self._timezone).isoformat()

    def _extended(self, event: Event) -> dict[str, Any]:
        content_type = event.call_content_type
        found = {
            "name": event.name or None,
            "args": self._call_field(content_type, event.args),
            "kwargs": self._call_field(content_type, event.kwargs),
            "worker": event.worker or None,
            "retries": event.retries if event.retries >= 0 else None,
            "queue": event.queue or None,
        }
        if event.stamps:
            found["stamped_headers"] = list(event.stamped_headers)
            stamps = self._call_field(content_type, event.stamps)
            found |= stamps if isinstance(stamps, dict) else {}
        return found

    def _call_field(self, content_type: str, data: bytes) -> Any:
        return decode(content_type, data, self._accept) if data else None
