"""
Which recorded exceptions may become exceptions again. Imports and attribute walks happen when it is built, never for
a record.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import enum
import importlib
import sys
import types
from typing import TYPE_CHECKING, Any, Final

from streamresults.errors import ConfigurationError, StreamResultsError
from streamresults.events.builtin_fields import BUILTIN_EXCEPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Longest module or class name that is looked at. Shorter would refuse generated code's names; longer would let a
#: record fill logs and metrics with a name.
NAME_MAX: Final = 256

#: Control flow of Python: raised in a client, these would stop a process, a generator or a task that is not theirs.
#: Subclasses as well. Whatever is not an ``Exception`` is refused besides.
_CONTROL: Final = (
    StopIteration,
    StopAsyncIteration,
    GeneratorExit,
    SystemExit,
    KeyboardInterrupt,
    asyncio.CancelledError,
    concurrent.futures.CancelledError,
)

_MODULE_DICT: Final[Callable[[types.ModuleType], dict[str, object]]] = vars(types.ModuleType)["__dict__"].__get__


class Decision(enum.StrEnum):
    """What the allowlist says to a recorded name; also the label that decisions are counted by."""

    #: Listed: it is rebuilt.
    ALLOWED = "allowed"
    #: Not listed: it becomes a RemoteTaskError.
    NOT_LISTED = "not_listed"
    #: Loaded here and not an exception class: it becomes a SecurityError.
    REFUSED = "refused"


class ExceptionAllowlist:
    """
    The registry (module, qualified name) -> exception class, fixed once built.

    Entries are exception classes, ``"module:QualifiedName"``, or ``"module:*"`` for every exception class that the
    module itself defines. The ordinary builtin exceptions are listed unless ``builtins`` is false; TimeoutError never
    is, so that a remote timeout is not mistaken for one of ours. ::

        ExceptionAllowlist([CardDeclined, "shop.errors:OutOfStock", "shop.stock:*"])

    Args:
        entries: What may be rebuilt besides.
        builtins: Whether the ordinary builtin exceptions may be.
        never: Classes that no entry may name or derive from, such as the control exceptions of a worker framework.

    Raises:
        ConfigurationError: An entry cannot be imported, is not an exception class, goes by another name, or must
            never be rebuilt; the message names it.
    """

    def __init__(
        self,
        entries: Iterable[type[BaseException] | str] = (),
        *,
        builtins: bool = True,
        never: Iterable[type[BaseException]] = (),
    ) -> None:
        self._never: tuple[type[BaseException], ...] = (*_CONTROL, *never)
        self._classes: dict[tuple[str, str], type[BaseException]] = {}
        if builtins:
            for cls in BUILTIN_EXCEPTIONS:
                if not self._reason_against(cls):
                    self._classes[cls.__module__, cls.__qualname__] = cls
        given: object = entries
        if isinstance(given, str):
            message = f"exception allowlist: {entries!r} is one string; give a list of entries"
            raise ConfigurationError(message)
        for entry in entries:
            for cls in _resolve(entry):
                self._add(cls, entry)

    def __contains__(self, cls: object) -> bool:
        """Tell whether exactly this class would be rebuilt."""
        return any(cls is listed for listed in self._classes.values())

    def __len__(self) -> int:
        return len(self._classes)

    def find(self, module: str, qualname: str) -> type[BaseException] | None:
        """Return the class listed under exactly these names, by one look into a dict."""
        return self._classes.get((module, qualname)) if _are_names(module, qualname) else None

    def decide(self, module: str, qualname: str) -> Decision:
        """
        Say what becomes of a record with these names, running no code that they name.

        A worker asks too, to learn when it publishes that nobody will rebuild what it raises.
        """
        if not _are_names(module, qualname):
            return Decision.NOT_LISTED
        if (module, qualname) in self._classes:
            return Decision.ALLOWED
        return Decision.REFUSED if _is_loaded_impostor(module, qualname) else Decision.NOT_LISTED

    def _add(self, cls: type[BaseException], entry: object) -> None:
        reason = self._reason_against(cls)
        if not reason and not _are_names(cls.__module__, cls.__qualname__):
            reason = "has no importable name; define it at the top of a module"
        if reason:
            message = f"exception allowlist: {_shown(entry)} {reason}"
            raise ConfigurationError(message)
        self._classes[cls.__module__, cls.__qualname__] = cls

    def _reason_against(self, cls: type[BaseException]) -> str:
        if cls is TimeoutError:
            return "must never be rebuilt: a remote timeout would be mistaken for one of ours"
        if not issubclass(cls, Exception) or issubclass(cls, self._never):
            return "must never be rebuilt: it controls the process or the framework that raises it"
        if issubclass(cls, StreamResultsError):
            return "must never be rebuilt: a remote error would be mistaken for one of ours"
        return ""


def _resolve(entry: type[BaseException] | str) -> list[type[BaseException]]:
    if not isinstance(entry, str):
        return [_exception_class(entry, entry)]
    module_name, _, qualname = entry.partition(":")
    if not (qualname == "*" and _are_names(module_name, "x")) and not _are_names(module_name, qualname):
        message = f"exception allowlist: {_shown(entry)} does not have the form 'module:QualifiedName'"
        raise ConfigurationError(message)
    module = _import(module_name, entry)
    if qualname == "*":
        return _defined_in(module, entry)
    found: object = module
    for name in qualname.split("."):
        found = getattr(found, name, None)
    cls = _exception_class(found, entry)
    if (cls.__module__, cls.__qualname__) != (module_name, qualname):
        message = f"exception allowlist: {_shown(entry)} goes by another name: {cls.__module__}:{cls.__qualname__}"
        raise ConfigurationError(message)
    return [cls]


def _import(name: str, entry: object) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as exc:
        message = f"exception allowlist: {_shown(entry)} cannot be imported: {exc}"
        raise ConfigurationError(message) from exc


def _exception_class(found: object, entry: object) -> type[BaseException]:
    if not (isinstance(found, type) and issubclass(found, BaseException)):
        message = f"exception allowlist: {_shown(entry)} is not an exception class"
        raise ConfigurationError(message)
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
        message = f"exception allowlist: {_shown(entry)} names a module that defines no exception class"
        raise ConfigurationError(message)
    return found


def _are_names(module: object, qualname: object) -> bool:
    """Tell whether both are names as Python writes them: records are checked before anything is looked up."""
    return _is_name(module) and _is_name(qualname)


def _is_name(name: object) -> bool:
    return type(name) is str and len(name) <= NAME_MAX and all(part.isidentifier() for part in name.split("."))


def _is_loaded_impostor(module: str, qualname: str) -> bool:
    """
    Tell whether a loaded module holds something of this name that is not an exception class.

    The module's dict is read through the descriptor of ``ModuleType``: neither a lazy module's ``__getattr__`` nor a
    class that poses as a module gets to run. Nothing but a refusal follows from it.
    """
    loaded = sys.modules.get(module)
    if loaded is None or not issubclass(type(loaded), types.ModuleType):
        return False
    namespace = _MODULE_DICT(loaded)
    if qualname not in namespace:
        return False
    found: Any = namespace[qualname]
    return not (issubclass(type(found), type) and issubclass(found, BaseException))


def _shown(entry: object) -> str:
    return f"{entry.__module__}:{entry.__qualname__}" if isinstance(entry, type) else repr(entry)
