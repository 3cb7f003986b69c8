"""
Order by group index: a group stands in it however its members were listed, and whatever the order of their ends.

We test these aspects: shuffled lists and arrivals; retried and replaced members; members without an index, and of
another group; duplicates and nested groups; what has ended already and what ends later; trees.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from streamresults.client.result import Result
from tests.unit.desk import SOON, Desk
from tests.unit.set_desk import Joins
from tests.waiting import eventually

IDS = [f"t{index}" for index in range(8)]


pytestmark = pytest.mark.usefixtures("folded_view")


def end(desk: Desk, task: str, index: int = -1, group: str = "g", *, state: str = "SUCCESS") -> None:
    """Have a task enter a state, with its id as its result, as a member of a group."""
    with desk.wiring.publisher() as publisher:
        publisher.publish(publisher.event(task, state, result=task, group_id=group, group_index=index))


def shuffled(seed: int) -> list[str]:
    """Return the ids in another order."""
    ids = list(IDS)
    random.Random(seed).shuffle(ids)
    return ids


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("restored", [False, True])
def test_a_group_is_in_the_order_of_the_indexes(desk: Desk, seed: int, restored: bool) -> None:  # noqa: FBT001
    """However it was listed and saved, and in whatever order its tasks have ended."""
    for task in shuffled(seed):
        end(desk, task, IDS.index(task))
    group = desk.client.group("g", shuffled(seed + 100))
    if restored:
        group.save()
    desk.fold()
    if restored:
        group = desk.client.restore_group("g")

    assert IDS == group.join(SOON)
    assert IDS == [one.task_id for one in group.all(SOON)]
    assert IDS == group.join(SOON), "what handles have kept is in order too"


@pytest.mark.parametrize("seed", range(3))
def test_ends_that_come_later_are_in_order_too(desk: Desk, seed: int) -> None:
    """Each arrives alone."""
    group = desk.client.group("g", shuffled(seed))
    joins = Joins(lambda: group.join(SOON, via="topic"))
    eventually(lambda: desk.waiter(IDS[0]) is not None and desk.watch.is_read, SOON)
    for task in shuffled(seed + 100):
        end(desk, task, IDS.index(task))
        desk.fold()

    assert IDS == joins.result()


def test_a_retried_member_keeps_its_place(desk: Desk) -> None:
    """What its last event says counts, in whatever run it was."""
    for index, task in enumerate("abc"):
        end(desk, task, index, state="RETRY" if task == "a" else "FAILURE" if task == "b" else "SUCCESS")
    end(desk, "b", 1)
    end(desk, "a", 0)
    desk.fold()

    assert ["a", "b", "c"] == desk.client.group("g", list("cba")).join(SOON)


def test_a_replaced_member_leaves_its_place_to_its_successor(desk: Desk) -> None:
    """A group that is saved again with the successor behind the others has it where the member was."""
    for task, index in (("c", 2), ("b", 1), ("a2", 0)):
        end(desk, task, index)
    desk.client.group("g", ["b", "c", "a2"]).save()
    desk.fold()

    assert ["a2", "b", "c"] == desk.client.restore_group("g").join(SOON)


def test_members_without_an_index_keep_their_places(desk: Desk) -> None:
    """So do those whose events name another group, and nested ones; a task that stands twice stands together."""
    end(desk, "two", 2)
    end(desk, "none")
    end(desk, "other", 0, "h")
    end(desk, "one", 1)
    end(desk, "x", 1, "inner")
    end(desk, "y", 0, "inner")
    desk.fold()
    inner = desk.client.group("inner", ["x", "y"])

    assert ["one", "none", ["y", "x"], "two", "other", "two"] == desk.client.group(
        "g", ["two", "none", inner, "one", "other", "two"]
    ).join(SOON)
    assert ["two", "one"] == desk.client.results(["two", "one"]).join(SOON), "a set without a name has its own order"


def test_exceptions_stand_in_order_too(desk: Desk) -> None:
    """A member that failed has an index as any other."""
    end(desk, "b", 1)
    with desk.wiring.publisher() as publisher:
        publisher.failed_with("a", ValueError("a"), group_id="g", group_index=0)
    desk.fold()
    first, second = desk.client.group("g", ["b", "a"]).join(SOON, propagate=False)

    assert isinstance(first, ValueError)
    assert "b" == second


def test_whole_events_are_decoded_only_where_they_name_the_group(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group whose members say nothing of it costs nothing more than a set."""
    with desk.wiring.publisher() as publisher:
        for task in IDS:
            publisher.succeeded(task, task)
    desk.fold()

    def refuse(_: Result) -> Any:
        raise AssertionError("a whole event was decoded")

    monkeypatch.setattr(Result, "event", property(refuse))

    assert IDS == desk.client.group("a-group-nobody-names", IDS).join(SOON)


# -- trees ----------------------------------------------------------------------------------------------------------


def test_a_group_that_was_never_saved_is_found_in_a_tree(desk: Desk) -> None:
    """By its id alone: members in order, of a replaced one its successor, those without an index last."""
    with desk.wiring.publisher() as publisher:
        publisher.succeeded("root", None, children=("c", "a", "b", "stranger", "odd"))
        for task, index in (("b", 1), ("a", 0), ("c", 2), ("odd", -1)):
            children = ("a2",) if task == "a" else ()
            publisher.succeeded(task, task, group_id="g", group_index=index, children=children)
        publisher.succeeded("a2", "a2", group_id="g", group_index=0)
        publisher.succeeded("stranger", 0)
    desk.fold()
    graph = desk.client.result("root").graph()

    assert ("a2", "b", "c", "odd") == graph.members_of("g")
    assert () == graph.members_of("h")
    assert ["a2", "b", "c", "odd"] == desk.client.group("g", graph.members_of("g")).join(SOON)


def test_a_saved_group_stands_in_order_in_a_tree(desk: Desk) -> None:
    """Whatever order it was saved in; what hangs below a member goes with it."""
    with desk.wiring.publisher() as publisher:
        publisher.succeeded("root", None, children=("group:g", "last"))
        publisher.save_group("g", ["b", "a", "plain"])
        publisher.succeeded("a", 0, group_id="g", group_index=0, children=("a.child",))
        publisher.succeeded("b", 1, group_id="g", group_index=1, children=("b.child",))
    desk.fold()

    assert ["root", "group:g", "last", "a", "b", "plain", "a.child", "b.child"] == [
        node.result.task_id for node in desk.client.result("root").graph()
    ]


def test_a_broken_member_breaks_itself_alone_in_a_tree(desk: Desk) -> None:
    """What it called is not known, and everything else is."""
    with desk.wiring.publisher() as publisher:
        publisher.succeeded("root", None, children=("bad", "good"))
        publisher.succeeded("good", 1)
    value = desk.codec.encode(desk.wiring.publisher().event("bad", "SUCCESS", children=("x",), labels={"a": "b"}))
    desk.append(b"bad", value[:-8])
    desk.fold()
    graph = desk.client.result("root").graph()

    assert ["root", "bad", "good"] == [node.result.task_id for node in graph]
    assert "unreadable: TruncatedRecord" in graph.to_dot()
    assert () == graph.members_of("g")
