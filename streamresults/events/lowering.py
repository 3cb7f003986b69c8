"""
How a value that JSON would lose is written with what JSON has: the way to the forms. It does not know any bytes.

Every type is matched exactly, because a subclass would come back as its base; a named tuple is refused for that.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from typing import TYPE_CHECKING, Any, Final

from streamresults.errors import PayloadNotEncodable
from streamresults.events.forms import MARK, MARK_BYTE, SEQUENCES
from streamresults.events.leaves import LOWER_LEAF
from streamresults.events.untrusted import type_name

if TYPE_CHECKING:
    from collections.abc import Callable

#: Integers within these are numbers on the wire. Wider ones are forms: many readers would round or refuse them.
INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**64 - 1

#: Characters of a key shown in a path: an error has to stay readable when keys are documents.
_KEY_SHOWN: Final = 60

_FORM_OF: Final[dict[type, str]] = {kind: name for name, kind in SEQUENCES.items()}

#: The place of a value: its parent's place and how it is reached from there; text is made only for an error.
_Place = tuple[Any, str] | str


class Lowering:
    """
    The way from a value to what one format can write.

    Args:
        name: The format, for messages.
        atoms: Types that the format writes exactly, whatever their value.
        keys: Types of keys that the format writes exactly.
        encode: Writes what is made of atoms, lists, dicts, finite floats and integers of 64 bits.
        mark: The bytes that betray a key which begins with the mark.
        depth: Levels of nesting that are written.
    """

    def __init__(
        self,
        name: str,
        *,
        atoms: frozenset[type],
        keys: frozenset[type],
        encode: Callable[[object], bytes],
        mark: bytes,
        depth: int,
    ) -> None:
        self._name = name
        self._atoms = atoms
        self._keys = keys
        self._encode = encode
        self._mark = mark
        self._depth = depth

    def encode(self, value: object, path: str) -> bytes:
        """
        Return the bytes of ``value``: in one go when it is plain, else after it has been lowered.

        Raises:
            PayloadNotEncodable: Something inside has no form, is cyclic, or is nested too deeply.
        """
        try:
            if _is_plain(value, self._atoms, self._keys, self._depth):
                data = self._encode(value)
                if MARK_BYTE not in data or self._mark not in data:
                    return data
        except Exception:  # noqa: BLE001, S110 - the slow way below meets the same trouble and finds out where it is
            pass
        try:
            return self._encode(self._lower(value, path, frozenset()))
        except PayloadNotEncodable:
            raise
        except Exception as exc:
            # A stack nearly used up by the caller, no memory, a value that another thread is changing.
            message = f"{path}: cannot be encoded as {self._name}: {type(exc).__name__}"
            raise PayloadNotEncodable(message, path=path, kind=type_name(type(value))) from exc

    def _lower(self, value: Any, place: _Place, above: frozenset[int]) -> object:
        kind = type(value)
        if kind is str:
            return self._checked(value, place)
        if kind is dict or kind is list or kind in _FORM_OF:
            return self._lower_container(value, kind, place, above)
        if kind is bytearray:
            value, kind = bytes(value), bytes
        if self._is_native(value, kind):
            return value
        if kind in LOWER_LEAF:
            return self._lower_leaf(value, kind, place)
        raise self._refusal(kind, place, f"{type_name(kind)} cannot be encoded as {self._name}; {_advice(kind)}")

    def _is_native(self, value: Any, kind: type) -> bool:
        if kind is int:
            return bool(INT_MIN <= value <= INT_MAX)
        return kind in self._atoms or (kind is float and math.isfinite(value))

    def _lower_container(self, value: Any, kind: type, place: _Place, above: frozenset[int]) -> object:
        if id(value) in above:
            raise self._refusal(kind, place, f"{type_name(kind)} contains itself; break the cycle, or send ids")
        if len(above) >= self._depth:
            hint = f"{type_name(kind)} is nested deeper than {self._depth} levels; flatten it"
            raise self._refusal(kind, place, hint)
        within = above | {id(value)}
        if kind is dict:
            return self._lower_dict(value, place, within)
        lowered: list[object] = []
        for index, item in enumerate(value):
            step = f"[{index}]" if kind in (list, tuple) else "{…}"
            lowered.append(self._lower(item, (place, step), within))
        return lowered if kind is list else {MARK + _FORM_OF[kind]: lowered}

    def _lower_dict(self, value: dict[Any, Any], place: _Place, within: frozenset[int]) -> object:
        if all(self._is_plain_key(key) for key in value):
            lowered: dict[object, object] = {}
            for key, item in value.items():
                if type(key) is str:
                    self._checked(key, (place, ".keys()"))
                lowered[key] = self._lower(item, (place, _step(key)), within)
            return lowered
        pairs: list[object] = []
        for index, (key, item) in enumerate(value.items()):
            low_key = self._lower(key, (place, f".keys()[{index}]"), within)
            pairs.append([low_key, self._lower(item, (place, _step(key)), within)])
        return {MARK + "map": pairs}

    def _is_plain_key(self, key: Any) -> bool:
        kind = type(key)
        if kind is str:
            return not key.startswith(MARK)
        return kind in self._keys and INT_MIN <= key <= INT_MAX

    def _lower_leaf(self, value: object, kind: type, place: _Place) -> object:
        name, lower = LOWER_LEAF[kind]
        try:
            return {MARK + name: lower(value)}
        except Exception as exc:
            # Code of a user's time zone has run.
            raise self._refusal(kind, place, f"{type_name(kind)} cannot be encoded as {self._name}: {exc}") from exc

    def _checked(self, text: Any, place: _Place) -> object:
        try:
            text.encode()
        except UnicodeEncodeError as exc:
            hint = f"str holds a lone surrogate at index {exc.start}; replace it, or send bytes"
            raise self._refusal(str, place, hint) from None
        return text

    @staticmethod
    def _refusal(kind: type, place: _Place, hint: str) -> PayloadNotEncodable:
        path = _path(place)
        return PayloadNotEncodable(f"{path}: {hint}", path=path, kind=type_name(kind))


def _is_plain(value: Any, atoms: frozenset[type], keys: frozenset[type], room: int) -> bool:
    """Tell whether a value can be written as it is. Written for speed: it runs for every result."""
    kind = type(value)
    if kind is dict:
        for key in value:
            if type(key) not in keys:
                return False
        items = value.values()
    elif kind is list:
        items = value
    else:
        return kind in atoms or _is_plain_number(value, kind)
    if not room:
        return False
    for item in items:
        inner = type(item)
        if inner in atoms or (inner is int and INT_MIN <= item <= INT_MAX):
            continue
        if not _is_plain(item, atoms, keys, room - 1):
            return False
    return True


def _is_plain_number(value: Any, kind: type) -> bool:
    return (kind is int and INT_MIN <= value <= INT_MAX) or (kind is float and math.isfinite(value))


def _path(place: _Place) -> str:
    steps: list[str] = []
    while type(place) is tuple:
        place, step = place
        steps.append(step)
    return f"{place}{''.join(reversed(steps))}"


def _step(key: object) -> str:
    if type(key) is str or type(key) is bytes:
        return f"[{key[:_KEY_SHOWN]!a}]"
    if type(key) is int and INT_MIN <= key <= INT_MAX:
        return f"[{key}]"
    return f"[<{type_name(type(key))}>]"


def _advice(kind: type) -> str:
    if issubclass(kind, enum.Enum):
        return "send its .value or its .name"
    if issubclass(kind, tuple):
        return "send tuple(it), or it._asdict() if its names matter"
    if dataclasses.is_dataclass(kind):
        return "send dataclasses.asdict(it)"
    for plain in (str, int, float, bytes, list, dict, set, frozenset):
        if issubclass(kind, plain):
            return f"send {plain.__name__}(it): a subclass would come back as its base"
    if issubclass(kind, BaseException):
        return "raise it, or send str(it)"
    return "send plain data made from it, or register a serializer for it"
