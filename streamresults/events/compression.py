"""
Compression of payloads, and how much a reader lets one grow: what arrives may be hostile. Each is bytes to bytes.

The reader's limits hold for publishers too: what they would refuse to read, they do not write.
"""

from __future__ import annotations

import sys
import zlib
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from streamresults.errors import ConfigurationError, PayloadNotDecodable, PayloadTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

#: Bytes that any payload may be decompressed to, whatever its ratio: a page of zeros is no attack.
FREE: Final = 1_048_576
#: The window that a zstd frame may ask for, as a power of two: the 8 MiB that RFC 8878 asks of every reader. Larger
#: lets a record of a few bytes take that much memory.
_WINDOW_LOG_MAX: Final = 23
#: zlib's name for gzip's framing.
_GZIP: Final = 31
#: zlib's balance of speed and size.
_GZIP_LEVEL: Final = 6


class PayloadLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much a process takes of one payload."""

    #: Bytes, once decompressed.
    size: int = 256 * 1024 * 1024
    #: Bytes that one compressed byte may become, above :data:`FREE`.
    ratio: int = 200


DEFAULT_LIMITS: Final = PayloadLimits()


class _Decompressor(Protocol):
    """What zlib's and zstd's have in common."""

    @property
    def eof(self) -> bool:
        """Whether the end of the data was reached."""

    @property
    def unused_data(self) -> bytes:
        """What stands behind the end."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return at most ``max_length`` bytes."""


def _zstd() -> ModuleType:
    """Return the library: Python's own from 3.14 on, before that its back-port. Imported when it is first needed."""
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415
    else:
        from backports import zstd  # noqa: PLC0415
    return zstd


def _zstd_decompressor() -> _Decompressor:
    zstd = _zstd()
    found: _Decompressor = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX})
    return found


def _zstd_compress(data: bytes) -> bytes:
    compressed: bytes = _zstd().compress(data)
    return compressed


def _gzip_compress(data: bytes) -> bytes:
    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP)
    return compressor.compress(data) + compressor.flush()


def _gzip_decompressor() -> _Decompressor:
    return zlib.decompressobj(_GZIP)


_WAYS: Final[dict[str, tuple[Callable[[bytes], bytes], Callable[[], _Decompressor]]]] = {
    "gzip": (_gzip_compress, _gzip_decompressor),
    "zstd": (_zstd_compress, _zstd_decompressor),
}
ENCODINGS: Final = tuple(_WAYS)


def check_encoding(encoding: str) -> None:
    """
    Check a content encoding that a setting names; the empty one is none.

    Raises:
        ConfigurationError: There is no such compression.
    """
    if encoding and encoding not in _WAYS:
        msg = f"no compression is named {encoding!r}; there are: {', '.join(ENCODINGS)}"
        raise ConfigurationError(msg)


def allowed(compressed: int, limits: PayloadLimits) -> int:
    """Return the bytes that so many compressed ones may become."""
    return min(limits.size, max(FREE, limits.ratio * compressed))


def compress(encoding: str, data: bytes, limits: PayloadLimits = DEFAULT_LIMITS) -> bytes | None:
    """Return ``data`` compressed, ``None`` where that gains nothing or readers with these limits would refuse it."""
    compressed = _WAYS[encoding][0](data)
    if len(compressed) >= len(data) or len(data) > allowed(len(compressed), limits):
        return None
    return compressed


def decompress(encoding: str, data: bytes, limits: PayloadLimits = DEFAULT_LIMITS) -> bytes:
    """
    Return what ``data`` was before it was compressed; never holds more than the limits allow, and one byte.

    Raises:
        PayloadTooLarge: It would be larger.
        PayloadNotDecodable: It is not what its encoding says, or the encoding is unknown here.
    """
    if encoding not in _WAYS:
        msg = f"the payload is compressed with {encoding[:40]!r}; known here: {', '.join(ENCODINGS)}"
        raise PayloadNotDecodable(msg)
    limit = allowed(len(data), limits)
    decompressor = _WAYS[encoding][1]()
    try:
        body = decompressor.decompress(data, limit + 1)
    except Exception as exc:  # the libraries have errors of their own; whichever it is, these bytes are no payload
        msg = f"the payload is not {encoding}: {exc}"
        raise PayloadNotDecodable(msg) from exc
    if len(body) > limit:
        msg = (
            f"{len(data)} bytes of {encoding} become more than {limit}, which is all that is taken of them. "
            "If that is meant, raise payload_max or payload_ratio"
        )
        raise PayloadTooLarge(msg, limit=limit)
    if not decompressor.eof or decompressor.unused_data:
        wrong = "goes on behind its end" if decompressor.eof else "ends early"
        msg = f"the payload is not {encoding}: it {wrong}"
        raise PayloadNotDecodable(msg)
    return body
