"""Errors of the core as the ones that Celery's users catch. The core's own stands as the cause of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celery.exceptions import BackendGetMetaError, BackendStoreError
from celery.exceptions import TimeoutError as CeleryTimeoutError

from streamresults.errors import (
    AppendFailed,
    PublishFailed,
    RecordTooLarge,
    RetriesExhausted,
    ServiceUnavailable,
    Spooled,
    TopicMissing,
    TopicUnavailable,
)
from streamresults.publisher import exception_safe_to_retry

if TYPE_CHECKING:
    from streamresults.errors import WaitTimeout


def safe_to_retry(exc: BaseException) -> bool:
    """Tell whether doing the same again is harmless and may help: a service did not answer, for all that is known."""
    if isinstance(exc, TopicMissing | RecordTooLarge | Spooled):
        return False
    if isinstance(exc, PublishFailed):
        cause = exc.__cause__
        never_opened = isinstance(cause, TopicUnavailable) and not isinstance(cause, AppendFailed | TopicMissing)
        queue_full = cause is None and exc.written is False
        return never_opened or queue_full or exception_safe_to_retry(exc)
    return isinstance(exc, ServiceUnavailable)


def too_large(exc: BaseException) -> bool:
    """Tell whether an event was not published because of its size; nothing of it was sent."""
    return isinstance(exc.last if isinstance(exc, RetriesExhausted) else exc, RecordTooLarge)


def not_stored(exc: BaseException, task_id: str, state: str) -> BackendStoreError:
    """Return Celery's error of a result that could not be stored."""
    return BackendStoreError(str(exc), state=state, task_id=task_id)


def not_read(exc: BaseException, task_id: str) -> BackendGetMetaError:
    """Return Celery's error of a result that could not be read."""
    return BackendGetMetaError(str(exc), task_id=task_id)


def timed_out(exc: WaitTimeout) -> CeleryTimeoutError:
    """Return Celery's error of a wait that has taken too long; it says what was seen, and where."""
    return CeleryTimeoutError(f"The operation timed out. {exc}")
