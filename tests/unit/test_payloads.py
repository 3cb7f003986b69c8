"""
Payloads. We test these aspects.

* plain values look plain on the wire, in both formats
* everything that is encoded comes back equal and of the same type
* what has no form is refused with the path to it
* hostile bytes give PayloadNotDecodable and nothing else
* content types are checked before any byte is looked at
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import enum
import json
import math
import sys
import threading
import zoneinfo
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamresults.errors import ConfigurationError, ContentTypeRefused, PayloadNotDecodable, PayloadNotEncodable
from streamresults.events.forms import DEPTH_MAX, raw_depth
from streamresults.events.json_serializer import JsonSerializer
from streamresults.events.msgpack_serializer import MsgpackSerializer
from streamresults.events.payloads import Serializer, SerializerRegistry, default_registry

JSON = JsonSerializer()
MSGPACK = MsgpackSerializer()
both = pytest.mark.parametrize("serializer", [JSON, MSGPACK], ids=lambda serializer: serializer.name)


def is_hashable(value: Any) -> bool:
    """Tell whether a value can be a key."""
    try:
        hash(value)
    except (TypeError, OverflowError):
        return False
    return True


def facts(value: Any) -> Any:
    """Describe a value so that equal descriptions mean equal values of equal types, NaN and -0.0 included."""
    if type(value) in (list, tuple):
        return type(value), [facts(item) for item in value]
    if type(value) in (set, frozenset):
        return type(value), sorted(map(repr, map(facts, value)))
    if type(value) is dict:
        return dict, [(facts(key), facts(item)) for key, item in value.items()]
    if type(value) in (datetime, time):
        return type(value), value.isoformat(), str(value.tzinfo), value.fold
    return type(value), repr(value)


BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
ZONES = st.sampled_from([None, UTC, BERLIN, zoneinfo.ZoneInfo("America/New_York"), timezone(timedelta(minutes=-91))])
FOLDS = st.sampled_from([0, 1])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**70), 2**70), st.floats(), TEXTS, st.binary(max_size=8),
    st.decimals(), st.uuids(), st.dates(), st.timedeltas(),
    st.builds(lambda at, zone, fold: at.replace(tzinfo=zone, fold=fold), st.datetimes(), ZONES, FOLDS),
    st.builds(lambda at, zone, fold: at.replace(tzinfo=zone, fold=fold), st.times(), ZONES, FOLDS),
)  # fmt: skip
#: A signaling NaN cannot be hashed, nor can an aware time at either end of the calendar.
HASHABLES = st.recursive(
    LEAVES.filter(is_hashable), lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=3
)
MARKED = st.sampled_from(["$sr:", "$sr:uuid", "$sr:tuple", "$sr:map", "$sr", "x"])
VALUES = st.recursive(
    LEAVES | MARKED,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(TEXTS, inner, max_size=4),
        st.dictionaries(MARKED, inner, max_size=3),
        st.dictionaries(HASHABLES, inner, max_size=3),
        st.sets(HASHABLES, max_size=3),
        st.frozensets(HASHABLES, max_size=3),
    ),
    max_leaves=12,
)


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


def nested(levels: int) -> Any:
    """Return a list in a list, so many levels deep."""
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


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


class Recorder:
    """A serializer that remembers whether it was asked to decode, and fails."""

    name = "recorder"
    content_type = "application/x-recorder"

    def __init__(self) -> None:
        self.decoded = 0

    def encode(self, value: object, *, path: str = "result") -> bytes:
        """Fail."""
        raise NotImplementedError(path, value)

    def decode(self, data: bytes) -> object:
        """Count, and fail."""
        self.decoded += 1
        raise ZeroDivisionError(data)


@pytest.mark.parametrize("content_type", ["application/x-recorder", "application/x-python-serialize", "", "Text/x"])
def test_a_content_type_off_the_accept_list_is_refused_unseen(content_type: str) -> None:
    """The accept list comes before any decoding."""
    recorder = Recorder()
    registry = SerializerRegistry((JSON, recorder))

    with pytest.raises(ContentTypeRefused) as caught:
        registry.decode(content_type, b"1", accept=frozenset({"application/json"}))

    assert 0 == recorder.decoded
    assert content_type == caught.value.content_type


def test_an_unknown_content_type_is_refused_even_if_accepted() -> None:
    """Accepting a type does not make anybody able to read it."""
    with pytest.raises(ContentTypeRefused):
        default_registry().decode(
            "application/x-python-serialize", b"1", accept=frozenset({"application/x-python-serialize"})
        )
    with pytest.raises(ContentTypeRefused):
        default_registry().decode("application/x-python-serialize", b"1")


def test_a_foreign_serializer_s_error_is_named_ours() -> None:
    """One bad payload is one PayloadNotDecodable, whoever decodes it."""
    with pytest.raises(PayloadNotDecodable, match="ZeroDivisionError"):
        SerializerRegistry((Recorder(),)).decode("application/x-recorder", b"1")


def test_pickle_bytes_labelled_json_are_never_unpickled() -> None:
    """A label does not choose another decoder."""
    before = set(sys.modules)

    with pytest.raises(PayloadNotDecodable):
        default_registry().decode("application/json", b"cthis\nFooBar\n.")
    assert before == set(sys.modules)


def test_a_registry_resolves_names_into_an_accept_list() -> None:
    """Settings may say json or application/json."""
    registry = default_registry()

    actual = registry.content_types(["json", "application/x-msgpack"])

    assert {"application/json", "application/x-msgpack"} == actual
    assert registry.by_name("json") is registry.by_content_type("application/json")
    with pytest.raises(ConfigurationError, match="'yaml'; registered: json, msgpack"):
        registry.content_types(["yaml"])


def test_no_serializer_replaces_another() -> None:
    """A plugin cannot take over a name or a content type, and two registries share nothing."""
    registry = default_registry()
    taken = Recorder()
    taken.content_type = JSON.content_type

    with pytest.raises(ConfigurationError):
        registry.register(JsonSerializer())
    with pytest.raises(ConfigurationError):
        registry.register(taken)
    registry.register(Recorder())
    with pytest.raises(ConfigurationError):
        default_registry().by_name("recorder")
