"""
The schema files are append-only: what was released stays readable for ever.

We test these aspects: names and numbers; pinned fingerprints; the fixed prefix; what FULL_TRANSITIVE asks of every
pair of versions; and that an installed package finds its schemas.
"""

from __future__ import annotations

import json
import re
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from streamresults.errors import ConfigurationError
from streamresults.events.avro import schema_fingerprint
from streamresults.events.codec import Codec
from streamresults.events.schema import HEAD_FIELDS, PREFIX_FIELDS, SchemaVersion, first_fields, released_versions

#: One line for each release; a line is never changed.
RELEASED: Final = {
    "0001_initial.avsc": "9ecedd03634a2d0c",
}
PREFIX: Final = ("kind", "event_id", "task_id", "state", "terminal", "attempt", "expires_after_ms")

every_version = pytest.mark.parametrize("version", released_versions(), ids=lambda version: version.name)


def fields(version: SchemaVersion, *path: str) -> list[dict[str, Any]]:
    """Return the fields of the event, or of the record that a path of names leads to."""
    found: Any = version.definition
    for name in path:
        found = next(field for field in found["fields"] if field["name"] == name)["type"]
        found = found.get("items", found)
    return list(found["fields"])


def names(version: SchemaVersion, *path: str) -> list[str]:
    """Return the fields' names."""
    return [field["name"] for field in fields(version, *path)]


def shape(definition: Any) -> Any:
    """Return a type without what it says in words: what a reader's bytes depend on, and the enum's default."""
    if isinstance(definition, dict):
        return {key: shape(value) for key, value in definition.items() if key not in ("doc", "aliases")}
    return [shape(one) for one in definition] if isinstance(definition, list) else definition


RECORDS: Final = (
    (),
    ("payload",),
    ("payload", "reference"),
    ("exception",),
    ("exception", "arguments"),
    ("exception", "frames"),
)


def test_every_file_in_the_folder_is_a_version() -> None:
    """A file that is no version is a mistake in its name."""
    folder = resources.files("streamresults.schemas").joinpath("result_event")
    files = sorted(file.name for file in folder.iterdir() if not file.name.startswith("_"))

    assert files == [version.name for version in released_versions()]


def test_versions_are_numbered_without_gaps() -> None:
    """Versions count up from 1 in the order of their names."""
    numbers = [version.number for version in released_versions()]

    assert list(range(1, len(numbers) + 1)) == numbers
    assert [f"{number:04}" for number in numbers] == [version.name[:4] for version in released_versions()]


def test_released_fingerprints_never_change() -> None:
    """A released file is never edited, and a new one is entered here when it is released."""
    found = {version.name: schema_fingerprint(version.definition).hex() for version in released_versions()}

    assert found == RELEASED


def test_no_two_versions_share_a_fingerprint() -> None:
    """A fingerprint names one version for ever; two that differ in defaults or words alone would share theirs."""
    found = [schema_fingerprint(version.definition) for version in released_versions()]

    assert len(found) == len(set(found))


def test_the_newest_version_is_written() -> None:
    """What is encoded carries the fingerprint of the last file, and its JSON is that file's."""
    codec, newest = Codec(), released_versions()[-1]

    assert schema_fingerprint(newest.definition) == codec.fingerprint
    assert newest.definition == json.loads(codec.schema_json)


@every_version
def test_the_file_is_found_as_a_package_s_resource(version: SchemaVersion) -> None:
    """Wheels, zips and checkouts give the same bytes."""
    text = resources.files("streamresults.schemas").joinpath("result_event", version.name).read_text(encoding="utf-8")

    assert version.definition == json.loads(text)


@every_version
def test_the_record_is_called_the_same_in_every_version(version: SchemaVersion) -> None:
    """Readers resolve records by name."""
    definition = version.definition

    assert ("record", "ResultEvent", "streamresults") == tuple(definition[key] for key in ("type", "name", "namespace"))


@every_version
def test_every_version_begins_with_the_fixed_prefix(version: SchemaVersion) -> None:
    """The same seven fields of the same types in the same order, so that a version never seen can be begun."""
    first = released_versions()[0]

    assert list(PREFIX) == names(version)[:PREFIX_FIELDS]
    assert shape(fields(first)[:PREFIX_FIELDS]) == shape(fields(version)[:PREFIX_FIELDS])


@every_version
def test_the_payload_follows_the_prefix(version: SchemaVersion) -> None:
    """Most readers need no more than the prefix and the payload."""
    assert names(version)[HEAD_FIELDS - 1] == "payload"


@every_version
def test_every_enum_has_a_default(version: SchemaVersion) -> None:
    """A reader that does not know a symbol falls back on the default."""
    enums = [one for one in types_of(version.definition) if isinstance(one, dict) and one.get("type") == "enum"]

    assert enums
    assert all(one["default"] in one["symbols"] for one in enums)


@every_version
@pytest.mark.parametrize("path", RECORDS, ids=".".join)
def test_fields_are_only_ever_appended(version: SchemaVersion, path: tuple[str, ...]) -> None:
    """No version removes, renames, moves or retypes a field of an earlier one."""
    for earlier in released_versions()[: version.number]:
        before = fields(earlier, *path)
        here = fields(version, *path)[: len(before)]

        assert [(field["name"], kind(field)) for field in before] == [(field["name"], kind(field)) for field in here]


@every_version
@pytest.mark.parametrize("path", RECORDS, ids=".".join)
def test_every_field_added_later_has_a_default(version: SchemaVersion, path: tuple[str, ...]) -> None:
    """A newer reader fills in what an older record lacks (FULL_TRANSITIVE)."""
    first = names(released_versions()[0], *path)
    without = [f["name"] for f in fields(version, *path) if f["name"] not in first and "default" not in f]

    assert [] == without


def test_a_record_of_any_version_resolves_to_any_other() -> None:
    """Every pair of neighbours has the same record names, so that resolution finds its way."""
    for older, newer in pairwise(released_versions()):
        assert named(older) <= named(newer)


@every_version
def test_first_fields_leave_the_rest_of_the_schema_alone(version: SchemaVersion) -> None:
    """The schema of a beginning is the schema with fewer fields; the original is not touched."""
    before = json.dumps(version.definition)
    begun = first_fields(version.definition, PREFIX_FIELDS)

    assert {**version.definition, "fields": fields(version)[:PREFIX_FIELDS]} == begun
    assert before == json.dumps(version.definition)


def test_a_schema_without_a_list_of_fields_is_an_error() -> None:
    """What is no record has no beginning."""
    with pytest.raises(ConfigurationError, match="fields"):
        first_fields({"type": "record", "fields": "all"}, PREFIX_FIELDS)


def test_the_readme_shows_the_golden_record_as_it_is() -> None:
    """The annotated bytes, put together, are the record; each line's offset is where its bytes begin."""
    value = (Path(__file__).parent / "golden" / "0001" / "task_success_payload_null.bin").read_bytes()
    text = resources.files("streamresults.schemas").joinpath("README.md").read_text(encoding="utf-8")
    shown = b""
    for line in re.findall(r"^ +(\d+  [0-9a-f]{2}(?: [0-9a-f]{2})*)  ", text, re.MULTILINE):
        offset, _, digits = line.partition("  ")

        assert len(shown) == int(offset)

        shown += bytes.fromhex(digits)

    assert value == shown


def test_the_readme_lists_every_version() -> None:
    """Each file stands there with its fingerprint, in the order of the wire and as a number."""
    text = resources.files("streamresults.schemas").joinpath("README.md").read_text(encoding="utf-8")
    for name, digits in RELEASED.items():
        wire = bytes.fromhex(digits)

        assert f"| `{name}` | `{wire.hex(' ')}` | `0x{wire[::-1].hex()}` |" in text


def kind(field: dict[str, Any]) -> Any:
    """Return a field's type; of a record its name alone, because its fields are compared on their own."""
    found = shape(field["type"])
    items = found.get("items", found) if isinstance(found, dict) else found
    return items["name"] if isinstance(items, dict) and items.get("type") == "record" else found


def types_of(definition: Any) -> list[Any]:
    """Return every type inside a type, itself first."""
    found = [definition]
    if isinstance(definition, list):
        found += [inner for one in definition for inner in types_of(one)]
    elif isinstance(definition, dict):
        inside = [definition.get(key) for key in ("type", "items", "values")]
        inside += [field["type"] for field in definition.get("fields", ())]
        found += [inner for one in inside if isinstance(one, dict | list) for inner in types_of(one)]
    return found


def named(version: SchemaVersion) -> set[str]:
    """Return the names of the types that a version defines."""
    return {one["name"] for one in types_of(version.definition) if isinstance(one, dict) and "name" in one}
