"""
How much of an exception travels, and how much of a record is looked at.

We test these aspects: each limit below, at and above itself, on the way out and on the way in; a mark where something
was cut; settings that set them; the size of a record, and the memory that it would take.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.errors import ConfigurationError, MalformedRecord, RemoteTaskError
from streamresults.events.allowlist import ExceptionAllowlist, allow
from streamresults.events.bounds import FIELDS_MAX, FREE_BYTES
from streamresults.events.builtin_fields import COLUMN_MAX
from streamresults.events.codec import Codec
from streamresults.events.event import Event, ExceptionNode, Frame, NamedValue
from streamresults.events.exceptions import capture
from streamresults.events.forms import ALIKE_MAX
from streamresults.events.limits import Limits
from streamresults.events.payloads import default_registry
from streamresults.events.remote_frames import ALL_MAX, Raisable
from streamresults.events.revive import revive
from streamresults.settings import Settings, load
from streamresults.store.memory import MemoryStore
from streamresults.topic.memory import MemoryBroker
from streamresults.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Callable

REGISTRY = default_registry()
JSON = REGISTRY.by_name("json")
ALLOWLIST = ExceptionAllowlist()
#: Small enough to be reached, each different, so that none can stand for another.
LIMITS = Limits(
    chain=11,
    children=5,
    frames=6,
    arguments=7,
    attributes=8,
    notes=9,
    message=100,
    value=40,
    traceback=4000,
    name=70,
    total=9000,
)
STEPS = pytest.mark.parametrize("step", [-1, 0, 1], ids=["below", "at", "above"])


def chained(length: int) -> BaseException:
    first = current = ValueError(0)
    for number in range(1, length):
        current.__cause__ = ValueError(number)
        current = current.__cause__
    return first


def with_frames(count: int) -> BaseException:
    def fall(left: int) -> None:
        if left:
            fall(left - 1)
        raise ValueError

    with pytest.raises(ValueError) as caught:  # noqa: PT011 -- the one above
        fall(count - 2)
    exc = caught.value
    assert count == len(traceback.extract_tb(exc.__traceback__))
    return exc


def with_attributes(count: int) -> BaseException:
    exc = ValueError()
    exc.__dict__.update({f"a{number}": number for number in range(count)})
    return exc


def with_a_name(length: int) -> BaseException:
    made: BaseException = type("n" * length, (Exception,), {"__module__": "m"})()
    return made


def with_notes(count: int) -> BaseException:
    exc = ValueError()
    for number in range(count):
        exc.add_note(str(number))
    return exc


#: Limit -> an exception of that size, and how large its record is.
SIZES: dict[str, tuple[Callable[[int], BaseException], Callable[[tuple[ExceptionNode, ...]], int]]] = {
    "chain": (chained, len),
    "children": (lambda n: ExceptionGroup("g", [KeyError(i) for i in range(n)]), lambda nodes: len(nodes[0].members)),
    "frames": (with_frames, lambda nodes: len(nodes[0].frames)),
    "arguments": (lambda n: ValueError(*range(n)), lambda nodes: len(nodes[0].arguments)),
    "attributes": (with_attributes, lambda nodes: len(nodes[0].attributes)),
    "notes": (with_notes, lambda nodes: len(nodes[0].notes)),
    "message": (lambda n: ValueError("m" * n), lambda nodes: len(nodes[0].message)),
    "name": (with_a_name, lambda nodes: len(nodes[0].qualname)),
}


def test_every_limit_is_tested() -> None:
    """By the table, or by the three tests behind it."""
    assert {*SIZES, "value", "traceback", "total"} == set(Limits.__struct_fields__)


@STEPS
@pytest.mark.parametrize("name", SIZES)
def test_what_is_captured_ends_at_its_limit_with_a_mark(name: str, step: int) -> None:
    """Below and at the limit all of it travels; above, as much as the limit says, and the record tells."""
    make, size = SIZES[name]
    limit: int = getattr(LIMITS, name)
    nodes, _ = capture(make(limit + step), JSON, LIMITS)

    assert min(limit + step, limit) == size(nodes)
    assert any(node.truncated for node in nodes) is (
        step > 0 or (name == "message" and limit + step + 2 > LIMITS.value)
    )


@STEPS
def test_a_value_above_its_limit_travels_as_its_repr(step: int) -> None:
    """Half an encoded value is worth nothing."""
    nodes, _ = capture(ValueError("x" * (LIMITS.value - 2 + step)), JSON, LIMITS)

    assert ("text/x-python-repr" if step > 0 else "application/json") == nodes[0].arguments[0].content_type


@STEPS
def test_a_traceback_above_its_limit_keeps_both_ends(step: int) -> None:
    """A text of exactly the limit is whole."""
    bare = capture(ValueError(""), JSON, LIMITS)[1]
    text = capture(ValueError("x" * (LIMITS.traceback - len(bare) + step - 2)), JSON, LIMITS)[1]

    assert ("[... cut ...]" in text) is (step > 0)
    assert len(text) <= LIMITS.traceback


@STEPS
def test_all_of_it_together_ends_at_a_limit(step: int) -> None:
    """Many small things are as large as one large thing: names, message, values and notes are counted as one."""
    exc = with_attributes(8)
    exc.args = tuple("y" * 30 for _ in range(7))
    for number in range(9):
        exc.add_note(f"{number}" + "n" * 90)
    (whole,), _ = capture(exc, JSON)
    texts = (whole.module, whole.qualname, *whole.bases, whole.message, *whole.notes)
    values = (*whole.arguments, *whole.attributes)
    size = sum(map(len, texts)) - len(whole.bases) + sum(len(one.name) + len(one.data) for one in values)
    (node,), _ = capture(exc, JSON, Limits(total=size - step))

    assert node.truncated is (step > 0)
    assert (node.notes == whole.notes) is (step <= 0)


def node(**fields: Any) -> ExceptionNode:
    return ExceptionNode(module="builtins", qualname=fields.pop("qualname", "ValueError"), **fields)


def value(number: int, name: str = "") -> NamedValue:
    return NamedValue(name=name, content_type="application/json", data=str(number).encode())


def links(exc: BaseException | None) -> int:
    found = 0
    while exc is not None:
        exc, found = exc.__cause__, found + 1
    return found


@STEPS
@pytest.mark.parametrize("name", ["chain", "children", "arguments", "attributes", "notes"])
def test_a_reader_looks_at_twice_as_much_as_is_written(name: str, step: int) -> None:
    """Writers may be raised first; beyond, a record builds nothing more."""
    limit = 2 * getattr(LIMITS, name)
    count = limit + step
    member = node(qualname="KeyError")
    message = NamedValue(name="message", content_type="application/json", data=b'"g"')
    records: dict[str, tuple[ExceptionNode, ...]] = {
        "chain": tuple(node(cause=number + 1) for number in range(count)),
        "children": (node(qualname="ExceptionGroup", fields=(message,), members=(1,) * count), member),
        "arguments": (node(arguments=tuple(value(number) for number in range(count))),),
        "attributes": (node(attributes=tuple(value(number, f"a{number}") for number in range(count))),),
        "notes": (node(notes=("n",) * count),),
    }
    actual: Any = revive(records[name], "", ALLOWLIST, REGISTRY, limits=LIMITS)
    sizes: dict[str, Callable[[], int]] = {
        "chain": lambda: links(actual),
        "children": lambda: len(actual.exceptions),
        "arguments": lambda: len(actual.args),
        "attributes": lambda: len(vars(actual)) - 1,  # remote_traceback is ours
        "notes": lambda: len(actual.__notes__),
    }

    assert min(count, limit) == sizes[name]()


@STEPS
def test_a_reader_makes_twice_as_many_frames(step: int) -> None:
    """And of a whole record so many that a raise never takes long."""
    one = Frame(file="f", line=1, function="f")
    most = node(frames=(one,) * (2 * LIMITS.frames + step))
    exc = Raisable(ValueError(), [most], LIMITS).exception
    chain = tuple(node(cause=number + 1, frames=(one,)) for number in range(ALL_MAX + step))
    whole: BaseException | None = revive(chain, "", ALLOWLIST, REGISTRY, limits=Limits(chain=ALL_MAX))
    assert whole is not None
    Raisable(whole, chain)
    shown = 0
    while whole is not None:
        shown += whole.__traceback__ is not None
        whole = whole.__cause__

    assert min(len(most.frames), 2 * LIMITS.frames) == len(list(traceback.walk_tb(exc.__traceback__)))
    assert min(len(chain), ALL_MAX) == shown


@STEPS
@pytest.mark.parametrize("limit", [LIMITS.name, Limits().name])
def test_a_longer_name_is_none(limit: int, step: int) -> None:
    """Of modules, classes and attributes: it is not looked up, counted or logged, and cannot be listed."""
    name = "a" * (limit + step)
    cls = type(name, (Exception,), {"__module__": "m"})
    actual = revive((node(attributes=(value(1, name),)),), "", ALLOWLIST, REGISTRY, limits=Limits(name=limit))
    allowlist = ExceptionAllowlist(name_max=limit)
    allowlist.judge("m", name)

    assert hasattr(actual, name) is (step < 1)
    assert allowlist.may_be_listed("m", name) is (step < 1)
    assert (("other", "not_listed") in allowlist.decisions.counts) is (step > 0)
    if step > 0:
        with pytest.raises(ConfigurationError, match=f"more than {limit} characters"):
            ExceptionAllowlist([cls], name_max=limit)
    else:
        assert cls is ExceptionAllowlist([cls], name_max=limit).find("m", name)


@STEPS
def test_what_code_lists_has_a_name_of_that_length_too(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of code knows no settings; who reads does."""
    cls = type("a" * (LIMITS.name + step), (Exception,), {"__module__": "m"})
    monkeypatch.setattr("streamresults.events.allowlist._BY_CODE", {})
    allow(cls)
    found = ExceptionAllowlist(name_max=LIMITS.name).find("m", cls.__name__)

    assert found is (None if step > 0 else cls)


@pytest.mark.parametrize("name", ["", "1a", "a b", "a\n", "a-b", "a.", ".a", "a..b", "\x00", "\ud800", "a:b", "*"])
def test_a_name_is_an_identifier(name: str) -> None:
    """Identifiers joined by dots, and nothing else."""
    assert not ALLOWLIST.may_be_listed("m", name)
    assert not ALLOWLIST.may_be_listed(name, "m")


@STEPS
def test_a_record_above_record_max_is_not_looked_into(step: int) -> None:
    """Neither decoded nor folded."""
    record = Codec().encode(Event(task_id="t", state="FAILURE", traceback="x" * 1000))
    codec = Codec(record_max=len(record) - step)

    for read in (codec.decode, codec.decode_head, lambda value: codec.rank_and_expiry("t", b"t", value)):
        if step > 0:
            with pytest.raises(MalformedRecord, match=f"{len(record)} bytes, more than the {len(record) - 1}"):
                read(record)
        else:
            read(record)


@STEPS
def test_a_record_of_too_many_parts_is_not_built(step: int) -> None:
    """A frame of four bytes is an object of three hundred: they are counted before any is made."""
    each, own = len(Frame.__struct_fields__), len(ExceptionNode.__struct_fields__)
    count = (FIELDS_MAX - own) // each + (1 if step > 0 else step)
    record = Codec().encode(
        Event(task_id="t", state="FAILURE", exception=(node(frames=(Frame(file="", line=0, function=""),) * count),))
    )

    assert len(record) > FREE_BYTES
    if step > 0:
        with pytest.raises(MalformedRecord, match="more than 262144 fields"):
            Codec().decode(record)
    else:
        assert count == len(Codec().decode(record).exception[0].frames)


@STEPS
def test_members_that_share_a_hash_are_bounded(step: int) -> None:
    """A set of them would take as long as its size squared."""
    members = {(2**61 - 1) * factor for factor in range(1, ALIKE_MAX + step + 1)}
    record = (node(arguments=(NamedValue(content_type=JSON.content_type, data=JSON.encode(members)),)),)
    actual = revive(record, "", ALLOWLIST, REGISTRY)

    assert isinstance(actual, RemoteTaskError) is (step > 0)
    assert step > 0 or actual.args == (members,)


@STEPS
def test_a_caret_is_bounded(step: int) -> None:
    """Python prints a space for each column."""
    fields = (value(COLUMN_MAX + step, "offset"),)
    actual = revive((node(qualname="SyntaxError", fields=fields),), "", ALLOWLIST, REGISTRY)

    assert isinstance(actual, RemoteTaskError) is (step > 0)


def test_every_limit_is_a_setting() -> None:
    """What a process is told is what it keeps to; the defaults are the same on both sides."""
    settings = Settings(exception_chain_max=3, exception_total_max=7, exception_name_max=2)
    with Wiring(settings, broker=MemoryBroker(), store=MemoryStore()) as wiring:
        assert Limits(chain=3, total=7, name=2) == wiring.limits() == wiring.decoding().limits
        assert not wiring.allowlist().may_be_listed("abc", "E")
    with Wiring(Settings(), broker=MemoryBroker(), store=MemoryStore()) as wiring:
        assert Limits() == wiring.limits()


@pytest.mark.parametrize("name", ["record_max", *(f"exception_{name}_max" for name in Limits.__struct_fields__)])
def test_a_limit_of_nothing_is_a_configuration_error(name: str) -> None:
    """It names the setting."""
    with pytest.raises(ConfigurationError, match=name):
        load({name: 0})
