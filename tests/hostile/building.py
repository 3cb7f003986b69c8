"""
Turns a line of the corpus into the key and value of a record.

What a line may say is told at the top of ``corpus.toml``. A record is first written as the schema wants it, whatever
its fields say, and then broken byte by byte where the line asks for it.
"""

from __future__ import annotations

import gzip
import json
import tomllib
from io import BytesIO
from pathlib import Path
from typing import Any, Final, NamedTuple

import fastavro

from streamresults.events.avro import schema_fingerprint
from streamresults.events.envelope import MAGIC
from streamresults.events.schema import released_versions

_DEFINITION: Final[Any] = released_versions()[-1].definition
_FIELDS: Final = [field["name"] for field in _DEFINITION["fields"]]
_JSON: Final = "application/json"
_REPR: Final = "text/x-python-repr"


class Hostile(NamedTuple):
    """One record of the corpus."""

    #: What makes it hostile; no two say the same.
    attack: str
    #: The heading it stands under.
    vector: str
    key: bytes | None
    value: bytes
    #: The task that it is about: what its key says.
    task_id: str
    #: What decoding the whole record gives: ``Event`` or an error.
    codec: str
    #: What the compactor does: ``folded`` or ``dead letter``.
    compactor: str
    #: What a caller gets: ``value`` or the class of the error.
    outcome: str


def corpus() -> list[Hostile]:
    """Read the corpus."""
    found = tomllib.loads((Path(__file__).parent / "corpus.toml").read_text())
    return [
        _hostile(number, vector["is"], line)
        for vector in found["vector"]
        for number, line in enumerate(vector["record"], start=1000 * len(vector["is"]))
    ]


def _hostile(number: int, vector: str, line: dict[str, Any]) -> Hostile:
    task_id = _text(line.get("key", f"hostile-{number}-{len(line['attack'])}-{line['attack'][:12]}"))
    key = bytes.fromhex(line["key_hex"]) if "key_hex" in line else task_id.encode()
    return Hostile(
        attack=line["attack"],
        vector=vector,
        key=None if line.get("no_key") else key,
        value=_value({**line, "key": task_id}),
        task_id=key.decode("utf-8", "replace"),
        codec=line.get("codec", ""),
        compactor=line.get("compactor", ""),
        outcome=line.get("outcome", ""),
    )


def _value(line: dict[str, Any]) -> bytes:
    if "raw" in line:
        return _bytes(line["raw"])
    parts = _encoded(_datum(line))
    for splice in line.get("splice", ()):
        at = _FIELDS.index(splice["at"])
        parts[at] = _bytes(splice["put"]) + (parts[at] if splice.get("before") else b"")
        if splice.get("end"):
            del parts[at + 1 :]
    header = bytes.fromhex(line["header"]) if "header" in line else MAGIC + schema_fingerprint(_DEFINITION)
    whole = header + b"".join(parts) + _bytes(line.get("append", ""))
    return whole[: len(whole) - line.get("cut", 0)]


def _encoded(datum: dict[str, Any]) -> list[bytes]:
    """Encode each field of the event by itself."""
    parts: list[bytes] = []
    done = 0
    named: dict[str, Any] = {}
    whole: Any = fastavro.parse_schema(_DEFINITION, named_schemas=named)
    out = BytesIO()
    for field in whole["fields"]:
        one: Any = {"type": "record", "name": "One", "fields": [field]}
        fastavro.schemaless_writer(out, fastavro.parse_schema(one, named_schemas=dict(named)), datum)
        parts.append(out.getvalue()[done:])
        done = len(out.getvalue())
    return parts


def _datum(line: dict[str, Any]) -> dict[str, Any]:
    payload = line.get("payload", {})
    body = None if not payload else _body(payload)
    rest: dict[str, Any] = dict.fromkeys(_FIELDS, "")
    rest |= dict.fromkeys(("args", "kwargs", "stamps"), b"")
    rest |= dict.fromkeys(("group_index", "chord_size", "retries"), -1)
    return {
        **rest,
        "kind": line.get("kind", "task"),
        "event_id": bytes(16),
        "task_id": _text(line.get("task_id", line["key"])),
        "state": _text(line.get("state", "FAILURE")),
        "terminal": line.get("terminal", False),
        "attempt": line.get("attempt", 0),
        "expires_after_ms": line.get("expires", 0),
        "payload": {
            "content_type": _text(payload.get("type", _JSON if payload else "")),
            "content_encoding": payload.get("encoding", ""),
            "body": body,
            "reference": [{**to, "sha256": _bytes(to["sha256"])} for to in payload.get("reference", [])],
            "key_id": payload.get("key_id", ""),
        },
        "exception": _nodes(line.get("nodes", [])),
        "traceback": _text(line.get("traceback", "")),
        "occurred_at": line.get("occurred_at", 0),
        "started_at": line.get("started_at", 0),
        "runtime": float(line.get("runtime", -1.0)),
        "children": [_text(child) for child in _repeated(line.get("children", []))],
        "labels": line.get("labels", {}),
        "stamped_headers": [],
    }


def _nodes(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for line in lines:
        for number in range(line.get("times", 1)):
            node = _node(line)
            for link in line.get("linked", ()):
                node[link] = [len(made) + 1] if link == "members" else len(made) + 1
            node["qualname"] += str(number) if line.get("numbered") else ""
            made.append(node)
    return made


def _node(line: dict[str, Any]) -> dict[str, Any]:
    return {
        "module": _text(line.get("module", "builtins")),
        "qualname": _text(line.get("qualname", "ValueError")),
        "bases": [_text(base) for base in _repeated(line.get("bases", []))],
        "message": _text(line.get("message", "")),
        "arguments": _values(line.get("arguments", [])),
        "attributes": _values(line.get("attributes", [])),
        "fields": _values(line.get("fields", [])),
        "notes": [_text(note) for note in _repeated(line.get("notes", []))],
        "frames": [_frame(frame) for frame in _repeated(line.get("frames", []))],
        "cause": line.get("cause", -1),
        "context": line.get("context", -1),
        "suppress_context": line.get("suppress", False),
        "members": line.get("members", []),
        "truncated": line.get("truncated", False),
    }


def _frame(line: dict[str, Any]) -> dict[str, Any]:
    return {
        "file": _text(line.get("file", "app.py")),
        "line": line.get("line", 1),
        "function": _text(line.get("function", "f")),
        "source": _text(line.get("source", "")),
    }


def _values(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"name": _text(line.get("name", "")), "content_type": _content_type(line), "data": _body(line)}
        for line in _repeated(lines)
    ]


def _content_type(line: dict[str, Any]) -> str:
    return _REPR if "repr" in line else _text(line.get("type", _JSON))


def _body(line: dict[str, Any]) -> bytes:
    if "hex" in line:
        return _bytes(line["hex"])
    if "zeros" in line:
        return gzip.compress(bytes(line["zeros"]), mtime=0)
    if "colliding" in line:
        return _colliding(line["colliding"])
    return _text(line.get("json", line.get("repr", ""))).encode()


def _colliding(form: str) -> bytes:
    """Return members of a set, or keys of a map, that all have one hash: multiples of the modulus of int's hash."""
    numbers = [{"$sr:int": hex((2**61 - 1) * factor)} for factor in range(1, 400)]
    return json.dumps({"$sr:" + form: [[number, 0] for number in numbers] if form == "map" else numbers}).encode()


def _repeated(items: list[Any]) -> list[Any]:
    """Repeat the items that say so, but for repeated texts, which are one item."""
    return [
        item
        for item in items
        for _ in range(item.get("times", 1) if isinstance(item, dict) and "repeat" not in item else 1)
    ]


def _text(spec: Any) -> str:
    """Return a text: itself, or ``{ repeat = "x", times = 3, then = "y" }``."""
    if isinstance(spec, dict):
        repeated: str = spec["repeat"] * spec["times"]
        return f"{spec.get('first', '')}{repeated}{spec.get('then', '')}"
    return str(spec)


def _bytes(spec: Any) -> bytes:
    """Return bytes: hexadecimal, or the same repeated."""
    return bytes.fromhex(_text(spec))
