"""
Bytes become the event they were, or a typed error that says why they cannot.

We test these aspects: round trips; golden records; the Avro project's own vectors; the three depths of decoding agree;
versions that are newer, unknown or a lie; and hostile bytes, which are cut, extended, flipped and blown up at every
place without anything but a ``RecordError`` coming out.
"""

from __future__ import annotations

import json
import math
import tracemalloc
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import fastavro
import msgspec
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
    UnknownFingerprint,
)
from streamresults.events.codec import MAGIC, Codec, check_key, fingerprint_of, schema_fingerprint, task_id_of
from streamresults.events.event import (
    TASK_ID_MAX_BYTES,
    Event,
    ExceptionNode,
    Frame,
    Payload,
    Prefix,
)
from streamresults.events.schema import PREFIX_FIELDS, released_versions
from tests.strategies import events

if TYPE_CHECKING:
    from collections.abc import Callable

HERE: Final = Path(__file__).parent
GOLDEN: Final = sorted((HERE / "golden").glob("[0-9]*/*.bin"))
VECTORS: Final = HERE / "avro_vectors"
CODEC: Final = Codec()
NEWEST: Final = released_versions()[-1].definition
BODY: Final = 10
INT_MIN, INT_MAX = -(2**31), 2**31 - 1
LONG_MAX: Final = 2**63 - 1

golden = pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}-{path.stem}")


def event(**fields: Any) -> Event:
    """Build a small event whose bytes are always the same."""
    return Event(**{"task_id": "t", "state": "SUCCESS", "event_id": bytes(16), "occurred_at_us": 1, **fields})


def prefix_of(whole: Event) -> Prefix:
    """Return the beginning of an event."""
    return Prefix(**{name: getattr(whole, name) for name in Prefix.__struct_fields__})


def version(*added: dict[str, Any], keep: int | None = None) -> dict[str, Any]:
    """Return a schema with the first fields of the newest version and some more."""
    copy: dict[str, Any] = json.loads(json.dumps(NEWEST))
    copy["fields"] = [*copy["fields"][:keep], *added]
    return copy


def written(definition: dict[str, Any], datum: dict[str, Any]) -> bytes:
    """Write a record as a publisher of another version does."""
    out = BytesIO()
    out.write(MAGIC + schema_fingerprint(definition))
    fastavro.schemaless_writer(out, fastavro.parse_schema(definition, named_schemas={}), datum)
    return out.getvalue()


def datum_of(value: bytes) -> dict[str, Any]:
    """Read a record of the newest version with the Avro library alone."""
    found = fastavro.schemaless_reader(BytesIO(value[BODY:]), fastavro.parse_schema(NEWEST, named_schemas={}), None)
    assert isinstance(found, dict)
    return found


def varint(number: int) -> bytes:
    """Return an Avro long: zigzag, then seven bits a byte, the lowest first."""
    left = (number << 1) ^ (number >> 63)
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*out, left])


# Round trips and depths


@given(events)
@settings(max_examples=300, deadline=None)
def test_every_event_survives_its_bytes(whole: Event) -> None:
    """Decoding what was encoded gives an equal event."""
    assert whole == CODEC.decode(CODEC.encode(whole))


@given(events)
@settings(deadline=None)
def test_the_three_depths_agree(whole: Event) -> None:
    """The prefix and the head are the beginning of the whole."""
    value = CODEC.encode(whole)

    assert prefix_of(whole) == CODEC.decode_prefix(value)
    assert (prefix_of(whole), whole.payload) == CODEC.decode_head(value)[:2]


@given(events)
@settings(deadline=None)
def test_bytes_do_not_depend_on_the_encoder(whole: Event) -> None:
    """Two codecs write equal bytes for equal events, so a repeated publish is the same record."""
    assert CODEC.encode(whole) == Codec().encode(whole)


@pytest.mark.parametrize("runtime", [math.inf, -math.inf, math.nan, -0.0, 5e-324])
def test_every_double_survives(runtime: float) -> None:
    """A runtime is any double, bit for bit."""
    found = CODEC.decode(CODEC.encode(event(runtime=runtime))).runtime

    assert runtime.hex() == found.hex()


def test_no_payload_is_not_a_payload_of_null() -> None:
    """None, an encoded null and empty bytes are three different payloads."""
    bodies = (None, b"null", b"")
    found = tuple(CODEC.decode_head(CODEC.encode(event(payload=Payload(body=body))))[1].body for body in bodies)

    assert bodies == found


# Golden records


@golden
def test_golden_records_decode_to_what_they_always_did(path: Path) -> None:
    """Every record ever written is read the same for ever."""
    expected = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=Event)

    assert expected == CODEC.decode(path.read_bytes())


@golden
def test_golden_records_have_the_same_beginning_at_every_depth(path: Path) -> None:
    """Prefix and head of a golden record are those of its event."""
    expected = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=Event)

    assert prefix_of(expected) == CODEC.decode_prefix(path.read_bytes())
    assert (prefix_of(expected), expected.payload) == CODEC.decode_head(path.read_bytes())[:2]


@golden
def test_golden_records_are_written_the_same_today(path: Path) -> None:
    """The version that is written writes each of its golden records byte for byte."""
    value = path.read_bytes()
    if fingerprint_of(value) != CODEC.fingerprint:
        pytest.skip("a version that is only read")

    assert value == CODEC.encode(CODEC.decode(value))


def test_every_version_has_golden_records_of_every_kind() -> None:
    """No version is released without its golden records, each with its expected event."""
    kinds = {"task_success_minimal", "task_success_extended", "task_failure_chain", "group_saved"}
    kinds |= {"task_success_no_payload", "task_success_payload_null"}
    for released in released_versions():
        folder = HERE / "golden" / f"{released.number:04}"
        names = {path.stem for path in folder.glob("*.bin")}

        assert kinds <= names
        assert names == {path.stem for path in folder.glob("*.json")}


# The Avro project's vectors


def published() -> list[tuple[Any, int]]:
    """Read the schemas of schema-tests.txt that have a fingerprint."""
    found: list[tuple[Any, int]] = []
    schema, heredoc = "", False
    for line in (VECTORS / "schema-tests.txt").read_text().splitlines():
        if heredoc:
            heredoc = line != "INPUT"
            schema += line if heredoc else ""
        elif line == "<<INPUT":
            schema, heredoc = "", True
        elif line.startswith("<<INPUT "):
            schema = line.removeprefix("<<INPUT ")
        elif line.startswith("<<fingerprint "):
            found.append((json.loads(schema), int(line.removeprefix("<<fingerprint "))))
    return found


def test_all_published_vectors_are_read() -> None:
    """The vector file holds 26 fingerprints."""
    assert len(published()) == 26


@pytest.mark.parametrize(("schema", "number"), published())
def test_fingerprints_are_those_the_avro_project_publishes(schema: Any, number: int) -> None:
    """CRC-64-AVRO of the parsing canonical form, in little-endian byte order."""
    assert number.to_bytes(8, "little", signed=True) == schema_fingerprint(schema)


def test_single_object_encoding_is_what_java_writes() -> None:
    """A record written by the Avro project's Java code carries the header that we would write."""
    schema = json.loads((VECTORS / "test_schema.avsc").read_text())
    value = (VECTORS / "test_message.bin").read_bytes()
    body = fastavro.schemaless_reader(BytesIO(value[BODY:]), schema, None)

    assert MAGIC + schema_fingerprint(schema) == value[:BODY]
    assert fingerprint_of(value) == schema_fingerprint(schema)
    assert {"id": 42, "name": "Bill", "tags": ["dog_lover", "cat_hater"]} == body


# Ranges at encoding


@pytest.mark.parametrize("name", ["attempt", "group_index", "chord_size", "retries"])
@pytest.mark.parametrize("number", [INT_MIN, INT_MAX])
def test_an_int_goes_to_its_limits(name: str, number: int) -> None:
    """Every 32-bit number is written and read."""
    assert number == getattr(CODEC.decode(CODEC.encode(event(**{name: number}))), name)


@pytest.mark.parametrize("name", ["attempt", "group_index", "chord_size", "retries"])
@pytest.mark.parametrize("number", [INT_MIN - 1, INT_MAX + 1, 2**40, 2**70])
def test_an_int_beyond_32_bits_is_refused(name: str, number: int) -> None:
    """The Avro library would write it without a word, and readers in other languages would break."""
    with pytest.raises(MalformedRecord, match=name):
        CODEC.encode(event(**{name: number}))


@pytest.mark.parametrize(
    "node",
    [
        ExceptionNode(module="m", qualname="q", cause=2**31),
        ExceptionNode(module="m", qualname="q", context=-(2**31) - 1),
        ExceptionNode(module="m", qualname="q", members=(0, 2**40)),
        ExceptionNode(module="m", qualname="q", frames=(Frame(file="f", line=2**31, function="g"),)),
    ],
)
def test_an_exception_s_numbers_beyond_32_bits_are_refused(node: ExceptionNode) -> None:
    """Indexes and line numbers are ints like any other."""
    with pytest.raises(MalformedRecord, match=r"exception\[0\]"):
        CODEC.encode(event(exception=(node,)))


@pytest.mark.parametrize(
    "fields",
    [
        {"state": ""},
        {"state": "x" * 129},
        {"expires_after_ms": -1},
        {"expires_after_ms": 2**63},
        {"occurred_at_us": 253_402_300_800_000_000},
        {"started_at_us": -62_135_596_800_000_001},
        {"kind": "chord"},
        {"event_id": bytes(15)},
        {"event_id": bytes(17)},
        {"task_id": "\ud800"},
        {"task_id": None},
        {"attempt": "1"},
        {"state": None},
        {"labels": {"a": 1}},
        {"payload": Payload(body="text")},  # type: ignore[arg-type]  # the mistake that is tested
        {"exception": (None,)},
    ],
    ids=repr,
)
def test_what_no_reader_could_take_is_not_written(fields: dict[str, Any]) -> None:
    """Encoding refuses what decoding would refuse, and names the task."""
    named = repr(fields.get("task_id", "t")).replace("\\", r"\\")
    with pytest.raises(MalformedRecord, match=f"event of task {named}"):
        CODEC.encode(event(**fields))


# Hostile bytes

DEPTHS: Final[tuple[Callable[[bytes], Any], ...]] = (CODEC.decode, CODEC.decode_head, CODEC.decode_prefix)


def outcome(read: Callable[[bytes], Any], value: bytes) -> Any:
    """Return what is read, or the class of the typed error; anything else is raised."""
    try:
        return read(value)
    except RecordError as exc:
        return type(exc) if str(exc) else "an error without a word"


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


# Other versions

PRIORITY: Final = {"name": "priority", "type": "int", "default": 0}
STRANGE: Final = {"name": "strange", "type": {"type": "array", "items": ["null", "double", "string"]}, "default": []}


def test_the_prefix_of_a_version_never_seen_is_read() -> None:
    """A version that appends fields begins like ours, and its prefix needs no schema."""
    whole = event(attempt=7, state="FAILURE")
    value = written(version(PRIORITY), {**datum_of(CODEC.encode(whole)), "priority": 3})

    assert prefix_of(whole) == CODEC.decode_prefix(value)


def test_the_prefix_does_not_care_what_follows() -> None:
    """A version that shares the prefix alone is still read as far as that goes."""
    whole = event(task_id="ü", expires_after_ms=5)
    datum = {**datum_of(CODEC.encode(whole)), "strange": [None, 1.5, "x"]}
    value = written(version(STRANGE, keep=PREFIX_FIELDS), datum)

    assert prefix_of(whole) == CODEC.decode_prefix(value)


@pytest.mark.parametrize("read", [CODEC.decode, CODEC.decode_head, CODEC.require])
def test_a_version_that_nobody_knows_is_named(read: Callable[[bytes], Any]) -> None:
    """The error names the fingerprint, as it stands on the wire."""
    definition = version(PRIORITY)
    with pytest.raises(UnknownFingerprint) as caught:
        read(written(definition, {**datum_of(CODEC.encode(event())), "priority": 3}))

    assert schema_fingerprint(definition).hex() == caught.value.fingerprint
    assert caught.value.fingerprint in str(caught.value)


class Topic:
    """A schemas topic that counts how often it is asked."""

    def __init__(self, *definitions: dict[str, Any]) -> None:
        self.texts = {schema_fingerprint(one): json.dumps(one) for one in definitions}
        self.asked: list[bytes] = []

    def __call__(self, fingerprint: bytes) -> str | None:
        """Return the JSON of a schema."""
        self.asked.append(fingerprint)
        return self.texts.get(fingerprint)


def test_a_newer_version_is_read_through_its_schema() -> None:
    """The previous release reads the next one's whole records: what it does not know is left out."""
    whole = event(payload=Payload(content_type="x", body=b"y"), labels={"a": "b"}, stamps=b"s")
    definition = version(PRIORITY, STRANGE)
    topic = Topic(definition)
    codec = Codec(topic)
    value = written(definition, {**datum_of(CODEC.encode(whole)), "priority": 3, "strange": [None]})

    assert whole == codec.decode(value)
    assert (prefix_of(whole), whole.payload) == codec.decode_head(value)[:2]
    assert [schema_fingerprint(definition)] == topic.asked


def test_a_newer_version_s_payload_may_have_grown() -> None:
    """A field appended to the payload is passed over, and the fields behind it are read."""
    whole = event(payload=Payload(content_type="x", body=b"y"), queue="q")
    definition = version()
    definition["fields"][PREFIX_FIELDS]["type"]["fields"].append({"name": "rows", "type": "long", "default": 0})
    datum = datum_of(CODEC.encode(whole))
    datum["payload"]["rows"] = 5
    codec, value = Codec(Topic(definition)), written(definition, datum)

    assert whole == codec.decode(value)
    assert (prefix_of(whole), whole.payload) == codec.decode_head(value)[:2]


def test_a_record_cut_in_a_newer_version_is_truncated() -> None:
    """Reading through another schema tells damage just as exactly."""
    definition = version(PRIORITY)
    codec = Codec(Topic(definition))
    value = written(definition, {**datum_of(CODEC.encode(event())), "priority": 3})
    for end in range(len(MAGIC), len(value)):
        assert TruncatedRecord == outcome(codec.decode, value[:end])

    assert TrailingBytes == outcome(codec.decode, value + b"\x00")


def test_the_topic_is_asked_again_for_what_it_did_not_have() -> None:
    """A schema that arrives late is found then, and asked for no more."""
    definition = version(PRIORITY)
    topic = Topic()
    codec, value = Codec(topic), written(definition, {**datum_of(CODEC.encode(event())), "priority": 3})

    assert UnknownFingerprint == outcome(codec.require, value)

    topic.texts = Topic(definition).texts
    codec.require(value)
    codec.decode(value)

    assert len(topic.asked) == 2


def test_what_is_built_in_is_never_asked_for() -> None:
    """Records of released versions need no schemas topic."""
    topic = Topic()
    codec = Codec(topic)
    for path in GOLDEN:
        codec.require(path.read_bytes())
        codec.decode(path.read_bytes())

    assert [] == topic.asked


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", '"string"', '{"type":"record"}', '{"type":"record","name":"X","fields":5}', "\x00" * 50],
)
@pytest.mark.parametrize("name", ["decode", "decode_head", "require"])
def test_what_is_no_schema_makes_a_malformed_record(text: str, name: str) -> None:
    """Anything may stand in a topic: no error but ours comes out."""
    value = MAGIC + b"8 bytes!" + bytes(80)
    with pytest.raises(MalformedRecord, match=b"8 bytes!".hex()):
        getattr(Codec(lambda _: text), name)(value)


@pytest.mark.parametrize("name", ["decode", "decode_head", "require"])
def test_another_schema_under_a_fingerprint_is_refused(name: str) -> None:
    """A schema counts only under its own fingerprint; a false one is not kept."""
    value = MAGIC + b"8 bytes!" + bytes(80)
    with pytest.raises(MalformedRecord, match="another schema"):
        getattr(Codec(lambda _: json.dumps(version(PRIORITY))), name)(value)


@pytest.mark.parametrize(
    "definition",
    [
        {"type": "record", "name": "X", "fields": [{"name": "a", "type": "long"}]},
        {**NEWEST, "fields": []},
        {**version(), "name": "Other"},
        {**version(), "fields": version()["fields"][::-1]},
    ],
    ids=["foreign", "empty", "renamed", "reversed"],
)
@pytest.mark.parametrize("name", ["decode", "decode_head", "require"])
def test_a_schema_that_begins_otherwise_is_refused(definition: dict[str, Any], name: str) -> None:
    """Without the fixed prefix it is no version of the event: depths would disagree on what the record says."""
    value = MAGIC + schema_fingerprint(definition) + bytes(80)
    with pytest.raises(MalformedRecord):
        getattr(Codec(Topic(definition)), name)(value)


@pytest.mark.parametrize("added", [(), (STRANGE,), ({"name": "payload", "type": "string"},)], ids=len)
def test_a_schema_without_our_payload_makes_a_typed_error(added: tuple[dict[str, Any], ...]) -> None:
    """A version that shares nothing but the prefix cannot be read as an event, and says so."""
    definition = version(*added, keep=PREFIX_FIELDS)
    codec = Codec(Topic(definition))
    value = MAGIC + schema_fingerprint(definition) + CODEC.encode(event())[BODY:]
    for read in (codec.decode, codec.decode_head):
        assert MalformedRecord == outcome(read, value)

    assert prefix_of(event()) == codec.decode_prefix(value)


# Keys


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
