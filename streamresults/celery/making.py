"""What Celery says of a task becomes an event. Nothing is sent here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from celery import states as celery_states

from streamresults.celery.encoding import encode
from streamresults.celery.kin import fields_of_children
from streamresults.celery.pickleable import what_was_raised
from streamresults.events.event import NO_PAYLOAD, Event
from streamresults.events.exceptions import capture
from streamresults.events.json_serializer import JsonSerializer
from streamresults.events.tracebacks import cut_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamresults.events.allowlist import ExceptionAllowlist
    from streamresults.events.limits import Limits

#: For arguments and attributes of exceptions: it loses nothing, and names what it cannot hold.
_SERIALIZER: Final = JsonSerializer()


class Making:
    """
    Makes events of one backend. Thread-safe.

    Args:
        serializer: The name of kombu's serializer for results.
        extended: Whether ``result_extended`` is set.
        allowlist: Is told of what is published, so that an unlisted class is logged once.
    """

    def __init__(self, serializer: str, *, extended: bool, limits: Limits, allowlist: ExceptionAllowlist) -> None:
        self._serializer: Final = serializer
        self._extended: Final = extended
        self._limits: Final = limits
        self._allowlist: Final = allowlist

    def event(
        self,
        task_id: str,
        result: object,
        state: str,
        *,
        traceback: str | None,
        request: Any,
        children: Any,
        expires: float,
        extended: bool | None = None,
        **stated: Any,
    ) -> Event:
        """
        Make the event of a task that entered a state.

        Args:
            result: A value, or the exception of a state that has one.
            request: Of the task, or of another one on whose behalf something is said; ``None`` for none.
            children: The tasks that it has called, as Celery's tuples.
            expires: Seconds; 0 until retention takes it.
            extended: Whether extended fields are taken from the request; as is configured by default.
            stated: Fields of the event that are known already.

        Raises:
            EncodeError: Result or arguments have no form in the serializer.
        """
        fields: dict[str, Any] = {"expires_after_ms": int(expires * 1000), **fields_of_children(children)}
        if "exception" in stated:
            pass
        elif state in celery_states.EXCEPTION_STATES and isinstance(result, BaseException):
            nodes, _ = capture(what_was_raised(result), _SERIALIZER, self._limits)
            self._allowlist.judge_published(nodes[0].module, nodes[0].qualname)
            fields["exception"] = nodes
        elif result is None and state in celery_states.EXCEPTION_STATES:
            fields["payload"] = NO_PAYLOAD
        else:
            fields["payload"] = encode(result, self._serializer)
        if traceback:
            fields["traceback"] = cut_text(str(traceback), self._limits.traceback)
        if request:
            fields |= self._of_request(request, extended=self._extended if extended is None else extended)
        return Event(task_id=task_id, state=str(state), **fields | stated)

    def _of_request(self, request: Any, *, extended: bool) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "parent_id": _text(request, "parent_id"),
            "root_id": _text(request, "root_id"),
            "group_id": _text(request, "group"),
            "worker": _text(request, "hostname"),
        }
        index = getattr(request, "group_index", None)
        if isinstance(index, int):
            fields["group_index"] = index
        retries = getattr(request, "retries", None)
        if isinstance(retries, int):
            fields["attempt"] = retries + 1
        if extended:
            fields |= self._extended_fields(request)
        return fields

    def _extended_fields(self, request: Any) -> dict[str, Any]:
        """Return what ``result_extended`` adds, with the serializer of the result."""
        args = encode(getattr(request, "args", None), self._serializer)
        kwargs = encode(getattr(request, "kwargs", None), self._serializer)
        delivery: Mapping[str, Any] = getattr(request, "delivery_info", None) or {}
        retries = getattr(request, "retries", None)
        fields: dict[str, Any] = {
            "name": _text(request, "task"),
            "retries": retries if isinstance(retries, int) else -1,
            "queue": str(delivery.get("routing_key") or ""),
            "call_content_type": args.content_type,
            "args": args.body,
            "kwargs": kwargs.body,
        }
        stamps = getattr(request, "stamps", None)
        if stamps:
            stamped = tuple(str(header) for header in getattr(request, "stamped_headers", None) or ())
            kept = {header: stamp for header, stamp in stamps.items() if header in stamped}
            fields |= {"stamped_headers": stamped, "stamps": encode(kept, self._serializer).body}
        return fields


def _text(request: Any, name: str) -> str:
    """Return a field of a request as text; empty where it has none."""
    value = getattr(request, name, None)
    return str(value) if value else ""
