"""
Task results as a log you can join, look up and replay.

The front door: every public name, resolved when it is first used, so that importing this loads no client library.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from streamresults.aio import (
        AsyncClient,
        AsyncPending,
        AsyncPublisher,
        AsyncResultGroup,
        AsyncResultHandle,
        AsyncResultSet,
        AsyncTaskRun,
    )
    from streamresults.client import Basis, Client, Registration, Result, ResultGroup, ResultHandle, ResultSet
    from streamresults.deadline import Deadline
    from streamresults.errors import (
        AppendFailed,
        BadMagic,
        BatchFailed,
        ClientClosed,
        ConfigurationError,
        ContentTypeRefused,
        DeadLettered,
        KeyMismatch,
        MalformedRecord,
        NoResult,
        NotAuthoritative,
        NotYetCovered,
        PayloadEncrypted,
        PayloadError,
        PayloadMissing,
        PayloadNotDecodable,
        PayloadNotEncodable,
        PayloadStoreNotConfigured,
        PayloadStoreUnavailable,
        PayloadTooLarge,
        PublisherClosed,
        PublishError,
        PublishFailed,
        RecordError,
        RecordGone,
        RecordTooLarge,
        RemoteTaskError,
        RetriesExhausted,
        SecurityError,
        ServiceUnavailable,
        SignatureRefused,
        Spooled,
        StoreOutOfMemory,
        StoreRefused,
        StoreUnavailable,
        StreamResultsError,
        TaskRevoked,
        TopicMismatch,
        TopicMissing,
        TopicRecreated,
        TopicUnavailable,
        TrailingBytes,
        TruncatedRecord,
        UnknownFingerprint,
        UnknownTask,
        VerificationMismatch,
        WaitError,
        WaitRefused,
        WaitTimeout,
    )
    from streamresults.events.allowlist import allow
    from streamresults.events.event import Event, Position
    from streamresults.events.running import allow_waiting
    from streamresults.publisher import (
        Flushed,
        Pending,
        Publisher,
        TaskRun,
        current_run,
        exception_safe_to_retry,
    )
    from streamresults.settings import Settings
    from streamresults.wiring import (
        Wiring,
        open_async_client,
        open_async_publisher,
        open_client,
        open_publisher,
    )

_HOMES: Final = {
    "aio": (
        "AsyncClient",
        "AsyncPending",
        "AsyncPublisher",
        "AsyncResultGroup",
        "AsyncResultHandle",
        "AsyncResultSet",
        "AsyncTaskRun",
    ),
    "client": ("Basis", "Client", "Registration", "Result", "ResultGroup", "ResultHandle", "ResultSet"),
    "deadline": ("Deadline",),
    "errors": (
        "AppendFailed",
        "BadMagic",
        "BatchFailed",
        "ClientClosed",
        "ConfigurationError",
        "ContentTypeRefused",
        "DeadLettered",
        "KeyMismatch",
        "MalformedRecord",
        "NoResult",
        "NotAuthoritative",
        "NotYetCovered",
        "PayloadEncrypted",
        "PayloadError",
        "PayloadMissing",
        "PayloadNotDecodable",
        "PayloadNotEncodable",
        "PayloadStoreNotConfigured",
        "PayloadStoreUnavailable",
        "PayloadTooLarge",
        "PublishError",
        "PublishFailed",
        "PublisherClosed",
        "RecordError",
        "RecordGone",
        "RecordTooLarge",
        "RemoteTaskError",
        "RetriesExhausted",
        "SecurityError",
        "ServiceUnavailable",
        "SignatureRefused",
        "Spooled",
        "StoreOutOfMemory",
        "StoreRefused",
        "StoreUnavailable",
        "StreamResultsError",
        "TaskRevoked",
        "TopicMismatch",
        "TopicMissing",
        "TopicRecreated",
        "TopicUnavailable",
        "TrailingBytes",
        "TruncatedRecord",
        "UnknownFingerprint",
        "UnknownTask",
        "VerificationMismatch",
        "WaitError",
        "WaitRefused",
        "WaitTimeout",
    ),
    "events.allowlist": ("allow",),
    "events.event": ("Event", "Position"),
    "events.running": ("allow_waiting",),
    "publisher": ("Flushed", "Pending", "Publisher", "TaskRun", "current_run", "exception_safe_to_retry"),
    "settings": ("Settings",),
    "wiring": ("Wiring", "open_async_client", "open_async_publisher", "open_client", "open_publisher"),
}
# What a library logs is its program's business: nothing is written where no logging was set up.
logging.getLogger(__name__).addHandler(logging.NullHandler())

_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}

__version__: Final = "0.2.0.dev0"
__all__ = [
    "AppendFailed",
    "AsyncClient",
    "AsyncPending",
    "AsyncPublisher",
    "AsyncResultGroup",
    "AsyncResultHandle",
    "AsyncResultSet",
    "AsyncTaskRun",
    "BadMagic",
    "Basis",
    "BatchFailed",
    "Client",
    "ClientClosed",
    "ConfigurationError",
    "ContentTypeRefused",
    "DeadLettered",
    "Deadline",
    "Event",
    "Flushed",
    "KeyMismatch",
    "MalformedRecord",
    "NoResult",
    "NotAuthoritative",
    "NotYetCovered",
    "PayloadEncrypted",
    "PayloadError",
    "PayloadMissing",
    "PayloadNotDecodable",
    "PayloadNotEncodable",
    "PayloadStoreNotConfigured",
    "PayloadStoreUnavailable",
    "PayloadTooLarge",
    "Pending",
    "Position",
    "PublishError",
    "PublishFailed",
    "Publisher",
    "PublisherClosed",
    "RecordError",
    "RecordGone",
    "RecordTooLarge",
    "Registration",
    "RemoteTaskError",
    "Result",
    "ResultGroup",
    "ResultHandle",
    "ResultSet",
    "RetriesExhausted",
    "SecurityError",
    "ServiceUnavailable",
    "Settings",
    "SignatureRefused",
    "Spooled",
    "StoreOutOfMemory",
    "StoreRefused",
    "StoreUnavailable",
    "StreamResultsError",
    "TaskRevoked",
    "TaskRun",
    "TopicMismatch",
    "TopicMissing",
    "TopicRecreated",
    "TopicUnavailable",
    "TrailingBytes",
    "TruncatedRecord",
    "UnknownFingerprint",
    "UnknownTask",
    "VerificationMismatch",
    "WaitError",
    "WaitRefused",
    "WaitTimeout",
    "Wiring",
    "__version__",
    "allow",
    "allow_waiting",
    "current_run",
    "exception_safe_to_retry",
    "open_async_client",
    "open_async_publisher",
    "open_client",
    "open_publisher",
]


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
