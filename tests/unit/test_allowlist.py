"""
The allowlist. We test these aspects.

* what is on the default list, and what no configuration can put on any list
* an entry that cannot hold is a ConfigurationError that names it
* decisions compare exact names, import nothing and run nothing
"""

from __future__ import annotations

import asyncio
import builtins
import concurrent.futures
import importlib
import json
import sys
import types
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamresults.errors import ConfigurationError, SecurityError, TopicUnavailable, WaitTimeout
from streamresults.events.allowlist import ExceptionAllowlist
from streamresults.events.decisions import Decision


class Listed(Exception):
    """An exception of a user."""

    class Inner(Exception):
        """One with a dotted name."""


class Control(Exception):
    """The control exception of a framework."""


class Quit(SystemExit):
    """Derives from what must never be listed."""


class Deadline(TimeoutError):
    """A timeout of a user's own."""


Alias = Listed

NEVER = [
    BaseException, SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration, StopAsyncIteration, TimeoutError,
    BaseExceptionGroup, asyncio.CancelledError, concurrent.futures.CancelledError, WaitTimeout, SecurityError, Quit,
    TopicUnavailable,
]  # fmt: skip


def test_the_default_list_is_the_ordinary_builtin_exceptions() -> None:
    """Exactly the builtin subclasses of Exception, but for control flow and TimeoutError."""
    allowlist = ExceptionAllowlist()
    ordinary = {
        value for value in vars(builtins).values() if isinstance(value, type) and issubclass(value, Exception)
    } - {StopIteration, StopAsyncIteration, TimeoutError}

    assert len(ordinary) == len(allowlist)
    assert all(cls in allowlist for cls in ordinary)
    assert 0 == len(ExceptionAllowlist(builtins=False))


@pytest.mark.parametrize("cls", NEVER, ids=lambda cls: cls.__qualname__)
def test_some_classes_are_on_no_list_whoever_asks(cls: type[BaseException]) -> None:
    """Neither by default, nor as a class, nor by name."""
    assert cls not in ExceptionAllowlist()
    for entry in (cls, f"{cls.__module__}:{cls.__qualname__}"):
        with pytest.raises(ConfigurationError, match=f"{cls.__qualname__}.* must never be rebuilt"):
            ExceptionAllowlist([entry])


def test_an_adapter_adds_its_control_exceptions_to_the_never_list() -> None:
    """A worker framework's own exceptions control that framework."""
    with pytest.raises(ConfigurationError, match="Control must never be rebuilt"):
        ExceptionAllowlist([Control], never=[Control])
    assert ValueError not in ExceptionAllowlist(never=[ValueError])


def test_a_class_and_its_name_list_the_same() -> None:
    """Both forms of an entry lead to one class, dotted names included."""
    by_class = ExceptionAllowlist([Listed.Inner, Deadline])
    by_name = ExceptionAllowlist([f"{__name__}:Listed.Inner", f"{__name__}:Deadline"])

    assert Listed.Inner is by_class.find(__name__, "Listed.Inner")
    assert Listed.Inner is by_name.find(__name__, "Listed.Inner")
    assert Deadline in by_class
    assert Listed not in by_class


def test_a_module_s_own_exceptions_are_listed_by_a_star() -> None:
    """What the module defines, not what it imports."""
    allowlist = ExceptionAllowlist(["json.decoder:*"], builtins=False)

    assert json.JSONDecodeError in allowlist
    assert 1 == len(allowlist)


@pytest.mark.parametrize(
    ("entry", "hint"),
    [
        ("no.such.module:Error", "cannot be imported"),
        ("os:system", "is not an exception class"),
        ("os:NoSuchError", "is not an exception class"),
        ("os:*", "defines no exception class"),
        ("json:JSONDecodeError", "goes by another name: json.decoder:JSONDecodeError"),
        (f"{__name__}:Alias", "goes by another name"),
        ("ValueError", "does not have the form"),
        ("builtins:", "does not have the form"),
        (":ValueError", "does not have the form"),
        ("a b:c", "does not have the form"),
        ("builtins:Value*", "does not have the form"),
        (object, "is not an exception class"),
        (7, "is not an exception class"),
        (type("Local", (Exception,), {"__qualname__": "f.<locals>.Local"}), "has no importable name"),
    ],
)
def test_a_wrong_entry_is_a_configuration_error_that_names_it(entry: Any, hint: str) -> None:
    """A typo is found at start, not on the first failure."""
    with pytest.raises(ConfigurationError) as caught:
        ExceptionAllowlist([entry])

    assert hint in str(caught.value)
    assert (entry if isinstance(entry, str) else getattr(entry, "__name__", "7")) in str(caught.value)


def test_one_string_is_not_a_list_of_entries() -> None:
    """A forgotten bracket does not become a list of letters."""
    with pytest.raises(ConfigurationError, match="give a list"):
        ExceptionAllowlist("builtins:ValueError")


@pytest.mark.parametrize(
    ("expected", "module", "qualname"),
    [
        (Decision.ALLOWED, "builtins", "ValueError"),
        (Decision.REFUSED, "os", "system"),
        (Decision.REFUSED, "os", "environ"),
        (Decision.REFUSED, "builtins", "eval"),
        (Decision.REFUSED, "builtins", "object"),
        (Decision.REFUSED, "subprocess", "Popen"),
        (Decision.NOT_LISTED, "builtins", "SystemExit"),
        (Decision.NOT_LISTED, "builtins", "IOError"),
        (Decision.NOT_LISTED, "builtins", "TimeoutError"),
        (Decision.NOT_LISTED, "json", "decoder.JSONDecodeError"),
        (Decision.NOT_LISTED, "os", "path.join"),
        (Decision.NOT_LISTED, "os.path", "os.system"),
        (Decision.NOT_LISTED, "this", "s"),
        (Decision.NOT_LISTED, "builtins", "ValueError\n"),
        (Decision.NOT_LISTED, "builtins", ""),
        (Decision.NOT_LISTED, "", "eval"),
        (Decision.NOT_LISTED, "builtins", "e" * 257),
        (Decision.NOT_LISTED, "builtins", "\ud800"),
        (Decision.NOT_LISTED, None, 7),
    ],
)
def test_a_name_is_decided_by_exact_comparison(expected: Decision, module: Any, qualname: Any) -> None:
    """Aliases, dotted paths and odd names match nothing; what is loaded and no exception class is refused."""
    importlib.import_module("subprocess")  # loaded, as it is in most processes
    before = set(sys.modules)
    actual = ExceptionAllowlist().decide(module, qualname)

    assert expected is actual
    assert before == set(sys.modules)


@given(module=st.text() | st.sampled_from(["builtins", "os", "this"]), qualname=st.text())
@example(module="builtins", qualname="ValueError.mro")
def test_no_name_outside_of_the_list_is_allowed(module: str, qualname: str) -> None:
    """Whatever a record says, only listed pairs are found, and nothing is imported to decide."""
    before = set(sys.modules)
    allowlist = ExceptionAllowlist([Listed], builtins=False)
    decision = allowlist.decide(module, qualname)

    assert decision is not Decision.ALLOWED
    assert allowlist.find(module, qualname) is None
    assert before == set(sys.modules)


class Lazy(types.ModuleType):
    """A module that records every attempt to run its code."""

    ran: list[str] = []  # noqa: RUF012 - shared on purpose

    def __getattribute__(self, name: str) -> Any:
        """Record."""
        Lazy.ran.append(name)
        return super().__getattribute__(name)

    def __getattr__(self, name: str) -> Any:
        """Record."""
        Lazy.ran.append(name)
        return print


class Poser:
    """Stands in sys.modules without being a module; its ``__dict__`` is code."""

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        """Record."""
        Lazy.ran.append("__dict__")
        return {"x": print}


class Chameleon:
    """A value whose class is computed."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """Record."""
        Lazy.ran.append("__class__")
        return ValueError


def test_deciding_runs_no_code_of_a_loaded_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lazy module is not triggered, a poser is not asked, a value's own idea of its class does not count."""
    lazy = Lazy("lazy_module")
    object.__getattribute__(lazy, "__dict__")["there"] = Chameleon()
    monkeypatch.setitem(sys.modules, "lazy_module", lazy)
    monkeypatch.setitem(sys.modules, "poser_module", Poser())
    Lazy.ran.clear()
    allowlist = ExceptionAllowlist()
    actual = [
        allowlist.decide("lazy_module", "absent"),
        allowlist.decide("lazy_module", "there"),
        allowlist.decide("poser_module", "x"),
    ]

    assert [] == Lazy.ran
    assert [Decision.NOT_LISTED, Decision.REFUSED, Decision.NOT_LISTED] == actual


def test_a_name_longer_than_any_name_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """256 characters are the limit, even where a longer name exists."""
    module = types.ModuleType("generated")
    vars(module).update({"n" * 256: 1, "n" * 257: 1})
    monkeypatch.setitem(sys.modules, "generated", module)
    allowlist = ExceptionAllowlist()

    assert allowlist.decide("generated", "n" * 256) is Decision.REFUSED
    assert allowlist.decide("generated", "n" * 257) is Decision.NOT_LISTED
