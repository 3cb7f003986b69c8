"""
Bytes become an event, or a typed error that says why they cannot.

We test these aspects: records that are cut, extended, flipped and blown up at every place; contents that cannot be;
keys that are no task ids. Nothing but a ``RecordError`` comes out.
"""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamresults.errors import (
    BadMagic,
    KeyMismatch,
    MalformedRecord,
    RecordError,
    TrailingBytes,
    TruncatedRecord,
)
from streamresults.events.envelope import MAGIC, check_key, fingerprint_of, task_id_of
from streamresults.events.event import (
    TASK_ID_MAX_BYTES,
    Event,
    Payload,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

from tests.unit.codec_samples import BODY, CODEC, datum_of, event, golden, outcome, version, written

LONG_MAX: Final = 2**63 - 1


def varint(number: int) -> bytes:
    """Return an Avro long: zigzag, then seven bits a byte, the lowest first."""
    left = (number << 1) ^ (number >> 63)
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*out, left])


DEPTHS: Final[tuple[Callable[[bytes], Any], ...]] = (CODEC.decode, CODEC.decode_head, CODEC.decode_prefix)


@golden
def test_a_record_cut_anywhere_is_truncated(path: Path) -> None:
    """Wherever a record ends too early, that is what the error says; without its marker it is no record at all."""
    value = path.read_bytes()
    for end in range(len(value)):
        assert (BadMagic if end < len(MAGIC) else TruncatedRecord) == outcome(CODEC.decode, value[:end])


@golden
def test_a_cut_behind_it_does_not_hurt_the_beginning(path: Path) -> None:
    """Prefix and head need no more than their own bytes, and say so when those are missing."""
    value = path.read_bytes()
    for read in (CODEC.decode_head, CODEC.decode_prefix):
        whole = read(value)
        found = [outcome(read, value[:end]) for end in range(len(MAGIC), len(value))]
        needed = found.index(whole)

        assert {TruncatedRecord} == set(found[:needed])
        assert [whole] * (len(found) - needed) == found[needed:]


@golden
@pytest.mark.parametrize("tail", [b"\x00", b"\xc3\x01", bytes(100)], ids=len)
def test_bytes_left_over_are_refused(path: Path, tail: bytes) -> None:
    """A record that goes on behind its last field is not the record that was written."""
    with pytest.raises(TrailingBytes, match=f"^{len(tail)} bytes"):
        CODEC.decode(path.read_bytes() + tail)


@pytest.mark.parametrize("value", [b"", b"\xc3", b"\x00\x00\x00\x00\x01", b"{}", b"\xc3\x02" + bytes(40), b"\x01\xc3"])
@pytest.mark.parametrize("read", [*DEPTHS, CODEC.require, fingerprint_of])
def test_another_encoding_is_bad_magic(read: Callable[[bytes], Any], value: bytes) -> None:
    """JSON, Confluent's framing and nothing at all are told apart from damage."""
    with pytest.raises(BadMagic):
        read(value)


@golden
def test_a_byte_flipped_anywhere_gives_an_event_or_a_typed_error(path: Path) -> None:
    """Whatever one byte is changed to, nothing but a RecordError comes out."""
    value = path.read_bytes()
    for at in range(len(value)):
        for byte in {value[at] ^ 1, value[at] ^ 0x80, 0xFF, 0x7F, 0x01} - {value[at]}:
            hostile = value[:at] + bytes([byte]) + value[at + 1 :]
            whole = outcome(CODEC.decode, hostile)
            for read in (CODEC.decode_head, CODEC.decode_prefix):
                outcome(read, hostile)

            assert isinstance(whole, Event) or issubclass(whole, RecordError)


@given(st.binary(max_size=200))
@settings(max_examples=500, deadline=None)
def test_any_bytes_behind_the_header_give_an_event_or_a_typed_error(tail: bytes) -> None:
    """Random bodies are read without anything but a RecordError."""
    value = MAGIC + CODEC.fingerprint + tail
    for read in DEPTHS:
        outcome(read, value)


@given(st.binary(max_size=60))
def test_any_bytes_give_an_event_or_a_typed_error(value: bytes) -> None:
    """Random records are read without anything but a RecordError."""
    for read in DEPTHS:
        outcome(read, value)


def lengths() -> list[tuple[str, bytes]]:
    """Return records in which a length or a count is replaced: of a string, the body, an array, a map."""
    value = CODEC.encode(event(labels={"kkkk": "vvvv"}, children=("cccc",), payload=Payload(body=b"bbbbbbbb")))
    found: list[tuple[str, bytes]] = []
    parts = {"task_id": b"\x02t", "body": b"\x10bbbbbbbb", "array": b"\x02\x08cccc", "map": b"\x02\x08kkkk"}
    numbers = (2**31, 2**40, 2**62, LONG_MAX, -1, -2, -(2**31), -(2**63))
    for name, part in parts.items():
        at = value.index(part)
        found += [(f"{name} {number}", value[:at] + varint(number) + value[at + 1 :]) for number in numbers]
    return found


@pytest.mark.parametrize("value", [value for _, value in lengths()], ids=[name for name, _ in lengths()])
def test_a_huge_or_negative_length_costs_nothing(value: bytes) -> None:
    """A length that lies ends in a typed error, and no memory is taken on its word."""
    tracemalloc.start()
    try:
        found = outcome(CODEC.decode, value)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert found in (TruncatedRecord, MalformedRecord, TrailingBytes)
    assert peak < 1_000_000


@pytest.mark.parametrize("index", [-(2**63), -2, -1, 2, 3, 64, 2**31, LONG_MAX])
@pytest.mark.parametrize("read", DEPTHS)
def test_a_kind_that_is_none_is_refused(read: Callable[[bytes], Any], index: int) -> None:
    """An enum index out of range is an error at every depth; a negative one does not count from the end."""
    value = CODEC.encode(event())
    with pytest.raises(MalformedRecord):
        read(value[:BODY] + varint(index) + value[BODY + 1 :])


def test_an_impossible_time_is_refused() -> None:
    """A time that no calendar holds is a malformed record, not an error of the calendar."""
    value = CODEC.encode(event(occurred_at_us=253_402_300_799_999_999))
    at = value.index(varint(253_402_300_799_999_999))
    hostile = value[:at] + varint(253_402_300_800_000_000) + value[at + 9 :]

    with pytest.raises(MalformedRecord, match="body"):
        CODEC.decode(hostile)


@pytest.mark.parametrize("state", ["", "x" * 129])
def test_an_impossible_state_is_refused(state: str) -> None:
    """A state is a word of 1 to 128 characters."""
    datum = {**datum_of(CODEC.encode(event())), "state": state}
    value = written(version(), datum)
    for read in DEPTHS:
        assert MalformedRecord == outcome(read, value)


def test_a_negative_expiry_is_refused() -> None:
    """An event cannot have expired before it was appended."""
    value = written(version(), {**datum_of(CODEC.encode(event())), "expires_after_ms": -1})
    for read in DEPTHS:
        assert MalformedRecord == outcome(read, value)


def test_a_key_is_the_task_id() -> None:
    """The key's UTF-8 is the id, byte for byte."""
    assert ["ü", "ü", "group:g"] == [task_id_of("ü".encode()), task_id_of("ü"), task_id_of(b"group:g")]


@pytest.mark.parametrize("key", [None, b"", "", b"\xff\xfe", b"x" * (TASK_ID_MAX_BYTES + 1), "ü" * 513])
def test_a_key_that_is_no_task_id_is_refused(key: bytes | str | None) -> None:
    """No key, an empty one, one too long and one that is no text name no task."""
    with pytest.raises(MalformedRecord, match="key"):
        task_id_of(key)


def test_the_longest_key_is_taken() -> None:
    """1024 bytes of UTF-8 are a task id."""
    assert "ü" * 512 == task_id_of(("ü" * 512).encode())


def test_a_key_must_agree_with_the_id_inside() -> None:
    """A record under another task's key is not believed."""
    prefix = CODEC.decode_prefix(CODEC.encode(event(task_id="a")))
    check_key("a", prefix)

    with pytest.raises(KeyMismatch, match=r"'b'.*'a'"):
        check_key("b", prefix)
