"""What a waiter does with an answer and with a record, as sentences."""

from __future__ import annotations

import pytest

from streamresults.client.decisions import AfterLook, AfterRecord, Seen, after_look, after_record
from streamresults.events.states import RANK_READY, RANK_SUCCESS

#: R and the highest A ever seen, unless a test says otherwise.
R, HIGHEST = 10, 5


def seen(watermark: int = 10, *, complete: bool = True, rank: int = -1, marked: bool = False) -> Seen:
    """Return a look."""
    return Seen(watermark=watermark, complete=complete, rank=rank, marked=marked)


@pytest.mark.parametrize(
    ("sentence", "looked", "expected"),
    [
        ("without a view there is nothing to decide on", None, AfterLook.AGAIN),
        ("an older view is not believed, whatever it shows", seen(4, rank=RANK_SUCCESS), AfterLook.AGAIN),
        ("an older view's mark is not believed either", seen(4, marked=True), AfterLook.AGAIN),
        ("a success is the answer", seen(rank=RANK_SUCCESS), AfterLook.DONE),
        ("a success is the answer though coverage is incomplete", seen(complete=False, rank=4), AfterLook.DONE),
        ("another end is the answer", seen(rank=RANK_READY), AfterLook.DONE),
        ("another end under incomplete coverage says so", seen(complete=False, rank=3), AfterLook.DONE_PARTIAL),
        ("an end is the answer though the proof is missing", seen(9, rank=RANK_READY), AfterLook.DONE),
        ("a ready value is stronger than a mark", seen(rank=RANK_READY, marked=True), AfterLook.DONE),
        ("a mark ends the wait of an unready task", seen(rank=1, marked=True), AfterLook.DEAD_LETTERED),
        ("a mark ends the wait before the proof", seen(9, complete=False, marked=True), AfterLook.DEAD_LETTERED),
        ("a miss that is proved lets it sleep", seen(), AfterLook.SLEEP),
        ("an unready value that is proved lets it sleep", seen(11, rank=2), AfterLook.SLEEP),
        ("a watermark below R proves nothing", seen(9), AfterLook.AGAIN),
        ("incomplete coverage proves nothing", seen(complete=False), AfterLook.AGAIN),
    ],
)
def test_after_a_look(sentence: str, looked: Seen | None, expected: AfterLook) -> None:
    """What one atomic look at the view leads to."""
    del sentence

    assert expected == after_look(looked, R, HIGHEST)


@pytest.mark.parametrize(
    ("sentence", "asleep", "offset", "rank", "expected"),
    [
        ("what a sleeper's view had folded is old news", True, 9, RANK_SUCCESS, AfterRecord.IGNORE),
        ("a success ends a sleep", True, 10, RANK_SUCCESS, AfterRecord.DONE),
        ("another end ends a sleep", True, 10, RANK_READY, AfterRecord.DONE),
        ("progress does not end a sleep", True, 10, 1, AfterRecord.IGNORE),
        ("a tombstone does not end a sleep", True, 10, -1, AfterRecord.IGNORE),
        ("a success ends a wait that is not proved", False, 3, RANK_SUCCESS, AfterRecord.DONE),
        ("another end must be proved", False, 3, RANK_READY, AfterRecord.LOOK_BEYOND),
        ("progress moves the proof", False, 30, 1, AfterRecord.LOOK_BEYOND),
        ("a tombstone moves the proof", False, 30, -1, AfterRecord.LOOK_BEYOND),
    ],
)
def test_after_a_record(sentence: str, asleep: bool, offset: int, rank: int, expected: AfterRecord) -> None:  # noqa: FBT001
    """What a record that the reader delivered leads to; a sleeper's view had folded up to 10."""
    del sentence

    assert expected == after_record(asleep=asleep, folded_to=10, offset=offset, rank=rank)
