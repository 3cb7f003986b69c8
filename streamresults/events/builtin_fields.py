"""What builtin exceptions keep in C, outside of args and ``__dict__``: read and set through their own descriptors."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from typing import Any, Final

#: Columns that a SyntaxError may point at. Python prints one caret per column: a larger number in a record would be a
#: request for that much memory, a smaller limit would lose the place in generated one-line sources.
COLUMN_MAX: Final = 100_000

#: Members that Python has and that never travel. ``name_from``: printing such an ImportError imports the module that
#: it names. ``obj``: a live object.
NEVER_SET: Final = frozenset({"name_from", "obj", "print_file_and_line"})

_Check = Callable[[Any], bool]


def _anything(_value: object) -> bool:
    return True


def _is_str(value: object) -> bool:
    return type(value) is str


def _is_bytes(value: object) -> bool:
    return type(value) is bytes


def _is_position(value: object) -> bool:
    # A negative start makes some CPython versions read memory in front of the object when they print the error.
    return type(value) is int and value >= 0


def _is_column(value: object) -> bool:
    return type(value) is int and -1 <= value <= COLUMN_MAX


def _is_line(value: object) -> bool:
    return type(value) is int and abs(value) < 2**31  # Python refuses to print an int of thousands of digits


_UNICODE: Final[dict[str, _Check]] = {
    "encoding": _is_str,
    "object": _is_str,
    "start": _is_position,
    "end": _is_position,
    "reason": _is_str,
}

#: Owner -> field -> what a record may put there. CPython's own code relies on most of these types without a check.
_FIELDS: Final[dict[type[BaseException], dict[str, _Check]]] = {
    OSError: dict.fromkeys(("errno", "strerror", "filename", "filename2", "characters_written"), _anything),
    UnicodeDecodeError: _UNICODE | {"object": _is_bytes},
    UnicodeEncodeError: _UNICODE,
    UnicodeTranslateError: {name: check for name, check in _UNICODE.items() if name != "encoding"},
    SyntaxError: {
        "msg": _is_str,
        "filename": _is_str,
        "text": _is_str,
        "lineno": _is_line,
        "end_lineno": _is_line,
        "offset": _is_column,
        "end_offset": _is_column,
    },
    ImportError: {"msg": _anything, "name": _is_str, "path": _is_str},
    AttributeError: {"name": _is_str},
    NameError: {"name": _is_str},
    SystemExit: {"code": _anything},
    StopIteration: {"value": _anything},
    BaseExceptionGroup: {"message": _is_str},
}

#: Every exception class that Python itself defines, aliases (IOError) once.
BUILTIN_EXCEPTIONS: Final = frozenset(
    value for value in vars(builtins).values() if isinstance(value, type) and issubclass(value, BaseException)
)

_BUILTIN_IDS: Final = {id(cls) for cls in BUILTIN_EXCEPTIONS}
_BASE_OF: Final = type.__dict__["__base__"].__get__


def builtin_base(cls: type[BaseException]) -> type[BaseException]:
    """
    Return the builtin class whose memory layout ``cls`` has: the only one whose ``__new__`` may create it.

    With ``class Both(ValueError, OSError)`` that is OSError, although ValueError comes first.
    """
    while id(cls) not in _BUILTIN_IDS:
        cls = _BASE_OF(cls)
    return cls


def read_fields(exc: BaseException) -> Iterator[tuple[str, object]]:
    """Yield the C fields of ``exc`` that are set, running none of its code."""
    owner, fields = _fields_of(type(exc))
    for name in fields:
        try:
            value = owner.__dict__[name].__get__(exc)
        except (AttributeError, TypeError):  # not set: a subclass that does not call its base's __init__
            continue
        if value is not None:
            yield name, value


def set_field(exc: BaseException, name: str, value: object) -> None:
    """
    Set one C field, unless it is one that a record has no say in.

    Raises:
        TypeError: The builtin type does not keep such a value there.
    """
    owner, fields = _fields_of(type(exc))
    check = fields.get(name)
    if check is None:
        return
    if not check(value):
        message = f"{owner.__name__}.{name} cannot be a {type(value).__name__}"
        raise TypeError(message)
    if owner is not BaseExceptionGroup:  # its message was given to __new__
        owner.__dict__[name].__set__(exc, value)


def reserved_names(base: type[BaseException]) -> frozenset[str]:
    """Return the names that ``base`` and its bases define: an attribute called so would hide Python's own."""
    return frozenset(name for cls in base.__mro__ for name in vars(cls)) | NEVER_SET


def _fields_of(cls: type[BaseException]) -> tuple[type[BaseException], dict[str, _Check]]:
    base = builtin_base(cls)
    for owner, fields in _FIELDS.items():
        if issubclass(base, owner):
            return owner, fields
    return base, {}
