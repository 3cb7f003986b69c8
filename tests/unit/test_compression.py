"""
Compressed payloads come back as they were, and a hostile one costs no more than the limits say.

We test these aspects: there and back, limits on size and ratio, what is not compressed, and broken bytes.
"""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamresults.errors import ConfigurationError, PayloadNotDecodable, PayloadTooLarge
from streamresults.events.compression import (
    DEFAULT_LIMITS,
    ENCODINGS,
    FREE,
    PayloadLimits,
    allowed,
    check_encoding,
    compress,
    decompress,
)

either = pytest.mark.parametrize("encoding", ENCODINGS)
#: What a reader never refuses to try.
WIDE = PayloadLimits(size=1 << 40, ratio=1 << 30)


def bomb(encoding: str, size: int) -> bytes:
    """Return few bytes that become many."""
    found = compress(encoding, bytes(size), WIDE)
    assert found is not None
    return found


@either
@settings(deadline=None)
@given(data=st.binary(max_size=3000), times=st.integers(1, 50))
def test_what_was_compressed_comes_back(encoding: str, data: bytes, times: int) -> None:
    """Byte for byte; where it gains nothing it is left as it is."""
    compressed = compress(encoding, data * times)

    assert compressed is None or len(compressed) < len(data * times)
    assert compressed is None or data * times == decompress(encoding, compressed)


@either
@settings(deadline=None)
@given(size=st.integers(1, 5000), ratio=st.integers(1, 50), limit=st.integers(1, 4_000_000))
def test_nothing_grows_beyond_its_limits(encoding: str, size: int, ratio: int, limit: int) -> None:
    """Either it is within both limits, or it is refused: for publishers as for readers."""
    limits = PayloadLimits(size=limit, ratio=ratio)
    data = bytes(size * 800)
    compressed = bomb(encoding, len(data))
    fits = len(data) <= allowed(len(compressed), limits)

    assert fits is (compress(encoding, data, limits) is not None)
    if fits:
        assert data == decompress(encoding, compressed, limits)
    else:
        with pytest.raises(PayloadTooLarge, match="raise payload_max or payload_ratio"):
            decompress(encoding, compressed, limits)


@either
def test_a_bomb_costs_no_more_memory_than_it_may_become(encoding: str) -> None:
    """60 MB of zeros in a record of some kilobytes."""
    hostile = bomb(encoding, 60_000_000)
    limits = PayloadLimits(size=8 * FREE, ratio=1 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(PayloadTooLarge) as caught:
            decompress(encoding, hostile, limits)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert 8 * FREE == caught.value.limit
    assert peak < 24 * FREE


@either
def test_the_ratio_is_refused_before_the_size(encoding: str) -> None:
    """A small record may not become a large one, though that size is allowed."""
    hostile = bomb(encoding, 20_000_000)
    with pytest.raises(PayloadTooLarge) as caught:
        decompress(encoding, hostile, PayloadLimits(ratio=100))

    assert max(FREE, 100 * len(hostile)) == caught.value.limit


@either
@settings(deadline=None)
@given(cut=st.integers(1, 40), noise=st.binary(min_size=1, max_size=200))
def test_broken_bytes_are_a_typed_error(encoding: str, cut: int, noise: bytes) -> None:
    """Cut short, with something behind the end, or no compressed bytes at all."""
    sound = compress(encoding, b"abc" * 100)
    assert sound is not None
    for broken in (sound[: -min(cut, len(sound))], sound + noise, noise):
        with pytest.raises(PayloadNotDecodable):
            decompress(encoding, broken)


def test_a_window_larger_than_a_reader_grants_is_refused() -> None:
    """A few bytes of zstd can ask for gigabytes of memory before the first byte comes."""
    frame = bytes.fromhex("28b52ffd") + bytes([0x00, 0xB8]) + b"\x01\x00\x00"  # a window of 2**33
    with pytest.raises(PayloadNotDecodable):
        decompress("zstd", frame)


@pytest.mark.parametrize("encoding", ["br", "identity", "x" * 1000])
def test_an_unknown_encoding_is_named(encoding: str) -> None:
    """By a reader that meets it, and for who configures it."""
    with pytest.raises(PayloadNotDecodable, match="known here: gzip, zstd"):
        decompress(encoding, b"")
    with pytest.raises(ConfigurationError, match="gzip, zstd"):
        check_encoding(encoding)


def test_others_gzip_is_read() -> None:
    """Any program can write it."""
    assert b"x" * 5000 == decompress("gzip", gzip.compress(b"x" * 5000), DEFAULT_LIMITS)
    with pytest.raises(PayloadNotDecodable):
        decompress("gzip", zlib.compress(b"x" * 5000))
