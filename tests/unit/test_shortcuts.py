"""
The ways written by hand are the schema's way, only shorter.

We test these aspects: every event is written to the same bytes; what the fold needs, a result, and a whole event are
read as the schema reads them; and no broken record is read at all that the schema's way would refuse.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamresults.errors import StreamResultsError
from streamresults.events import wholes
from streamresults.events.codec import Codec
from streamresults.events.envelope import MAGIC, check_key, task_id_of
from streamresults.events.event import Event, Payload, Prefix
from streamresults.events.heads import read_head
from streamresults.events.shortcuts import encode_plain, rank_and_expiry
from streamresults.events.states import rank
from streamresults.events.wholes import read_whole
from tests.strategies import events

CODEC = Codec()
HEADER = MAGIC + CODEC.fingerprint


def by_schema(key: bytes, value: bytes) -> tuple[int, int] | None:
    """Read what the fold needs through the schema; None for a record that is refused."""
    try:
        prefix = CODEC.decode_prefix(value)
        check_key(task_id_of(key), prefix)
        CODEC.require(value)
    except StreamResultsError:
        return None
    return rank(prefix.state, terminal=prefix.terminal), prefix.expires_after_ms


def head_by_schema(value: bytes) -> tuple[Prefix, Payload, int] | None:
    """Read a result through the schema; None for a record that is refused."""
    codec = Codec()
    codec.header = b"none has the short way"  # type: ignore[misc]
    try:
        return codec.decode_head(value)
    except StreamResultsError:
        return None


def event_by_schema(value: bytes) -> Event | None:
    """Read an event through the schema; None for a record that is refused."""
    codec = Codec()
    codec.header = b"none has the short way"  # type: ignore[misc]
    try:
        return codec.decode(value)
    except StreamResultsError:
        return None


@given(events)
@settings(max_examples=500)
@example(Event(task_id="t", state="SUCCESS", occurred_at_us=2**48 - 1, started_at_us=2**48))
@example(Event(task_id="t", state="SUCCESS", occurred_at_us=2**55 - 1, started_at_us=2**55))
@example(Event(task_id="t", state="SUCCESS", occurred_at_us=0x55_5555_5555_5555, started_at_us=-1))
def test_events_are_written_to_the_same_bytes(event: Event) -> None:
    """Byte for byte what fastavro writes, or left to it."""
    quick = encode_plain(HEADER, event)

    assert quick is None or quick == CODEC._encode_by_schema(event)


@given(events)
@settings(max_examples=500)
@example(Event(task_id="t", state="S", occurred_at_us=2**48, started_at_us=2**55 - 1, runtime=0.5))
@example(Event(task_id="t", state="S", occurred_at_us=2**55 - 1, started_at_us=2**48 - 1))
@example(Event(task_id="t", state="S", occurred_at_us=0x55_5555_5555_5555, started_at_us=0x2A_AAAA_AAAA_AAAA))
@example(Event(task_id="t", state="S", children=("a",) * 64, group_index=-1, chord_size=2**27, retries=-64))
@example(Event(task_id="t", state="S", name="n" * 63, worker="w" * 64, args=b"a" * 63, kwargs=b"k" * 9000))
def test_an_event_is_read_as_the_schema_reads_it(event: Event) -> None:
    """Every field of it, or it is left to the schema."""
    value = CODEC.encode(event)
    quick = read_whole(HEADER, value)

    assert quick is None or repr(quick) == repr(event_by_schema(value))


def test_an_ordinary_event_takes_the_short_way() -> None:
    """Else the property above would hold of nothing."""
    event = Event(task_id="a", state="SUCCESS", payload=Payload(content_type="application/json", body=b"1"))

    assert encode_plain(HEADER, event) is not None
    assert rank_and_expiry(HEADER, b"a", CODEC.encode(event)) is not None
    assert read_head(HEADER, CODEC.encode(event)) is not None
    assert read_whole(HEADER, CODEC.encode(event)) == event


def test_an_event_with_all_that_belongs_to_it_takes_the_short_way() -> None:
    """So do the members of groups, and extended results."""
    event = Event(
        task_id="a",
        state="SUCCESS",
        payload=Payload(content_type="application/json", body=b"1" * 200),
        started_at_us=1_800_000_000_000_000,
        parent_id="p",
        root_id="r",
        group_id="g",
        group_index=9000,
        chord_size=10_000,
        children=("b", "c"),
        trace_id="0" * 32,
        name="app.add",
        worker="w@host",
        queue="celery",
        retries=2,
        call_content_type="application/json",
        args=b"[1]" * 70,
        kwargs=b"{}",
        stamped_headers=("one",),
        stamps=b"{}",
    )

    assert read_whole(HEADER, CODEC.encode(event)) == event


def test_what_one_event_says_is_not_believed_of_the_next() -> None:
    """What repeats from record to record is remembered; a record that differs in one field of it says its own."""
    alike = Event(task_id="a", state="SUCCESS", name="n", worker="w", queue="q", retries=1, call_content_type="c")
    alike = msgspec.structs.replace(alike, parent_id="p", root_id="r", group_id="g")
    fields: dict[str, Any] = {
        "parent_id": "o",
        "root_id": "q",
        "group_id": "f",
        "children": ("b",),
        "trace_id": "0" * 32,
        "labels": {"a": "b"},
        "name": "m",
        "worker": "v",
        "queue": "p",
        "retries": 0,
        "call_content_type": "d",
    }

    for field, value in fields.items():
        for event in (alike, alike, msgspec.structs.replace(alike, **{field: value})):
            assert CODEC.decode(CODEC.encode(event)) == event


def test_what_a_cut_record_says_is_not_believed_of_the_next() -> None:
    """Wherever it is cut: what is left begins as the whole one does."""
    event = Event(task_id="a", state="SUCCESS", parent_id="p", root_id="r", group_id="grouped", group_index=3)
    value = CODEC.encode(event)

    for end in range(len(value)):
        read_whole(HEADER, CODEC.encode(msgspec.structs.replace(event, parent_id="other")))
        assert read_whole(HEADER, value[:end]) is None
        assert read_whole(HEADER, value) == event


@pytest.mark.parametrize("step", ["read_fields", "_moment", "_number", "_bytes", "_stamps"])
def test_an_event_is_its_own_whatever_another_thread_reads_in_the_middle(
    monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Between any two steps of reading it, what was read last becomes that thread's record."""
    ours = Event(task_id="a", state="SUCCESS", group_id="g", name="n", attempt=1, args=b"[]")
    other = CODEC.encode(Event(task_id="b", state="RETRY", group_id="f", name="m", attempt=7))
    taken = getattr(wholes, step)

    def interrupted(*arguments: Any) -> Any:
        found = taken(*arguments)
        with monkeypatch.context() as patched:
            patched.setattr(wholes, step, taken)
            assert read_whole(HEADER, other) is not None
        return found

    for _ in range(2):  # the second time all of it is remembered
        monkeypatch.setattr(wholes, step, interrupted)
        assert read_whole(HEADER, CODEC.encode(ours)) == ours
        monkeypatch.undo()
        assert read_whole(HEADER, CODEC.encode(ours)) == ours


@given(events)
@settings(max_examples=500)
@example(Event(task_id="t" * 63, state="S" * 63, expires_after_ms=2**62))
@example(Event(task_id="t" * 64, state="S" * 64, attempt=64))
def test_the_fold_reads_what_the_schema_reads(event: Event) -> None:
    """The rank and the expiry are those of the whole prefix."""
    key, value = event.task_id.encode(), CODEC.encode(event)
    quick = rank_and_expiry(HEADER, key, value)

    assert quick in {None, by_schema(key, value)}


@given(events)
@settings(max_examples=500)
@example(Event(task_id="t" * 63, state="S" * 63, attempt=-64, payload=Payload(content_type="c" * 63, body=b"")))
@example(Event(task_id="t", state="S", payload=Payload(content_type="c", body=b"b" * 20_000)))
@example(Event(task_id="t", state="S", payload=Payload(content_type="c", body=b"b", key_id="k")))
def test_a_result_is_read_as_the_schema_reads_it(event: Event) -> None:
    """Prefix and payload are those of the schema's way."""
    value = CODEC.encode(event)
    quick = read_head(HEADER, value)

    assert quick is None or quick == head_by_schema(value)


@given(events, st.integers(0, 2**32))
@settings(max_examples=500)
def test_no_broken_record_slips_through(event: Event, seed: int) -> None:
    """Whatever a byte becomes, wherever a record is cut: the short way says what the schema's way says, or nothing."""
    dice = random.Random(seed)
    key, value = event.task_id.encode(), CODEC.encode(event)
    for _ in range(20):
        at = dice.randrange(len(value))
        broken = value[:at] + bytes([dice.randrange(256)]) + value[at + 1 :]
        for one in (broken, value[:at]):
            quick = rank_and_expiry(HEADER, key, one)
            head = read_head(HEADER, one)
            whole = read_whole(HEADER, one)

            assert quick is None or quick == by_schema(key, one)
            assert head is None or head == head_by_schema(one)
            assert whole is None or repr(whole) == repr(event_by_schema(one))


@pytest.mark.parametrize(
    "tail",
    [
        b"\0\0\0",
        b"\0\2",
        b"\0\1",
        b"\1\0\0",
        b"\1\2\2a\0\0",
        b"\2\2a\2\2b\0\0",
        b"\2\2a\0\2",
        b"\2\2a\2\2b",
        b"\x80\0\0",
        b"\0",
        b"",
    ],
)
def test_a_broken_end_is_the_schemas_to_refuse(tail: bytes) -> None:
    """Bytes that are left over or missing, lengths that are none, arrays in several blocks and in sized ones."""
    value = CODEC.encode(Event(task_id="t", state="SUCCESS"))[:-2] + tail
    quick = read_whole(HEADER, value)

    assert quick is None or quick == event_by_schema(value)


@pytest.mark.parametrize("started_at", [0, 1_800_000_000_000_000])
@pytest.mark.parametrize("field", [0, 1], ids=["exception", "traceback"])
def test_what_has_failed_is_the_schemas_to_read(field: int, started_at: int) -> None:
    """Also where the record is broken, and nothing stands where its exception should."""
    value = CODEC.encode(Event(task_id="t", state="FAILURE", started_at_us=started_at))
    head = read_head(HEADER, value)
    assert head is not None
    at = head[2] + field

    assert read_whole(HEADER, value) is not None
    assert read_whole(HEADER, value[:at] + b"\2" + value[at + 1 :]) is None


def test_a_time_before_1970_is_the_schemas_to_read() -> None:
    """The lowest bit says that a number is negative."""
    value = CODEC.encode(Event(task_id="t", state="SUCCESS", occurred_at_us=2**50))
    low = (2**51 & 0x7F) | 0x80
    at = value.index(bytes([low] * 7), 40)
    before = value[:at] + bytes([low | 1]) + value[at + 1 :]

    assert read_whole(HEADER, value) is not None
    assert read_whole(HEADER, before) is None
    found = event_by_schema(before)
    assert found is not None
    assert found.occurred_at_us < 0


@given(events, events)
def test_another_tasks_key_is_not_believed(one: Event, other: Event) -> None:
    """A record under a key that is not the id inside it takes the way that refuses it."""
    if one.task_id != other.task_id:
        assert rank_and_expiry(HEADER, other.task_id.encode(), CODEC.encode(one)) is None
