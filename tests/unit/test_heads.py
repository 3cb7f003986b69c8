"""
A group's index is read by hand as the schema reads it.

We test these aspects: where it is read at all, it is what decoding the whole event finds, also in broken records; and
that it is read of every ordinary member.
"""

from __future__ import annotations

import random

from hypothesis import example, given, settings

from streamresults.errors import StreamResultsError
from streamresults.events.codec import Codec
from streamresults.events.event import Event, Payload
from streamresults.events.heads import read_group
from tests.strategies import events

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
def test_what_is_read_is_what_the_event_says(event: Event) -> None:
    """Or it is left to the schema."""
    assert read(CODEC.encode(event)) in {None, (event.group_id.encode(), event.group_index)}


def test_an_ordinary_member_is_read() -> None:
    """Whether its beginning is known or not."""
    assert read(CODEC.encode(MEMBER)) == (b"g" * 36, 70_000)
    alone = Event(task_id="t", state="SUCCESS", group_id="g", group_index=0)
    assert read(CODEC.encode(alone)) == (b"g", 0)


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
