"""
Payloads at their limits. We test these aspects.

* how deep a value may be, on either side
* hostile bytes give PayloadNotDecodable and nothing else
"""

from __future__ import annotations

import contextlib
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamresults.errors import PayloadNotDecodable, PayloadNotEncodable
from streamresults.events.forms import DEPTH_MAX, raw_depth
from tests.unit.payload_values import JSON, MSGPACK, VALUES, both, facts, nested

if TYPE_CHECKING:
    from streamresults.events.payloads import Serializer


@both
def test_a_hundred_levels_of_any_container_travel_and_one_more_does_not(serializer: Serializer) -> None:
    """The limit is exact, and what is within it is decoded as well."""
    maps: Any = Decimal(1)
    for _ in range(DEPTH_MAX):
        maps = {1: (maps)} if serializer is JSON else {None: maps}

    assert facts(maps) == facts(serializer.decode(serializer.encode(maps)))
    assert nested(DEPTH_MAX) == serializer.decode(serializer.encode(nested(DEPTH_MAX)))
    with pytest.raises(PayloadNotEncodable, match="nested deeper than 100 levels"):
        serializer.encode(nested(DEPTH_MAX + 1))


@both
def test_a_cycle_is_refused_and_a_shared_value_is_not(serializer: Serializer) -> None:
    """Only a value inside of itself has no end."""
    shared = [1]
    cycle: dict[str, Any] = {"a": []}
    cycle["a"].append(cycle)

    assert [shared, shared] == serializer.decode(serializer.encode([shared, shared]))
    with pytest.raises(PayloadNotEncodable, match=r"^result\['a'\]\[0\]: dict contains itself"):
        serializer.encode(cycle)


@both
def test_a_stack_nearly_used_up_gives_our_own_errors(serializer: Serializer) -> None:
    """A RecursionError never leaves a serializer."""
    value = nested(DEPTH_MAX)
    data = serializer.encode(value)
    seen: set[str] = set()

    def descend() -> None:
        try:
            descend()
        except RecursionError:
            seen.add("bottom")
        else:
            try:
                serializer.encode(value)
                serializer.decode(data)
            except (PayloadNotEncodable, PayloadNotDecodable) as exc:
                seen.add(type(exc).__name__)

    descend()

    assert "bottom" in seen
    assert {"PayloadNotEncodable"} <= seen or {"PayloadNotDecodable"} <= seen


BROKEN_FORMS = [
    {"$sr:nonsense": 1}, {"$sr:nonsense": [1]}, {"$sr:uuid": 1}, {"$sr:uuid": "x"}, {"$sr:bytes": "?"}, {"$sr:int": 1},
    {"$sr:tuple": 1}, {"$sr:tuple": {"a": 1}}, {"$sr:set": [[]]}, {"$sr:map": [1]}, {"$sr:map": [[1]]},
    {"$sr:map": [[[], 1]]}, {"$sr:map": ["ab"]}, {"$sr:uuid": "x", "a": 1}, {"a": 1, "$sr:set": []},
    {"$sr:datetime": {}}, {"$sr:datetime": {"at": "x"}}, {"$sr:datetime": []}, {"$sr:timedelta": [1, 2]},
    {"$sr:timedelta": [10**18, 0, 0]}, {"$sr:datetime": {"at": "2024-01-01", "fold": 7}}, {"$sr:decimal": "one"},
    {"$sr:datetime": {"at": "2024-01-01", "zone": []}}, {"$sr:float": "x"}, {"$sr:date": 5}, {"$sr:time": None},
]  # fmt: skip


@both
@pytest.mark.parametrize("form", BROKEN_FORMS, ids=json.dumps)
def test_a_broken_form_is_not_decodable(serializer: Serializer, form: dict[str, Any]) -> None:
    """Whatever a form holds, only one error comes out."""
    data = json.dumps(form).encode() if serializer is JSON else msgspec.msgpack.encode(form)

    with pytest.raises(PayloadNotDecodable):
        serializer.decode(data)


DEEP = raw_depth(DEPTH_MAX) + 1
HOSTILE = [
    (JSON, b""), (JSON, b"{"), (JSON, b"\xff"), (JSON, b'"\\ud800"'), (JSON, b"1e999"), (JSON, b"1" * 5000),
    (JSON, b"NaN"), (JSON, b"1 2"), (JSON, b"[" * 10**6), (JSON, b'{"a":' * 10**5), (JSON, b"[" * DEEP + b"]" * DEEP),
    (JSON, b'["[",' * DEEP + b"1" + b',"]"]' * DEEP), (JSON, b'["]\\"]",' * DEEP + b"1" + b"]" * DEEP),
    (JSON, b'["\\\\",' * DEEP + b"1" + b"]" * DEEP), (JSON, b"[" * DEEP + b'{"$sr:tuple":[]}' + b"]" * DEEP),
    (JSON, b"\x80\x04cos\nsystem\n"),
    (MSGPACK, b""), (MSGPACK, b"\xc1"), (MSGPACK, b"\x01\x01"), (MSGPACK, b"\xa1\xff"), (MSGPACK, b"\x91" * 10**6),
    (MSGPACK, b"\xdd\xff\xff\xff\xff"), (MSGPACK, b"\xdf\xff\xff\xff\xff"), (MSGPACK, b"\xc6\xff\xff\xff\xff"),
    (MSGPACK, b"\xd4\x05\x00"), (MSGPACK, b"\x81\x80\x01"), (MSGPACK, b"\x91" * DEEP + b"\x01"),
    (MSGPACK, b"\x81\xa1a" * DEEP + b"\x01"), (MSGPACK, b"\x81" + b"\x91" * DEEP + b"\x01\x01"),
]  # fmt: skip


@pytest.mark.parametrize(("serializer", "data"), HOSTILE)
def test_hostile_bytes_are_not_decodable(serializer: Serializer, data: bytes) -> None:
    """Neither depth, nor a length that lies, nor another format's bytes give any other error."""
    with pytest.raises(PayloadNotDecodable):
        serializer.decode(data)


@both
@settings(deadline=None)
@given(data=st.binary(max_size=64) | VALUES.map(MSGPACK.encode).map(lambda data: data[:-1]))
def test_any_bytes_are_a_value_or_not_decodable(serializer: Serializer, data: bytes) -> None:
    """A fuzzer finds no third way."""
    with contextlib.suppress(PayloadNotDecodable):
        serializer.decode(data)


def test_wide_values_are_not_taken_for_deep_ones() -> None:
    """Brackets in strings and many short lists are not depth."""
    wide = [[{"a[[[{{{": ["]\\", '"[']}]] * 500

    assert wide == JSON.decode(JSON.encode(wide))
    assert wide == MSGPACK.decode(MSGPACK.encode(wide))


def test_a_mark_that_another_writer_escaped_is_a_mark() -> None:
    """JSON escapes are orthography: they do not smuggle a form past the check, nor hide one."""
    actual = JSON.decode(b'{"\\u0024sr:tuple":[1]}')

    assert (1,) == actual
