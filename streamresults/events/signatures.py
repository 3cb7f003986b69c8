"""
Who may write: a signature over each record, HMAC-SHA-256 (RFC 2104) with keys that have names. Pure: no topic is met.

A signature covers the topic's name, the record's key, its value or that it has none (a tombstone), the key id and the
time of signing. It stands beside them in a header of the record: 01, the time in milliseconds since 1970 (8 bytes, the
highest first), 32 bytes of HMAC, and the key's id. Whatever depends on time is held against the time at which the
brokers appended the record, never against a clock of the reader's: so everybody comes to one verdict, today and in a
year.
"""

from __future__ import annotations

import hmac
import re
import struct
import time
from typing import TYPE_CHECKING, Final

import msgspec

from streamresults.errors import ConfigurationError, SignatureRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

#: The name of the header.
SIGNATURE: Final = "sr.signature"
#: Fewest bytes of a secret: as many as the HMAC has, so that it is not weaker than that (RFC 2104, section 3).
SECRET_MIN: Final = 32

_FORM: Final = 1
_DOMAIN: Final = b"streamresults record signature"
_KEY_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_BEGIN: Final = struct.Struct(">BQ")
_MAC: Final = 32
#: Bytes before the key's id.
_FIXED: Final = _BEGIN.size + _MAC
#: Form, time, and the lengths of key and value, -1 for none: no two records are signed over the same bytes.
_MESSAGE: Final = struct.Struct(">BQqq")
_LENGTH: Final = struct.Struct(">I")


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Which signatures count, besides that they are right."""

    #: From when on nothing that a key has signed counts, by its id: the time at which the brokers append it.
    retired: dict[str, datetime] = msgspec.field(default_factory=dict)
    #: Seconds that may lie between signing and appending, either way; 0 for any.
    window: float = 300.0
    #: What the brokers appended before this time needs no signature; ``None``: everything needs one.
    unsigned_before: datetime | None = None


class Keyring:
    """
    Signs with one key, accepts several. Thread-safe. Its secrets are in no ``repr`` and in no error.

    Args:
        keys: Secrets by the id of their key.
        sign_with: The id of the key that signs; ``""``: this process checks alone.
        clock: Seconds since 1970, for the time of signing.

    Raises:
        ConfigurationError: There is no key, an id or a secret is none, or a name of a key names none.
    """

    def __init__(
        self,
        keys: Mapping[str, str],
        *,
        sign_with: str = "",
        rules: Rules = Rules(),  # noqa: B008 -- frozen
        clock: Callable[[], float] = time.time,
    ) -> None:
        _check_keys(keys, sign_with, rules)
        #: The id of the key that signs.
        self.sign_with: Final = sign_with
        self.rules: Final = rules
        self._secrets: Final = {key_id: secret.encode() for key_id, secret in keys.items()}
        #: Key ids as they stand in signatures.
        self._names: Final = {key_id.encode(): key_id for key_id in keys}
        self._clock: Final = clock
        self._retired_ms: Final = {key_id: _milliseconds(at) for key_id, at in rules.retired.items()}
        self._window_ms: Final = rules.window * 1000
        before = rules.unsigned_before
        self._unsigned_before_ms: Final = None if before is None else _milliseconds(before)
        #: What all records of one topic and one key have in common, hashed once.
        self._begun: Final[dict[tuple[str, str], hmac.HMAC]] = {}

    def __repr__(self) -> str:
        return f"<Keyring signs with {self.sign_with or 'none'}, accepts {', '.join(self.key_ids)}>"

    @property
    def key_ids(self) -> list[str]:
        """The ids of all keys that are known."""
        return sorted(self._secrets)

    def sign(self, topic: str, key: bytes, value: bytes | None) -> bytes:
        """
        Return the signature of a record that is about to be written.

        Raises:
            ConfigurationError: This process checks alone.
        """
        if not self.sign_with:
            msg = (
                "signing_keys are set and signing_key_id is not: this process checks signatures and writes nothing, as "
                f"whoever checks would refuse it. Set signing_key_id to one of: {', '.join(self.key_ids)}"
            )
            raise ConfigurationError(msg)
        now = int(self._clock() * 1000)
        return _BEGIN.pack(_FORM, now) + self._mac(topic, self.sign_with, now, key, value) + self.sign_with.encode()

    def check(
        self, topic: str, key: bytes | None, value: bytes | None, signatures: Sequence[object], appended_ms: int | None
    ) -> None:
        """
        Return if a record may be believed.

        Args:
            signatures: The values of all its headers of that name.
            appended_ms: When the brokers appended it; ``None`` if that was said by its writer, and is worth nothing.

        Raises:
            SignatureRefused: It may not; the error says why.
        """
        if not signatures:
            if self._unsigned_before_ms is None or appended_ms is None or appended_ms >= self._unsigned_before_ms:
                raise SignatureRefused("the record is not signed", why="unsigned")
            return
        signature = _only(signatures)
        key_id = self._names.get(signature[_FIXED:])
        if key_id is None:
            msg = f"the record is signed with key {_named(signature)!r}, which this process does not have"
            raise SignatureRefused(msg, why="unknown_key")
        signed_ms, mac = _BEGIN.unpack_from(signature)[1], signature[_BEGIN.size : _FIXED]
        if not hmac.compare_digest(mac, self._mac(topic, key_id, signed_ms, key, value)):
            msg = f"the signature with key {key_id!r} is not that of this record in topic {topic!r}"
            raise SignatureRefused(msg, why="wrong")
        self._check_times(key_id, signed_ms, appended_ms)

    def _check_times(self, key_id: str, signed_ms: int, appended_ms: int | None) -> None:
        retired_ms = self._retired_ms.get(key_id)
        if retired_ms is not None and (appended_ms is None or appended_ms >= retired_ms):
            msg = f"the record is signed with key {key_id!r}, which is retired"
            raise SignatureRefused(msg, why="retired_key")
        if appended_ms is None or not self._window_ms:
            return
        late = appended_ms - signed_ms
        if abs(late) > self._window_ms:
            msg = (
                f"the record was appended {late / 1000:.0f} s after it was signed, and signature_window is "
                f"{self.rules.window:g} s: it is an old record that was written again, or its worker's clock is wrong"
            )
            raise SignatureRefused(msg, why="out_of_window")

    def _mac(self, topic: str, key_id: str, signed_ms: int, key: bytes | None, value: bytes | None) -> bytes:
        begun = self._begun.get((topic, key_id)) or self._begin(topic, key_id)
        mac = begun.copy()
        mac.update(
            _MESSAGE.pack(_FORM, signed_ms, -1 if key is None else len(key), -1 if value is None else len(value))
            + (key or b"")
        )
        if value:
            mac.update(value)
        return mac.digest()

    def _begin(self, topic: str, key_id: str) -> hmac.HMAC:
        begun = hmac.new(self._secrets[key_id], _DOMAIN, "sha256")
        for text in (topic.encode(), key_id.encode()):
            begun.update(_LENGTH.pack(len(text)) + text)
        return self._begun.setdefault((topic, key_id), begun)


def _only(signatures: Sequence[object]) -> bytes:
    """Return the one signature of a record, if it can be one."""
    signature = signatures[0]
    if len(signatures) > 1:
        msg = f"the record has {len(signatures)} signatures: nobody writes more than one"
        raise SignatureRefused(msg, why="malformed")
    if not isinstance(signature, bytes) or len(signature) <= _FIXED or signature[0] != _FORM:
        what = f"begins with {signature[:4].hex(' ') or 'nothing'}" if isinstance(signature, bytes) else "is no bytes"
        msg = f"the signature is none that this release reads: it {what}"
        raise SignatureRefused(msg, why="malformed")
    return signature


def _named(signature: bytes) -> str:
    """Return the id that a signature names, of whatever key."""
    key_id = signature[_FIXED:].decode("ascii", "replace")
    if not _KEY_ID.fullmatch(key_id):
        msg = f"no key is named so: {signature[_FIXED:][:80]!r}"
        raise SignatureRefused(msg, why="malformed")
    return key_id


def key_id_of(signature: object) -> str:
    """Return which key a signature names, ``""`` when it is none; whether it is right is not looked at."""
    try:
        return _named(_only([signature]))
    except SignatureRefused:
        return ""


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _check_keys(keys: Mapping[str, str], sign_with: str, rules: Rules) -> None:
    for key_id, secret in keys.items():
        if not _KEY_ID.fullmatch(key_id):
            msg = f"signing_keys: {key_id[:80]!r} is no id: letters, digits, '.', '_' and '-', at most 64"
            raise ConfigurationError(msg)
        if len(secret.encode()) < SECRET_MIN:
            msg = f"signing_keys: the secret of {key_id!r} has fewer than {SECRET_MIN} bytes. Try: openssl rand -hex 32"
            raise ConfigurationError(msg)
    for setting, named in (("signing_key_id", [sign_with] if sign_with else []), ("signing_retired", rules.retired)):
        for key_id in named:
            if key_id not in keys:
                msg = (
                    f"{setting} names {key_id!r}, and signing_keys has no such key: {', '.join(sorted(keys)) or 'none'}"
                )
                raise ConfigurationError(msg)
    if not keys:
        raise ConfigurationError("signing_keys has no key")
    if sign_with in rules.retired and rules.retired[sign_with].timestamp() <= time.time():
        msg = f"signing_key_id names {sign_with!r}, which signing_retired says is retired: nobody would accept it"
        raise ConfigurationError(msg)
