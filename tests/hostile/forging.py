"""
Turns a line of ``forgeries.toml`` into a record, as a forger would make it: without the code that makes real ones.

What a line may say is told at the top of that file.
"""

from __future__ import annotations

import hmac
import time
import tomllib
from pathlib import Path
from typing import Any, Final, NamedTuple

DAY_MS: Final = 86_400_000
#: What everybody accepts; the last one has been retired.
SECRETS: Final = {"k1": "b7e1" * 16, "k2": "c0de" * 16, "k0": "5701" * 16}
_GUESSED: Final = {"guessed": b"password" * 4, "empty": b""}
TOPIC: Final = "results"
_HEADER: Final = "sr.signature"

Headers = list[tuple[str, bytes | None]]


class Forged(NamedTuple):
    """One record of a forger."""

    key: bytes
    value: bytes | None
    headers: Headers


class Forgery(NamedTuple):
    """One line of the file."""

    #: What makes it a forgery; no two say the same.
    attack: str
    #: Why it is refused.
    why: str
    state: str
    tombstone: bool
    line: dict[str, Any]

    def record(self, task: str, value: bytes, other: tuple[str, bytes]) -> Forged:
        """
        Make the record.

        Args:
            value: What the forger wants to be read.
            other: Another task, and the value of a true record of it.
        """
        key, body, now_ms = task.encode(), None if self.tombstone else value, int(time.time() * 1000)
        said = self.line.get("signed", {})
        key_id, copied = _text(said.get("key", "k1")), self.line.get("copied", "")
        secret = _secret(said.get("secret", key_id))
        over: dict[str, Any] = {"topic": TOPIC, "key": key, "value": body, "ms": now_ms}
        if copied == "value":
            body = other[1]
            over |= {"key": other[0].encode(), "value": body}
        elif copied in ("signature", "result"):
            over["value"] = other[1]
        elif copied == "tombstone":
            over["key"] = other[0].encode()
        elif copied == "schema":
            over["topic"] = f"{TOPIC}.schemas"
        elif copied:
            over["ms"] += {"yesterday": -DAY_MS, "tomorrow": DAY_MS}[copied]
        return Forged(key, body, self._headers(signature(key_id, secret, **over)))

    def _headers(self, signed: bytes) -> Headers:
        stated = self.line.get("headers", [{"name": _HEADER, "signed": True}])
        return [(one["name"], _header(one, signed)) for one in stated]


def _header(one: dict[str, Any], signed: bytes) -> bytes | None:
    if one.get("none"):
        return None
    return signed if one.get("signed") else bytes.fromhex(one["hex"])


def signature(key_id: str, secret: bytes, *, topic: str, key: bytes, value: bytes | None, ms: int) -> bytes:
    """Return a signature as docs/signatures.md says that it is made."""
    message = b"streamresults record signature"
    for text in (topic.encode(), key_id.encode()):
        message += len(text).to_bytes(4, "big") + text
    message += b"\x01" + ms.to_bytes(8, "big") + len(key).to_bytes(8, "big")
    message += (-1 if value is None else len(value)).to_bytes(8, "big", signed=True) + key + (value or b"")
    return b"\x01" + ms.to_bytes(8, "big") + hmac.digest(secret, message, "sha256") + key_id.encode()


def _secret(name: str) -> bytes:
    return _GUESSED[name] if name in _GUESSED else SECRETS[name].encode()


def _text(spec: Any) -> str:
    return spec["repeat"] * spec["times"] if isinstance(spec, dict) else str(spec)


def forgeries() -> list[Forgery]:
    """Read the file."""
    found = tomllib.loads((Path(__file__).parent / "forgeries.toml").read_text())
    return [
        Forgery(
            attack=line["attack"],
            why=line.get("why", ""),
            state=line.get("state", "SUCCESS"),
            tombstone=line.get("tombstone", False),
            line=line,
        )
        for line in found["forgery"]
    ]
