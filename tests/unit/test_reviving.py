"""
Revive runs no code, imports nothing and never raises, whatever the record says.

We test these aspects: names that are no exception classes; what is no record; state that cannot be set; what a record
cannot hide; chains to nowhere; any record at all.
"""

from __future__ import annotations

import sys
import traceback
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamresults.errors import RemoteTaskError, SecurityError
from streamresults.events.event import ExceptionNode, NamedValue
from streamresults.events.exceptions import capture
from streamresults.events.revive import revive
from tests.unit.exception_samples import ALLOWLIST, JSON, REGISTRY, VALUES, named, raised


def node(module: str = "builtins", qualname: str = "ValueError", **rest: Any) -> ExceptionNode:
    """Write a record by hand."""
    return ExceptionNode(module=module, qualname=qualname, **rest)


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
