"""What is known of a task as Celery's meta: the dict that its result objects are made of."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

from celery import states as celery_states

from streamresults.celery.encoding import decode
from streamresults.celery.kin import children_in

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import tzinfo

    from streamresults.client import Result
    from streamresults.events.event import Event

#: Seconds whose text is kept: a set's tasks end within few. More is memory, fewer write the text anew for long sets.
_SECONDS: Final = 1024
#: Where the offset stands in the text of a second.
_OFFSET: Final = len("2026-01-01T00:00:00")


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
        self._revive = revive
        self._exception_of = exception_of
        self._second = lru_cache(_SECONDS)(partial(_second, timezone))

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
            "children": children_in(event) if event.children or event.labels else [],
            "date_done": self._date_done(event.occurred_at_us) if ready else None,
            "task_id": event.task_id,
        }
        if event.group_id:
            meta["group_id"] = event.group_id
        if event.parent_id:
            meta["parent_id"] = event.parent_id
        if event.call_content_type:
            self._extend(meta, event)
        return meta

    def _date_done(self, occurred_at_us: int) -> str:
        """Return a moment as ``datetime.isoformat`` does, in a third of the time."""
        seconds, microseconds = divmod(occurred_at_us, 1_000_000)
        moment, offset = self._second(seconds)
        return f"{moment}.{microseconds:06}{offset}" if microseconds else moment + offset

    def _extend(self, meta: dict[str, Any], event: Event) -> None:
        content_type, accept = event.call_content_type, self._accept
        meta["name"] = event.name or None
        meta["args"] = decode(content_type, event.args, accept) if event.args else None
        meta["kwargs"] = decode(content_type, event.kwargs, accept) if event.kwargs else None
        meta["worker"] = event.worker or None
        meta["retries"] = event.retries if event.retries >= 0 else None
        meta["queue"] = event.queue or None
        if event.stamps:
            meta["stamped_headers"] = list(event.stamped_headers)
            stamps = decode(content_type, event.stamps, accept)
            if isinstance(stamps, dict):
                meta.update(stamps)


def _second(timezone: tzinfo, seconds: int) -> tuple[str, str]:
    """Return a second as text, and what stands behind its fraction: how far the timezone is from UTC then."""
    text = datetime.fromtimestamp(seconds, tz=timezone).isoformat()
    return text[:_OFFSET], text[_OFFSET:]
