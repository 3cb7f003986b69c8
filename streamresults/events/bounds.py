"""
How much memory a record would take, found before any of it is taken. It builds nothing.

An item of an array may have three bytes on the wire and some three hundred once it is an object. Small records cannot
do much harm; a larger one is walked through first, by its schema, and its records inside of arrays are counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

#: Bytes of a record that is not looked at: decoded it takes some 6 MB at most. Smaller costs every failure with a long
#: traceback some time, larger lets more memory be taken.
FREE_BYTES: Final = 65_536
#: Fields of records inside of arrays, all together: some 25 MB. A writer at all its limits makes 180 000.
FIELDS_MAX: Final = 262_144

_Walk = Callable[[bytes, int, list[int]], int]


class TooMany(Exception):
    """Raised when a record holds more than :data:`FIELDS_MAX`."""


def walker(schema: Any) -> Callable[[bytes, int], None]:
    """
    Return a function that walks a record of a parsed schema from an offset.

    The function raises :class:`TooMany`; bytes that end early or make no sense end its walk without a word, as decoding
    gets no further than that either, and then says what is wrong.
    """
    walk = _walk_of(schema, {})

    def check(data: bytes, start: int) -> None:
        try:
            walk(data, start, [FIELDS_MAX])
        except (IndexError, _Nonsense):
            return

    return check


class _Nonsense(Exception):
    """The bytes are no record of the schema."""


def _walk_of(schema: Any, named: dict[str, _Walk]) -> _Walk:
    if isinstance(schema, str):
        return _SIMPLE[schema] if schema in _SIMPLE else _later(schema, named)
    if isinstance(schema, list):
        return _union([_walk_of(branch, named) for branch in schema])
    kind = schema["type"]
    made: _Walk = _MAKERS[kind](schema, named) if kind in _MAKERS else _walk_of(kind, named)
    if "name" in schema:
        named[schema["name"]] = made
    return made


def _later(name: str, named: dict[str, _Walk]) -> _Walk:
    """Return the walk of a type that is named again; it may be one that holds itself."""

    def walk(data: bytes, at: int, left: list[int]) -> int:
        return named[name](data, at, left)

    return walk


def _weight(items: Any) -> int:
    """Return what an item costs: a record its fields, a text or number nothing much."""
    if isinstance(items, dict) and items["type"] == "record":
        return len(items["fields"])
    return 3 if isinstance(items, str) and items not in _SIMPLE else 0


def _number(data: bytes, at: int) -> tuple[int, int]:
    found = shift = 0
    while True:
        byte = data[at]
        at += 1
        found |= (byte & 127) << shift
        if byte < 128:  # noqa: PLR2004 -- the last byte of a number has no high bit
            return (found >> 1) ^ -(found & 1), at
        shift += 7
        if shift > 63:  # noqa: PLR2004 -- longer than any long
            raise _Nonsense


def _long(data: bytes, at: int, _left: list[int]) -> int:
    return _number(data, at)[1]


def _bytes(data: bytes, at: int, _left: list[int]) -> int:
    length, at = _number(data, at)
    if not 0 <= length <= len(data) - at:
        raise _Nonsense
    return at + length


def _record(schema: Any, named: dict[str, _Walk]) -> _Walk:
    fields = [_walk_of(field["type"], named) for field in schema["fields"]]

    def walk(data: bytes, at: int, left: list[int]) -> int:
        for field in fields:
            at = field(data, at, left)
        return at

    return walk


def _union(branches: list[_Walk]) -> _Walk:
    def walk(data: bytes, at: int, left: list[int]) -> int:
        index, at = _number(data, at)
        if not 0 <= index < len(branches):
            raise _Nonsense
        return branches[index](data, at, left)

    return walk


def _array(schema: Any, named: dict[str, _Walk]) -> _Walk:
    return _blocks(_walk_of(schema["items"], named), _weight(schema["items"]))


def _map(schema: Any, named: dict[str, _Walk]) -> _Walk:
    value = _walk_of(schema["values"], named)
    return _blocks(lambda data, at, left: value(data, _bytes(data, at, left), left), 1)


def _fixed(schema: Any, _named: dict[str, _Walk]) -> _Walk:
    size = schema["size"]
    return lambda _data, at, _left: int(at + size)


def _blocks(item: _Walk, weight: int) -> _Walk:
    def walk(data: bytes, at: int, left: list[int]) -> int:
        while True:
            count, at = _number(data, at)
            if not count:
                return at
            if count < 0:
                count, at = -count, _long(data, at, left)  # the size of the block: fastavro does not use it either
            if count > len(data) - at:  # every item has a byte at least
                raise _Nonsense
            left[0] -= weight * count
            if left[0] < 0:
                raise TooMany
            for _ in range(count):
                at = item(data, at, left)

    return walk


_SIMPLE: Final[dict[str, _Walk]] = {
    "null": lambda _data, at, _left: at,
    "boolean": lambda _data, at, _left: at + 1,
    "int": _long,
    "long": _long,
    "float": lambda _data, at, _left: at + 4,
    "double": lambda _data, at, _left: at + 8,
    "string": _bytes,
    "bytes": _bytes,
}

_MAKERS: Final[dict[str, Callable[[Any, dict[str, _Walk]], _Walk]]] = {
    "record": _record,
    "array": _array,
    "map": _map,
    "fixed": _fixed,
    "enum": lambda _schema, _named: _long,
}
