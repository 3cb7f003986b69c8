"""
Task results as a log you can join, look up and replay.

The front door: every public name, resolved when it is first used, so that importing this loads no client library.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from streamresults.client import Basis, Client, Registration, Result
    from streamresults.deadline import Deadline
    from streamresults.errors import (
        AppendFailed,
        BadMagic,
        ClientClosed,
        ConfigurationError,
        ContentTypeRefused,
        DeadLettered,
        KeyMismatch,
        MalformedRecord,
        NoResult,
        NotYetCovered,
        PayloadError,
        PayloadNotDecodable,
        PayloadNotEncodable,
        PublisherClosed,
        PublishError,
        PublishFailed,
        RecordError,
        RecordTooLarge,
        RemoteTaskError,
        SecurityError,
        ServiceUnavailable,
        StoreOutOfMemory,
        StoreRefused,
        StoreUnavailable,
        StreamResultsError,
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
        WaitTimeout,
    )
    from streamresults.events.event import Event, Position
    from streamresults.publisher import Flushed, Pending, Publisher, TaskRun
    from streamresults.settings import Settings
    from streamresults.wiring import Wiring, open_client, open_publisher

_HOMES: Final = {
    "client": ("Basis", "Client", "Registration", "Result"),
    "deadline": ("Deadline",),
    "errors": (
        "AppendFailed",
        "BadMagic",
        "ClientClosed",
        "ConfigurationError",
        "ContentTypeRefused",
        "DeadLettered",
        "KeyMismatch",
        "MalformedRecord",
        "NoResult",
        "NotYetCovered",
        "PayloadError",
        "PayloadNotDecodable",
        "PayloadNotEncodable",
        "PublishError",
        "PublishFailed",
        "PublisherClosed",
        "RecordError",
        "RecordTooLarge",
        "RemoteTaskError",
        "SecurityError",
        "ServiceUnavailable",
        "StoreOutOfMemory",
        "StoreRefused",
        "StoreUnavailable",
        "StreamResultsError",
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
        "WaitTimeout",
    ),
    "events.event": ("Event", "Position"),
    "publisher": ("Flushed", "Pending", "Publisher", "TaskRun"),
    "settings": ("Settings",),
    "wiring": ("Wiring", "open_client", "open_publisher"),
}
# What a library logs is its program's business: nothing is written where no logging was set up.
logging.getLogger(__name__).addHandler(logging.NullHandler())

_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}

__version__: Final = "0.1.0"
__all__ = [
    "AppendFailed",
    "BadMagic",
    "Basis",
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
    "NotYetCovered",
    "PayloadError",
    "PayloadNotDecodable",
    "PayloadNotEncodable",
    "Pending",
    "Position",
    "PublishError",
    "PublishFailed",
    "Publisher",
    "PublisherClosed",
    "RecordError",
    "RecordTooLarge",
    "Registration",
    "RemoteTaskError",
    "Result",
    "SecurityError",
    "ServiceUnavailable",
    "Settings",
    "StoreOutOfMemory",
    "StoreRefused",
    "StoreUnavailable",
    "StreamResultsError",
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
    "WaitTimeout",
    "Wiring",
    "__version__",
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
