"""
Schemas, and what is written and read by them: the only door to fastavro, and to the errors that it raises.

It knows nothing of events: a datum is a dict of whatever fields the schema has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import fastavro
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

from streamresults.errors import MalformedRecord, TruncatedRecord

if TYPE_CHECKING:
    from io import BytesIO

    from fastavro.types import Schema

#: Writes a datum to a file by a parsed schema; raises whatever it likes.
write_datum: Final = fastavro.schemaless_writer
_read: Final = fastavro.schemaless_reader


def parsed(definition: object) -> Schema:
    """Return a schema as the functions here take it; raises whatever a definition that is none makes it raise."""
    return parse_schema(definition, named_schemas={})  # type: ignore[arg-type]  # JSON that parse_schema itself checks


def schema_fingerprint(definition: object) -> bytes:
    """Return the CRC-64-AVRO of a schema's parsing canonical form, 8 bytes as they stand on the wire."""
    # fastavro prints the little-endian bytes, not the number; a test holds it to the specification's vectors.
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(parsed(definition)), "CRC-64-AVRO"))


def read_datum(source: BytesIO, schema: Schema, what: str, reader_schema: Schema | None = None) -> dict[str, Any]:
    """
    Read a record from where the source stands, and leave the source behind it.

    Args:
        schema: What it was written with.
        what: Names what is read, in errors.
        reader_schema: What it is to look like, where that is another one.

    Raises:
        TruncatedRecord, MalformedRecord: See their names.
    """
    try:
        datum = _read(source, schema, reader_schema)
    except (EOFError, IndexError) as exc:
        # fastavro reports a short read as either, and an enum or union index out of range as the latter.
        if isinstance(exc, IndexError) and source.read(1):
            msg = f"the {what} is impossible: {reason(exc)}"
            raise MalformedRecord(msg) from exc
        msg = f"the record ends inside its {what}"
        raise TruncatedRecord(msg) from exc
    except Exception as exc:
        msg = f"the {what} is impossible: {reason(exc)}"
        raise MalformedRecord(msg) from exc
    if not isinstance(datum, dict):
        msg = f"the {what} is no record"
        raise MalformedRecord(msg)
    return datum


def reason(exc: BaseException) -> str:
    """Return what a library's error says, cut to what fits into a line of ours."""
    return f"{type(exc).__name__}: {exc}"[:300]
