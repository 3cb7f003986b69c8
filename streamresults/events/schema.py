"""Finds the schema files, orders their versions and names the one that is written. No Avro library is met here."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Final, NamedTuple

import msgspec

from streamresults.errors import ConfigurationError

#: How many fields every version begins with, in the same order; see ``schemas/README.md``.
PREFIX_FIELDS: Final = 7
#: The same with the payload, which follows the prefix at once.
HEAD_FIELDS: Final = 8

_FILE_NAME: Final = re.compile(r"(?P<number>\d{4})_[a-z0-9_]+\.avsc")


class SchemaVersion(NamedTuple):
    """One released version of the event's schema."""

    number: int
    name: str
    #: The schema as its file has it, parsed as JSON.
    definition: dict[str, object]


@cache
def released_versions() -> tuple[SchemaVersion, ...]:
    """
    Return every version of the event's schema, oldest first; the last one is written, all of them are read.

    Raises:
        ConfigurationError: The package was installed without its schemas.
    """
    try:
        files = list(resources.files("streamresults.schemas").joinpath("result_event").iterdir())
    except (ModuleNotFoundError, FileNotFoundError) as exc:
        msg = "the schemas are missing from the installed package: install streamresults again"
        raise ConfigurationError(msg) from exc
    found = []
    for file in files:
        match = _FILE_NAME.fullmatch(file.name)
        if match:
            definition = msgspec.json.decode(file.read_bytes(), type=dict[str, object])
            found.append(SchemaVersion(int(match["number"]), file.name, definition))
    return tuple(sorted(found))


def first_fields(definition: dict[str, object], count: int) -> dict[str, object]:
    """Return the schema of the first ``count`` fields: Avro is positional, so it reads any version's beginning."""
    fields = definition["fields"]
    if not isinstance(fields, list):
        msg = "a schema of the event has no list of fields"
        raise ConfigurationError(msg)
    return {**definition, "fields": fields[:count]}
