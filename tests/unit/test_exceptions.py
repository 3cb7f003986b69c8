"""
Capture and revive. We test these aspects.

* an exception comes back with class, arguments, attributes, fields, notes, chain and members
* capture never raises, and stays within its limits
* revive runs no code, imports nothing and never raises, whatever the record says
"""

from __future__ import annotations

import enum
import errno
import json
import os
import pathlib
import sys
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamresults.errors import RemoteTaskError, SecurityError
from streamresults.events.allowlist import ExceptionAllowlist
from streamresults.events.event import REPR, ExceptionNode, NamedValue
from streamresults.events.exceptions import capture
from streamresults.events.limits import LIMITS
from streamresults.events.payloads import default_registry
from streamresults.events.revive import RemoteRepr, revive

if TYPE_CHECKING:
    from collections.abc import Sequence

REGISTRY = default_registry()
JSON = REGISTRY.by_name("json")


class Shy(Exception):
    """An exception that records every run of its own code, and cannot be built from its args."""

    ran: list[str] = []  # noqa: RUF012 - shared on purpose

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Shy:  # noqa: PYI034
        """Record."""
        cls.ran.append("__new__")
        return super().__new__(cls)

    def __init__(self, *, code: int, reason: str) -> None:
        """Record."""
        self.ran.append("__init__")
        super().__init__(f"{reason} ({code})")
        self.code = code

    def __setattr__(self, name: str, value: Any) -> None:
        """Record."""
        self.ran.append("__setattr__")
        super().__setattr__(name, value)

    def __setstate__(self, state: Any) -> None:
        """Record."""
        self.ran.append("__setstate__")

    def __reduce__(self) -> Any:
        """Record."""
        self.ran.append("__reduce__")
        return os.getpid, ()

    @property
    def trap(self) -> str:
        """Record."""
        self.ran.append("get")
        return ""

    @trap.setter
    def trap(self, _value: str) -> None:
        self.ran.append("set")

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        """Record."""
        self.ran.append("__dict__")
        return {}


class Both(ValueError, OSError):
    """Its layout is OSError's, although ValueError comes first."""


class Several(ExceptionGroup[Exception]):
    """A group with code of its own."""

    ran: list[str] = []  # noqa: RUF012 - shared on purpose

    def __new__(cls, message: str, members: Sequence[Exception]) -> Several:  # noqa: PYI034
        """Record."""
        cls.ran.append("__new__")
        return super().__new__(cls, message, members)


class Nasty(Exception):
    """Every way to be looked at fails, and not with an Exception."""

    def __str__(self) -> str:
        """Fail."""
        raise SystemExit

    def __repr__(self) -> str:
        """Fail."""
        raise KeyboardInterrupt

    def __reduce__(self) -> Any:
        """Fail."""
        raise SystemExit

    def __getattribute__(self, name: str) -> Any:
        """Fail."""
        raise SystemExit

    def __hash__(self) -> int:
        """Fail."""
        raise SystemExit

    def __eq__(self, other: object) -> bool:
        """Fail."""
        raise SystemExit


class Meta(type):
    """A metaclass whose names and comparisons fail."""

    def __getattribute__(cls, name: str) -> Any:
        """Fail."""
        raise SystemExit

    def __hash__(cls) -> int:
        """Fail."""
        raise SystemExit

    def __eq__(cls, other: object) -> bool:
        """Fail."""
        raise SystemExit


def nasty_class() -> BaseException:
    """Return an instance of a class that fails when looked at; made here, out of the test runner's sight."""

    class NastyClass(Exception, metaclass=Meta):
        pass

    return BaseException.__new__(NastyClass)


class Colour(enum.Enum):
    """A value without a form."""

    RED = 1


ALLOWLIST = ExceptionAllowlist([Shy, Both, Several])


def there_and_back(exc: BaseException, serializer: str = "json") -> Any:
    """Capture and revive."""
    nodes, text = capture(exc, REGISTRY.by_name(serializer))
    return revive(nodes, text, ALLOWLIST, REGISTRY)


def node(module: str = "builtins", qualname: str = "ValueError", **rest: Any) -> ExceptionNode:
    """Write a record by hand."""
    return ExceptionNode(module=module, qualname=qualname, **rest)


def named(name: str, value: Any) -> NamedValue:
    """Write a value by hand."""
    return NamedValue(name=name, content_type="application/json", data=JSON.encode(value))


def raised(exc: BaseException, cause: BaseException | None = None) -> BaseException:
    """Raise and catch, so that there is a traceback."""
    try:
        raise exc from cause  # noqa: TRY301 - the point
    except BaseException as caught:  # noqa: BLE001 - whatever was raised
        return caught


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


VALUES = st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])) | st.binary()
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


def test_frames_are_data_without_locals() -> None:
    """File, line, function and source, outermost first."""
    secret = "pass" + "word"  # would show among locals
    nodes, text = capture(raised(ValueError(1)), JSON)
    frame = nodes[0].frames[0]

    assert ("raised", "raise exc from cause  # noqa: TRY301 - the point") == (frame.function, frame.source)
    assert __file__ == frame.file
    assert secret not in repr(nodes) + text


def test_a_value_without_a_form_travels_as_its_repr() -> None:
    """It comes back looking alike, as an inert stand-in."""
    exc = ValueError(Colour.RED, pathlib.PurePosixPath("a"), 5)
    nodes, _ = capture(exc, JSON)
    actual = there_and_back(exc)

    assert [REPR, REPR, "application/json"] == [value.content_type for value in nodes[0].arguments]
    assert (RemoteRepr("<Colour.RED: 1>"), RemoteRepr("PurePosixPath('a')"), 5) == actual.args
    assert str(exc) == str(actual)


def hostile_chain() -> BaseException:
    """Return an exception with a thousand causes."""
    exc: BaseException = ValueError("first")
    for index in range(1000):
        exc = raised(ValueError(index), exc)
    return exc


def fall() -> None:
    """Recurse for ever."""
    fall()


def deep() -> BaseException:
    """Return a runaway recursion."""
    with pytest.raises(RecursionError) as caught:
        fall()
    return caught.value


def overloaded() -> BaseException:
    """Return an exception that carries too much of everything."""
    exc = ValueError(*range(1000))
    exc.__dict__.update({f"a{index}": "x" * 10_000 for index in range(1000)})
    exc.__dict__["__notes__"] = ["n" * 10**5] * 500
    exc.__dict__.update({"n" * 10_000: 1, 5: 6, "big": "x" * 10**7})  # type: ignore[dict-item]
    return exc


def confused() -> BaseException:
    """Return an exception whose values fail in every way."""
    exc = ValueError(Nasty(), nasty_class(), "\ud800")
    exc.__dict__["nasty"] = [Nasty()]
    exc.__dict__["__notes__"] = (1, 2)
    exc.add_note = None  # type: ignore[method-assign, assignment]
    return exc


MAKERS = {
    "hostile methods": Nasty,
    "hostile class": nasty_class,
    "long chain": hostile_chain,
    "deep recursion": deep,
    "too much": overloaded,
    "bad values": confused,
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_capture_never_raises_and_stays_within_its_limits(make: Any) -> None:
    """A worker always gets its failure published."""
    nodes, text = capture(raised(make()), JSON)
    size = sum(len(JSON.encode(repr(one))) for one in nodes)
    actual = revive(nodes, text, ALLOWLIST, REGISTRY)

    assert size < 2 * LIMITS.total + 500 * len(nodes)
    assert len(nodes) <= LIMITS.chain
    assert len(text) <= LIMITS.traceback
    assert text.encode()
    assert "".join(traceback.format_exception(actual))


@pytest.mark.parametrize("make", [hostile_chain, deep, overloaded])
def test_what_was_cut_is_marked(make: Any) -> None:
    """A reader can tell a whole record from a shortened one."""
    nodes, _ = capture(make(), JSON)

    assert any(one.truncated for one in nodes)
    assert not capture(ValueError(1), JSON)[0][0].truncated


def test_of_too_many_frames_both_ends_are_kept() -> None:
    """Where it began and where it broke."""
    exc = deep()
    nodes, _ = capture(exc, JSON)
    lines = [(frame.name, frame.lineno) for frame in traceback.extract_tb(exc.__traceback__)]

    assert LIMITS.frames == len(nodes[0].frames)
    assert lines[0] == (nodes[0].frames[0].function, nodes[0].frames[0].line)
    assert lines[-1] == (nodes[0].frames[-1].function, nodes[0].frames[-1].line)


class Failing:
    """A serializer that fails in its own way."""

    name = "failing"
    content_type = "application/x-failing"

    def encode(self, value: object, *, path: str = "result") -> bytes:
        """Fail."""
        raise ZeroDivisionError(path, value)

    def decode(self, data: bytes) -> object:
        """Fail."""
        raise ZeroDivisionError(data)


def test_a_failing_serializer_does_not_hide_the_failure() -> None:
    """What cannot be encoded is shown by its repr."""
    nodes, _ = capture(ValueError("x"), Failing())

    assert (NamedValue(content_type=REPR, data=b"'x'"),) == nodes[0].arguments


@pytest.mark.parametrize(
    ("module", "qualname"),
    [("os", "system"), ("builtins", "eval"), ("subprocess", "Popen"), ("os", "environ"), ("builtins", "object")],
)
def test_a_loaded_name_that_is_no_exception_class_is_an_inert_security_error(module: str, qualname: str) -> None:
    """The record is refused by name, its payload only shown; nothing is called."""
    record = (node(module, qualname, arguments=(named("", "touch " + "x" * 10_000),) * 50),)
    actual = revive(record, "", ALLOWLIST, REGISTRY)

    assert SecurityError is type(actual)
    assert f"expected an exception class, got `{module}.{qualname}`" in str(actual)
    assert "touch" in str(actual)
    assert 400 > len(str(actual))


@pytest.mark.parametrize(
    ("module", "qualname"),
    [
        ("builtins", "SystemExit"), ("builtins", "KeyboardInterrupt"), ("builtins", "GeneratorExit"),
        ("builtins", "StopIteration"), ("builtins", "TimeoutError"), ("asyncio.exceptions", "CancelledError"),
        ("streamresults.errors", "WaitTimeout"), ("streamresults.errors", "SecurityError"), ("this", "s"),
        ("antigravity", "Error"), ("os", "path.join"), ("os.path", "os.system"), ("os", "sys.exit"), ("", ""),
        ("a" * 10**6, "b"), ("builtins", "eval\n"), ("builtins", "\x1b[2J"), ("__main__", "x.y.z"),
    ],
)  # fmt: skip
def test_any_other_name_is_remote_and_imports_nothing(module: str, qualname: str) -> None:
    """Control exceptions, modules that are not loaded, dotted paths and odd names."""
    before = set(sys.modules)
    actual = revive((node(module, qualname, message="m"),), "trace", ALLOWLIST, REGISTRY)

    assert RemoteTaskError is type(actual)
    assert before == set(sys.modules)
    assert "m" == actual.message
    assert "\x1b" not in str(actual)
    assert 1000 > len(str(actual))


@pytest.mark.parametrize("record", [(), [], None, "x", 7, [1], {"a": 1}, ("x",), (node(), None)], ids=repr)
def test_what_is_no_record_is_an_unknown_remote_error(record: Any) -> None:
    """The task has failed, whatever the record says about it."""
    actual = revive(record, "trace", ALLOWLIST, REGISTRY)

    assert isinstance(actual, RemoteTaskError)
    assert ("unknown", "trace") == (actual.message, actual.remote_traceback)


BROKEN_VALUE = NamedValue(name="x", content_type="application/json", data=b"{")
PICKLED = NamedValue(name="x", content_type="application/x-python-serialize", data=b"cthis\ns\n.")
UNREVIVABLE = [
    node(arguments=(BROKEN_VALUE,)), node(attributes=(BROKEN_VALUE,)), node(arguments=(PICKLED,)),
    node(qualname="UnicodeDecodeError", fields=(named("object", b""), named("start", -5))),
    node(qualname="UnicodeDecodeError", fields=(named("object", "text"), named("start", 0))),
    node(qualname="UnicodeEncodeError", fields=(named("object", b"bytes"),)),
    node(qualname="UnicodeEncodeError", fields=(named("start", 2**70),)),
    node(qualname="SyntaxError", fields=(named("offset", 10**12),)),
    node(qualname="SyntaxError", fields=(named("text", 5),)),
    node(qualname="NameError", fields=(named("name", []),)),
    node(qualname="OSError", fields=(named("characters_written", "many"),)),
    node(qualname="ExceptionGroup"),
    node(qualname="ExceptionGroup", fields=(named("message", "m"),)),
    node(qualname="ExceptionGroup", fields=(named("message", "m"),), members=(0,)),
    node(qualname="ExceptionGroup", fields=(named("message", "m"),), members=(-1, 1, 10**9)),
    node(qualname="ExceptionGroup", fields=(named("message", 5),), members=(0,)),
]  # fmt: skip


@pytest.mark.parametrize("record", UNREVIVABLE, ids=repr)
def test_state_that_cannot_be_set_as_data_makes_it_remote(record: ExceptionNode) -> None:
    """Bytes that are no values, values that CPython would trust blindly, groups that hold themselves."""
    actual = revive((record,), "", ALLOWLIST, REGISTRY)

    assert RemoteTaskError is type(actual)
    assert f"builtins:{record.qualname}" == actual.type_name
    assert "".join(traceback.format_exception(actual))


def test_a_content_type_that_is_not_accepted_is_not_decoded_inside_an_exception() -> None:
    """The accept list holds for arguments as for results."""
    nodes, text = capture(ValueError(1), JSON)
    actual = revive(nodes, text, ALLOWLIST, REGISTRY, accept=frozenset({"application/x-msgpack"}))

    assert isinstance(actual, RemoteTaskError)


def test_printing_a_revived_import_error_imports_nothing() -> None:
    """Python imports the module of an ImportError with name_from to suggest a name: it is never set."""
    before = set(sys.modules)
    values = (named("name", "antigravity"), named("name_from", "x"), named("msg", "m"))
    actual = raised(revive((node(qualname="ImportError", fields=values, attributes=values),), "", ALLOWLIST, REGISTRY))

    assert "".join(traceback.format_exception(actual))
    assert before == set(sys.modules)
    assert getattr(actual, "name_from", None) is None


def test_a_record_cannot_hide_what_python_defines() -> None:
    """An attribute named like a method or a dunder is left out."""
    names = ("with_traceback", "add_note", "args", "__notes__", "__class__", "__traceback__", "a b", "")
    record = node(attributes=tuple(named(name, "x") for name in (*names, "code")))
    actual = revive((record,), "", ALLOWLIST, REGISTRY)

    assert {"code": "x", "remote_traceback": ""} == actual.__dict__


def test_links_to_nowhere_and_circles_are_survived() -> None:
    """Indexes are data as well."""
    records = (node(cause=1, context=99), node(cause=0, context=1), node(cause=-7))
    actual = revive(records, "", ALLOWLIST, REGISTRY)

    assert actual is actual.__cause__.__cause__  # type: ignore[union-attr]
    assert actual.__context__ is None
    assert "".join(traceback.format_exception(raised(actual)))


def test_a_refused_name_in_a_chain_leaves_the_rest_alone() -> None:
    """Each exception of a chain is judged for itself."""
    actual = revive((node(cause=1), node("os", "system")), "", ALLOWLIST, REGISTRY)

    assert ValueError is type(actual)
    assert SecurityError is type(actual.__cause__)


@settings(deadline=None)
@given(
    records=st.lists(
        st.builds(
            ExceptionNode,
            module=st.sampled_from(["builtins", "os", __name__]) | st.text(),
            qualname=st.sampled_from(["ExceptionGroup", "OSError", "system", "SyntaxError", "KeyError"]) | st.text(),
            message=st.text(),
            arguments=st.lists(st.builds(named, st.text(), VALUES), max_size=2).map(tuple),
            fields=st.lists(
                st.builds(named, st.sampled_from(["message", "errno", "lineno", "object", "text"]), VALUES), max_size=3
            ).map(tuple),
            notes=st.lists(st.text(), max_size=2).map(tuple),
            cause=st.integers(-2, 5),
            context=st.integers(-2, 5),
            members=st.lists(st.integers(-2, 5), max_size=3).map(tuple),
        ),
        max_size=5,
    )
)
def test_any_record_gives_an_exception_that_can_be_raised_and_printed(records: list[ExceptionNode]) -> None:
    """Reviving has one outcome: an Exception, never a process-control one, with nothing imported."""
    before = set(sys.modules)
    actual = revive(records, "", ALLOWLIST, REGISTRY)

    assert isinstance(actual, Exception)
    assert "".join(traceback.format_exception(raised(actual)))
    assert before == set(sys.modules)


def test_a_record_s_dotted_json_error_is_remote_until_it_is_listed() -> None:
    """A library's exception is rebuilt where somebody listed it, and only there."""
    nodes, text = capture(json.JSONDecodeError("bad", "{", 1), JSON)
    listed = revive(nodes, text, ExceptionAllowlist(["json.decoder:JSONDecodeError"]), REGISTRY)

    assert isinstance(revive(nodes, text, ALLOWLIST, REGISTRY), RemoteTaskError)
    assert isinstance(listed, json.JSONDecodeError)
    assert ("bad", 1, 1) == (listed.msg, listed.pos, listed.lineno)


@pytest.mark.parametrize("size", [0, 30_000, 70_000, 150_000, 10**6])
def test_a_formatted_traceback_keeps_both_ends(size: int) -> None:
    """Python prints the oldest cause first and the exception itself last: neither is lost."""
    text = capture(raised(ValueError("end"), raised(ValueError("x" * size), KeyError("begin"))), JSON)[1]

    assert "KeyError: 'begin'" in text[:1000]
    assert text.endswith("ValueError: end\n")
    assert ("[... cut ...]" in text) is (size >= LIMITS.traceback)
    assert len(text) <= LIMITS.traceback


def test_text_that_utf8_cannot_carry_is_escaped() -> None:
    """A lone surrogate, as in an undecodable file name, does not make the failure unpublishable."""
    exc = ValueError("\ud800")
    exc.add_note("\udcff")
    nodes, text = capture(exc, JSON)

    assert ("\\ud800", ("\\udcff",)) == (nodes[0].message, nodes[0].notes)
    assert text.endswith("ValueError: \\ud800\n\\udcff\n")


def test_notes_are_notes_only() -> None:
    """They are not recorded twice, and something else under their name is no reason to fail."""
    exc, odd = ValueError(1), ValueError(2)
    exc.add_note("n")
    odd.__notes__ = 5  # type: ignore[assignment]
    (node_of_exc,), (node_of_odd,) = capture(exc, JSON)[0], capture(odd, JSON)[0]

    assert ((), ("n",)) == (node_of_exc.attributes, node_of_exc.notes)
    assert ("builtins", ()) == (node_of_odd.module, node_of_odd.notes)
