"""
Tasks that called each other, from an id alone.

We test these aspects: up and down; one round trip for each level; trees that are not complete; cycles; groups in them;
the graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from streamresults.errors import UnknownTask, WaitTimeout
from tests.unit.set_desk import Looks

if TYPE_CHECKING:
    from tests.unit.desk import Desk


def grow(desk: Desk, tree: dict[str, tuple[str, ...]], **states: str) -> None:
    """Have tasks end that called each other, each with its own id as its result."""
    parents = {child: task for task, children in tree.items() for child in children}
    with desk.wiring.publisher() as publisher:
        for task in {**tree, **dict.fromkeys(parents, ())}:
            if task.startswith("group:"):
                continue
            fields: dict[str, Any] = {"parent_id": parents.get(task, ""), "root_id": next(iter(tree))}
            children = tree.get(task, ())
            event = publisher.event(
                task, states.get(task, "SUCCESS"), result=task, children=children, name="shop.work", **fields
            )
            desk.append(task.encode(), desk.codec.encode(event))
    desk.fold()


TREE = {"root": ("a", "b"), "a": ("a1", "a2"), "a1": ("leaf",)}


def test_a_tree_is_walked_from_an_id_alone(desk: Desk) -> None:
    """Up by parents and root, down by children, level by level."""
    grow(desk, TREE)
    root, leaf = desk.client.result("root"), desk.client.result("leaf")

    assert ["a", "b"] == [child.task_id for child in root.children]
    assert ("a1", "root") == (leaf.parent.task_id, leaf.root.task_id)  # type: ignore[union-attr]
    assert root.parent is None
    assert leaf == root.leaf()
    found = [(caller and caller.task_id, task.task_id) for caller, task in root.iterdeps()]
    assert [(None, "root"), ("root", "a"), ("root", "b"), ("a", "a1"), ("a", "a2"), ("a1", "leaf")] == found
    assert ["root", "a", "b", "a1", "a2", "leaf"] == [value for _, value in root.collect()]
    assert ["a1", "leaf"] == [value for _, value in desk.client.result("a1").collect()]


def test_each_level_is_one_round_trip(desk: Desk) -> None:
    """However wide it is."""
    grow(desk, {"root": tuple(f"c{number}" for number in range(100))})
    looks = Looks(desk)

    assert 101 == len(desk.client.result("root").graph())
    assert [1, 100] == looks.sizes


def test_a_tree_that_is_not_complete_says_so(desk: Desk) -> None:
    """Unless one asks for what there is."""
    grow(desk, {"root": ("a", "never")}, a="STARTED")
    root = desk.client.result("root")
    with pytest.raises(WaitTimeout, match="not complete: 'a' is STARTED"):
        list(root.iterdeps())
    grow(desk, {"other": ("gone",)})
    desk.publish("gone", None)
    desk.fold()
    with pytest.raises(UnknownTask, match="nothing is known of 'gone'"):
        list(desk.client.result("other").collect())

    assert ["root", "a", "never"] == [task.task_id for _, task in root.iterdeps(intermediate=True)]
    assert ["root", "a", "never"] == [value for _, value in root.collect(intermediate=True)]


def test_a_cycle_ends(desk: Desk) -> None:
    """Each task is read once."""
    grow(desk, {"a": ("b",), "b": ("a",)})

    assert ["a", "b"] == [node.result.task_id for node in desk.client.result("a").graph()]
    assert "b" == desk.client.result("a").leaf().task_id


def test_a_task_that_hangs_below_several_is_drawn_below_each(desk: Desk) -> None:
    """It is read once, and every caller's edge to it is there; a call that leads back up too."""
    grow(desk, {"root": ("a", "b"), "a": ("b", "b"), "b": ("root",)})
    graph = desk.client.result("root").graph()

    assert ["root", "a", "b"] == [node.result.task_id for node in graph]
    assert [("root", "a"), ("root", "b"), ("a", "b"), ("b", "root")] == graph.edges


def test_a_saved_group_is_part_of_the_tree(desk: Desk) -> None:
    """As a node of its own in the graph; for children by its members."""
    desk.client.group("g", ["x", "y"]).save()
    grow(desk, {"root": ("group:g",)})
    desk.publish("x", "SUCCESS")
    desk.publish("y", "SUCCESS")
    desk.fold()
    root = desk.client.result("root")

    assert ["x", "y"] == [child.task_id for child in root.children]
    assert [("root", "group:g"), ("group:g", "x"), ("group:g", "y")] == root.graph().edges


def test_the_graph_is_drawn_for_graphviz(desk: Desk) -> None:
    """Nothing that a task wrote ends a string."""
    grow(desk, {'ro"ot': ("a\\", "b")}, b="FAILURE")

    assert (
        "digraph tasks {\n"
        '  "ro\\"ot" [label="shop.work\\nro\\"ot\\nSUCCESS"];\n'
        '  "a\\\\" [label="shop.work\\na\\\\\\nSUCCESS"];\n'
        '  "b" [label="shop.work\\nb\\nFAILURE"];\n'
        '  "ro\\"ot" -> "a\\\\";\n'
        '  "ro\\"ot" -> "b";\n'
        "}"
    ) == desk.client.result('ro"ot').graph().to_dot()
