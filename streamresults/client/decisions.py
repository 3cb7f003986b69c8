"""
What a waiter does with an answer, step 3 of "Waiting" in docs/architecture.md: pure decisions. No lock, no clock and no
connection is met here.

They hold only under the dispatch lock: between the decision and its effect no record may be delivered.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from streamresults.events.states import RANK_READY, RANK_SUCCESS


class Seen(NamedTuple):
    """What one atomic look at the view brought for one waiter."""

    #: The view has folded everything below it, from its start.
    watermark: int
    #: The view is complete: nothing that can still be read lies below the view's start.
    complete: bool
    #: The rank of the value, -1 when there is none or it has expired.
    rank: int
    #: A record of the task could not be read.
    marked: bool


class AfterLook(Enum):
    """What a waiter does after a look."""

    #: The value is the answer.
    DONE = "done"
    #: The value is the answer, and the answer says that the view does not cover everything.
    DONE_PARTIAL = "done partial"
    #: A record of the task cannot be read and no result stands.
    DEAD_LETTERED = "dead-lettered"
    #: Nothing can have been missed: only the reader can bring news.
    SLEEP = "sleep"
    #: The result may lie where neither the view nor the reader has shown it yet.
    AGAIN = "again"


def after_look(seen: Seen | None, next_offset: int, highest_watermark: int) -> AfterLook:
    """
    Decide after a look at the view.

    Args:
        seen: ``None`` when there is no view, or it could not be read.
        next_offset: R: every record from here on will be matched by the reader. Never the reader's first offset: the
            records between that and R have passed unmatched.
        highest_watermark: The highest one that this process has seen of the partition, in any generation; below it the
            view is an older moment, and its answers may be forgotten ones.
    """
    if seen is None or seen.watermark < highest_watermark:
        return AfterLook.AGAIN
    if seen.rank >= RANK_READY:
        return AfterLook.DONE if seen.complete or seen.rank == RANK_SUCCESS else AfterLook.DONE_PARTIAL
    if seen.marked:
        return AfterLook.DEAD_LETTERED
    if seen.complete and seen.watermark >= next_offset:
        return AfterLook.SLEEP
    return AfterLook.AGAIN


class AfterRecord(Enum):
    """What a waiter does with a record of its task that the reader delivered."""

    #: The record is the answer.
    DONE = "done"
    #: The view must have folded this record before it can prove a miss: R moves behind it.
    LOOK_BEYOND = "look beyond"
    #: The sleeper's view had folded it, or it is not ready.
    IGNORE = "ignore"


def after_record(*, asleep: bool, folded_to: int, offset: int, rank: int) -> AfterRecord:
    """
    Decide on a delivered record.

    Args:
        asleep: Whether the waiter has its proof.
        folded_to: The watermark that a sleeper read; meaningless while awake.
        rank: The record's rank, -1 for a tombstone.
    """
    if asleep and offset < folded_to:
        return AfterRecord.IGNORE
    if rank == RANK_SUCCESS:
        return AfterRecord.DONE
    if not asleep:
        return AfterRecord.LOOK_BEYOND
    return AfterRecord.DONE if rank >= RANK_READY else AfterRecord.IGNORE
