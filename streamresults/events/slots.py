"""What a class keeps in ``__slots__``: found and read through Python's own descriptors, never by the class's code."""

from __future__ import annotations

from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_MRO: Final = type.__dict__["__mro__"].__get__
_TYPE_DICT: Final = type.__dict__["__dict__"].__get__
_FLAGS: Final = type.__dict__["__flags__"].__get__
#: Py_TPFLAGS_HEAPTYPE: made by a class statement. The members of other classes are C structures of any type.
_HEAP: Final = 1 << 9


def slots_of(cls: type) -> dict[str, Any]:
    """Return the slots of a class and its bases by name, the most derived one of each name."""
    found: dict[str, Any] = {}
    for base in _MRO(cls):
        if not _FLAGS(base) & _HEAP:
            continue
        for name, value in _TYPE_DICT(base).items():
            if type(value) is MemberDescriptorType and name not in found:
                found[name] = value
    return found


def read_slots(exc: BaseException) -> Iterator[tuple[str, object]]:
    """Yield the slots that are set."""
    for name, slot in slots_of(type(exc)).items():
        try:
            yield name, slot.__get__(exc)
        except AttributeError:
            continue
