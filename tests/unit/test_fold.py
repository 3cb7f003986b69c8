"""
One history of a task has one summary, however it was cut up.

We test these aspects: neighbouring ranges may be grouped anyhow (associativity); chunks, one event at a time, newest
chunk first and halves in parallel agree with a model that reads the whole history at once; ranges that overlap do no
harm; and the sentences that people rely on, such as "a late STARTED never hides a FAILURE".
"""

from __future__ import annotations

from functools import reduce
from itertools import pairwise
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from streamresults.events.fold import (
    NEVER,
    NONE,
    Best,
    Summary,
    better,
    combine,
    event_summary,
    tombstone_summary,
)
from streamresults.events.states import rank

STATES = ("PENDING", "RECEIVED", "STARTED", "RETRY", "PROGRESS", "FAILURE", "REVOKED", "SUCCESS")


class Happening(NamedTuple):
    """One record of the log; the state is None for a tombstone."""

    offset: int
    state: str | None
    keep: int
    value: bytes | None


@st.composite
def histories(draw: st.DrawFn) -> list[Happening]:
    """Draw one task's records: rising offsets with gaps, few tombstones, states that tie often."""
    gaps = draw(st.lists(st.integers(1, 3), min_size=1, max_size=14))
    offset, found = draw(st.integers(-1, 5)), []
    for gap in gaps:
        offset += gap
        state = draw(st.sampled_from((*STATES, None)))
        keep = draw(st.sampled_from((1, 10, 20, NEVER)))
        found.append(Happening(offset, state, keep, draw(st.sampled_from((b"", b"v", None)))))
    return found


def model(history: list[Happening]) -> Summary:
    """
    Say what a history amounts to, in words and without combining anything.

    The floor is the last tombstone. What happened up to it is forgotten. Of the rest the first SUCCESS stands; without
    one, the last record among those of the highest rank.
    """
    floor = max((one.offset for one in history if one.state is None), default=-1)
    after = [(one, rank(one.state, terminal=False)) for one in history if one.state is not None and one.offset > floor]
    successes = [pair for pair in after if pair[0].state == "SUCCESS"]
    highest = max((height for _, height in after), default=None)
    candidates = successes[:1] or [pair for pair in after if pair[1] == highest][-1:]
    best = None
    for one, height in candidates:
        best = Best(height, one.offset, one.offset * 1000, one.keep, one.value)
    return Summary(floor, best, history[0].offset, history[-1].offset, max(one.keep for one in history))


def summary(one: Happening) -> Summary:
    """Summarise one record."""
    if one.state is None:
        return tombstone_summary(one.offset, one.keep)
    return event_summary(Best(rank(one.state, terminal=False), one.offset, one.offset * 1000, one.keep, one.value))


def fold(history: list[Happening]) -> Summary:
    """Fold one record after the other."""
    return reduce(combine, (summary(one) for one in history))


def of(*states: str | None) -> Summary:
    """Fold records of these states, at the offsets 0, 1, 2 ...; None is a tombstone."""
    return fold([Happening(offset, state, NEVER, b"") for offset, state in enumerate(states)])


def stands(*states: str | None) -> int | None:
    """Return the offset of the record that stands for these, None when none does."""
    best = of(*states).best
    return None if best is None else best.offset


@given(histories())
def test_one_after_the_other_gives_what_the_model_says(history: list[Happening]) -> None:
    """The fold is the floor, the first SUCCESS or else the last of the highest rank, and the range."""
    assert model(history) == fold(history)


@given(histories(), st.data())
def test_neighbouring_ranges_may_be_grouped_anyhow(history: list[Happening], data: st.DataObject) -> None:
    """combine(combine(a, b), c) == combine(a, combine(b, c)) for three ranges in a row."""
    while len(history) < 3:
        history = [*history, history[-1]._replace(offset=history[-1].offset + 1)]
    first = data.draw(st.integers(1, len(history) - 2))
    second = data.draw(st.integers(first + 1, len(history) - 1))
    a, b, c = fold(history[:first]), fold(history[first:second]), fold(history[second:])

    assert combine(combine(a, b), c) == combine(a, combine(b, c))


@given(histories(), st.lists(st.integers(0, 14)))
def test_chunks_give_what_single_events_give(history: list[Happening], cuts: list[int]) -> None:
    """Folding in chunks of any size equals folding one event after the other."""
    chunks = chunked(history, cuts)

    assert fold(history) == reduce(combine, (fold(chunk) for chunk in chunks))


@given(histories(), st.lists(st.integers(0, 14)))
def test_newest_chunk_first_gives_what_forwards_gives(history: list[Happening], cuts: list[int]) -> None:
    """A back-fill that prepends older chunks equals folding forwards."""
    chunks = chunked(history, cuts)

    assert fold(history) == reduce(lambda newer, older: combine(older, newer), (fold(c) for c in reversed(chunks)))


@given(histories(), st.data())
@settings(max_examples=300)
def test_an_overlap_does_no_harm(history: list[Happening], data: st.DataObject) -> None:
    """combine(fold[h:a], fold[b:e]) == fold[h:e] whenever b <= a <= e: repeating a batch changes nothing."""
    end = data.draw(st.integers(1, len(history)))
    a = data.draw(st.integers(1, end))
    b = data.draw(st.integers(0, a))
    if b == end:
        return

    assert fold(history[:end]) == combine(fold(history[:a]), fold(history[b:end]))


@given(histories())
def test_a_summary_combined_with_itself_stays(history: list[Happening]) -> None:
    """The same batch twice is the same batch once."""
    once = fold(history)

    assert once == combine(once, once)


@given(histories(), histories())
def test_a_newer_tombstone_forgets_all_that_is_older(older: list[Happening], newer: list[Happening]) -> None:
    """Where the newer range has a floor, floor and best are its own."""
    shift = older[-1].offset + 1 - newer[0].offset
    newer = [Happening(newer[0].offset + shift, None, 1, None)] + [
        one._replace(offset=one.offset + shift) for one in newer[1:]
    ]
    whole, end = combine(fold(older), fold(newer)), fold(newer)

    assert (end.floor, end.best) == (whole.floor, whole.best)


@given(histories(), histories())
def test_a_summary_is_kept_as_long_as_anything_in_it(older: list[Happening], newer: list[Happening]) -> None:
    """A tombstone or a lesser event outlives the best, so that nothing it hides comes back."""
    latest = max(one.keep for one in [*older, *newer])

    assert latest == combine(fold(older), fold(newer)).keep_until_ms


def test_a_late_start_never_hides_a_failure() -> None:
    """RECEIVED or STARTED after FAILURE is late news of an earlier moment."""
    assert stands("FAILURE", "STARTED", "RECEIVED", "PENDING") == 0


def test_a_redelivered_failure_never_hides_a_success() -> None:
    """Whoever saw SUCCESS will never see FAILURE of that run."""
    assert stands("SUCCESS", "FAILURE", "REVOKED") == 0


def test_the_first_success_stays() -> None:
    """A task that ran twice keeps the result that people have already read."""
    assert stands("STARTED", "SUCCESS", "SUCCESS") == 1


def test_a_retry_that_succeeds_shows_success() -> None:
    """SUCCESS after FAILURE wins."""
    assert stands("FAILURE", "STARTED", "SUCCESS") == 2


def test_the_last_failure_stands() -> None:
    """Among equals that are not SUCCESS the later one is better."""
    assert stands("FAILURE", "REVOKED", "FAILURE") == 2


def test_progress_replaces_progress() -> None:
    """Among unready equals the later one is better, STARTED after PROGRESS too."""
    assert stands("RECEIVED", "PROGRESS", "RETRY", "STARTED") == 3


def test_a_tombstone_forgets_a_success() -> None:
    """Nothing stands after a tombstone, and its offset is the floor."""
    forgotten = of("SUCCESS", None)

    assert (1, None) == (forgotten.floor, forgotten.best)


def test_a_task_may_live_again_after_its_tombstone() -> None:
    """A lesser state after the tombstone stands, however good the forgotten one was."""
    assert stands("SUCCESS", None, "PENDING") == 2


def test_a_tombstone_of_an_older_range_forgets_nothing_newer() -> None:
    """The floor reaches back, never forward."""
    whole = combine(of("FAILURE", None), event_summary(Best(2, 7, 0, NEVER, b"")))

    assert whole.best is not None
    assert (1, 7) == (whole.floor, whole.best.offset)


def test_nothing_is_worse_than_something() -> None:
    """No event at all never wins."""
    one = Best(0, 3, 0, NEVER, b"")

    assert [None, one, one] == [better(None, None), better(one, None), better(None, one)]


def test_one_event_is_its_own_range() -> None:
    """A single event's summary has no floor and begins and ends with it."""
    one = event_summary(Best(3, 41, 5, 99, b"x"))

    assert (NONE, 41, 41, 99) == (one.floor, one.first, one.last, one.keep_until_ms)


def chunked(history: list[Happening], cuts: list[int]) -> list[list[Happening]]:
    """Cut a history into pieces that are not empty."""
    places = sorted({0, len(history), *(cut for cut in cuts if cut < len(history))})
    return [history[begin:end] for begin, end in pairwise(places)]
