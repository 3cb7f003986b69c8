"""
Capture makes data of any exception: it never raises, and stays within its limits.

We test these aspects: exceptions whose own code fails or lies; what is cut is marked; frames, notes and the formatted
traceback; values that have no form.
"""

from __future__ import annotations

import enum
import pathlib
import traceback
from typing import Any

import pytest

from streamresults.events.event import REPR, NamedValue
from streamresults.events.exceptions import capture
from streamresults.events.limits import LIMITS
from streamresults.events.revive import RemoteRepr, revive
from tests.unit.exception_samples import ALLOWLIST, JSON, REGISTRY, Nasty, raised, there_and_back


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


def test_frames_are_data_without_locals() -> None:
    """File, line, function and source, outermost first."""
    secret = "pass" + "word"  # would show among locals
    nodes, text = capture(raised(ValueError(1)), JSON)
    frame = nodes[0].frames[0]

    assert ("raised", "raise exc from cause  # noqa: TRY301 - the point") == (frame.function, frame.source)
    assert raised.__code__.co_filename == frame.file
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
