"""A payload is written and read as kombu does it, whichever way is taken."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import kombu.utils.json
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kombu.exceptions import ContentDisallowed, DecodeError, EncodeError
from kombu.serialization import dumps, loads, register

from streamresults.celery.encoding import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JSON = "application/json"
_leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
_others = st.decimals(allow_nan=False) | st.uuids() | st.dates() | st.datetimes() | st.times()
_values = st.recursive(_leaves | _others, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(_values)
@example(value=float("nan"))
@example(value="\ud800")
def test_a_value_is_written_byte_for_byte_as_kombu_writes_it(value: Any) -> None:
    content_type, _, text = dumps(value, serializer="json")
    payload = encode(value, "json")

    assert (content_type, text.encode()) == (payload.content_type, payload.body)


def test_a_value_without_a_form_is_kombus_own_error() -> None:
    with pytest.raises(EncodeError, match="not JSON serializable"):
        encode(object(), "json")


def test_another_encoder_of_json_is_asked() -> None:
    """Whoever has registered one wants it used."""
    register("json", lambda _: "another's", kombu.utils.json.loads, JSON, "utf-8")
    try:
        assert encode({}, "json").body == b"another's"
    finally:
        register("json", kombu.utils.json.dumps, kombu.utils.json.loads, JSON, "utf-8")


@given(_values)
def test_a_value_is_what_kombu_reads(value: Any) -> None:
    _, charset, text = dumps(value, serializer="json")

    assert decode(JSON, text.encode(), {JSON}) == loads(text, JSON, charset, accept={JSON})


@given(_values, st.booleans(), st.randoms())
@settings(max_examples=500)
@example(value=10**400, ascii_only=True, dice=random.Random(1))
def test_what_is_broken_or_strange_is_what_kombu_makes_of_it(value: Any, ascii_only: bool, dice: random.Random) -> None:  # noqa: FBT001 -- a case
    """Numbers of any size, other alphabets, doubled names, white space, cuts: the quick way reads nothing else."""
    text = kombu.utils.json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    strange = [
        b"",
        b"0",
        b"-",
        b"+",
        b".",
        b"e9",
        b"E400",
        b" ",
        b"\t",
        b",",
        b"\x01",
        b"\xff",
        b"NaN",
        b'"',
        b"_",
        b"\\",
    ]
    for _ in range(10):
        at = dice.randrange(len(text) + 1)
        body = text[:at] + dice.choice(strange) + text[at + dice.randrange(2) :]

        assert _outcome(lambda body=body: decode(JSON, body, {JSON})) == _outcome(  # type: ignore[misc]
            lambda body=body: loads(body, JSON, "utf-8", accept={JSON})  # type: ignore[misc]
        )


def _outcome(read: Callable[[], object]) -> str:
    try:
        return repr(read())
    except DecodeError as exc:
        return type(exc.__cause__).__name__


@pytest.mark.parametrize(
    "body",
    [b"{", b"\xff", "\ufeff1".encode(), b"[" * 100_000, b'{"__type__": "no such", "__value__": 1}', b"1 2"],
    ids=["cut", "no text", "byte order mark", "deep", "type", "more"],
)
def test_what_kombu_cannot_read_is_kombus_error(body: bytes) -> None:
    with pytest.raises(DecodeError) as raised:
        decode(JSON, body, {JSON})
    with pytest.raises(DecodeError) as kombus:
        loads(body, JSON, "utf-8", accept={JSON})

    assert type(raised.value.__cause__) is type(kombus.value.__cause__)
    assert str(raised.value)[:200] == str(kombus.value)[:200]


@pytest.mark.parametrize("mark", ["__type__", "\\u005f_type__", "_\\u005ftype\\u005f_"])
def test_a_type_of_kombus_is_found_however_it_is_written(mark: str) -> None:
    body = f'[{{"{mark}": "decimal", "__value__": "1.50"}}]'.encode()

    assert decode(JSON, body, {JSON}) == [Decimal("1.50")]


def test_an_empty_payload_is_itself() -> None:
    assert decode(JSON, b"", {JSON}) == loads(b"", JSON, "utf-8", accept={JSON})


@pytest.mark.parametrize("accept", [{"application/x-yaml"}, set()])
def test_what_is_not_accepted_is_not_read(accept: set[str]) -> None:
    with pytest.raises(ContentDisallowed):
        decode(JSON, b"1", accept)


@pytest.fixture
def _another_json() -> Iterator[None]:
    register("json", kombu.utils.json.dumps, lambda data: ["another's", data], JSON, "utf-8")
    yield
    register("json", kombu.utils.json.dumps, kombu.utils.json.loads, JSON, "utf-8")


@pytest.mark.usefixtures("_another_json")
def test_a_decoder_that_an_application_has_registered_reads_it() -> None:
    assert decode(JSON, b"1", {JSON})[0] == "another's"  # type: ignore[index]
