"""
Which recorded exceptions may become exceptions again. Imports and attribute walks happen when it is built, never for
a record.
"""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any, Final, TypeVar

from streamresults.errors import ConfigurationError
from streamresults.events.allow_entries import check, classes_of, exception_class, is_name, refused, shown
from streamresults.events.allow_never import CONTROL, reason_against, reason_by_name
from streamresults.events.builtin_fields import BUILTIN_EXCEPTIONS
from streamresults.events.decisions import NO_NAME, Decision, Decisions
from streamresults.events.limits import LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Classes that code has listed, for every allowlist of the process.
_BY_CODE: Final[dict[tuple[str, str], type[BaseException]]] = {}

_Exception = TypeVar("_Exception", bound=type[BaseException])

_MODULE_DICT: Final[Callable[[types.ModuleType], dict[str, object]]] = vars(types.ModuleType)["__dict__"].__get__


def allow(cls: _Exception) -> _Exception:
    """
    List an exception class in every client of this process, at once; also a decorator.

    Example::

        @streamresults.allow
        class CardDeclined(Exception): ...

    Raises:
        ConfigurationError: It is not an exception class, has no importable name, or must never be rebuilt.
    """
    found = exception_class(cls, cls)
    check(found, cls, CONTROL)
    _BY_CODE[found.__module__, found.__qualname__] = found
    return cls


class ExceptionAllowlist:
    """
    The registry (module, qualified name) -> exception class: what it was built of, and what :func:`allow` has listed.

    Entries are exception classes, ``"module:QualifiedName"``, or ``"module:*"`` for every exception class that the
    module itself defines. The ordinary builtin exceptions are listed unless ``builtins`` is false; TimeoutError never
    is, so that a remote timeout is not mistaken for one of ours. ::

        ExceptionAllowlist([CardDeclined, "shop.errors:OutOfStock", "shop.stock:*"])

    Args:
        entries: What may be rebuilt besides.
        builtins: Whether the ordinary builtin exceptions may be.
        never: Classes that no entry may name or derive from, such as the control exceptions of a worker framework.
        name_max: Characters of a module or class name; nothing is listed or looked up under a longer one.

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
        name_max: int = LIMITS.name,
    ) -> None:
        self._name_max: Final = name_max
        self._never: tuple[type[BaseException], ...] = (*CONTROL, *never)
        self._classes: dict[tuple[str, str], type[BaseException]] = {}
        #: The entry that listed a class, for people; the default list has none.
        self._entries: dict[tuple[str, str], str] = {}
        #: What was decided about records.
        self.decisions: Final = Decisions()
        if builtins:
            for cls in BUILTIN_EXCEPTIONS:
                if not reason_against(cls, self._never):
                    self._classes[cls.__module__, cls.__qualname__] = cls
        given: object = entries
        if isinstance(given, str):
            message = f"exception allowlist: {entries!r} is one string; give a list of entries"
            raise ConfigurationError(message)
        for entry in entries:
            for cls in classes_of(entry):
                self._add(cls, entry)

    def __contains__(self, cls: object) -> bool:
        """Tell whether exactly this class would be rebuilt."""
        return any(cls is listed for listed in (*self._classes.values(), *self._by_code().values()))

    def __len__(self) -> int:
        return len(self._classes)

    def find(self, module: str, qualname: str) -> type[BaseException] | None:
        """Return the class listed under exactly these names, by one look into a dict: only names are keys of it."""
        if type(module) is not str or type(qualname) is not str:
            return None
        return self._classes.get((module, qualname)) or self._listed_by_code(module, qualname)

    def decide(self, module: str, qualname: str) -> Decision:
        """
        Say what becomes of a record with these names, running no code that they name.

        A worker asks too, to learn when it publishes that nobody will rebuild what it raises.
        """
        if self.find(module, qualname) is not None:
            return Decision.ALLOWED
        if not self._are_names(module, qualname):
            return Decision.NOT_LISTED
        return Decision.REFUSED if _is_loaded_impostor(module, qualname) else Decision.NOT_LISTED

    def judge(self, module: str, qualname: str) -> Decision:
        """Decide about a record that was read, count it, and say once how an unlisted type would be listed."""
        return self._noted(module, qualname, "is on no allowlist here: it stays a RemoteTaskError")

    def judge_published(self, module: str, qualname: str) -> Decision:
        """Do the same for an exception that this process publishes: whether clients list it, it cannot know."""
        return self._noted(module, qualname, "is on no allowlist here; clients without it get a RemoteTaskError")

    def judge_passing(self, module: str, qualname: str) -> Decision:
        """Do the same for an exception that passes a compactor: its allowlist is that of its own configuration."""
        return self._noted(module, qualname, "passed here and is on no allowlist of this configuration")

    def rule(self, module: str, qualname: str) -> str:
        """Return the rule that decides about a name, in words, for people."""
        if not self._are_names(module, qualname):
            return f"no class is named so: names are dotted identifiers of at most {self._name_max} characters"
        if (module, qualname) in self._classes:
            entry = self._entries.get((module, qualname))
            return f"listed by {entry}" if entry else "on the default list: an ordinary builtin exception"
        if self._listed_by_code(module, qualname) is not None:
            return "listed by code, with streamresults.allow"
        if _is_loaded_impostor(module, qualname):
            return "loaded here, and not an exception class"
        reason = reason_by_name(module, qualname, self._never)
        return reason or "no entry names it"

    def may_be_listed(self, module: str, qualname: str) -> bool:
        """Tell whether an entry could list such a name: it is one, and no rule forbids it."""
        return self._are_names(module, qualname) and not reason_by_name(module, qualname, self._never)

    def _noted(self, module: str, qualname: str, why: str) -> Decision:
        decision = self.decide(module, qualname)
        if decision is not Decision.NOT_LISTED:
            self.decisions.count((module, qualname), decision)
            return decision
        names = (module, qualname) if self._are_names(module, qualname) else NO_NAME
        self.decisions.count(names, decision)
        if names is not NO_NAME and not self.decisions.was_told(names) and self.may_be_listed(module, qualname):
            self.decisions.tell(names, why)
        return decision

    def _are_names(self, module: object, qualname: object) -> bool:
        """Tell whether both are names of a length that is taken: records are checked before anything is looked up."""
        return self._is_short(module) and self._is_short(qualname) and is_name(module) and is_name(qualname)

    def _is_short(self, name: object) -> bool:
        return type(name) is str and len(name) <= self._name_max

    def _by_code(self) -> dict[tuple[str, str], type[BaseException]]:
        return {names: cls for names, cls in _BY_CODE.items() if not reason_against(cls, self._never)}

    def _listed_by_code(self, module: str, qualname: str) -> type[BaseException] | None:
        cls = _BY_CODE.get((module, qualname))
        if cls is not None and not self._are_names(module, qualname):
            return None  # longer than this process takes
        if cls is None or len(self._never) == len(CONTROL):
            return cls
        return None if reason_against(cls, self._never) else cls

    def _add(self, cls: type[BaseException], entry: object) -> None:
        check(cls, entry, self._never)
        if not self._are_names(cls.__module__, cls.__qualname__):
            raise refused(entry, f"has a name of more than {self._name_max} characters")
        self._classes[cls.__module__, cls.__qualname__] = cls
        self._entries[cls.__module__, cls.__qualname__] = shown(entry)


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
