"""A payload is read as kombu reads it, whichever way is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import kombu.utils.json
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.exceptions import ContentDisallowed, DecodeError
from kombu.serialization import dumps, loads, register

from streamresults.celery.encoding import decode

if TYPE_CHECKING:
    from collections.abc import Iterator

JSON = "application/json"
_leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
_others = st.decimals(allow_nan=False) | st.uuids() | st.dates() | st.datetimes() | st.times()
_values = st.recursive(_leaves | _others, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(_values)
def test_a_value_is_what_kombu_reads(value: Any) -> None:
    _, charset, text = dumps(value, serializer="json")

    assert decode(JSON, text.encode(), {JSON}) == loads(text, JSON, charset, accept={JSON})


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
