"""
Pickle, where both sides name it.

We test these aspects: it is off by default and warns when it is turned on; nothing but listed classes is looked up; an
exception that does not pickle becomes what comes nearest.
"""

from __future__ import annotations

import logging
import pickle
import sys
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamresults.errors import ContentTypeRefused, PayloadNotDecodable, PayloadNotEncodable
from streamresults.events.allowlist import ExceptionAllowlist
from streamresults.events.pickled import CONTENT_TYPE, SIZE_MAX, PickleSerializer, picklable
from streamresults.settings import Settings
from streamresults.store.memory import MemoryStore
from streamresults.topic.memory import MemoryBroker
from streamresults.wiring import Wiring


class Listed(Exception):
    """Pickles."""


class Demanding(Listed):
    """Does not come back from its pickle: its constructor wants a keyword."""

    def __init__(self, *, code: int) -> None:
        super().__init__(code)


class Unlisted(Exception):
    """Pickles, and nobody lists it."""


class Alone(Exception):
    """Has no base that could stand for it."""

    def __reduce__(self) -> Any:
        raise TypeError


PICKLE = PickleSerializer(ExceptionAllowlist([Listed]))


@pytest.mark.parametrize(
    "value", [None, 1, 2**100, "x", b"x", [1, {"a": (1, {2})}], Listed("a", 1), ValueError(2), frozenset({1})], ids=repr
)
def test_plain_data_and_listed_exceptions_come_back(value: object) -> None:
    """That is all there is to come back."""
    actual = PICKLE.decode(PICKLE.encode(value))

    assert repr(value) == repr(actual)


HOSTILE = [
    b"cos\nsystem\n(S'touch x'\ntR.", b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x01x\x85R.", b"cbuiltins\neval\n.",
    b"cthis\ns\n.", b"(S'x'\nios\nsystem\n.", b"Pid\n.", b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.", b"", b".",
    b"(",
    b"\x80\xff.", b"\x82\x01.", b"cbuiltins\nSystemExit\n(tR.", b"cbuiltins\nValueError.__init__\n.", b"(" * 5000,
    b"\x80\x04" + b"]" * 3000 + b"a" * 2999 + b".", b"r\xff\xff\xff\x7f.", b"cbuiltins\nValueError\n(tRS'x'\nb.",
]  # fmt: skip


@pytest.mark.parametrize(
    "data", [*HOSTILE, pickle.dumps(Unlisted(1)), pickle.dumps(object())], ids=lambda d: repr(d[:30])
)
def test_a_pickle_that_names_anything_else_is_refused(data: bytes) -> None:
    """By name, before anything is looked up or called; whatever the bytes say, one typed error."""
    before = set(sys.modules)
    with pytest.raises(PayloadNotDecodable):
        PICKLE.decode(data)

    assert before == set(sys.modules)


def test_a_pickle_takes_no_more_memory_than_its_bytes_suggest() -> None:
    """Ten bytes that put something at index 2^31 of the memo take gigabytes from the unpickler in C."""
    tracemalloc.start()
    PICKLE.decode(b"\x80\x02Nr\xff\xff\xff\x7f.")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 1_000_000


@pytest.mark.parametrize("step", [-1, 0, 1], ids=["below", "at", "above"])
def test_a_pickle_has_a_size(step: int) -> None:
    """It is opened by Python code, byte by byte."""
    data = pickle.dumps(b"x" * (SIZE_MAX - 100), 4)
    data += b"\x00" * (SIZE_MAX - len(data) + step)
    if step > 0:
        with pytest.raises(PayloadNotDecodable, match="larger than"):
            PICKLE.decode(data)
    else:
        assert SIZE_MAX - 100 == len(PICKLE.decode(data))  # type: ignore[arg-type]


@given(st.binary(max_size=60))
def test_any_bytes_give_a_value_or_the_typed_error(data: bytes) -> None:
    """No other error comes out."""
    try:
        PICKLE.decode(data)
    except PayloadNotDecodable:
        return


def test_an_exception_that_does_not_come_back_becomes_what_comes_nearest() -> None:
    """The nearest base that takes its args, else its name and message; computed where it is written."""
    plain = Listed("x")

    assert plain is picklable(plain)
    assert (Listed, (5,)) == (type(picklable(Demanding(code=5))), picklable(Demanding(code=5)).args)
    alone = picklable(Alone("a", 1))
    assert (Exception, (f"{__name__}.Alone: ('a', 1)", "'a'", "1")) == (type(alone), alone.args)
    with pytest.raises(PayloadNotEncodable, match="result"):
        PICKLE.encode(lambda: None)


def test_pickle_is_off_unless_a_setting_names_it(caplog: pytest.LogCaptureFixture) -> None:
    """Neither read nor written; and once it is named, the log says what it risks."""
    broker, store = MemoryBroker(), MemoryStore()
    with caplog.at_level(logging.WARNING), Wiring(Settings(), broker=broker, store=store) as wiring:
        decoding = wiring.decoding()
        with pytest.raises(ContentTypeRefused):
            decoding.serializers.decode(CONTENT_TYPE, pickle.dumps(1), accept=decoding.accept)
    assert [] == caplog.records
    with caplog.at_level(logging.WARNING):
        for settings in (Settings(accept=("json", "pickle")), Settings(serializer="pickle")):
            with Wiring(settings, broker=broker, store=store) as wiring:
                decoding = wiring.decoding()
                reads = CONTENT_TYPE in decoding.accept
                wiring.publisher().close()
            assert ("pickle" in settings.accept) is reads, "who writes pickle does not read it for that"

    assert any("can run the constructors" in record.message for record in caplog.records)
