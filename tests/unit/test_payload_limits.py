"""
How much of a payload is taken: settings that hold for who writes it and for who reads it.

We test these aspects: size, ratio and nesting below, at and above each limit, as a publisher and a client meet them;
what a limit cannot be.
"""

from __future__ import annotations

import random
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.errors import ConfigurationError, PayloadNotDecodable, PayloadNotEncodable, PayloadTooLarge
from streamresults.events.compression import FREE, PayloadLimits, compress
from streamresults.events.event import Event, NamedValue, Payload
from streamresults.events.exceptions import capture
from streamresults.events.forms import raw_depth
from streamresults.events.pickled import PickleSerializer
from streamresults.settings import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.desk import Desk

STEPS = pytest.mark.parametrize("step", [-1, 0, 1], ids=["below", "at", "above"])
NAMES = ("json", "msgpack", "pickle")


def read(desk: Desk, payload: Payload) -> object:
    """Let a client read a payload that somebody published."""
    task = uuid.uuid4().hex
    desk.append(task.encode(), desk.codec.encode(Event(task_id=task, state="SUCCESS", payload=payload)))
    desk.fold()
    return desk.client.get(task, 0)


@STEPS
def test_a_payload_has_a_size(open_desk: Callable[..., Desk], step: int) -> None:
    """Of what it is once decompressed: a publisher refuses to write what a reader would refuse to read."""
    desk = open_desk(payload_max=5000)
    text = "x" * (5000 - 2 + step)
    body = compress("gzip", f'"{text}"'.encode())
    packed = Payload(content_type="application/json", body=body, content_encoding="gzip")
    with desk.wiring.publisher() as publisher:
        if step > 0:
            with pytest.raises(PayloadTooLarge, match="above payload_max, 5000"):
                publisher.succeeded("u", text)
            with pytest.raises(PayloadTooLarge, match="raise payload_max"):
                read(desk, packed)
        else:
            publisher.succeeded("u", text)
            assert text == read(desk, packed)


def compressed_to(ratio: int, step: int) -> tuple[bytes, bytes]:
    """Return a text and what it is compressed to: so many times as many bytes, and ``step`` more."""
    head = random.Random(1).randbytes(3000).hex()
    length = 3 * FREE
    while True:
        text = f'"{head}{"x" * (length - 2 - len(head))}"'.encode()
        body = compress("gzip", text, PayloadLimits(ratio=1 << 20))
        assert body is not None
        if len(text) == ratio * len(body) + step:
            return text, body
        length = ratio * len(body) + step


@STEPS
def test_compressed_bytes_become_so_many_times_as_many(open_desk: Callable[..., Desk], step: int) -> None:
    """Above the size that needs no ratio."""
    text, body = compressed_to(500, step)
    payload = Payload(content_type="application/json", body=body, content_encoding="gzip")
    desk = open_desk(payload_ratio=500)

    assert len(text) > FREE
    if step > 0:
        with pytest.raises(PayloadTooLarge, match="payload_ratio"):
            read(desk, payload)
    else:
        assert len(text) - 2 == len(str(read(desk, payload)))


def nested(levels: int) -> Any:
    """Return lists inside of lists."""
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


@STEPS
@pytest.mark.parametrize("depth", [7, 100, 250])
@pytest.mark.parametrize("name", ["json", "msgpack"])
def test_values_nest_so_deep(open_desk: Callable[..., Desk], name: str, depth: int, step: int) -> None:
    """What is written at its deepest is read; one level more is refused, and inside an exception becomes its repr."""
    desk = open_desk(payload_depth_max=depth, serializer=name)
    value = nested(depth + step)
    serializer = desk.wiring.decoding().serializers.by_name(name)
    (node,), _ = capture(ValueError(value), serializer)
    with desk.wiring.publisher() as publisher:
        if step > 0:
            with pytest.raises(PayloadNotEncodable, match=f"deeper than {depth} levels"):
                publisher.succeeded("t", value)
        else:
            publisher.succeeded("t", value)
            desk.fold()
            assert value == desk.client.get("t", 0)

    assert ("text/x-python-repr" if step > 0 else serializer.content_type) == node.arguments[0].content_type


@STEPS
@pytest.mark.parametrize("name", NAMES)
def test_what_others_wrote_nests_so_deep(open_desk: Callable[..., Desk], name: str, step: int) -> None:
    """On the wire a map takes three levels for one: no writer with the same limit is refused."""
    desk = open_desk(payload_depth_max=7, accept=NAMES)
    deep = raw_depth(7) + step
    pickled = PickleSerializer(desk.wiring.allowlist()).encode(nested(deep))
    data = {"json": b"[" * deep + b"]" * deep, "msgpack": b"\x91" * (deep - 1) + b"\x90", "pickle": pickled}[name]
    payload = Payload(content_type=desk.wiring.decoding().serializers.by_name(name).content_type, body=data)
    if step > 0:
        with pytest.raises(PayloadNotDecodable, match="deeper than 23 levels"):
            read(desk, payload)
    else:
        assert nested(deep) == read(desk, payload)


@STEPS
def test_an_argument_nests_so_deep(open_desk: Callable[..., Desk], step: int) -> None:
    """An exception whose argument nests deeper is not rebuilt."""
    desk = open_desk(payload_depth_max=7)
    deep = raw_depth(7) + step
    argument = NamedValue(content_type="application/json", data=b"[" * deep + b"]" * deep)
    (node,), _ = capture(ValueError(), desk.wiring.decoding().serializers.by_name("json"))
    node = type(node)(module=node.module, qualname=node.qualname, arguments=(argument,))
    desk.append(b"t", desk.codec.encode(Event(task_id="t", state="FAILURE", exception=(node,))))
    desk.fold()
    found = desk.client.lookup("t").exception

    assert ("RemoteTaskError" if step > 0 else "ValueError") == type(found).__name__


@pytest.mark.parametrize(
    ("name", "value"), [("payload_max", 0), ("payload_ratio", 0), ("payload_depth_max", 0), ("payload_depth_max", 251)]
)
def test_what_a_limit_cannot_be_is_a_configuration_error(name: str, value: int) -> None:
    """It names the setting."""
    with pytest.raises(ConfigurationError, match=name):
        load({name: value})
