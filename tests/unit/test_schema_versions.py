"""
Records of other versions are read by their beginning, and whole through their own schema.

We test these aspects: versions that are newer, unknown or a lie.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from streamresults.errors import (
    MalformedRecord,
    TrailingBytes,
    TruncatedRecord,
    UnknownFingerprint,
)
from streamresults.events.avro import schema_fingerprint
from streamresults.events.codec import Codec
from streamresults.events.envelope import MAGIC
from streamresults.events.event import (
    Payload,
)
from streamresults.events.schema import PREFIX_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable

from tests.unit.codec_samples import BODY, CODEC, GOLDEN, NEWEST, datum_of, event, outcome, prefix_of, version, written

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
