"""
A payload alone, and a group's index, are read by hand as the schema reads them.

We test these aspects: where an index is read at all, it is what decoding the whole event finds, also in broken records;
it is read of every ordinary member; a payload alone is that of the head, whatever was read before.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from streamresults.errors import StreamResultsError
from streamresults.events import heads
from streamresults.events.codec import Codec
from streamresults.events.event import Event, Payload, Prefix
from streamresults.events.heads import read_group, read_head, read_length, read_payload
from tests.strategies import events

if TYPE_CHECKING:
    from collections.abc import Callable

CODEC = Codec()
MEMBER = Event(
    task_id="0198f3a2-7d31-7000-8000-000000000001",
    state="SUCCESS",
    payload=Payload(content_type="application/json", body=b'{"group": "g"}' * 40),
    started_at_us=1_763_800_000_000_000,
    parent_id="p" * 36,
    root_id="r" * 36,
    group_id="g" * 36,
    group_index=70_000,
)


def read(value: bytes) -> tuple[bytes, int] | None:
    """Read by hand, behind the head."""
    return read_group(value, CODEC.decode_head(value)[2])


@given(events)
@settings(max_examples=500)
@example(Event(task_id="t", state="SUCCESS", occurred_at_us=0, started_at_us=0, group_index=-1))
@example(Event(task_id="t", state="SUCCESS", started_at_us=2**48, group_id="\u00e9", group_index=2**31 - 1))
@example(Event(task_id="t", state="SUCCESS", group_id="g" * 63, parent_id="p" * 63, root_id="r" * 64, group_index=64))
@example(Event(task_id="t", state="SUCCESS", started_at_us=100, runtime=0.0, root_id="r", group_id="g", group_index=1))
def test_what_is_read_is_what_the_event_says(event: Event) -> None:
    """Or it is left to the schema."""
    assert read(CODEC.encode(event)) in {None, (event.group_id.encode(), event.group_index)}


def test_an_ordinary_member_is_read() -> None:
    """Whether its beginning is known or not."""
    assert read(CODEC.encode(MEMBER)) == (b"g" * 36, 70_000)
    alone = Event(task_id="t", state="SUCCESS", group_id="g", group_index=0)
    assert read(CODEC.encode(alone)) == (b"g", 0)


def test_behind_an_exception_or_a_traceback_nothing_is_read() -> None:
    """They are of any length: only the schema tells where they end."""
    value, behind = CODEC.encode(MEMBER), CODEC.decode_head(CODEC.encode(MEMBER))[2]
    for at in (behind, behind + 1):
        assert read_group(value[:at] + b"\2" + value[at + 1 :], behind) is None


def test_a_broken_record_says_nothing_else_than_the_event() -> None:
    """Cut off at each byte, and with each of many bits flipped."""
    value, draw = CODEC.encode(MEMBER), random.Random(7)
    broken = [value[:end] for end in range(len(value))]
    for _ in range(5_000):
        other = bytearray(value)
        other[draw.randrange(len(value))] ^= 1 << draw.randrange(8)
        broken.append(bytes(other))
    for one in broken:
        try:
            event = CODEC.decode(one)
        except StreamResultsError:
            continue
        assert read(one) in {None, (event.group_id.encode(), event.group_index)}


#: Each differs from each other one in something that stands between its id and its body.
UNLIKE = [
    replace(MEMBER, **other)
    for other in (
        {},
        {"task_id": "t"},
        {"state": "SUCCES"},
        {"terminal": True},
        {"attempt": 2},
        {"expires_after_ms": 86_400_000},
        {"expires_after_ms": 86_400_001},
        {"payload": Payload()},
        {"payload": Payload(content_type="application/json")},
        {"payload": Payload(content_type="application/jso", body=b"n")},
        {"payload": Payload(content_type="application/json", body=b"")},
    )
]


@pytest.mark.parametrize("before", UNLIKE)
@pytest.mark.parametrize("event", UNLIKE)
def test_what_was_read_before_says_nothing_of_another_record(before: Event, event: Event) -> None:
    """Nor of one that is cut off, or begins as that one did."""
    value = CODEC.encode(event)
    for end in range(len(value) + 1):
        read_payload(CODEC.header, CODEC.encode(before))
        alone = read_payload(CODEC.header, value[:end])
        read_payload(CODEC.header, CODEC.encode(before))
        whole = read_head(CODEC.header, value[:end])

        assert alone == (None if whole is None else whole[1:])
        if end == len(value):
            assert alone is not None
            assert whole is not None
            assert (event.payload, prefix_of(event)) == (alone[0], whole[0])


def test_a_head_is_its_own_whatever_another_thread_reads_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read last is that thread's record then."""
    other = CODEC.encode(replace(MEMBER, state="RETRY", attempt=7))

    def interrupted(value: bytes, at: int) -> tuple[int, int]:
        monkeypatch.undo()
        read_payload(CODEC.header, other)
        return read_length(value, at)

    monkeypatch.setattr(heads, "read_length", interrupted)
    head = read_head(CODEC.header, CODEC.encode(MEMBER))

    assert head is not None
    assert head[0] == prefix_of(MEMBER)


@given(events, st.integers(0, 2**32))
@settings(max_examples=300)
def test_a_payload_alone_is_that_of_the_head(event: Event, seed: int) -> None:
    """And is refused where the head is, for the prefix too: whatever a byte becomes."""
    value, draw = CODEC.encode(event), random.Random(seed)
    for _ in range(20):
        broken = bytearray(value)
        broken[draw.randrange(len(value))] = draw.randrange(256)
        for one in (value, bytes(broken)):
            assert outcome(CODEC.decode_payload, one) == outcome(lambda data: CODEC.decode_head(data)[1:], one)


def prefix_of(event: Event) -> Prefix:
    """Return the prefix of an event."""
    return Prefix(**{name: getattr(event, name) for name in Prefix.__struct_fields__})


def outcome(read_it: Callable[[bytes], object], value: bytes) -> object:
    try:
        return read_it(value)
    except StreamResultsError as exc:
        return type(exc)
