"""
Events to Avro bytes and back: the only door to fastavro. It never decides what an event means.

On the wire: Avro single-object encoding, C3 01, the CRC-64-AVRO fingerprint of the writer's schema in little-endian
byte order, then the body (Avro 1.12 specification, "Single-object encoding"). Reading is done in three depths, because
whole events cost five times as much as their beginning: the prefix, which can be read of any version; the payload,
which follows it; everything.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import fastavro
import msgspec
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

from streamresults.errors import (
    BadMagic,
    KeyMismatch,
    MalformedRecord,
    TrailingBytes,
    TruncatedRecord,
    UnknownFingerprint,
)
from streamresults.events.bounds import FIELDS_MAX, FREE_BYTES, TooMany, walker
from streamresults.events.event import NO_PAYLOAD, TASK_ID_MAX_BYTES, Event, ExceptionNode, Payload, Prefix, Reference
from streamresults.events.heads import read_head
from streamresults.events.schema import HEAD_FIELDS, PREFIX_FIELDS, first_fields, released_versions
from streamresults.events.shortcuts import encode_plain, rank_and_expiry
from streamresults.events.states import rank

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastavro.types import Schema

    Resolve = Callable[[bytes], str | None]

MAGIC: Final = b"\xc3\x01"
FINGERPRINT_BYTES: Final = 8
_BODY: Final = len(MAGIC) + FINGERPRINT_BYTES
_INT_MIN: Final = -(2**31)
_INT_MAX: Final = 2**31 - 1
#: What timestamp-micros can say to a reader that makes dates of it: the years 1 to 9999.
_MICROSECONDS_MIN: Final = -62_135_596_800_000_000
_MICROSECONDS_MAX: Final = 253_402_300_799_999_999
#: Longest state. A state is a word that people type and that every tool prints; smaller would refuse real ones.
_STATE_MAX: Final = 128

#: Bytes of the largest record that is looked into, when no setting says otherwise.
RECORD_MAX: Final = 4_194_304

_write: Final = fastavro.schemaless_writer
_read: Final = fastavro.schemaless_reader


def schema_fingerprint(definition: object) -> bytes:
    """Return the CRC-64-AVRO of a schema's parsing canonical form, 8 bytes as they stand on the wire."""
    # fastavro prints the little-endian bytes, not the number; a test holds it to the specification's vectors.
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(_schema(definition)), "CRC-64-AVRO"))


def _schema(definition: object) -> Schema:
    return parse_schema(definition, named_schemas={})  # type: ignore[arg-type]  # JSON that parse_schema itself checks


class _Version:
    """One schema as a reader needs it."""

    def __init__(self, definition: dict[str, Any], number: int) -> None:
        self.number = number
        self.definition = definition
        self.fingerprint = schema_fingerprint(definition)
        self.whole = _schema(definition)
        self.head = _schema(first_fields(definition, HEAD_FIELDS))
        self.walk_whole = walker(self.whole)
        self.walk_head = walker(self.head)


@cache
def _built_in() -> tuple[_Version, ...]:
    return tuple(_Version(version.definition, version.number) for version in released_versions())


class Codec:
    """
    Encodes with the newest schema version, decodes every version it knows or can find.

    Thread-safe. Two released schemas never share a fingerprint, so a fingerprint names one version for ever.

    Args:
        resolve: Finds the JSON of a schema by its fingerprint, ``None`` when nobody has it; called at most once for
            each fingerprint that it finds. May block and may raise :class:`~streamresults.errors.TopicUnavailable`.
        record_max: Bytes of the largest record that is looked into; see the setting of that name.
    """

    def __init__(self, resolve: Resolve | None = None, *, record_max: int = RECORD_MAX) -> None:
        versions = _built_in()
        self._newest: Final = versions[-1]
        self._prefix: Final = _schema(first_fields(self._newest.definition, PREFIX_FIELDS))
        #: What every record of the newest version begins with.
        self.header: Final = MAGIC + self._newest.fingerprint
        self._known: Final = {version.fingerprint: version for version in versions}
        self._resolve = resolve
        self._record_max: Final = record_max

    @property
    def fingerprint(self) -> bytes:
        """The fingerprint of the version that is written."""
        return self._newest.fingerprint

    @property
    def schema_json(self) -> str:
        """The schema that is written, as JSON."""
        return msgspec.json.encode(self._newest.definition).decode()

    def encode(self, event: Event) -> bytes:
        """
        Return the record value of an event.

        Raises:
            MalformedRecord: A field is out of its range or of the wrong type; the message names it.
        """
        try:
            _check_ranges(event)
            quick = encode_plain(self.header, event)
        except Exception:  # noqa: BLE001 -- whatever a wrong type raises: the schema's way says what is wrong
            quick = None
        return self._encode_by_schema(event) if quick is None else quick

    def _encode_by_schema(self, event: Event) -> bytes:
        out = BytesIO()
        out.write(self.header)
        try:
            _check_ranges(event)
            _write(out, self._newest.whole, _as_datum(event))
        except Exception as exc:
            msg = f"event of task {event.task_id!r} cannot be encoded: {_reason(exc)}"
            raise MalformedRecord(msg) from exc
        return out.getvalue()

    def rank_and_expiry(self, task_id: str, key: bytes, value: bytes) -> tuple[int, int]:
        """
        Return what the fold needs of a record: the rank of its state, and ``expires_after_ms``.

        Raises:
            KeyMismatch: The record's key is not the id inside it.
            RecordError: It cannot be an event; its schema cannot be found.
            TopicUnavailable: The place to look for its schema cannot be reached.
        """
        quick = rank_and_expiry(self.header, key, value)
        if quick is not None and len(value) <= self._record_max:
            return quick
        prefix = self.decode_prefix(value)
        check_key(task_id, prefix)
        self.require(value)
        return rank(prefix.state, terminal=prefix.terminal), prefix.expires_after_ms

    def is_known(self, value: bytes) -> bool:
        """Tell whether a record's schema is at hand, without looking for it; ``False`` for bytes that are no record."""
        return value[:2] == MAGIC and value[2:_BODY] in self._known

    def require(self, value: bytes) -> None:
        """
        Make sure that readers will find the schema of a record.

        Raises:
            BadMagic, UnknownFingerprint, MalformedRecord: See their names.
            TopicUnavailable: The place to look for it cannot be reached.
        """
        self._version(value)

    def decode_prefix(self, value: bytes) -> Prefix:
        """
        Decode what every version begins with; works for versions never seen.

        Raises:
            BadMagic, TruncatedRecord, MalformedRecord: See their names.
        """
        fingerprint_of(value)
        return _prefix(_datum(_body(value), self._prefix, "prefix"))

    def decode_head(self, value: bytes) -> tuple[Prefix, Payload, int]:
        """
        Decode the prefix and the payload: all that most lookups need.

        Returns:
            With them, where the next field of the newest version begins; -1 in a record of another one.

        Raises:
            BadMagic, UnknownFingerprint, TruncatedRecord, MalformedRecord: See their names.
        """
        quick = read_head(self.header, value)
        if quick is not None and len(value) <= self._record_max:
            return quick
        version = self._version(value)
        if len(value) > FREE_BYTES:
            _check_bounds(value, version.walk_head)
        newest = version is self._newest
        source = _body(value)
        datum = _datum(source, version.head, "payload", None if newest else self._newest.head)
        return _prefix(datum), _payload(datum["payload"]), source.tell() if newest else -1

    def decode(self, value: bytes) -> Event:
        """
        Decode everything, of the newest version's fields; an older record's missing ones have their defaults.

        Raises:
            BadMagic, UnknownFingerprint, TruncatedRecord, TrailingBytes, MalformedRecord: See their names.
        """
        version = self._version(value)
        if len(value) > FREE_BYTES:
            _check_bounds(value, version.walk_whole)
        source = _body(value)
        reader_schema = None if version is self._newest else self._newest.whole
        datum = _datum(source, version.whole, "body", reader_schema)
        left = len(value) - source.tell()
        if left:
            msg = f"{left} bytes are left over after the last field of task {datum['task_id']!r}"
            raise TrailingBytes(msg)
        return _as_event(datum)

    def _version(self, value: bytes) -> _Version:
        written_with = fingerprint_of(value)
        if len(value) > self._record_max:
            msg = f"the record has {len(value)} bytes, more than the {self._record_max} of record_max"
            raise MalformedRecord(msg)
        version = self._known.get(written_with) or self._find(written_with)
        if version is None:
            msg = (
                f"no schema has the fingerprint {written_with.hex()}: it is neither built in nor in the schemas topic. "
                "The publisher that wrote it must register it, or this process must be upgraded"
            )
            raise UnknownFingerprint(msg, fingerprint=written_with.hex())
        return version

    def _find(self, written_with: bytes) -> _Version | None:
        text = self._resolve(written_with) if self._resolve else None
        if text is None:
            return None
        try:
            version = _Version(msgspec.json.decode(text, type=dict[str, Any]), number=0)
        except Exception as exc:
            msg = f"what the schemas topic holds for {written_with.hex()} is no schema: {_reason(exc)}"
            raise MalformedRecord(msg) from exc
        if version.fingerprint != written_with:
            msg = f"the schemas topic holds another schema under {written_with.hex()}: {version.fingerprint.hex()}"
            raise MalformedRecord(msg)
        if schema_fingerprint(first_fields(version.definition, PREFIX_FIELDS)) != schema_fingerprint(self._prefix):
            msg = f"the schema {written_with.hex()} in the schemas topic does not begin like every version of the event"
            raise MalformedRecord(msg)
        return self._known.setdefault(written_with, version)


def fingerprint_of(value: bytes) -> bytes:
    """
    Return the fingerprint that a record value names, 8 bytes.

    Raises:
        BadMagic: The bytes are no single-object encoding.
        TruncatedRecord: They end inside the fingerprint.
    """
    if value[:2] != MAGIC:
        raise _bad_magic(value)
    if len(value) < _BODY:
        msg = "the record ends inside its fingerprint"
        raise TruncatedRecord(msg)
    return value[2:_BODY]


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


def _reason(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {exc}"[:300]


def _check_bounds(value: bytes, walk: Callable[[bytes, int], None]) -> None:
    try:
        walk(value, _BODY)
    except TooMany:
        msg = f"a record of {len(value)} bytes holds more than {FIELDS_MAX} fields inside of arrays"
        raise MalformedRecord(msg) from None


def _body(value: bytes) -> BytesIO:
    """Return the record from its first field on."""
    if value[_BODY : _BODY + 1] and value[_BODY] & 1:
        # The kind comes first. An odd byte begins a negative index, which fastavro would count from the list's end.
        msg = "the prefix is impossible: the kind's index is negative"
        raise MalformedRecord(msg)
    source = BytesIO(value)
    source.seek(_BODY)
    return source


def _datum(source: BytesIO, schema: Schema, what: str, reader_schema: Schema | None = None) -> dict[str, Any]:
    try:
        datum = _read(source, schema, reader_schema)
    except (EOFError, IndexError) as exc:
        # fastavro reports a short read as either, and an enum or union index out of range as the latter.
        if isinstance(exc, IndexError) and source.read(1):
            msg = f"the {what} is impossible: {_reason(exc)}"
            raise MalformedRecord(msg) from exc
        msg = f"the record ends inside its {what}"
        raise TruncatedRecord(msg) from exc
    except Exception as exc:
        msg = f"the {what} is impossible: {_reason(exc)}"
        raise MalformedRecord(msg) from exc
    if not isinstance(datum, dict):
        msg = f"the {what} is no record"
        raise MalformedRecord(msg)
    return datum


def _prefix(datum: dict[str, Any]) -> Prefix:
    state = datum["state"]
    if not 0 < len(state) <= _STATE_MAX or datum["expires_after_ms"] < 0:
        msg = f"impossible prefix: state {state[:40]!r}, expires_after_ms {datum['expires_after_ms']}"
        raise MalformedRecord(msg)
    return Prefix(
        kind=datum["kind"],
        event_id=datum["event_id"],
        task_id=datum["task_id"],
        state=state,
        terminal=datum["terminal"],
        attempt=datum["attempt"],
        expires_after_ms=datum["expires_after_ms"],
    )


def _payload(datum: dict[str, Any]) -> Payload:
    references = datum["reference"]
    return Payload(
        content_type=datum["content_type"],
        content_encoding=datum["content_encoding"],
        body=datum["body"],
        reference=msgspec.convert(references[0], type=Reference) if references else None,
        key_id=datum["key_id"],
    )


def _payload_datum(payload: Payload) -> dict[str, Any]:
    return {
        "content_type": payload.content_type,
        "content_encoding": payload.content_encoding,
        "body": payload.body,
        "reference": [msgspec.structs.asdict(payload.reference)] if payload.reference else (),
        "key_id": payload.key_id,
    }


_NO_PAYLOAD_DATUM: Final = _payload_datum(NO_PAYLOAD)


def _as_datum(event: Event) -> dict[str, Any]:
    payload = event.payload
    return {
        "kind": event.kind,
        "event_id": event.event_id,
        "task_id": event.task_id,
        "state": event.state,
        "terminal": event.terminal,
        "attempt": event.attempt,
        "expires_after_ms": event.expires_after_ms,
        "payload": _NO_PAYLOAD_DATUM if payload is NO_PAYLOAD else _payload_datum(payload),
        "exception": [msgspec.to_builtins(node, builtin_types=(bytes,)) for node in event.exception],
        "traceback": event.traceback,
        "occurred_at": event.occurred_at_us,
        "started_at": event.started_at_us,
        "runtime": event.runtime,
        "parent_id": event.parent_id,
        "root_id": event.root_id,
        "group_id": event.group_id,
        "group_index": event.group_index,
        "chord_size": event.chord_size,
        "children": event.children,
        "trace_id": event.trace_id,
        "labels": event.labels,
        "name": event.name,
        "worker": event.worker,
        "queue": event.queue,
        "retries": event.retries,
        "call_content_type": event.call_content_type,
        "args": event.args,
        "kwargs": event.kwargs,
        "stamped_headers": event.stamped_headers,
        "stamps": event.stamps,
    }


def _check_ranges(event: Event) -> None:
    """Refuse what fastavro writes without a word and a reader then cannot take."""
    if not 0 < len(event.state) <= _STATE_MAX:
        msg = f"state has {len(event.state)} characters, of 1 to {_STATE_MAX}"
        raise ValueError(msg)
    if event.expires_after_ms < 0:
        msg = f"expires_after_ms is {event.expires_after_ms}, less than 0"
        raise ValueError(msg)
    if not (
        _INT_MIN <= event.attempt <= _INT_MAX
        and _INT_MIN <= event.group_index <= _INT_MAX
        and _INT_MIN <= event.chord_size <= _INT_MAX
        and _INT_MIN <= event.retries <= _INT_MAX
        and _MICROSECONDS_MIN <= event.occurred_at_us <= _MICROSECONDS_MAX
        and _MICROSECONDS_MIN <= event.started_at_us <= _MICROSECONDS_MAX
    ):
        _refuse_number(event)
    if not event.exception:
        return
    for number, node in enumerate(event.exception):
        for index in (node.cause, node.context, *node.members, *(frame.line for frame in node.frames)):
            _check_range(f"a number in exception[{number}]", index, _INT_MIN, _INT_MAX)


def _refuse_number(event: Event) -> None:
    """Say which number is out of its range."""
    for name in ("attempt", "group_index", "chord_size", "retries"):
        _check_range(name, getattr(event, name), _INT_MIN, _INT_MAX)
    for name in ("occurred_at_us", "started_at_us"):
        _check_range(name, getattr(event, name), _MICROSECONDS_MIN, _MICROSECONDS_MAX)


def _check_range(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        msg = f"{name} is {value}, not in {least} to {most}"
        raise ValueError(msg)


def _microseconds(moment: datetime | int) -> int:
    """Undo the logical type, exactly: a float of seconds would lose microseconds after the year 2106."""
    if isinstance(moment, int):
        return moment
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _as_event(datum: dict[str, Any]) -> Event:
    prefix = _prefix(datum)
    fields = {name: datum[name] for name in _SAME_NAME}
    return Event(
        **msgspec.structs.asdict(prefix),
        payload=_payload(datum["payload"]),
        exception=msgspec.convert(datum["exception"], type=tuple[ExceptionNode, ...]),
        occurred_at_us=_microseconds(datum["occurred_at"]),
        started_at_us=_microseconds(datum["started_at"]),
        children=tuple(datum["children"]),
        stamped_headers=tuple(datum["stamped_headers"]),
        **fields,
    )


_ELSEWHERE: Final = {"payload", "exception", "occurred_at_us", "started_at_us", "children", "stamped_headers"}
_SAME_NAME: Final = tuple(
    name for name in Event.__struct_fields__ if name not in _ELSEWHERE and name not in Prefix.__struct_fields__
)
