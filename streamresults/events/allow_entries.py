"""The exception classes that the entries of an allowlist name. It imports them, so nothing of a record comes here."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from streamresults.errors import ConfigurationError
from streamresults.events.allow_never import reason_against

if TYPE_CHECKING:
    import types


def classes_of(entry: type[BaseException] | str) -> list[type[BaseException]]:
    """
    Return what an entry names: a class, ``"module:QualifiedName"``, or ``"module:*"``.

    Raises:
        ConfigurationError: It has another form, cannot be imported, is no exception class, or goes by another name.
    """
    if not isinstance(entry, str):
        return [exception_class(entry, entry)]
    module_name, _, qualname = entry.partition(":")
    if not is_name(module_name) or not (qualname == "*" or is_name(qualname)):
        raise refused(entry, "does not have the form 'module:QualifiedName'")
    module = _import(module_name, entry)
    if qualname == "*":
        return _defined_in(module, entry)
    found: object = module
    for name in qualname.split("."):
        found = getattr(found, name, None)
    cls = exception_class(found, entry)
    if (cls.__module__, cls.__qualname__) != (module_name, qualname):
        raise refused(entry, f"goes by another name: {cls.__module__}:{cls.__qualname__}")
    return [cls]


def _import(name: str, entry: object) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as exc:
        raise refused(entry, f"cannot be imported: {exc}") from exc


def exception_class(found: object, entry: object) -> type[BaseException]:
    """
    Return what an entry led to.

    Raises:
        ConfigurationError: It is not an exception class.
    """
    if not (isinstance(found, type) and issubclass(found, BaseException)):
        raise refused(entry, "is not an exception class")
    return found


def _defined_in(module: types.ModuleType, entry: object) -> list[type[BaseException]]:
    found = [
        value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, BaseException)
        and (value.__module__, value.__qualname__) == (module.__name__, name)
    ]
    if not found:
        raise refused(entry, "names a module that defines no exception class")
    return found


def check(cls: type[BaseException], entry: object, never: tuple[type[BaseException], ...]) -> None:
    """
    Make sure that a class may be listed.

    Raises:
        ConfigurationError: It must never be rebuilt, or nobody could import it by its name.
    """
    reason = reason_against(cls, never)
    if not reason and not (is_name(cls.__module__) and is_name(cls.__qualname__)):
        reason = "has no importable name; define it at the top of a module"
    if reason:
        raise refused(entry, reason)


def is_name(name: object) -> bool:
    """Tell whether it is one as Python writes them."""
    return type(name) is str and all(part.isidentifier() for part in name.split("."))


def refused(entry: object, why: str) -> ConfigurationError:
    """Return the error that an entry is answered with."""
    return ConfigurationError(f"exception allowlist: {shown(entry)} {why}")


def shown(entry: object) -> str:
    """Return an entry for people."""
    return f"{entry.__module__}:{entry.__qualname__}" if isinstance(entry, type) else repr(entry)
