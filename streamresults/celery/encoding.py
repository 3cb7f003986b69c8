"""
Values to bytes and back by kombu's registry: a payload is byte for byte what Celery's other backends store.

The content type travels with the payload, so that a reader needs no setting to match; what may be decoded is decided
by the reader's accepted content alone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import kombu.utils.json
from kombu.exceptions import EncodeError
from kombu.serialization import dumps, loads, registry
from kombu.utils.encoding import ensure_bytes

from streamresults.events.event import NO_PAYLOAD, Payload

if TYPE_CHECKING:
    from collections.abc import Collection

_JSON: Final = "application/json"
#: What kombu makes of JSON, without making a decoder anew for each of the three values that a result may have.
_DECODER: Final = json.JSONDecoder(object_hook=kombu.utils.json.object_hook)
#: Content encodings that were found.
_CHARSETS: Final[dict[str, str]] = {}


def encode(value: object, serializer: str) -> Payload:
    """
    Return a value as a payload.

    Raises:
        EncodeError: kombu's own, which Celery turns into the task's failure.
    """
    try:
        content_type, _, body = dumps(value, serializer=serializer)
    except EncodeError:
        raise
    except Exception as exc:  # a value of the user's may raise anything while it is walked, such as RecursionError
        msg = f"the result cannot be encoded as {serializer}: {exc!r}"
        raise EncodeError(msg) from exc
    return Payload(content_type=content_type, body=ensure_bytes(body))


def encode_optional(value: object, serializer: str) -> Payload:
    """Do the same; no payload for ``None``."""
    return NO_PAYLOAD if value is None else encode(value, serializer)


def decode(content_type: str, body: bytes, accept: Collection[str] | None) -> object:
    """
    Return the value of a payload.

    Raises:
        ContentDisallowed: Its content type is not accepted; the bytes were not looked at.
        DecodeError: The bytes are not what the content type says.
    """
    if content_type == _JSON and accept is not None and _JSON in accept and _is_kombus_own():
        try:
            return _DECODER.decode(body.decode())
        except (ValueError, RecursionError):
            pass  # kombu says what is wrong, in its own words
    return loads(body, content_type=content_type, content_encoding=_charset(content_type), accept=accept)


def _is_kombus_own() -> bool:
    """Tell whether nobody has registered another decoder of JSON."""
    return registry._decoders.get(_JSON) is kombu.utils.json.loads  # noqa: SLF001 -- as below


def _charset(content_type: str) -> str:
    """Return what kombu calls the content encoding; only serializers know it, so it need not travel."""
    known = _CHARSETS.get(content_type)
    if known is None:
        for registered, charset, _ in registry._encoders.values():  # noqa: SLF001 -- kombu has no other way to ask
            if registered == content_type:
                known = _CHARSETS[content_type] = str(charset)
    return known or "utf-8"
