"""
Values to bytes and back by kombu's registry: a payload is byte for byte what Celery's other backends store.

The content type travels with the payload, so that a reader needs no setting to match; what may be decoded is decided
by the reader's accepted content alone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import kombu.utils.json
import msgspec
from kombu.exceptions import EncodeError
from kombu.serialization import dumps, loads, registry
from kombu.utils.encoding import ensure_bytes

from streamresults.events.event import Payload

if TYPE_CHECKING:
    from collections.abc import Collection

_JSON: Final = "application/json"
#: What kombu makes of JSON that holds none of its own types, in a fifth of the time: whatever this reads, it reads as
#: the standard library does.
_PLAIN: Final = msgspec.json.Decoder().decode
#: What marks kombu's own types; a byte of it, as looking for one takes a tenth of the time; and what may disguise it.
_TYPE: Final = b"__type__"
_TYPE_BYTE, _ESCAPE = b"_\\"
#: What kombu makes of JSON, without making a decoder anew for each of the three values that a result may have.
_DECODER: Final = json.JSONDecoder(object_hook=kombu.utils.json.object_hook)
_decoders: Final = registry._decoders  # noqa: SLF001 -- kombu has no other way to ask who decodes
#: Who decodes JSON unless somebody else was registered, which may happen at any time.
_KOMBUS: Final = kombu.utils.json.loads
#: What kombu makes anew for each value that it encodes as JSON.
_ENCODER: Final = kombu.utils.json.JSONEncoder()
_encoders: Final = registry._encoders  # noqa: SLF001 -- as above
#: Content encodings that were found.
_CHARSETS: Final[dict[str, str]] = {}


def encode(value: object, serializer: str) -> Payload:
    """
    Return a value as a payload.

    Raises:
        EncodeError: kombu's own, which Celery turns into the task's failure.
    """
    codec = _encoders.get(serializer)
    if codec is not None and codec.encoder is kombu.utils.json.dumps:
        try:
            return Payload(content_type=codec.content_type, body=_ENCODER.encode(value).encode())
        except Exception:  # noqa: BLE001, S110 -- kombu says what is wrong, in its own words
            pass
    try:
        content_type, _, body = dumps(value, serializer=serializer)
    except EncodeError:
        raise
    except Exception as exc:  # a value of the user's may raise anything while it is walked, such as RecursionError
        msg = f"the result cannot be encoded as {serializer}: {exc!r}"
        raise EncodeError(msg) from exc
    return Payload(content_type=content_type, body=ensure_bytes(body))


def decode(content_type: str, body: bytes, accept: Collection[str] | None) -> object:
    """
    Return the value of a payload.

    Raises:
        ContentDisallowed: Its content type is not accepted; the bytes were not looked at.
        DecodeError: The bytes are not what the content type says.
    """
    kombus = content_type == _JSON and _decoders.get(_JSON) is _KOMBUS
    if kombus and accept is not None and _JSON in accept:
        try:
            # "_TYPE in body" would first raise an error of its own, as it takes the bytes for a number.
            plain = _ESCAPE not in body and (_TYPE_BYTE not in body or body.find(_TYPE) < 0)
            return _PLAIN(body) if plain else _DECODER.decode(body.decode())
        except Exception:  # noqa: BLE001, S110 -- also what the constructors of kombu's own types raise
            pass  # kombu reads what the quicker ways do not, such as NaN, or says what is wrong in its own words
    return loads(body, content_type=content_type, content_encoding=_charset(content_type), accept=accept)


def _charset(content_type: str) -> str:
    """Return what kombu calls the content encoding; only serializers know it, so it need not travel."""
    known = _CHARSETS.get(content_type)
    if known is None:
        for registered, charset, _ in registry._encoders.values():  # noqa: SLF001 -- kombu has no other way to ask
            if registered == content_type:
                known = _CHARSETS[content_type] = str(charset)
    return known or "utf-8"
