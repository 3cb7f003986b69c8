"""
There and back: an exception comes back with class, arguments, attributes, fields, notes, chain and members.

We test these aspects: any web of exceptions, by either serializer; that the code of a class does not run; what builtin
types keep in C; what is not listed.
"""

from __future__ import annotations

import errno
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamresults.errors import RemoteTaskError
from streamresults.events.allowlist import ExceptionAllowlist
from streamresults.events.event import ExceptionNode
from streamresults.events.exceptions import capture
from streamresults.events.revive import revive
from tests.unit.exception_samples import (
    ALLOWLIST,
    JSON,
    REGISTRY,
    VALUES,
    Both,
    Nasty,
    Several,
    Shy,
    named,
    raised,
    there_and_back,
)


def chain(exc: BaseException | None, seen: tuple[int, ...] = ()) -> Any:
    """Describe an exception with everything that should come back."""
    if exc is None or id(exc) in seen:
        return exc and seen.index(id(exc))
    seen = (*seen, id(exc))
    members = exc.exceptions if isinstance(exc, BaseExceptionGroup) else ()
    attributes = {k: v for k, v in BaseException.__dict__["__dict__"].__get__(exc).items() if k != "remote_traceback"}
    return (
        type(exc), str(exc), None if members else exc.args, attributes, exc.__suppress_context__,
        chain(exc.__cause__, seen), chain(exc.__context__, seen),
        [chain(member, seen) for member in members],
    )  # fmt: skip


NAMES = st.from_regex(r"\A[a-z]{3,8}\Z").filter(lambda name: name not in dir(ExceptionGroup("x", [ValueError()])))


LEAVES = st.builds(
    lambda cls, args, attributes: (exc := cls(*args), exc.__dict__.update(attributes))[0],
    st.sampled_from([ValueError, KeyError, RuntimeError, OSError, AttributeError, Both]),
    st.lists(VALUES.filter(lambda value: value is not None), max_size=3),  # OSError(None, 1) counts as OSError(1)
    st.dictionaries(NAMES, VALUES, max_size=2),
)


@st.composite
def webs(draw: st.DrawFn) -> BaseException:
    """Draw exceptions that cause, follow and contain one another, cycles included."""
    made: list[Exception] = draw(st.lists(LEAVES, min_size=1, max_size=4))
    if draw(st.booleans()):
        made.append(ExceptionGroup("several", list(made)))
    for exc in made:
        for attribute in ("__cause__", "__context__"):
            other = draw(st.none() | st.sampled_from(made))
            if other is not None:
                setattr(exc, attribute, other)
        exc.__suppress_context__ = draw(st.booleans())
        for note in draw(st.lists(st.text("ab"), max_size=2)):
            exc.add_note(note)
    return made[-1]


@settings(deadline=None)
@given(exc=webs(), serializer=st.sampled_from(["json", "msgpack"]))
def test_an_allowed_exception_comes_back_as_it_was(exc: BaseException, serializer: str) -> None:
    """Class, message, args, attributes, notes, chain, cycles and members survive the way."""
    actual = there_and_back(exc, serializer)

    assert chain(exc) == chain(actual)


def test_reviving_runs_no_code_of_the_class() -> None:
    """Neither constructor, nor property, nor __setattr__; a required argument is no obstacle."""
    nodes, text = capture(Shy(code=7, reason="no funds"), JSON)
    nodes = (changed(nodes[0], attributes=(*nodes[0].attributes, named("trap", 1))),)
    Shy.ran.clear()
    actual = revive(nodes, text, ALLOWLIST, REGISTRY)

    assert [] == Shy.ran
    assert Shy is type(actual)
    assert ("no funds (7)",) == actual.args
    assert 7 == actual.code


def changed(record: ExceptionNode, **changes: Any) -> ExceptionNode:
    """Return a changed copy of a record."""
    return ExceptionNode(**({field: getattr(record, field) for field in record.__struct_fields__} | changes))


def test_a_group_is_built_without_its_class_s_code() -> None:
    """A group's members are rebuilt or remote, each for itself."""
    nodes, text = capture(Several("two", [ValueError(1), Stranger(2)]), JSON)
    Several.ran.clear()
    actual = revive(nodes, text, ALLOWLIST, REGISTRY)

    assert [] == Several.ran
    assert isinstance(actual, Several)
    assert [ValueError, RemoteTaskError] == [type(member) for member in actual.exceptions]
    assert "two (2 sub-exceptions)" == str(actual)


class Stranger(Exception):
    """Not listed."""


FIELDS: list[tuple[BaseException, list[str]]] = [
    (OSError(errno.ENOENT, "gone", "a", None, "b"), ["errno", "strerror", "filename", "filename2"]),
    (BlockingIOError(errno.EAGAIN, "full", 3), ["errno", "characters_written"]),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), ["encoding", "object", "start", "end", "reason"]),
    (UnicodeEncodeError("ascii", "é", 0, 1, "bad"), ["encoding", "object", "start", "end", "reason"]),
    (UnicodeTranslateError("é", 0, 1, "bad"), ["object", "start", "end", "reason"]),
    (SyntaxError("bad", ("f.py", 1, 2, "x y", 1, 3)), ["msg", "filename", "lineno", "offset", "text", "end_offset"]),
    (ImportError("no", name="a.b", path="/a"), ["msg", "name", "path"]),
    (ImportError(["no"]), ["msg"]),
    (AttributeError("no", name="a"), ["name"]),
    (NameError("no", name="a"), ["name"]),
]


@pytest.mark.parametrize(("exc", "names"), FIELDS, ids=lambda value: type(value).__name__)
def test_what_a_builtin_keeps_in_c_comes_back(exc: BaseException, names: list[str]) -> None:
    """Code that asks for errno or start gets it, although no constructor ran."""
    actual = there_and_back(exc)

    assert type(exc) is type(actual)
    assert str(exc) == str(actual)
    assert [getattr(exc, name) for name in names] == [getattr(actual, name) for name in names]


@pytest.mark.parametrize(
    ("exc", "name", "value"),
    [
        (SystemExit(3), "code", 3),
        (StopIteration(4), "value", 4),
        (KeyboardInterrupt(), None, None),
        (Nasty(), None, None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_listed_is_remote_with_every_recorded_field(
    exc: BaseException, name: str | None, value: Any
) -> None:
    """Process control and strangers are described, never raised."""
    nodes, text = capture(exc, JSON)
    actual = revive(nodes, text, ALLOWLIST, REGISTRY)

    assert isinstance(actual, RemoteTaskError)
    assert nodes == actual.record
    assert text == actual.remote_traceback
    assert actual.is_type(f"{type(exc).__module__}:{type(exc).__qualname__}")
    assert actual.is_type("builtins:BaseException")
    assert ([named(name, value)] if name else []) == list(nodes[0].fields)


def test_a_remote_traceback_is_kept_and_adds_no_note() -> None:
    """The text is at hand; notes are the user's."""
    actual = there_and_back(raised(ValueError("x"), KeyError("y")))

    assert "direct cause" in actual.remote_traceback
    assert not hasattr(actual, "__notes__")
    assert isinstance(actual.__cause__, KeyError)


def test_a_record_s_dotted_json_error_is_remote_until_it_is_listed() -> None:
    """A library's exception is rebuilt where somebody listed it, and only there."""
    nodes, text = capture(json.JSONDecodeError("bad", "{", 1), JSON)
    listed = revive(nodes, text, ExceptionAllowlist(["json.decoder:JSONDecodeError"]), REGISTRY)

    assert isinstance(revive(nodes, text, ALLOWLIST, REGISTRY), RemoteTaskError)
    assert isinstance(listed, json.JSONDecodeError)
    assert ("bad", 1, 1) == (listed.msg, listed.pos, listed.lineno)
