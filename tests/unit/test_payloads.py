"""
Payloads. We test these aspects.

* plain values look plain on the wire, in both formats
* everything that is encoded comes back equal and of the same type
* what has no form is refused with the path to it
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import json
import math
import threading
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamresults.errors import PayloadNotEncodable
from tests.unit.payload_values import BERLIN, JSON, MSGPACK, TEXTS, VALUES, both, facts

if TYPE_CHECKING:
    from streamresults.events.payloads import Serializer


class Named(NamedTuple):
    """A named tuple."""

    x: int


@dataclasses.dataclass
class Point:
    """A dataclass."""

    x: int


class Colour(enum.Enum):
    """An enum."""

    RED = 1


class Text(str):
    """A subclass of str."""

    __slots__ = ()


class Silent(tzinfo):
    """A zone without an offset."""

    def utcoffset(self, _at: datetime | None) -> None:
        """Know nothing."""

    dst = tzname = utcoffset


class Broken(tzinfo):
    """A zone whose code fails."""

    def utcoffset(self, _at: datetime | None) -> timedelta:
        """Fail."""
        message = "no zone today"
        raise RuntimeError(message)

    dst = tzname = utcoffset  # type: ignore[assignment]


@both
@settings(max_examples=300, deadline=None)
@given(value=VALUES)
def test_every_value_comes_back_equal_and_of_the_same_type(serializer: Serializer, value: Any) -> None:
    """Nothing that is encoded is lost, however it is nested."""
    actual = serializer.decode(serializer.encode(value))

    assert facts(value) == facts(actual)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
)  # fmt: skip


@given(value=PLAIN)
def test_plain_values_are_plain_json_for_any_reader(value: Any) -> None:
    """Another JSON library reads the same value, and we read what it writes."""
    assert value == json.loads(JSON.encode(value))
    assert value == JSON.decode(json.dumps(value).encode())


def test_plain_values_are_written_without_any_extra_byte() -> None:
    """A result reads as the user would have typed it."""
    as_json = JSON.encode({"x": 1, "y": [1, 2.5, None, True, "z"]})
    as_msgpack = MSGPACK.encode({1: b"\x00"})

    assert b'{"x":1,"y":[1,2.5,null,true,"z"]}' == as_json
    assert b"\x81\x01\xc4\x01\x00" == as_msgpack


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        ('{"$sr:tuple":[1]}', (1,)),
        ('{"$sr:map":[[1,2]]}', {1: 2}),
        ('{"$sr:map":[["$sr:uuid",1]]}', {"$sr:uuid": 1}),
        ('{"$sr:bytes":"AA=="}', b"\x00"),
        ('{"$sr:float":"nan"}', math.nan),
        ('{"$sr:int":"0x10000000000000000"}', 2**64),
        (
            '{"$sr:datetime":{"at":"2024-07-01T00:00:00+02:00","zone":"Europe/Berlin"}}',
            datetime(2024, 7, 1, tzinfo=BERLIN),
        ),
    ],
)
def test_a_form_is_written_as_documented(expected: str, value: Any) -> None:
    """The forms are a wire contract: another language may read them."""
    assert expected == JSON.encode(value).decode()


@both
def test_a_bytearray_comes_back_as_bytes(serializer: Serializer) -> None:
    """The one type that changes, and says so."""
    actual = serializer.decode(serializer.encode({"a": bytearray(b"\x00\xff")}))

    assert {"a": b"\x00\xff"} == actual


@both
def test_integers_of_any_size_come_back(serializer: Serializer) -> None:
    """Neither 64 bits nor Python's limit of 4300 digits is a limit."""
    for value in (2**63, 2**64 - 1, 2**64, -(2**63) - 1, -(10**4299), 10**5000):
        assert value == serializer.decode(serializer.encode([value]))[0]  # type: ignore[index]


def test_an_instant_is_kept_when_the_zone_is_unknown_or_has_other_rules_here() -> None:
    """The offset decides, the zone's name is a convenience."""
    for zone in ("Mars/Olympus", "Asia/Tokyo", "../../etc/passwd"):
        data = json.dumps({"$sr:datetime": {"at": "2024-07-01T00:00:00+02:00", "zone": zone}}).encode()
        actual = JSON.decode(data)

        assert datetime.fromisoformat("2024-07-01T00:00:00+02:00") == actual


@pytest.mark.parametrize(
    ("path", "hint", "value"),
    [
        ("result", "object cannot be encoded as json", object()),
        ("result['a'][3]", "_thread.lock cannot be encoded", {"a": [0, 1, 2, threading.Lock()]}),
        ("result['a'][0]", ".value or its .name", {"a": (Colour.RED,)}),
        ("result[0]", "dataclasses.asdict", [Point(1)]),
        ("result[0]", "._asdict()", [Named(1)]),
        ("result", "str(it)", Text("x")),
        ("result['k']", "dict(it)", {"k": collections.OrderedDict()}),
        ("result.keys()[0]", "str(it)", {Text("x"): 1}),
        ("result[0]{…}", "cannot be encoded", [{object()}]),
        ("result[7]", "cannot be encoded", {7: object()}),
        ("result[<tuple>]", "cannot be encoded", {(1,): object()}),
        ("result", "raise it", ValueError("x")),
        ("result['a']", "lone surrogate at index 1", {"a": "x\ud800"}),
        ("result.keys()", "lone surrogate at index 0", {"\ud800": 1}),
        ("result", "gives no offset", datetime(2024, 1, 1, tzinfo=Silent())),
        ("result", "no zone today", datetime(2024, 1, 1, tzinfo=Broken())),
    ],
)
def test_what_has_no_form_is_refused_with_its_path_and_what_to_do(path: str, hint: str, value: Any) -> None:
    """A worker learns where in its result the trouble is."""
    with pytest.raises(PayloadNotEncodable) as caught:
        JSON.encode(value)

    assert path == caught.value.path
    assert str(caught.value).startswith(f"{path}: ")
    assert hint in str(caught.value)


def test_the_caller_names_the_value_in_paths() -> None:
    """Not everything encoded is a result."""
    with pytest.raises(PayloadNotEncodable, match=r"^kwargs\['a'\]: object cannot be encoded as msgpack; "):
        MSGPACK.encode({"a": object()}, path="kwargs")
