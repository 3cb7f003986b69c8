"""
Exceptions of tasks: which of them become exceptions again. The rules are the core's, the names are the application's.

Celery looks a recorded class up in whatever modules happen to be loaded, and calls it. Here a class is rebuilt if
somebody has listed it, and nothing is called: the application's tasks list theirs by what they say they throw or
retry, ``streamresults_allow`` lists further ones, and Celery's own are always listed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import billiard.exceptions
import celery.exceptions
import kombu.exceptions

from streamresults.errors import ConfigurationError, PayloadNotEncodable, RemoteTaskError, SecurityError
from streamresults.events.allowlist import allow
from streamresults.events.event import REPR, ExceptionNode, NamedValue
from streamresults.events.json_serializer import JsonSerializer
from streamresults.events.remote_frames import Raisable
from streamresults.events.revive import revive
from streamresults.events.untrusted import safe_repr, safe_str

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from streamresults.client.provenance import Decoding
    from streamresults.events.event import Event

_log: Final = logging.getLogger("streamresults.celery")
#: What Celery itself stores for tasks, and what its calls raise in them. Its control exceptions are none of them, as a
#: client may be a task itself; nor are TimeoutError and SecurityError, which tell of the client's own call.
_CELERYS: Final[tuple[type[BaseException], ...]] = (
    celery.exceptions.BackendGetMetaError,
    celery.exceptions.BackendStoreError,
    celery.exceptions.ChordError,
    celery.exceptions.ImproperlyConfigured,
    celery.exceptions.IncompleteStream,
    celery.exceptions.InvalidTaskError,
    celery.exceptions.MaxRetriesExceededError,
    celery.exceptions.NotRegistered,
    celery.exceptions.QueueNotFound,
    celery.exceptions.TaskRevokedError,
    billiard.exceptions.Terminated,
    billiard.exceptions.TimeLimitExceeded,
    billiard.exceptions.WorkerLostError,
    kombu.exceptions.ContentDisallowed,
    kombu.exceptions.DecodeError,
    kombu.exceptions.EncodeError,
    kombu.exceptions.OperationalError,
)
_SERIALIZER: Final = JsonSerializer()


class RefusedException(SecurityError, celery.exceptions.SecurityError):
    """
    The outcome of a task whose record names something loaded here that is no exception class.

    It is both of the errors that a program may expect. The task's state can be read all the same, and no other task's
    result suffers.
    """


def list_exceptions(classes: Iterable[Any]) -> None:
    """List classes; what must never be rebuilt, such as control exceptions, is left out and said so once."""
    for cls in classes:
        if not (isinstance(cls, type) and issubclass(cls, BaseException)):
            continue
        try:
            allow(cls)
        except ConfigurationError as exc:
            _log.debug("%s", exc, extra={"action": "exception_not_listed"})


def exceptions_of_task(task: Any) -> list[Any]:
    """Return the classes that a task says it throws or retries."""
    found: list[Any] = []
    for name in ("throws", "autoretry_for", "retry_for"):
        stated = getattr(task, name, None) or ()
        found += stated if isinstance(stated, list | tuple | set | frozenset) else [stated]
    return found


def list_celerys_own() -> None:
    """List what Celery itself stores for tasks."""
    list_exceptions(_CELERYS)


class Revival:
    """
    Turns what was recorded into exceptions. Thread-safe.

    Args:
        refresh: Has the list brought up to date.
    """

    def __init__(self, decoding: Decoding, refresh: Callable[[], None]) -> None:
        self._decoding: Final = decoding
        self._refresh: Final = refresh

    def of_event(self, event: Event) -> BaseException:
        """Return the exception of an event."""
        return self._revived(event.exception, event.traceback)

    def of_value(self, value: Any) -> BaseException | None:
        """
        Return the exception that somebody has stored as a value, as ``Backend.exception_to_python`` does.

        What is no description of one becomes a RemoteTaskError that shows it: the task's state can be read all the
        same, which Celery's other backends refuse.
        """
        if value is None or isinstance(value, BaseException):
            return value
        node = described(value)
        return RemoteTaskError(str(value)) if node is None else self._revived((node,), "")

    def _revived(self, nodes: tuple[ExceptionNode, ...], traceback: str) -> BaseException:
        self._refresh()
        decoding = self._decoding
        found = revive(
            nodes,
            traceback,
            decoding.allowlist,
            decoding.serializers,
            accept=decoding.accept,
            limits=decoding.limits,
        )
        if isinstance(found, SecurityError):
            return RefusedException(*found.args)
        return Raisable(found, nodes, decoding.limits).exception


def described(value: Any) -> ExceptionNode | None:
    """Return what Celery has stored of an exception as data; ``None`` where it is no description of one."""
    if not isinstance(value, Mapping) or not isinstance(value.get("exc_type"), str):
        return None
    message = value.get("exc_message", "")
    arguments = tuple(message) if isinstance(message, list | tuple) else (message,)
    return ExceptionNode(
        module=_carried(str(value.get("exc_module") or "")),
        qualname=_carried(value["exc_type"]),
        message=_carried(str(message) if isinstance(message, str) else ", ".join(map(safe_str, arguments))),
        arguments=tuple(_named(argument) for argument in arguments),
    )


def _named(argument: object) -> NamedValue:
    try:
        return NamedValue(name="", content_type=_SERIALIZER.content_type, data=_SERIALIZER.encode(argument))
    except PayloadNotEncodable:  # as where the exception itself is captured: what it was stays readable
        return NamedValue(name="", content_type=REPR, data=_carried(safe_repr(argument)).encode())


def _carried(text: str) -> str:
    """Return text as UTF-8 can carry it: lone surrogates, as of names of files, become escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
