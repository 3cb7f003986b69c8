"""
What a live batch does with a partition's coverage.

We test these aspects: every case of the decision, a sentence each; that the watermark never goes down within a
generation; and that two compactors whose batches interleave in any way, zombies included, leave the same view as one.
"""

from __future__ import annotations

from struct import error as struct_error
from typing import Final, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamresults.events.fold import NEVER, Best, Summary, combine, event_summary, tombstone_summary
from streamresults.store.base import LiveBatch
from streamresults.store.coverage import Coverage, LiveClaim, LiveDecision, Outcome, decide_live
from streamresults.store.memory import MemoryStore
from streamresults.store.value import pack_entry, unpack

OLD: Final = b"old-one!"
NEW: Final = b"new-one!"
NOW: Final = 1_700_000_000_000


def coverage(watermark: int, *, start: int = 0, target: int = 0) -> Coverage:
    """Return what a view of the old generation has folded."""
    return Coverage(generation=OLD, start=start, watermark=watermark, target=target, as_of_ms=NOW - 5)


def claim(
    begin: int, end: int, *, least: int = 0, fresh_start: int | None = None, lost: bytes = b"", log_end: int = 0
) -> LiveClaim:
    """Return what a batch says of itself."""
    fresh = begin if fresh_start is None else fresh_start
    return LiveClaim(begin, end, least, fresh, 3, NEW, lost, log_end)


def decide(current: Coverage | None, batch: LiveClaim) -> tuple[Outcome, int, int, bool]:
    """Return the outcome, the start, the watermark and whether a generation began."""
    found = decide_live(current, batch, NOW)
    return found.outcome, found.coverage.start, found.coverage.watermark, found.began


def test_the_first_batch_begins_a_generation() -> None:
    """Without a view one begins at the batch, with the target that the batch names, and the batch is applied."""
    found = decide_live(None, claim(7, 9), NOW)
    begun = Coverage(generation=NEW, start=7, watermark=9, target=3, as_of_ms=NOW)

    assert LiveDecision(Outcome.APPLIED, begun, began=True) == found


def test_a_fresh_view_may_begin_elsewhere() -> None:
    """A compactor that is told to start from the beginning is sent back there at once."""
    assert (Outcome.AHEAD, 0, 0, True) == decide(None, claim(7, 9, fresh_start=0))


def test_a_watermark_below_the_least_begins_a_generation() -> None:
    """Where the log no longer holds what is missing, the old view cannot be continued."""
    assert (Outcome.APPLIED, 7, 9, True) == decide(coverage(4), claim(7, 9, least=5))


def test_a_watermark_at_the_least_is_continued() -> None:
    """The least watermark is the lowest that may be continued."""
    assert (Outcome.AHEAD, 0, 5, False) == decide(coverage(5), claim(7, 9, least=5))


def test_a_batch_ahead_of_the_watermark_is_not_applied() -> None:
    """After a failover to an older replica the compactor goes back to the watermark."""
    assert (Outcome.AHEAD, 0, 6, False) == decide(coverage(6), claim(7, 9))


def test_a_batch_at_the_watermark_is_applied() -> None:
    """The batch continues the view, which then ends where the batch ends."""
    assert (Outcome.APPLIED, 0, 9, False) == decide(coverage(7), claim(7, 9))


def test_an_empty_batch_at_the_watermark_is_applied() -> None:
    """A heartbeat moves nothing but the time."""
    assert (Outcome.APPLIED, 0, 7, False) == decide(coverage(7), claim(7, 7))


def test_a_batch_over_transaction_markers_moves_the_watermark() -> None:
    """Offsets that hold no record are covered too."""
    assert (Outcome.APPLIED, 0, 100, False) == decide(coverage(7), claim(7, 100))


def test_a_batch_whose_first_records_are_folded_is_not_applied() -> None:
    """Another compactor went on inside of it: the rest comes again from the watermark."""
    assert (Outcome.BEHIND, 0, 8, False) == decide(coverage(8), claim(7, 9))


def test_a_batch_that_ends_at_the_watermark_is_not_applied_twice() -> None:
    """A batch repeated after a lost reply does nothing, and its answer says how far things are."""
    assert (Outcome.BEHIND, 0, 9, False) == decide(coverage(9), claim(7, 9))


def test_a_batch_far_behind_the_watermark_is_not_applied() -> None:
    """A zombie's batch does nothing."""
    assert (Outcome.BEHIND, 0, 50, False) == decide(coverage(50), claim(7, 9))


def test_a_lost_generation_that_is_proved_gives_way_to_a_new_one() -> None:
    """A watermark above the log's end says that records were lost: a generation begins at the end of what is left."""
    batch = claim(6, 6, lost=OLD, log_end=6)

    assert (Outcome.APPLIED, 6, 6, True) == decide(coverage(9), batch)


def test_a_lost_generation_begins_at_the_log_s_end_whatever_the_batch_covers() -> None:
    """What was folded before the loss is gone, so the batch before the end is behind, and one after it ahead."""
    assert (Outcome.BEHIND, 6, 6, True) == decide(coverage(9), claim(2, 4, lost=OLD, log_end=6))
    assert (Outcome.AHEAD, 6, 6, True) == decide(coverage(9), claim(7, 8, lost=OLD, log_end=6))


def test_a_proof_about_another_generation_counts_for_nothing() -> None:
    """A zombie's old knowledge is ignored."""
    assert (Outcome.BEHIND, 0, 9, False) == decide(coverage(9), claim(6, 6, lost=NEW, log_end=6))


def test_a_proof_that_the_watermark_refutes_counts_for_nothing() -> None:
    """A watermark within the log is no loss."""
    assert (Outcome.APPLIED, 0, 6, False) == decide(coverage(6), claim(6, 6, lost=OLD, log_end=6))


def test_an_ordinary_batch_says_nothing_of_the_log_s_end() -> None:
    """Without a proof the log's end is not looked at."""
    assert (Outcome.APPLIED, 0, 10, False) == decide(coverage(9), claim(9, 10, log_end=0))


def test_a_continued_generation_keeps_its_start_and_target() -> None:
    """Only the watermark and the time move."""
    found = decide_live(coverage(7, start=4, target=2), claim(7, 9), NOW).coverage

    assert Coverage(generation=OLD, start=4, watermark=9, target=2, as_of_ms=NOW) == found


@pytest.mark.parametrize(("start", "complete"), [(0, True), (5, True), (6, False)])
def test_coverage_is_complete_when_it_reaches_down_to_the_target(start: int, complete: bool) -> None:  # noqa: FBT001 - drawn
    """What lies below the target can no longer be read."""
    assert complete == coverage(9, start=start, target=5).complete


numbers = st.integers(0, 2**53)


@given(st.builds(Coverage, generation=st.binary(min_size=8, max_size=8), start=numbers, watermark=numbers,
                 target=numbers, as_of_ms=numbers))  # fmt: skip
def test_coverage_survives_its_bytes(one: Coverage) -> None:
    """What is packed is unpacked."""
    assert one == Coverage.unpack(one.pack())


def test_coverage_is_never_read_from_other_bytes() -> None:
    """Bytes of another length are no coverage."""
    with pytest.raises(struct_error):
        Coverage.unpack(b"\x01" * 40)


small = st.integers(0, 12)
generations = st.sampled_from((OLD, NEW))


@st.composite
def claims(draw: st.DrawFn) -> LiveClaim:
    """Draw any claim that a batch can make."""
    begin = draw(small)
    end = begin + draw(st.integers(0, 5))
    lost = draw(st.sampled_from((b"", OLD, NEW)))
    return LiveClaim(begin, end, draw(small), draw(small), draw(small), draw(generations), lost, draw(small))


@given(st.none() | st.builds(coverage, small, start=small, target=small), claims())
@settings(max_examples=500)
def test_the_watermark_never_goes_down_within_a_generation(current: Coverage | None, batch: LiveClaim) -> None:
    """What was answered from a view stays answerable from it."""
    found = decide_live(current, batch, NOW)
    if found.began:
        return

    assert current is not None
    assert current.watermark <= found.coverage.watermark
    assert (current.generation, current.start, current.target) == (
        found.coverage.generation, found.coverage.start, found.coverage.target,
    )  # fmt: skip


@given(st.none() | st.builds(coverage, small, start=small, target=small), claims())
@settings(max_examples=500)
def test_a_batch_is_applied_exactly_where_the_view_ends(current: Coverage | None, batch: LiveClaim) -> None:
    """Applied leaves the batch's end; behind and ahead say on which side of its begin the watermark is."""
    found = decide_live(current, batch, NOW)
    watermark = found.coverage.watermark

    assert {
        Outcome.APPLIED: watermark == batch.end,
        Outcome.AHEAD: watermark < batch.begin,
        Outcome.BEHIND: watermark > batch.begin,
    }[found.outcome]


# Several compactors on one log


class Record(NamedTuple):
    """One record of the simulated log: the rank of an event, or None for a tombstone."""

    task: str
    rank: int | None


records = st.builds(Record, st.sampled_from("abc"), st.none() | st.integers(0, 4))
#: Who moves, how much it reads, and whether it repeats an old batch instead (a zombie), or forgets where it was.
moves = st.tuples(st.integers(0, 2), st.integers(0, 4), st.sampled_from(("go", "go", "repeat", "restart", "jump")))


def batch_of(log: list[Record], begin: int, end: int) -> LiveBatch:
    """Fold the records of [begin, end) into a batch, as a compactor does."""
    folded: dict[str, Summary] = {}
    for offset in range(begin, end):
        task, rank = log[offset]
        one = (
            tombstone_summary(offset, NEVER)
            if rank is None
            else event_summary(Best(rank, offset, NOW, NEVER, b"%d" % offset))
        )
        folded[task] = combine(folded[task], one) if task in folded else one
    what = LiveClaim(begin, end, 0, 0, 0, NEW)
    return LiveBatch(0, what, [(task, pack_entry(one)) for task, one in folded.items()])


def summaries(store: MemoryStore) -> dict[str, Summary]:
    """Return what a view holds."""
    looked = store.view("ns", "topic").look({0: "abc"})[0]
    return {task: unpack(value).summary for task, value in zip("abc", looked.values, strict=True) if value is not None}


@given(st.lists(records, min_size=1, max_size=20), st.lists(moves, max_size=30))
@settings(max_examples=300, deadline=None)
def test_several_compactors_leave_the_view_that_one_leaves(log: list[Record], plan: list[tuple[int, int, str]]) -> None:
    """However the batches of three compactors interleave, the view is the fold of the log up to the watermark."""
    store = MemoryStore(lambda: NOW)
    view = store.view("ns", "topic")
    positions = [0, 0, 0]
    sent: list[LiveBatch] = []
    watermark = 0
    for who, count, how in plan:
        begin = {"restart": 0, "jump": min(positions[who] + 1, len(log))}.get(how, positions[who])
        batch = batch_of(log, begin, min(begin + count, len(log)))
        if how == "repeat" and sent:
            batch = sent[count % len(sent)]
        sent.append(batch)
        (reply,) = view.apply([batch])
        positions[who] = reply.coverage.watermark

        assert watermark <= reply.coverage.watermark

        watermark = reply.coverage.watermark
        alone = MemoryStore(lambda: NOW)
        alone.view("ns", "topic").apply([batch_of(log, 0, watermark)])

        assert summaries(alone) == summaries(store)
