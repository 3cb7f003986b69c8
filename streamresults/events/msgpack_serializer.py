"""MessagePack that loses nothing, smaller and faster than JSON. It never uses extension types, which few can read."""

from __future__ import annotations

from typing import Final

import msgspec

from streamresults.errors import PayloadNotDecodable
from streamresults.events.forms import DEPTH_MAX, MARK, MARK_BYTE, lift, nests_deeper, raw_depth
from streamresults.events.lowering import Lowering

_MARK: Final = MARK.encode()
#: First bytes of arrays and maps. They also occur inside of other values, so counting them can only overestimate.
_OPENERS: Final = frozenset((*range(0x80, 0xA0), *range(0xDC, 0xE0)))
_NO_OPENERS: Final = bytes(byte for byte in range(256) if byte not in _OPENERS)


class MsgpackSerializer:
    """
    Encodes as MessagePack.

    ``None``, ``bool``, ``int`` of up to 64 bits, ``float``, ``str``, ``bytes``, ``list`` and ``dict`` with string or
    integer keys are written as every MessagePack writer writes them, everything else as the same forms as in JSON.

    Args:
        depth: Levels of nesting that are encoded; what any writer with the same limit encodes is decoded.
    """

    name = "msgpack"
    #: The one that peers have long used; the registered application/vnd.msgpack is younger.
    content_type = "application/x-msgpack"

    def __init__(self, depth: int = DEPTH_MAX) -> None:
        self._raw_depth = raw_depth(depth)
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(ext_hook=_refuse_extension).decode
        self._lowering = Lowering(
            "msgpack",
            # Of any size: msgspec itself refuses an int beyond 64 bits, and the slow way then finds a form for it.
            atoms=frozenset({str, bool, type(None), int, float, bytes}),
            keys=frozenset({str, int}),
            encode=self._encode,
            mark=_MARK,
            depth=depth,
        )

    def encode(self, value: object, *, path: str = "result") -> bytes:
        """
        Return the MessagePack bytes of ``value``.

        Args:
            value: What to encode.
            path: What to call ``value`` when an error points inside it.

        Raises:
            PayloadNotEncodable: Something inside has no form, is cyclic, or is nested too deeply.
        """
        return self._lowering.encode(value, path)

    def decode(self, data: bytes) -> object:
        """
        Return the value of MessagePack bytes, whoever wrote them.

        Raises:
            PayloadNotDecodable: Not MessagePack, nested too deeply, or an unknown or broken form.
        """
        try:
            value = self._decode(data)
            _check_depth(value, data, self._raw_depth)
            return lift(value) if MARK_BYTE in data and _MARK in data else value
        except PayloadNotDecodable:
            raise
        except Exception as exc:
            # Also RecursionError, MemoryError and UnicodeDecodeError: a payload must not hurt its reader.
            reason = exc if isinstance(exc, msgspec.MsgspecError) else type(exc).__name__
            message = f"not application/x-msgpack: {reason}"
            raise PayloadNotDecodable(message) from exc


def _check_depth(value: object, data: bytes, depth: int) -> None:
    if len(data) <= depth or len(data.translate(None, _NO_OPENERS)) <= depth:
        return
    if nests_deeper(value, depth):
        message = f"not application/x-msgpack: nested deeper than {depth} levels"
        raise PayloadNotDecodable(message)


def _refuse_extension(code: int, _data: memoryview) -> object:
    message = f"not application/x-msgpack: extension type {code} is not supported"
    raise PayloadNotDecodable(message)
