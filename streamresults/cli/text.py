"""Values as text for a terminal: nothing that a task wrote may steer it."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any


def printable(text: str) -> str:
    """Return the text with everything that is not printable written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode("ascii") for c in text)


def plain(value: object) -> Any:
    """Return the value in JSON's own types; what has none is shown as its repr."""
    import msgspec

    try:
        return _finite(msgspec.to_builtins(value, enc_hook=repr, str_keys=True))
    except (TypeError, ValueError, RecursionError):
        return repr(value)


def _finite(value: Any) -> Any:
    """Return the value with the floats that JSON has not, which would become null, as their repr."""
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return value


def as_json(value: object) -> str:
    """Return the value as one line of JSON."""
    import msgspec

    return msgspec.json.encode(plain(value)).decode()


def moment(milliseconds: float) -> str:
    """Return milliseconds since 1970 as a time in UTC; empty for 0."""
    if not milliseconds:
        return ""
    try:
        at = datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
    except (OverflowError, ValueError, OSError):
        return f"{milliseconds} ms"
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
