"""The forms of single values that JSON has no word for. Nothing here looks into containers."""

from __future__ import annotations

import base64
import functools
import uuid
import zoneinfo
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable


def _text(content: object) -> str:
    if type(content) is not str:
        message = "a form needs a string"
        raise TypeError(message)
    return content


def _lower_clock(value: datetime | time) -> object:
    """
    Write the wall clock with its offset, and what the offset alone would lose: the zone's name and the fold.

    Only ``zoneinfo`` zones keep their name; any other zone comes back as its offset, the same instant.
    """
    zone = value.tzinfo
    extras: dict[str, object] = {}
    if type(zone) is zoneinfo.ZoneInfo and zone.key is not None:
        extras["zone"] = zone.key
    elif zone is not None and value.utcoffset() is None:
        message = "its time zone gives no offset; use zoneinfo, or datetime.timezone"
        raise ValueError(message)
    if value.fold:
        extras["fold"] = 1
    text = value.isoformat()
    return {"at": text, **extras} if extras else text


def _lift_clock(kind: type[datetime | time], content: Any) -> datetime | time:
    if type(content) is str:
        return kind.fromisoformat(content)
    value = kind.fromisoformat(_text(content["at"])).replace(fold=content.get("fold", 0))
    key = content.get("zone")
    if key is None or key not in _zone_keys():
        return value
    zoned = value.replace(tzinfo=zoneinfo.ZoneInfo(key))
    # A reader whose zone data differ from the writer's keeps the instant and gives up the name.
    return zoned if zoned.utcoffset() == value.utcoffset() else value


@functools.cache
def _zone_keys() -> frozenset[str]:
    """List the zones known here, once: a record never makes us look for a file or a package by its own name."""
    return frozenset(zoneinfo.available_timezones())


def _lift_timedelta(content: Any) -> timedelta:
    days, seconds, microseconds = content
    return timedelta(days=days, seconds=seconds, microseconds=microseconds)


def _lift_bytes(content: object) -> bytes:
    return base64.b64decode(_text(content), validate=True)


#: Exact type -> the form's name, and how its content is made. ``bytearray`` comes back as ``bytes``.
LOWER_LEAF: Final[dict[type, tuple[str, Callable[[Any], object]]]] = {
    bytes: ("bytes", lambda value: base64.b64encode(value).decode()),
    bytearray: ("bytes", lambda value: base64.b64encode(value).decode()),
    int: ("int", hex),
    float: ("float", repr),
    Decimal: ("decimal", str),
    uuid.UUID: ("uuid", str),
    datetime: ("datetime", _lower_clock),
    date: ("date", date.isoformat),
    time: ("time", _lower_clock),
    timedelta: ("timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
}

#: The form's name -> how its content becomes a value. What a broken content makes these raise is the caller's to name.
LIFT_LEAF: Final[dict[str, Callable[[Any], object]]] = {
    "bytes": _lift_bytes,
    "int": lambda content: int(_text(content), 16),
    "float": lambda content: float(_text(content)),
    "decimal": lambda content: Decimal(_text(content)),
    "uuid": lambda content: uuid.UUID(_text(content)),
    "datetime": functools.partial(_lift_clock, datetime),
    "date": lambda content: date.fromisoformat(_text(content)),
    "time": functools.partial(_lift_clock, time),
    "timedelta": _lift_timedelta,
}
