"""
Bytes become the event they were, whoever wrote them.

We test these aspects: round trips; golden records; the Avro project's own vectors; the three depths of decoding agree;
what no reader could take is not written.
"""

from __future__ import annotations

import json
import math
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import fastavro
import msgspec
import pytest
from hypothesis import given, settings

from streamresults.errors import (
    MalformedRecord,
)
from streamresults.events.avro import schema_fingerprint
from streamresults.events.codec import Codec
from streamresults.events.envelope import MAGIC, fingerprint_of
from streamresults.events.event import (
    Event,
    ExceptionNode,
    Frame,
    Payload,
)
from streamresults.events.schema import released_versions
from tests.strategies import events
from tests.unit.codec_samples import BODY, CODEC, HERE, event, golden, prefix_of

if TYPE_CHECKING:
    from pathlib import Path

VECTORS: Final = HERE / "avro_vectors"


INT_MIN, INT_MAX = -(2**31), 2**31 - 1


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
