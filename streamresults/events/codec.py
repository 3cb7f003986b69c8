"""
Events to the bytes of a record's value and back. It never decides what an event means.

Reading is done in three depths, because whole events cost five times as much as their beginning: the prefix, which can
be read of any version; the payload, which follows it; everything.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Final

import msgspec

from streamresults.errors import MalformedRecord, TrailingBytes
from streamresults.events.avro import read_datum, reason, write_datum
from streamresults.events.bounds import FIELDS_MAX, FREE_BYTES, TooMany
from streamresults.events.datums import as_datum, as_event, payload_of, prefix_of
from streamresults.events.envelope import BODY, MAGIC, check_key, fingerprint_of
from streamresults.events.heads import read_head, read_payload
from streamresults.events.ranges import check_ranges
from streamresults.events.shortcuts import encode_plain, rank_and_expiry
from streamresults.events.states import rank
from streamresults.events.versions import Versions
from streamresults.events.wholes import read_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.events.event import Event, Payload, Prefix
    from streamresults.events.versions import Resolve, Version

#: Bytes of the largest record that is looked into, when no setting says otherwise.
RECORD_MAX: Final = 4_194_304


class Codec:
    """
    Encodes with the newest schema version, decodes every version it knows or can find.

    Thread-safe.

    Args:
        resolve: Finds the JSON of a schema by its fingerprint, ``None`` when nobody has it; called at most once for
            each fingerprint that it finds. May block and may raise :class:`~streamresults.errors.TopicUnavailable`.
        record_max: Bytes of the largest record that is looked into; see the setting of that name.
    """

    def __init__(self, resolve: Resolve | None = None, *, record_max: int = RECORD_MAX) -> None:
        self._versions: Final = Versions(resolve)
        self._known: Final = self._versions.known
        self._newest: Final = self._versions.newest
        #: What every record of the newest version begins with.
        self.header: Final = MAGIC + self._newest.fingerprint
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
            check_ranges(event)
            quick = encode_plain(self.header, event)
        except Exception:  # noqa: BLE001 -- whatever a wrong type raises: the schema's way says what is wrong
            quick = None
        return self._encode_by_schema(event) if quick is None else quick

    def _encode_by_schema(self, event: Event) -> bytes:
        out = BytesIO()
        out.write(self.header)
        try:
            check_ranges(event)
            write_datum(out, self._newest.whole, as_datum(event))
        except Exception as exc:
            msg = f"event of task {event.task_id!r} cannot be encoded: {reason(exc)}"
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
        return value[:2] == MAGIC and value[2:BODY] in self._known

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
        return prefix_of(read_datum(_body(value), self._versions.prefix, "prefix"))

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
        datum = read_datum(source, version.head, "payload", None if newest else self._newest.head)
        return prefix_of(datum), payload_of(datum["payload"]), source.tell() if newest else -1

    def decode_payload(self, value: bytes) -> tuple[Payload, int]:
        """Do :meth:`decode_head` without the prefix, which who has looked a task up seldom needs."""
        quick = read_payload(self.header, value)
        if quick is not None and len(value) <= self._record_max:
            return quick
        _, payload, behind = self.decode_head(value)
        return payload, behind

    def decode(self, value: bytes) -> Event:
        """
        Decode everything, of the newest version's fields; an older record's missing ones have their defaults.

        Raises:
            BadMagic, UnknownFingerprint, TruncatedRecord, TrailingBytes, MalformedRecord: See their names.
        """
        if len(value) <= min(FREE_BYTES, self._record_max):
            quick = read_whole(self.header, value)
            if quick is not None:
                return quick
        version = self._version(value)
        if len(value) > FREE_BYTES:
            _check_bounds(value, version.walk_whole)
        source = _body(value)
        reader_schema = None if version is self._newest else self._newest.whole
        datum = read_datum(source, version.whole, "body", reader_schema)
        left = len(value) - source.tell()
        if left:
            msg = f"{left} bytes are left over after the last field of task {datum['task_id']!r}"
            raise TrailingBytes(msg)
        return as_event(datum)

    def _version(self, value: bytes) -> Version:
        written_with = fingerprint_of(value)
        if len(value) > self._record_max:
            msg = f"the record has {len(value)} bytes, more than the {self._record_max} of record_max"
            raise MalformedRecord(msg)
        return self._known.get(written_with) or self._versions.find(written_with)


def _check_bounds(value: bytes, walk: Callable[[bytes, int], None]) -> None:
    try:
        walk(value, BODY)
    except TooMany:
        msg = f"a record of {len(value)} bytes holds more than {FIELDS_MAX} fields inside of arrays"
        raise MalformedRecord(msg) from None


def _body(value: bytes) -> BytesIO:
    """Return the record from its first field on."""
    if value[BODY : BODY + 1] and value[BODY] & 1:
        # The kind comes first. An odd byte begins a negative index, which fastavro would count from the list's end.
        msg = "the prefix is impossible: the kind's index is negative"
        raise MalformedRecord(msg)
    source = BytesIO(value)
    source.seek(BODY)
    return source
