"""Events, schemas and records of them, that tests of the codec use."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import fastavro
import pytest

from streamresults.errors import (
    RecordError,
)
from streamresults.events.avro import schema_fingerprint
from streamresults.events.codec import Codec
from streamresults.events.envelope import MAGIC
from streamresults.events.event import (
    Event,
    Prefix,
)
from streamresults.events.schema import released_versions

if TYPE_CHECKING:
    from collections.abc import Callable


HERE: Final = Path(__file__).parent


GOLDEN: Final = sorted((HERE / "golden").glob("[0-9]*/*.bin"))


CODEC: Final = Codec()


NEWEST: Final = released_versions()[-1].definition


BODY: Final = 10


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


def outcome(read: Callable[[bytes], Any], value: bytes) -> Any:
    """Return what is read, or the class of the typed error; anything else is raised."""
    try:
        return read(value)
    except RecordError as exc:
        return type(exc) if str(exc) else "an error without a word"
