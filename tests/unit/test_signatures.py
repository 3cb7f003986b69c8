"""
What a signature covers, and what is refused.

We test these aspects: any bit flipped anywhere; what may vary between two records; keys that are unknown, retired or
not there; times; configuration that cannot hold; no secret in any text.
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamresults.errors import ConfigurationError, RecordError, SignatureRefused
from streamresults.events.signatures import SECRET_MIN, Keyring, Rules, key_id_of
from streamresults.settings import Settings, describe, load
from streamresults.topic.memory import MemoryBroker
from streamresults.wiring import Wiring

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "b7e1" * 16
OTHER = "c0de" * 16
NOW = 1_790_000_000.5
NOW_MS = 1_790_000_000_500
TOPIC = "results"

KEYS = st.binary(min_size=1, max_size=40)
VALUES = st.none() | st.binary(max_size=80)


def keyring(keys: dict[str, str] | None = None, sign_with: str = "k1", **rules: Any) -> Keyring:
    """Return one whose clock stands."""
    return Keyring(keys or {"k1": SECRET}, sign_with=sign_with, rules=Rules(**rules), clock=lambda: NOW)


def why(
    ring: Keyring,
    signatures: list[Any],
    *,
    topic: str = TOPIC,
    key: bytes | None = b"t",
    value: bytes | None = b"v",
    appended_ms: int | None = NOW_MS,
) -> str:
    """Return why a record is refused, ``""`` when it is not."""
    try:
        ring.check(topic, key, value, signatures, appended_ms)
    except SignatureRefused as exc:
        return "it shows the secret" if SECRET in str(exc) else exc.why
    return ""


@given(KEYS, VALUES)
def test_what_was_signed_is_accepted(key: bytes, value: bytes | None) -> None:
    """Every key and value, and a record that has none."""
    ring = keyring()
    signature = ring.sign(TOPIC, key, value)

    assert why(ring, [signature], key=key, value=value) == ""
    assert key_id_of(signature) == "k1"


@given(KEYS, VALUES, st.data())
def test_any_flipped_bit_is_refused(key: bytes, value: bytes | None, data: st.DataObject) -> None:
    """In the key, the value, the topic's name or the signature itself."""
    ring = keyring({"k1": SECRET, "k2": OTHER})
    parts = {"key": key, "value": value or b"", "topic": TOPIC.encode(), "signature": ring.sign(TOPIC, key, value)}
    name = data.draw(st.sampled_from([name for name, part in parts.items() if part]))
    bit = data.draw(st.integers(0, len(parts[name]) * 8 - 1))
    flipped = bytearray(parts[name])
    flipped[bit // 8] ^= 1 << bit % 8
    parts[name] = bytes(flipped)

    refused = why(
        ring,
        [parts["signature"]],
        topic=parts["topic"].decode("latin-1"),
        key=parts["key"],
        value=None if value is None else parts["value"],
    )

    assert refused in {"wrong", "malformed", "unknown_key"}


@given(st.lists(st.tuples(st.text(max_size=6), st.binary(max_size=6), st.none() | st.binary(max_size=6)), unique=True))
def test_no_two_records_have_one_signature(records: list[tuple[str, bytes, bytes | None]]) -> None:
    """However topic, key and value are divided: a null is no empty value, and nothing moves from one to the other."""
    ring = keyring()

    assert len(records) == len({ring.sign(*record) for record in records})


@given(st.binary(max_size=120))
def test_bytes_that_are_no_signature_are_refused(signature: bytes) -> None:
    """Whatever they are, nothing else is raised."""
    assert why(keyring(), [signature]) in {"malformed", "unknown_key", "wrong"}


def test_it_is_the_hmac_of_the_standard_library_over_what_the_page_says() -> None:
    """Another implementation can make and check it: the layout is part of the contract."""
    signature = keyring().sign(TOPIC, b"order-7", b"\xc3\x01v")
    time_ms = NOW_MS.to_bytes(8, "big")
    message = (
        b"streamresults record signature"
        + (7).to_bytes(4, "big") + b"results"
        + (2).to_bytes(4, "big") + b"k1"
        + b"\x01" + time_ms + (7).to_bytes(8, "big") + (3).to_bytes(8, "big")
        + b"order-7" + b"\xc3\x01v"
    )  # fmt: skip

    assert b"\x01" + time_ms + hmac.digest(SECRET.encode(), message, "sha256") + b"k1" == signature


@pytest.mark.parametrize(
    ("signatures", "refused"),
    [
        ([], "unsigned"),
        (["valid", "valid"], "malformed"),
        ([None], "malformed"),
        (["text"], "malformed"),
        ([b""], "malformed"),
        ([b"\x02" + bytes(40) + b"k1"], "malformed"),
        ([b"\x01" + bytes(40)], "malformed"),
        ([b"\x01" + bytes(40) + b"\xff\xfe"], "malformed"),
        ([b"\x01" + bytes(40) + b"k" * 65], "malformed"),
        ([b"\x01" + bytes(40) + b"k\n1"], "malformed"),
        ([b"\x01" + bytes(40) + b"k9"], "unknown_key"),
        ([b"\x01" + bytes(40) + b"k1"], "wrong"),
    ],
)
def test_what_a_header_may_hold(signatures: list[Any], refused: str) -> None:
    """None, two, another form, no key's id: each has its reason."""
    ring = keyring()
    found = [ring.sign(TOPIC, b"t", b"v") if one == "valid" else one for one in signatures]

    assert refused == why(ring, found)


def test_a_signature_is_of_one_record_alone() -> None:
    """Under another key, another value, as a tombstone, or in another topic it is worth nothing."""
    ring = keyring()
    signature = ring.sign(TOPIC, b"t", b"v")

    for elsewhere in (
        {"key": b"u"},
        {"key": None},
        {"value": b"w"},
        {"value": None},
        {"value": b""},
        {"topic": "results.schemas"},
    ):
        assert why(ring, [signature], **elsewhere) == "wrong", elsewhere


def test_another_key_of_the_same_name_is_another_key() -> None:
    """Another secret under the id that a signature names proves nothing, and its id is not exchangeable."""
    signature = keyring().sign(TOPIC, b"t", b"v")

    assert why(keyring({"k1": OTHER}), [signature]) == "wrong"
    assert why(keyring({"k2": SECRET}, "k2"), [signature]) == "unknown_key"
    renamed = signature[:-1] + b"2"
    assert why(keyring({"k1": SECRET, "k2": SECRET}), [renamed]) == "wrong"


def test_rotation_goes_step_by_step() -> None:
    """Everybody accepts the new key, then workers sign with it, then the old one goes: nothing is refused."""
    both = {"k1": SECRET, "k2": OTHER}
    stages = [keyring(), keyring(both), keyring(both, "k2"), keyring({"k2": OTHER}, "k2")]
    for signing, checking in [*zip(stages, stages, strict=True), *pairwise(stages), *pairwise(reversed(stages))]:
        if not {signing.sign_with} <= set(checking.key_ids):
            continue
        assert why(checking, [signing.sign(TOPIC, b"t", b"v")]) == ""
    assert why(stages[-1], [stages[0].sign(TOPIC, b"t", b"v")]) == "unknown_key"


def test_a_retired_key_s_old_records_stay_readable() -> None:
    """The brokers' time decides; where they do not say it, nothing of that key counts."""
    at = datetime.fromtimestamp(NOW, UTC)
    old = keyring().sign(TOPIC, b"t", b"v")
    ring = keyring({"k1": SECRET, "k2": OTHER}, "k2", retired={"k1": at})

    assert why(ring, [old], appended_ms=NOW_MS - 1) == ""
    assert why(ring, [old], appended_ms=NOW_MS) == "retired_key"
    assert why(ring, [old], appended_ms=None) == "retired_key"
    assert why(ring, [ring.sign(TOPIC, b"t", b"v")]) == ""


@pytest.mark.parametrize("late", [-60_001, -60_000, 0, 60_000, 60_001, 10**9])
def test_an_old_record_written_again_is_refused(late: int) -> None:
    """At the limit it counts, one millisecond beyond it does not, in both directions."""
    ring = keyring(window=60)
    signature = ring.sign(TOPIC, b"t", b"v")

    assert ("out_of_window" if abs(late) > 60_000 else "") == why(ring, [signature], appended_ms=NOW_MS + late)
    assert why(keyring(window=0), [signature], appended_ms=NOW_MS + late) == ""
    assert why(ring, [signature], appended_ms=None) == ""


def test_what_is_older_than_signatures_needs_none() -> None:
    """By the brokers' time alone; a wrong signature is refused all the same."""
    ring = keyring(unsigned_before=datetime.fromtimestamp(NOW, UTC))

    assert why(ring, [], appended_ms=NOW_MS - 1) == ""
    assert why(ring, [], appended_ms=NOW_MS) == "unsigned"
    assert why(ring, [], appended_ms=None) == "unsigned"
    assert why(ring, [b"x"], appended_ms=NOW_MS - 1) == "malformed"


# -- configuration ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "sign_with", "retired", "said"),
    [
        ({"k1": ""}, "", {}, "'k1' has fewer than 32 bytes"),
        ({"k1": "x" * (SECRET_MIN - 1)}, "", {}, "'k1' has fewer than 32 bytes"),
        ({"": SECRET}, "", {}, "'' is no id"),
        ({"k 1": SECRET}, "", {}, "'k 1' is no id"),
        ({"schlüssel": SECRET}, "", {}, "is no id"),
        ({"k" * 65: SECRET}, "", {}, "is no id"),
        ({"k1": SECRET}, "k2", {}, "signing_key_id names 'k2', and signing_keys has no such key: k1"),
        ({}, "k2", {}, "signing_key_id names 'k2', and signing_keys has no such key: none"),
        ({"k1": SECRET}, "k1", {"k0": 0}, "signing_retired names 'k0'"),
        ({"k1": SECRET}, "k1", {"k1": 0}, "which signing_retired says is retired"),
        ({}, "", {}, "no key"),
    ],
)
def test_keys_that_cannot_hold_are_an_error(keys: Any, sign_with: str, retired: Any, said: str) -> None:
    """It names the key, never its secret."""
    rules = Rules(retired={key_id: datetime.fromtimestamp(at, UTC) for key_id, at in retired.items()})
    with pytest.raises(ConfigurationError) as refused:
        Keyring(keys, sign_with=sign_with, rules=rules)

    assert said in str(refused.value)
    assert not [secret for secret in keys.values() if secret and secret in str(refused.value)]


@pytest.mark.parametrize("size", [SECRET_MIN, SECRET_MIN + 1, 1000])
def test_a_secret_of_the_least_size_serves(size: int) -> None:
    """One of 32 bytes is as strong as the signature."""
    ring = keyring({"k1": "s" * size})

    assert why(ring, [ring.sign(TOPIC, b"t", b"v")]) == ""


def test_a_key_may_retire_tomorrow() -> None:
    """Announced before it happens, it signs until then."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)

    assert Keyring({"k1": SECRET}, sign_with="k1", rules=Rules(retired={"k1": tomorrow})).sign(TOPIC, b"t", b"v")


def test_who_has_no_key_to_sign_with_signs_nothing() -> None:
    """The error says what to set."""
    with pytest.raises(ConfigurationError, match="Set signing_key_id to one of: k1"):
        keyring(sign_with="").sign(TOPIC, b"t", b"v")


def test_settings_come_from_file_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table, a variable, or a file of secrets with one on each line."""
    file = tmp_path / "streamresults.toml"
    file.write_text(
        f'signing_key_id = "k1"\nunsigned_before = 2026-02-14T10:00:00Z\n[signing_keys]\nk1 = "{SECRET}"\n'
        "[signing_retired]\nk0 = 2026-02-14T10:00:00+02:00\n"
    )
    found = load(file=str(file))

    assert ("k1", {"k1": SECRET}) == (found.signing_key_id, found.signing_keys)
    assert datetime(2026, 2, 14, 10, tzinfo=UTC) == found.unsigned_before
    assert datetime(2026, 2, 14, 8, tzinfo=UTC) == found.signing_retired["k0"]

    monkeypatch.setenv("STREAMRESULTS_SIGNING_KEYS", f"k1={SECRET}==, k2 = {OTHER}")
    monkeypatch.setenv("STREAMRESULTS_SIGNING_RETIRED", "k1=2026-02-14T10:00:00Z")
    assert {"k1": SECRET + "==", "k2": OTHER} == load().signing_keys
    assert datetime(2026, 2, 14, 10, tzinfo=UTC) == load().signing_retired["k1"]

    secrets = tmp_path / "keys"
    secrets.write_text(f"k1={SECRET}\nk2={OTHER}\n")
    monkeypatch.delenv("STREAMRESULTS_SIGNING_KEYS")
    monkeypatch.setenv("STREAMRESULTS_SIGNING_KEYS_FILE", str(secrets))
    assert {"k1": SECRET, "k2": OTHER} == load().signing_keys


@pytest.mark.parametrize(
    "text", [f"k1={SECRET},k1={OTHER}", f"k1={SECRET},{OTHER}", SECRET, f"k1={SECRET}\nk1 ={SECRET}"]
)
def test_keys_without_or_with_two_ids_are_an_error(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which of two would count nobody could tell; the error shows neither."""
    monkeypatch.setenv("STREAMRESULTS_SIGNING_KEYS", text)
    with pytest.raises(ConfigurationError, match="signing_keys is id=value") as refused:
        load()

    assert SECRET not in str(refused.value)
    assert OTHER not in str(refused.value)


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_an_empty_list_of_keys_turns_nothing_off(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of secrets that was not filled, or a variable that expanded to nothing, is an error."""
    file = tmp_path / "keys"
    file.write_text(text)
    with monkeypatch.context() as patched:
        patched.setenv("STREAMRESULTS_SIGNING_KEYS_FILE", str(file))
        with pytest.raises(ConfigurationError, match="signing_keys has no key"):
            load()
    with pytest.raises(ConfigurationError, match="signing_keys has no key"):
        load({"signing_keys": {}})
    with pytest.raises(ConfigurationError, match="signing_keys has no key"):
        Wiring(Settings(unsigned_before=datetime.now(UTC)), broker=MemoryBroker()).broker()
    assert load().signing_keys == {}


@pytest.mark.parametrize(
    "wrong", [{"signing_retired": {"k1": "2026-02-14T10:00:00"}}, {"unsigned_before": "yesterday"}]
)
def test_times_have_a_zone(wrong: dict[str, Any]) -> None:
    """Without one it would be another moment on another machine."""
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        load({"signing_keys": {"k1": SECRET}, **wrong})


def test_no_secret_is_shown() -> None:
    """Neither by repr, nor among the settings as text, nor in the error of a field beside it."""
    settings = Settings(signing_keys={"k1": SECRET}, kafka={"sasl.password": OTHER}, redis_url=f"redis://u:{OTHER}@h")
    texts = [repr(settings), str(settings), str(describe(settings)), repr(keyring())]
    with pytest.raises(ConfigurationError) as refused:
        load({"signing_keys": {"k1": [SECRET]}})
    texts.append(str(refused.value))

    assert not [text for text in texts if SECRET in text or OTHER in text]
    assert "k1" in texts[0]
    assert msgspec.structs.replace(settings, topic="x").signing_keys == {"k1": SECRET}


def test_the_error_is_one_of_a_record() -> None:
    """Whoever handles unreadable records handles these."""
    assert issubclass(SignatureRefused, RecordError)
