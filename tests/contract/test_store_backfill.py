"""
What a back-fill batch does to a view, in Redis and in memory alike.

We test these aspects: it goes under the view as the older range; it brings back nothing that was forgotten; one folded
for another start, another generation, no view or a complete one is refused, and all behind it; waiters are told; the
latest mark stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from streamresults.events.fold import NEVER, tombstone_summary
from streamresults.store.base import Interest
from streamresults.store.value import pack_entry
from tests.contract.store_desk import (
    FAILURE,
    ONE,
    STARTED,
    TWO,
    batch,
    entry,
    heard,
    look,
    mark,
    offsets,
    older,
    watermark,
)

if TYPE_CHECKING:
    from streamresults.store.base import View
    from tests.contract.store_desk import Listen


def test_back_fill_goes_under_the_view(view: View) -> None:
    """A batch that ends where the view begins is folded in as the older range, and moves the start down alone."""
    view.apply([batch(10, 12, {"late": entry(10, STARTED), "done": entry(11)})])
    (reply,) = view.backfill([older(5, 10, {"late": entry(5, FAILURE), "done": entry(6), "old": entry(7)})])

    assert (True, 5, 12) == (reply.applied, reply.coverage and reply.coverage.start, watermark(view))
    assert [5, 6, 7] == offsets(view, "late", "done", "old")


def test_back_fill_brings_nothing_back_that_was_forgotten(view: View) -> None:
    """What lies below a tombstone stays hidden."""
    view.apply([batch(10, 11, {"a": pack_entry(tombstone_summary(10, NEVER))})])
    view.backfill([older(5, 10, {"a": entry(5)})])

    assert [None] == offsets(view, "a")


@pytest.mark.parametrize(
    ("end", "generation"),
    [pytest.param(9, ONE, id="another start"), pytest.param(10, TWO, id="another generation")],
)
def test_back_fill_of_another_view_is_refused(view: View, end: int, generation: bytes) -> None:
    """A batch that was folded for another start or generation changes nothing."""
    view.apply([batch(10, 11)])
    (reply,) = view.backfill([older(5, end, {"a": entry(5)}, generation=generation)])

    assert (False, 10) == (reply.applied, reply.coverage and reply.coverage.start)
    assert [None] == offsets(view, "a")


def test_back_fill_without_a_view_is_refused(view: View) -> None:
    """After a flush there is nothing to go under."""
    (reply,) = view.backfill([older(5, 10, {"a": entry(5)})])

    assert (False, None) == reply


def test_back_fill_of_a_complete_view_is_refused(view: View) -> None:
    """Below the target nothing is missing."""
    view.apply([batch(0, 3)])
    (reply,) = view.backfill([older(0, 0, {"a": entry(0)})])

    assert not reply.applied


def test_back_fill_batches_follow_each_other_downwards(view: View) -> None:
    """Several batches of one partition in one call; behind a refused one nothing is applied."""
    view.apply([batch(10, 11)])
    replies = view.backfill([older(8, 10, {"a": entry(8)}), older(4, 7, {"b": entry(4)}), older(2, 4)])

    assert [True, False, False] == [reply.applied for reply in replies]
    assert [8, None] == offsets(view, "a", "b")


def test_back_fill_tells_whoever_waits(view: View, namespace: str, listen: Listen) -> None:
    """A value that back-fill makes ready wakes its waiters."""
    asked = listen("asked")
    view.apply([batch(10, 11)])
    view.look({0: ["a"]}, Interest(f"{namespace}:asked", 60))
    view.backfill([older(5, 10, {"a": entry(5)})])

    assert ["a"] == heard(asked, 1)


def test_the_latest_mark_stays(view: View) -> None:
    """Back-fill restores marks, but not over a later record's."""
    view.apply([batch(10, 11, marks={"a": mark(10)})])
    view.backfill([older(5, 10, marks={"a": mark(5), "b": mark(6)})])

    assert [10, 6] == [one.offset if one else None for one in look(view, "a", "b").marks]
