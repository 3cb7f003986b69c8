"""What is said of a task becomes an event, with a publisher's serializer and defaults. Pure: nothing is sent here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from streamresults.errors import TaskRevoked
from streamresults.events import states
from streamresults.events.event import GROUP_PREFIX, Event, Payload
from streamresults.events.exceptions import capture
from streamresults.events.traceback_text import capture_text
from streamresults.publisher.checks import checked_members, expiry_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta

    from streamresults.events.allowlist import ExceptionAllowlist
    from streamresults.events.limits import Limits
    from streamresults.events.payloads import Serializer

#: The label that says why a task ended without a result.
REASON: Final = "reason"
#: What reports of progress must not be called: these say that something has happened to the task.
NO_PROGRESS: Final = states.ALWAYS_TERMINAL | states.EXCEPTION


class Making:
    """
    Makes events; shared by every face of a publisher. Thread-safe.

    Args:
        worker: Who publishes.
        expires: Seconds after which results are hidden, when nothing else is stated.
        task_expires: The same by the task's registered name; stronger.
        extended: Whether name, arguments, worker, retries, queue and stamps are recorded.
        limits: How much of an exception travels.
        allowlist: What this process would rebuild: a type that is not on it is logged once, and counted.
    """

    def __init__(
        self,
        serializer: Serializer,
        *,
        worker: str,
        expires: float,
        task_expires: Mapping[str, float],
        extended: bool,
        limits: Limits,
        allowlist: ExceptionAllowlist | None = None,
    ) -> None:
        self._serializer: Final = serializer
        self._worker: Final = worker
        self._expires_ms: Final = expiry_ms(expires)
        self._task_expires_ms: Final = {name: expiry_ms(seconds) for name, seconds in task_expires.items()}
        self._extended: Final = extended
        self._limits: Final = limits
        self._allowlist: Final = allowlist

    def event(
        self,
        task_id: str,
        state: str,
        *,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        expires: float | timedelta | None = None,
        **fields: Any,
    ) -> Event:
        """Make an event; see :meth:`Publisher.event`."""
        if "result" in fields:
            result = self._serializer.encode(fields.pop("result"), path="result")
            fields["payload"] = Payload(content_type=self._serializer.content_type, body=result)
        if args is not None and self._extended:
            fields["args"] = self._serializer.encode(list(args), path="args")
            fields["call_content_type"] = self._serializer.content_type
        if kwargs is not None and self._extended:
            fields["kwargs"] = self._serializer.encode(dict(kwargs), path="kwargs")
            fields["call_content_type"] = self._serializer.content_type
        if "worker" not in fields:
            fields["worker"] = self._worker
        if expires is not None:
            expires_ms = expiry_ms(expires)
        elif self._task_expires_ms:
            expires_ms = self._task_expires_ms.get(fields.get("name", ""), self._expires_ms)
        else:
            expires_ms = self._expires_ms
        return Event(task_id=task_id, state=state, expires_after_ms=expires_ms, **fields)

    def with_exception(self, task_id: str, state: str, exc: BaseException, fields: dict[str, Any]) -> Event:
        """
        Make an event that carries an exception.

        Raises:
            TypeError: It is no exception, such as its text alone.
        """
        if not isinstance(exc, BaseException):
            ends = "fails" if state == states.FAILURE else f"enters {state}"
            msg = f"a task {ends} with an exception, not with {type(exc).__name__}: {exc!r:.60}"
            raise TypeError(msg)
        nodes, text = capture(exc, self._serializer, self._limits)
        if self._allowlist is not None:
            self._allowlist.judge_published(nodes[0].module, nodes[0].qualname)
        return self.event(task_id, state, exception=nodes, traceback=text, **fields)

    def with_traceback(self, task_id: str, state: str, text: str, fields: dict[str, Any]) -> Event:
        """Make an event of a failure of which only the formatted traceback is left."""
        nodes, kept = capture_text(text, self._limits)
        return self.event(task_id, state, exception=nodes, traceback=kept, **fields)

    def revoked(self, task_id: str, reason: str | BaseException, fields: dict[str, Any]) -> Event:
        """Make REVOKED; a reason in words becomes a :class:`~streamresults.errors.TaskRevoked`."""
        exc = TaskRevoked(reason) if isinstance(reason, str) else reason
        return self.with_exception(task_id, states.REVOKED, exc, fields)

    def without_result(self, task_id: str, state: str, reason: str, fields: dict[str, Any]) -> Event:
        """Make an event that ends a task without a result; the reason is a label, as a payload would be a result."""
        if reason:
            fields["labels"] = {**fields.get("labels", {}), REASON: reason}
        return self.event(task_id, state, **fields)

    def progress(self, task_id: str, value: object, state: str, fields: dict[str, Any]) -> Event:
        """
        Make a report of progress.

        Raises:
            ValueError: The state is one that says more than progress.
        """
        if state in NO_PROGRESS or fields.get("terminal"):
            msg = f"{state} is no progress: it has a method of its own, or is published as an event"
            raise ValueError(msg)
        return self.event(task_id, state, result=value, **fields)

    def group(self, group_id: str, members: Iterable[str], fields: dict[str, Any]) -> Event:
        """
        Make a saved group: its members in their order; a later save replaces an earlier one.

        Raises:
            PublishFailed: The group's id is none, or one of its members is none.
        """
        members = checked_members(group_id, members)
        return self.event(
            GROUP_PREFIX + group_id,
            states.SAVED,
            kind="group",
            terminal=True,
            group_id=group_id,
            children=members,
            **fields,
        )


def without_extended(event: Event) -> Event:
    """Return an event without the metadata that ``extended_metadata`` turns off."""
    return msgspec.structs.replace(
        event,
        name="",
        worker="",
        queue="",
        retries=-1,
        call_content_type="",
        args=b"",
        kwargs=b"",
        stamped_headers=(),
        stamps=b"",
    )
