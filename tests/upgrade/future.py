"""A release to come: its events have fields that nobody knows yet, inside the payload and at the end of the event."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import fastavro
import msgspec
from fastavro.schema import parse_schema

from streamresults.events.avro import schema_fingerprint
from streamresults.events.codec import Codec
from streamresults.events.envelope import FINGERPRINT_BYTES, MAGIC
from streamresults.events.schema import released_versions
from streamresults.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.events.event import Event
    from streamresults.settings import Settings


def definition() -> dict[str, Any]:
    """Return the newest schema with what a next version may add: fields with defaults, each at its record's end."""
    found: dict[str, Any] = copy.deepcopy(released_versions()[-1].definition)
    fields = {field["name"]: field for field in found["fields"]}
    fields["payload"]["type"]["fields"].append({"name": "rows", "type": "long", "default": -1})
    found["fields"].append({"name": "region", "type": "string", "default": ""})
    return found


SCHEMA: Final = definition()
FINGERPRINT: Final = schema_fingerprint(SCHEMA)
SCHEMA_JSON: Final = msgspec.json.encode(SCHEMA)


class FutureCodec(Codec):
    """Writes the future version, and reads all of them."""

    def __init__(self) -> None:
        super().__init__(lambda fingerprint: SCHEMA_JSON.decode() if fingerprint == FINGERPRINT else None)

    @property
    def fingerprint(self) -> bytes:
        """The future version's."""
        return FINGERPRINT

    @property
    def schema_json(self) -> str:
        """The future version's."""
        return SCHEMA_JSON.decode()

    def encode(self, event: Event) -> bytes:
        """Write the event with the new fields set, so that whoever overlooks them reads nonsense behind them."""
        today = BytesIO(super().encode(event)[len(MAGIC) + FINGERPRINT_BYTES :])
        datum: Any = fastavro.schemaless_reader(today, parse_schema(released_versions()[-1].definition), None)
        datum["payload"]["rows"] = 1_000_003
        datum["region"] = "eu-north-1"
        out = BytesIO(MAGIC + FINGERPRINT)
        out.seek(0, 2)
        fastavro.schemaless_writer(out, parse_schema(SCHEMA), datum)
        return out.getvalue()


@contextmanager
def future_wiring(settings: Settings) -> Iterator[Wiring]:
    """Give the flows of the release to come."""
    with Wiring(settings) as wiring:
        wiring._codec = FutureCodec()
        yield wiring
