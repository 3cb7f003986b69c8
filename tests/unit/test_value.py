"""A task's summary and its stored bytes are the same thing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamresults.events.fold import NEVER, NONE, Best, Summary, tombstone_summary
from streamresults.store.value import pack, pack_entry, unpack, unpack_best

GENERATION = b"\x00gener\xff\n"
HEADER = 8 + 3 + 7 * 8

offsets = st.integers(0, NEVER)
bests = st.builds(
    Best,
    rank=st.integers(0, 4),
    offset=offsets,
    appended_ms=offsets,
    expires_ms=offsets,
    value=st.none() | st.binary(max_size=99),
)
summaries = st.builds(
    Summary,
    floor=offsets | st.just(NONE),
    best=st.none() | bests,
    first=offsets,
    last=offsets,
    keep_until_ms=offsets,
)


@given(st.binary(min_size=8, max_size=8), summaries)
def test_a_summary_survives_its_bytes(generation: bytes, summary: Summary) -> None:
    """What is packed is unpacked, with the generation that it was packed with."""
    stored = unpack(pack(generation, summary))

    assert (generation, summary) == (stored.generation, stored.summary)


@given(summaries, offsets)
def test_the_best_event_alone_is_that_of_the_whole_until_it_expires(summary: Summary, now_ms: int) -> None:
    """At the very millisecond of its expiry it is gone."""
    best, data = summary.best, pack(GENERATION, summary)

    assert unpack_best(data, now_ms) == (best if best is not None and best.expires_ms > now_ms else None)
    if best is not None:
        assert unpack_best(data, best.expires_ms) is None
        assert best.expires_ms == 0 or unpack_best(data, best.expires_ms - 1) == best


@given(summaries)
def test_an_entry_is_a_value_without_its_generation(summary: Summary) -> None:
    """The script puts the generation before the entry, and that is the value."""
    assert pack(GENERATION, summary) == GENERATION + pack_entry(summary)


@given(bests)
def test_the_record_s_value_stands_verbatim_behind_the_header(best: Best) -> None:
    """Nothing is re-encoded: the bytes that a worker wrote are the bytes that are stored."""
    data = pack(GENERATION, Summary(NONE, best, 0, 0, NEVER))

    assert (best.value or b"") == data[HEADER:]


@pytest.mark.parametrize(("value", "inline"), [(b"", True), (b"x", True), (None, False)])
def test_a_value_kept_in_the_log_is_told_from_an_empty_one(value: bytes | None, inline: bool) -> None:  # noqa: FBT001 - drawn
    """Without its bytes a value is fetched from the log; empty bytes are bytes."""
    stored = unpack(pack(GENERATION, Summary(NONE, Best(3, 5, 6, 7, value), 5, 5, 7)))

    assert inline == stored.inline


def test_a_tombstone_has_no_best() -> None:
    """A floor alone survives too."""
    floor = tombstone_summary(41, 99)

    assert floor == unpack(pack(GENERATION, floor)).summary


@given(st.binary(max_size=HEADER - 1))
def test_bytes_too_short_for_a_header_are_refused(data: bytes) -> None:
    """Something else wrote to the key, and nothing is read from it."""
    with pytest.raises(ValueError, match="no stored value"):
        unpack(data)
    with pytest.raises(ValueError, match="no stored value"):
        unpack_best(data, 0)


@given(st.binary(min_size=HEADER, max_size=HEADER + 20).filter(lambda data: data[8] != 1))
def test_bytes_of_another_format_are_refused(data: bytes) -> None:
    """A value says which format it has; another one is not guessed at."""
    with pytest.raises(ValueError, match="no stored value"):
        unpack(data)
    with pytest.raises(ValueError, match="no stored value"):
        unpack_best(data, 0)
