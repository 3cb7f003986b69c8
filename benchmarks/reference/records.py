"""Records made with bare fastavro from a ready dict: the schema is read from its file, and nothing is checked."""

from __future__ import annotations

import uuid
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import fastavro
import msgspec
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

from benchmarks.reference import workload

if TYPE_CHECKING:
    from collections.abc import Callable

_FILE: Final = max((Path(__file__).resolve().parents[2] / "schemas" / "result_event").glob("*.avsc"))
SCHEMA: Final = parse_schema(msgspec.json.decode(_FILE.read_bytes()))
HEADER: Final = b"\xc3\x01" + bytes.fromhex(fingerprint(to_parsing_canonical_form(SCHEMA), "CRC-64-AVRO"))
_JSON: Final = "application/json"


def ready_datum() -> dict[str, Any]:
    """Return a dict that lacks nothing but an id, and what is serialized per event."""
    return {
        "kind": "task",
        "event_id": uuid.uuid4().bytes,
        "task_id": "",
        "state": "SUCCESS",
        "terminal": False,
        "attempt": 2,
        "expires_after_ms": 86_400_000,
        "payload": {"content_type": _JSON, "content_encoding": "", "body": b"", "reference": [], "key_id": ""},
        "exception": [],
        "traceback": "",
        "occurred_at": 1_763_800_000_000_000,
        "started_at": 1_763_799_999_000_000,
        "runtime": 0.25,
        "parent_id": "",
        "root_id": "",
        "group_id": "",
        "group_index": -1,
        "chord_size": -1,
        "children": [],
        "trace_id": "",
        "labels": {},
        "call_content_type": _JSON,
        "args": b"",
        "kwargs": b"",
        "stamped_headers": [],
        "stamps": b"",
        **workload.METADATA,
    }


def encoder(**more: object) -> Callable[[str, int], bytes]:
    """
    Return what encodes the event of a task id: payload, args and kwargs as JSON, then the dict as Avro.

    Args:
        more: Further fields of every event.
    """
    datum = ready_datum() | more
    payload = datum["payload"]
    to_json, write, schema = msgspec.json.Encoder().encode, fastavro.schemaless_writer, SCHEMA

    def encode(task_id: str, number: int) -> bytes:
        datum["task_id"] = task_id
        payload["body"] = to_json(workload.result(number))
        datum["args"] = to_json(workload.arguments(number))
        datum["kwargs"] = to_json(workload.keywords(number))
        out = BytesIO()
        out.write(HEADER)
        write(out, schema, datum)
        return out.getvalue()

    return encode


def stamped(task_ids: list[str]) -> list[tuple[bytes, bytes]]:
    """Return key and value of a record for each id; only the id differs, so that millions are made in seconds."""
    pattern = "0" * 36
    before, after = encoder()(pattern, 1).split(pattern.encode())
    keys = [task_id.encode() for task_id in task_ids]
    return [(key, before + key + after) for key in keys]


def of_group(group_id: str, task_ids: list[str]) -> list[tuple[bytes, bytes]]:
    """Return key and value of a record for each member of a group, which says so."""
    return [
        (task_id.encode(), encoder(group_id=group_id, group_index=index)(task_id, index))
        for index, task_id in enumerate(task_ids)
    ]
