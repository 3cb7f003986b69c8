"""
What a live batch does to a view, in Redis and in memory alike.

We test these aspects: values, marks and coverage move together or not at all, per partition; a batch is combined with
what is there, and a repeated one is applied once; several in one call; another generation counts as absent; whose keys
they are; dead-letter marks.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from streamresults.events.fold import NEVER, tombstone_summary
from streamresults.store.base import Interest
from streamresults.store.coverage import Outcome
from streamresults.store.keys import Keys
from streamresults.store.value import pack_entry
from tests.contract.store_desk import (
    FAILURE,
    ONE,
    STARTED,
    SUCCESS,
    TOPIC,
    TWO,
    batch,
    entry,
    look,
    mark,
    offsets,
    watermark,
)

if TYPE_CHECKING:
    from redis_server import RedisServer

    from streamresults.store.base import Store, View
    from streamresults.store.redis import RedisStore


def test_an_applied_batch_can_be_looked_up(view: View) -> None:
    """The reply and the next look tell the same coverage, and the value is the entry behind its generation."""
    (reply,) = view.apply([batch(0, 5, {"a": entry(3)})])
    looked = look(view, "a")

    assert (Outcome.APPLIED, True, 5) == (reply.outcome, reply.began, reply.coverage.watermark)
    assert reply.coverage == looked.coverage
    assert [ONE + entry(3)] == list(looked.values)


def test_batches_are_combined_with_what_is_there(view: View) -> None:
    """The view folds: a success stays, a tombstone forgets."""
    view.apply([batch(0, 2, {"a": entry(0, SUCCESS), "b": entry(1, SUCCESS), "c": entry(1, STARTED)})])
    view.apply([batch(2, 9, {"a": entry(4, FAILURE), "b": pack_entry(tombstone_summary(5, NEVER)), "c": entry(6, 3)})])

    assert [0, None, 6] == offsets(view, "a", "b", "c")


@pytest.mark.parametrize(("begin", "outcome"), [(6, Outcome.AHEAD), (4, Outcome.BEHIND)])
def test_a_batch_that_does_not_continue_the_view_leaves_nothing(view: View, begin: int, outcome: Outcome) -> None:
    """Values, marks and coverage move together or not at all."""
    view.apply([batch(0, 5, {"a": entry(3)})])
    (reply,) = view.apply([batch(begin, 9, {"a": entry(8), "b": entry(8)}, marks={"c": mark()})])
    looked = look(view, "a", "b", "c")

    assert (outcome, False, 5) == (reply.outcome, reply.began, reply.coverage.watermark)
    assert [ONE + entry(3), None, None] == list(looked.values)
    assert [None, None, None] == list(looked.marks)


def test_a_batch_sent_twice_is_applied_once(view: View) -> None:
    """A write whose reply was lost may be repeated."""
    view.apply([batch(0, 5, {"a": entry(3)})])
    (reply,) = view.apply([batch(0, 5, {"a": entry(3)})])

    assert (Outcome.BEHIND, 5) == (reply.outcome, reply.coverage.watermark)
    assert [3] == offsets(view, "a")


def test_partitions_do_not_touch_each_other(view: View) -> None:
    """A call carries batches of many partitions, each with an outcome of its own; equal ids are different tasks."""
    view.apply([batch(0, 5, {"a": entry(3)}, partition=1)])
    replies = view.apply([batch(p, 9, {"a": entry(8)}, partition=p) for p in range(4)])
    found = view.look({p: ["a"] for p in range(5)})

    assert [Outcome.APPLIED, Outcome.BEHIND, Outcome.APPLIED, Outcome.APPLIED] == [one.outcome for one in replies]
    assert [9, 5, 9, 9, None] == [one.coverage.watermark if one.coverage else None for one in found.values()]
    assert [8, 3, 8, 8, None] == [offsets(view, "a", partition=p)[0] for p in range(5)]


def test_batches_of_one_partition_follow_each_other(view: View) -> None:
    """Several batches in one call are applied in their order."""
    replies = view.apply([batch(n, n + 1, {"a": entry(n, FAILURE), f"t{n}": entry(n)}) for n in range(5)])

    assert [Outcome.APPLIED] * 5 == [one.outcome for one in replies]
    assert ([4, 0, 4], 5) == (offsets(view, "a", "t0", "t4"), watermark(view))


def test_behind_a_batch_that_is_not_applied_none_is(view: View) -> None:
    """Where the chain is broken it ends, and the replies say where to go on."""
    view.apply([batch(0, 5)])
    replies = view.apply([batch(3, 6, {"a": entry(3)}), batch(6, 9, {"a": entry(6)}), batch(9, 12, {"a": entry(9)})])

    assert [Outcome.BEHIND, Outcome.AHEAD, Outcome.AHEAD] == [one.outcome for one in replies]
    assert ([None], 5) == (offsets(view, "a"), watermark(view))


def test_no_batches_are_no_work(view: View) -> None:
    """Nothing applied, nothing said."""
    assert [] == view.apply([])


def test_another_generation_counts_as_absent(view: View) -> None:
    """When a generation begins, older values and marks are gone, and nothing is combined with them."""
    view.apply([batch(0, 5, {"a": entry(3), "b": entry(4)}, marks={"a": mark()})])
    (reply,) = view.apply([batch(20, 25, {"a": entry(22, STARTED)}, least=10, generation=TWO)])
    looked = look(view, "a", "b")

    assert (True, TWO) == (reply.began, reply.coverage.generation)
    assert [TWO + entry(22, STARTED), None] == list(looked.values)
    assert [None, None] == list(looked.marks)


def test_views_of_other_topics_and_namespaces_are_other_views(store: Store, view: View, namespace: str) -> None:
    """A view opened twice is one view; another topic id or namespace shares nothing with it."""
    view.apply([batch(0, 5, {"a": entry(3)})])

    assert [3] == offsets(store.view(namespace, TOPIC), "a")
    assert [None] == offsets(store.view(namespace, "other-id"), "a")
    assert [None] == offsets(store.view(f"{namespace}-2", TOPIC), "a")


@pytest.mark.redis
def test_all_that_is_written_stands_under_the_namespace(server: RedisServer, own: RedisStore) -> None:
    """The keys of a view are those of keys.py, and its partition's hash tag is in each."""
    view = own.view("ns", TOPIC)
    view.look({3: ["b"]}, Interest("c", 60))
    view.apply([batch(0, 1, {"a": entry(0)}, partition=3, marks={"a": mark()})])
    keys = Keys("ns", TOPIC)
    expected = {keys.coverage(3), keys.interested(3), keys.marked(3), keys.value_prefix(3) + "a"}
    expected |= {keys.mark_prefix(3) + "a", keys.interest_prefix(3) + "b"}

    assert server.execute("DBSIZE") == str(len(expected))
    assert expected == {os.fsdecode(key) for key in own._nodes.each()[0].scan_iter()}


def test_a_mark_stands_beside_the_value(view: View) -> None:
    """A dead letter never changes the fold, and a value never hides the mark."""
    view.apply([batch(0, 5, {"a": entry(3)}, marks={"a": mark(4), "b": mark(2)})])
    view.apply([batch(5, 9, {"a": entry(6), "b": entry(7)})])
    looked = look(view, "a", "b", "c")

    assert [3, 7, None] == offsets(view, "a", "b", "c")
    assert [mark(4), mark(2), None] == list(looked.marks)


def test_a_later_mark_replaces_an_earlier_one(view: View) -> None:
    """One mark is kept of each task: the last."""
    view.apply([batch(0, 5, marks={"a": mark(1)})])
    view.apply([batch(5, 9, marks={"a": mark(6)})])

    assert [mark(6)] == list(look(view, "a").marks)
