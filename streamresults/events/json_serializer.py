"""JSON that loses nothing: plain values look plain, all others travel as forms. It never guesses at a lossy form."""

from __future__ import annotations

from typing import Final

import msgspec

from streamresults.errors import PayloadNotDecodable
from streamresults.events.forms import DEPTH_MAX, MARK, MARK_BYTE, lift, raw_depth
from streamresults.events.lowering import Lowering

_MARK: Final = f'"{MARK}'.encode()
#: A mark that another writer has escaped, such as ``\u0024sr:``, counts as well: escapes are only an orthography.
_ESCAPE: Final = b"\\u"
_BACKSLASH: Final = ord("\\")
_BRACKETS: Final = b"[]{}"
_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in _BRACKETS)


class JsonSerializer:
    """
    Encodes as JSON (RFC 8259, UTF-8).

    ``None``, ``bool``, ``int`` of up to 64 bits, finite ``float``, ``str``, ``list`` and ``dict`` with string keys
    are written as every JSON writer writes them. Everything else that is supported travels as an object with one
    key, such as ``{"$sr:uuid": "…"}``; :mod:`streamresults.events.forms` lists them.

    Args:
        depth: Levels of nesting that are encoded; what any writer with the same limit encodes is decoded.
    """

    name = "json"
    content_type = "application/json"

    def __init__(self, depth: int = DEPTH_MAX) -> None:
        self._raw_depth = raw_depth(depth)
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder().decode
        self._lowering = Lowering(
            "json",
            atoms=frozenset({str, bool, type(None)}),
            keys=frozenset({str}),
            encode=self._encode,
            mark=_MARK,
            depth=depth,
        )

    def encode(self, value: object, *, path: str = "result") -> bytes:
        """
        Return the JSON text of ``value`` in UTF-8.

        Args:
            value: What to encode.
            path: What to call ``value`` when an error points inside it.

        Raises:
            PayloadNotEncodable: Something inside has no form, is cyclic, or is nested too deeply.
        """
        return self._lowering.encode(value, path)

    def decode(self, data: bytes) -> object:
        """
        Return the value of a JSON text, whoever wrote it.

        Raises:
            PayloadNotDecodable: Not JSON, nested too deeply, or an unknown or broken form.
        """
        if len(data) > self._raw_depth and _too_deep(data, self._raw_depth):
            message = f"not application/json: nested deeper than {self._raw_depth} levels, or brackets do not match"
            raise PayloadNotDecodable(message)
        try:
            value = self._decode(data)
            if (MARK_BYTE in data and _MARK in data) or (_BACKSLASH in data and _ESCAPE in data):
                return lift(value)  # it may hold forms
        except PayloadNotDecodable:
            raise
        except Exception as exc:
            # Also RecursionError, MemoryError and UnicodeDecodeError: a payload must not hurt its reader.
            message = f"not application/json: {exc if isinstance(exc, msgspec.MsgspecError) else type(exc).__name__}"
            raise PayloadNotDecodable(message) from exc
        return value


def _too_deep(data: bytes, depth: int) -> bool:
    """
    Tell whether a JSON text nests deeper than allowed, before anything is built from it.

    Every step is one pass in C. Strings go first (they may hold brackets), then all that is not a bracket; each
    round then takes away the innermost pairs, so that what is left after the last round was too deep or unbalanced.
    """
    if data.count(b"[") + data.count(b"{") <= depth:
        return False
    text = data.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in data else data
    brackets = b"".join(text.split(b'"')[::2]).translate(None, _NO_BRACKETS)
    for _ in range(depth):
        if not brackets:
            return False
        fewer = brackets.replace(b"{}", b"").replace(b"[]", b"")
        if len(fewer) == len(brackets):
            return True
        brackets = fewer
    return bool(brackets)
