"""Text from objects whose own code may do anything, cut to a size. Nothing here raises what that code raises."""

from __future__ import annotations

import itertools
import reprlib
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

_T = TypeVar("_T")

_MODULE: Final = type.__dict__["__module__"].__get__
_QUALNAME: Final = type.__dict__["__qualname__"].__get__

_REPR: Final = reprlib.Repr()
#: Containers are shortened while their repr is made: the repr of a million rows is never built.
_REPR.maxlist = _REPR.maxtuple = _REPR.maxset = _REPR.maxfrozenset = _REPR.maxdict = _REPR.maxdeque = 32
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 512


class Scissors:
    """
    Cuts texts and sequences, and remembers that it has.

    Args:
        total: Bytes, texts in UTF-8, that all cuts together may leave.

    Attributes:
        has_cut: Whether anything was lost since this was last set to false.
    """

    def __init__(self, total: int) -> None:
        self._left = total
        self.has_cut = False

    def text(self, text: str, limit: int, *, free: bool = False) -> str:
        """
        Return at most ``limit`` characters as UTF-8 can carry them: lone surrogates become escapes.

        Args:
            text: What to cut.
            limit: Characters to keep.
            free: Kept whatever is left of the total, for what a record is worth nothing without.
        """
        room = limit if free else max(0, min(limit, self._left))
        if text.isascii() and type(text) is str:  # most are: two thirds of the time saved
            self.has_cut |= len(text) > room
            cut = text[:room]
            self._left -= len(cut)
            return cut
        kept = text[:room].encode("utf-8", "backslashreplace")
        self.has_cut |= len(text) > room
        self._left -= len(kept)
        return kept.decode()

    def fits(self, data: bytes, limit: int) -> bool:
        """Tell whether all of ``data`` may stay, and count it if so: half an encoded value is worth nothing."""
        if len(data) > max(0, min(limit, self._left)):
            return False
        self._left -= len(data)
        return True

    def items(self, items: Iterable[_T], limit: int) -> list[_T]:
        """Return the first ``limit`` items."""
        kept = list(itertools.islice(items, limit + 1))
        self.has_cut |= len(kept) > limit
        return kept[:limit]


def type_name(kind: type) -> str:
    """Return ``module.QualifiedName``, builtins bare, asking no metaclass for it."""
    module = _MODULE(kind)
    qualname = _QUALNAME(kind)
    return f"{module}.{qualname}" if type(module) is str and module != "builtins" else str(qualname)


def safe_str(value: object) -> str:
    """Return ``str(value)``, or what stands for it when that fails."""
    try:
        return _exact(str(value))
    except BaseException as exc:  # noqa: BLE001 - str() runs foreign code, which may raise even SystemExit
        return f"<str() raised {type_name(type(exc))}>"


def safe_repr(value: object) -> str:
    """Return a shortened ``repr(value)``, or what stands for it when that fails."""
    try:
        return _exact(_REPR.repr(value))
    except BaseException as exc:  # noqa: BLE001 - repr() runs foreign code, which may raise even SystemExit
        return f"<repr() raised {type_name(type(exc))}>"


def _exact(text: str) -> str:
    """Return the characters alone: str() may return a subclass with methods of its own."""
    return str.__getitem__(text, slice(None))
