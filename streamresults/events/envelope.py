"""
What can be told of a record before its body is read: its marker, its schema's fingerprint, its key.

On the wire: Avro single-object encoding, C3 01, the CRC-64-AVRO fingerprint of the writer's schema in little-endian
byte order, then the body (Avro 1.12 specification, "Single-object encoding"). The record's key is the task id, which
the body holds once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streamresults.errors import BadMagic, KeyMismatch, MalformedRecord, TruncatedRecord
from streamresults.events.event import TASK_ID_MAX_BYTES

if TYPE_CHECKING:
    from streamresults.events.event import Prefix

MAGIC: Final = b"\xc3\x01"
FINGERPRINT_BYTES: Final = 8
#: Where the body begins.
BODY: Final = len(MAGIC) + FINGERPRINT_BYTES


def fingerprint_of(value: bytes) -> bytes:
    """
    Return the fingerprint that a record value names, 8 bytes.

    Raises:
        BadMagic: The bytes are no single-object encoding.
        TruncatedRecord: They end inside the fingerprint.
    """
    if value[:2] != MAGIC:
        raise _bad_magic(value)
    if len(value) < BODY:
        msg = "the record ends inside its fingerprint"
        raise TruncatedRecord(msg)
    return value[2:BODY]


def task_id_of(key: bytes | str | None) -> str:
    """
    Return the task id that a record's key is.

    Raises:
        MalformedRecord: There is no key, or it is empty, too long or not UTF-8.
    """
    raw = key.encode() if isinstance(key, str) else key
    if not raw:
        msg = "the record has no key: the key is the task id"
        raise MalformedRecord(msg)
    if len(raw) > TASK_ID_MAX_BYTES:
        msg = f"the record's key has {len(raw)} bytes: a task id has at most {TASK_ID_MAX_BYTES}"
        raise MalformedRecord(msg)
    try:
        return raw.decode()
    except UnicodeDecodeError as exc:
        msg = f"the record's key is not UTF-8: {raw[:40]!r}"
        raise MalformedRecord(msg) from exc


def check_key(task_id: str, prefix: Prefix) -> None:
    """
    Make sure that a record's key and the id inside it agree.

    Raises:
        KeyMismatch: They do not: nothing of the record may be believed.
    """
    if prefix.task_id != task_id:
        msg = f"the record's key says task {task_id!r}, its contents say {prefix.task_id[:80]!r}"
        raise KeyMismatch(msg)


def _bad_magic(value: bytes) -> BadMagic:
    return BadMagic(f"no Avro single-object encoding: begins with {value[:10].hex(' ') or 'nothing'}, not with c3 01")
