"""
Exception classes as people write them, generated: every way to construct, to keep state and to derive.

We test this: whatever a class's constructor demands and wherever it keeps its state, an instance comes back with the
same class, args, attributes, slots, message and notes, and no code of the class has run on the way.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamresults.events.allowlist import ExceptionAllowlist
from streamresults.events.exceptions import capture
from streamresults.events.payloads import default_registry
from streamresults.events.revive import revive

REGISTRY = default_registry()
RAN: list[str] = []

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(codec="utf-8"), max_size=9)
    | st.binary(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text("abc"), inner, max_size=3)
    ),
    max_leaves=6,
)
ATTRIBUTES = st.from_regex(r"\A[a-z]{4,9}_\Z")
BASES: list[tuple[type[BaseException], ...]] = [
    *((base,) for base in (Exception, ValueError, KeyError, RuntimeError, OSError, ConnectionError, ImportError)),
    *((base,) for base in (AttributeError, ArithmeticError, UnicodeError, EOFError)),
    (LookupError, ValueError),
    (ValueError, OSError),
]


def note(name: str) -> str:
    RAN.append(name)
    return name


def constructor(kind: str, attributes: list[str]) -> Any:
    """Return an ``__init__`` that nobody could call from args alone, but for the first kind."""

    def plain(self: Any, *args: Any) -> None:
        note("__init__")
        super(type(self), self).__init__(*args)

    def keywords(self: Any, *, required: Any) -> None:
        note("__init__")
        super(type(self), self).__init__()
        self.args = (required,)

    def fewer(self: Any, first: Any, second: Any) -> None:
        note("__init__")
        super(type(self), self).__init__(first)
        self.__dict__["second_"] = second

    def nothing(self: Any) -> None:
        note("__init__")
        super(type(self), self).__init__("always the same")

    def silent(_self: Any, *_args: Any, **_kwargs: Any) -> None:
        note("__init__")

    made = {"plain": plain, "keywords": keywords, "fewer": fewer, "nothing": nothing, "silent": silent}[kind]
    made.__qualname__ = f"Generated.{kind}.{len(attributes)}"
    return made


def set_attribute(self: Any, name: str, value: Any) -> None:
    note("__setattr__")
    BaseException.__setattr__(self, name, value)


def no_attribute(_self: Any, name: str) -> Any:
    note(f"__getattr__ {name}")
    raise AttributeError(name)


METHODS: dict[str, Any] = {
    "__reduce__": lambda _self: note("__reduce__"),
    "__setattr__": set_attribute,
    "__getattr__": no_attribute,
    "shown": property(lambda _self: note("property")),
}


@st.composite
def classes(draw: st.DrawFn) -> tuple[Any, str, list[str]]:
    """Draw a class, the kind of its constructor, and its slots."""
    kind = draw(st.sampled_from(["plain", "keywords", "fewer", "nothing", "silent"]))
    bases: Any = draw(st.sampled_from(BASES))
    slots = draw(st.lists(ATTRIBUTES, max_size=2, unique=True))
    body: dict[str, Any] = {"__init__": constructor(kind, slots), "__module__": __name__, "__qualname__": "Generated"}
    if slots and len(bases) == 1:
        body["__slots__"] = tuple(slots)
    body |= {name: METHODS[name] for name in draw(st.sets(st.sampled_from(list(METHODS))))}
    return type("Generated", bases, body), kind, list(body.get("__slots__", ()))


@settings(deadline=None)
@given(
    made=classes(),
    values=st.tuples(VALUES, VALUES),
    attributes=st.dictionaries(ATTRIBUTES, VALUES, max_size=3),
    notes=st.lists(st.text(st.characters(codec="utf-8"), max_size=9), max_size=2),
    serializer=st.sampled_from(["json", "msgpack"]),
)
def test_any_class_comes_back_without_its_code(
    made: tuple[Any, str, list[str]],
    values: tuple[Any, Any],
    attributes: dict[str, Any],
    notes: list[str],
    serializer: str,
) -> None:
    """The same instance as far as data can say."""
    cls, kind, slots = made
    construct: dict[str, Any] = {
        "plain": lambda: cls(*values),
        "keywords": lambda: cls(required=values[0]),
        "fewer": lambda: cls(*values),
        "nothing": cls,
        "silent": lambda: cls(*values, key=1),
    }
    exc = construct[kind]()
    for name, value in {**attributes, **dict.fromkeys(slots, values[1])}.items():
        object.__setattr__(exc, name, value)
    for text in notes:
        BaseException.add_note(exc, text)
    setattr(sys.modules[__name__], "Generated", cls)  # noqa: B010 -- entries are resolved by import
    allowlist = ExceptionAllowlist([f"{__name__}:Generated"])
    nodes, trace = capture(exc, REGISTRY.by_name(serializer))
    RAN.clear()
    actual = revive(nodes, trace, allowlist, REGISTRY)

    assert [] == RAN
    assert cls is type(actual)
    assert exc.args == actual.args
    assert {**vars(exc), "remote_traceback": trace} == vars(actual)
    assert {name: getattr(exc, name, None) for name in slots} == {name: getattr(actual, name, None) for name in slots}
    assert BaseException.__str__(exc) == BaseException.__str__(actual)


def test_a_slot_is_set_without_a_property_of_its_name() -> None:
    """A record that names a property gets an attribute that the property hides, and no call."""

    class Generated(Exception):
        __slots__ = ("kept",)

        @property
        def shown(self) -> str:
            note("property")
            return "shown"

    Generated.__module__, Generated.__qualname__ = __name__, "Generated"
    exc: Any = Generated(1)
    exc.kept = 5
    nodes, trace = capture(exc, REGISTRY.by_name("json"))
    RAN.clear()
    actual: Any = revive(nodes, trace, ExceptionAllowlist([Generated]), REGISTRY)

    assert ([], 5, {"remote_traceback": trace}) == (RAN, actual.kept, vars(actual))
    with pytest.raises(AttributeError):
        _ = exc.__class__(1).kept  # not set is not set
