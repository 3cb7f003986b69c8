"""
Mutations that know what a record is: a field of it gets another value, and the record stays readable.

Bytes alone seldom pass the header and its fingerprint; whole records alone never break a length.
"""

from __future__ import annotations

import random
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import fastavro

from streamresults.events.avro import schema_fingerprint
from streamresults.events.codec import Codec
from streamresults.events.envelope import MAGIC
from streamresults.events.schema import released_versions

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN: Final = Path(__file__).parents[1] / "unit" / "golden"
SEEDS: Final = tuple(path.read_bytes() for path in sorted(GOLDEN.glob("*/*.bin")))

_DEFINITION: Final[Any] = released_versions()[-1].definition
_SCHEMA: Final = fastavro.parse_schema(_DEFINITION, named_schemas={})
_HEADER: Final = MAGIC + schema_fingerprint(_DEFINITION)
assert _HEADER[2:] == Codec().fingerprint

#: Words that mean something to a decoder, an allowlist or Python.
_WORDS: Final = (
    "", "builtins", "os", "sys", "subprocess", "tests.hostile.traps", "streamresults.errors", "this", "asyncio",
    "ValueError", "OSError", "ExceptionGroup", "BaseExceptionGroup", "SyntaxError", "UnicodeDecodeError",
    "UnicodeEncodeError", "UnicodeTranslateError", "ImportError", "NameError", "AttributeError", "KeyError",
    "StopIteration", "SystemExit", "TimeoutError", "Trap", "TrapError", "TrapGroup", "Plain", "Plain.Inner",
    "system", "eval", "path.join", "__class__", "__dict__", "__notes__", "args", "trap", "remote_traceback",
    "message", "errno", "strerror", "filename", "object", "start", "end", "reason", "encoding", "lineno", "offset",
    "text", "msg", "name", "path", "name_from", "obj", "characters_written", "application/json",
    "application/x-msgpack", "application/x-python-serialize", "text/x-python-repr", "gzip", "FAILURE", "SUCCESS",
    "RETRY", "REVOKED", "\x00", "\x1b[2J", "é", "\U0001f600", "a" * 257, "x" * 5000, "/dev/zero", "<string>",
)  # fmt: skip
_BODIES: Final = (
    b"", b"null", b"1", b'"x"', b"[]", b"{}", b"[" * 400 + b"]" * 400, b'{"$sr:bytes":"eA=="}', b"1e999", b"NaN",
    b'{"$sr:tuple":[1]}', b'{"$sr:map":[[[],1]]}', b'{"$sr:set":[[]]}', b'{"$sr:int":"-0xffffffffffffffffffff"}',
    b'{"$sr:datetime":"x"}', b'{"$sr:datetime":{"at":"2026-01-01T00:00:00+00:00","zone":"../x","fold":9}}',
    b'{"$sr:decimal":"sNaN"}', b'{"$sr:timedelta":[1e308,0,0]}', b'{"$sr:float":"nan"}', b'{"$sr:nope":1}',
    b'"\\ud800"', b'{"\\u0024sr:uuid":"0"}', b"-5", b"4294967296", b"9" * 5000, b'{"$sr:int":"' + b"f" * 4000 + b'"}',
    b"\x80\x04cos\nsystem\n.", b"\xc0", b"\x93\x01\x02\x03", b"\xc7\x05\x01aaaaa", b"\xdf\xff\xff\xff\xff",
    b"\x81\xa7$sr:set\x91\x90", b"\xff\xfe", b"true",
)  # fmt: skip
_NUMBERS: Final = (0, 1, -1, 2, 127, 128, 255, 2**31 - 1, -(2**31), 16_384)


def mutate(data: bytes, max_size: int, seed: int, by_bytes: Callable[[bytes, int], bytes]) -> bytes:
    """Return another record: by its fields, by the bytes behind its header, or by any bytes."""
    chance = random.Random(seed)
    way = chance.random()
    if way < 0.55:
        made = _by_fields(data, chance)
        if made is not None and len(made) <= max_size:
            return made
    if way < 0.9 and len(data) > len(_HEADER):
        return (_HEADER + by_bytes(data[len(_HEADER) :], max_size - len(_HEADER)))[:max_size]
    return by_bytes(data, max_size)


def _by_fields(data: bytes, chance: random.Random) -> bytes | None:
    datum = _decoded(data) or _decoded(chance.choice(SEEDS))
    if datum is None:
        return None
    for _ in range(chance.randint(1, 4)):
        _change(datum, chance)
    out = BytesIO()
    out.write(_HEADER)
    try:
        fastavro.schemaless_writer(out, _SCHEMA, datum)
    except Exception:  # noqa: BLE001 -- a change that no schema can say
        return None
    return out.getvalue()


def _decoded(data: bytes) -> Any:
    if data[: len(_HEADER)] != _HEADER or (len(data) > len(_HEADER) and data[len(_HEADER)] & 1):
        return None
    try:
        return fastavro.schemaless_reader(BytesIO(data[len(_HEADER) :]), _SCHEMA, None)
    except Exception:  # noqa: BLE001 -- it is to be broken
        return None


def _change(datum: dict[str, Any], chance: random.Random) -> None:
    """Change one place: of a record with an exception mostly there."""
    nodes = datum["exception"]
    where = chance.random()
    if where < 0.2 or not nodes:
        _resize(nodes, chance, _node)
        if where < 0.1:
            _set(datum, chance)
        return
    node = chance.choice(nodes)
    part = chance.choice(list(node))
    if isinstance(node[part], list):
        _resize(node[part], chance, _ITEMS[part])
        if node[part] and isinstance(node[part][0], dict):
            _set(chance.choice(node[part]), chance)
    else:
        _set(node, chance, part)


def _resize(items: list[Any], chance: random.Random, make: Callable[[random.Random], Any]) -> None:
    how = chance.random()
    if how < 0.2 and items:
        del items[chance.randrange(len(items))]
    elif how < 0.3 and items:
        items.extend(items[: chance.choice((1, 2, 65, 300))])
    else:
        items.append(make(chance))


def _set(record: dict[str, Any], chance: random.Random, name: str | None = None) -> None:
    name = name or chance.choice(list(record))
    old = record[name]
    if isinstance(old, bool):
        record[name] = not old
    elif isinstance(old, str):
        record[name] = chance.choice(_WORDS)
    elif name == "event_id":
        record[name] = chance.randbytes(16)
    elif isinstance(old, bytes):
        record[name] = chance.choice(_BODIES)
    elif isinstance(old, int):
        record[name] = chance.choice(_NUMBERS)
    elif isinstance(old, dict) and "content_type" in old:
        old.update(content_type=chance.choice(_WORDS[-17:]), body=chance.choice((*_BODIES, None)))


def _value(chance: random.Random) -> dict[str, Any]:
    return {
        "name": chance.choice(_WORDS),
        "content_type": chance.choice(("application/json", "application/x-msgpack", "text/x-python-repr")),
        "data": chance.choice(_BODIES),
    }


def _node(chance: random.Random) -> dict[str, Any]:
    return {
        "module": chance.choice(("builtins", "builtins", "tests.hostile.traps", chance.choice(_WORDS))),
        "qualname": chance.choice(_WORDS),
        "bases": ["builtins:ValueError"],
        "message": chance.choice(_WORDS),
        "arguments": [_value(chance) for _ in range(chance.randint(0, 2))],
        "attributes": [_value(chance) for _ in range(chance.randint(0, 1))],
        "fields": [_value(chance) for _ in range(chance.randint(0, 3))],
        "notes": [],
        "frames": [_frame(chance)] if chance.random() < 0.5 else [],
        "cause": chance.choice((-1, -1, 0, 1, 2, 99)),
        "context": chance.choice((-1, -1, 0, 1, 2)),
        "suppress_context": chance.random() < 0.5,
        "members": [chance.randint(-1, 3) for _ in range(chance.randint(0, 3))],
        "truncated": False,
    }


def _frame(chance: random.Random) -> dict[str, Any]:
    return {
        "file": chance.choice(_WORDS),
        "line": chance.choice(_NUMBERS),
        "function": chance.choice(_WORDS),
        "source": chance.choice(_WORDS),
    }


_ITEMS: Final[dict[str, Callable[[random.Random], Any]]] = {
    "bases": lambda chance: chance.choice(_WORDS),
    "notes": lambda chance: chance.choice(_WORDS),
    "members": lambda chance: chance.choice(_NUMBERS),
    "arguments": _value,
    "attributes": _value,
    "fields": _value,
    "frames": _frame,
}
