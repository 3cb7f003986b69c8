"""
Task results as a log you can join, look up and replay.

The front door: every public name, resolved when it is first used, so that importing this loads no client library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from streamresults.client import Basis, Client, Result
    from streamresults.deadline import Deadline
    from streamresults.errors import (
        BadMagic,
        ClientClosed,
        ConfigurationError,
        ContentTypeRefused,
        DeadLettered,
        KeyMismatch,
        MalformedRecord,
        NoResult,
        NotYetCovered,
        PayloadNotDecodable,
        PayloadNotEncodable,
        PublisherClosed,
        PublishFailed,
        RecordError,
        RecordTooLarge,
        RemoteTaskError,
        SecurityError,
        ServiceUnavailable,
        StoreRefused,
        StoreUnavailable,
        StreamResultsError,
        TopicMismatch,
        TopicMissing,
        TopicUnavailable,
        TrailingBytes,
        TruncatedRecord,
        UnknownFingerprint,
        UnknownTask,
        VerificationMismatch,
        WaitTimeout,
    )
    from streamresults.events.event import Event, Position
    from streamresults.publisher import Publisher
    from streamresults.settings import Settings
    from streamresults.wiring import Wiring, open_client, open_publisher

_HOMES: Final = {
    "client": ("Basis", "Client", "Result"),
    "deadline": ("Deadline",),
    "errors": (
        "BadMagic",
        "ClientClosed",
        "ConfigurationError",
        "ContentTypeRefused",
        "DeadLettered",
        "KeyMismatch",
        "MalformedRecord",
        "NoResult",
        "NotYetCovered",
        "PayloadNotDecodable",
        "PayloadNotEncodable",
        "PublishFailed",
        "PublisherClosed",
        "RecordError",
        "RecordTooLarge",
        "RemoteTaskError",
        "SecurityError",
        "ServiceUnavailable",
        "StoreRefused",
        "StoreUnavailable",
        "StreamResultsError",
        "TopicMismatch",
        "TopicMissing",
        "TopicUnavailable",
        "TrailingBytes",
        "TruncatedRecord",
        "UnknownFingerprint",
        "UnknownTask",
        "VerificationMismatch",
        "WaitTimeout",
    ),
    "events.event": ("Event", "Position"),
    "publisher": ("Publisher",),
    "settings": ("Settings",),
    "wiring": ("Wiring", "open_client", "open_publisher"),
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}

__version__: Final = "0.1.0"
__all__ = [
    "BadMagic",
    "Basis",
    "Client",
    "ClientClosed",
    "ConfigurationError",
    "ContentTypeRefused",
    "DeadLettered",
    "Deadline",
    "Event",
    "KeyMismatch",
    "MalformedRecord",
    "NoResult",
    "NotYetCovered",
    "PayloadNotDecodable",
    "PayloadNotEncodable",
    "Position",
    "PublishFailed",
    "Publisher",
    "PublisherClosed",
    "RecordError",
    "RecordTooLarge",
    "RemoteTaskError",
    "Result",
    "SecurityError",
    "ServiceUnavailable",
    "Settings",
    "StoreRefused",
    "StoreUnavailable",
    "StreamResultsError",
    "TopicMismatch",
    "TopicMissing",
    "TopicUnavailable",
    "TrailingBytes",
    "TruncatedRecord",
    "UnknownFingerprint",
    "UnknownTask",
    "VerificationMismatch",
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
