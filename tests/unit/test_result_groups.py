"""What ends first of many tasks; and groups that are saved, restored and deleted."""

from __future__ import annotations

from typing import Any

import pytest

from streamresults.client.result_group import ResultGroup
from streamresults.client.waiter import Phase
from streamresults.errors import MalformedRecord, UnknownTask
from tests.unit.desk import SOON, Desk
from tests.unit.set_desk import Joins, fail, succeed

# -- what ends first ------------------------------------------------------------------------------------------------


def test_tasks_are_given_as_they_end(desk: Desk) -> None:
    """Each once; what it says needs no further look."""
    desk.fold()
    order: list[str] = []

    def take() -> None:
        order.extend(f"{one.task_id} {one.state}" for one in desk.client.results(["a", "b", "a"]).as_completed(SOON))

    joins = Joins(take)
    desk.in_phase(Phase.ASLEEP, "a")
    desk.in_phase(Phase.ASLEEP, "b")
    for task in "ba":
        succeed(desk, task)
    joins.result()

    assert ["b SUCCESS", "a SUCCESS"] == order


def test_the_first_of_some_is_enough(desk: Desk) -> None:
    """However it ended, or only a success, or only a failure; the other waits are given up."""
    fail(desk, "f")
    succeed(desk, "s")
    desk.fold()
    found = desk.client.results(["f", "w", "s"])

    assert "f" == desk.client.results(["w", "f"]).first(SOON).task_id
    assert "s" == found.any(SOON).task_id
    assert "f" == found.first_exception(SOON).task_id  # type: ignore[union-attr]
    assert desk.client.results(["s"]).first_exception(SOON) is None
    with pytest.raises(ValueError, match="f"):
        desk.client.results(["f"]).any(SOON)
    assert [] == desk.everybody()


# -- groups ---------------------------------------------------------------------------------------------------------


def test_a_saved_group_is_restored_anywhere(desk: Desk) -> None:
    """In its order, with nested ones and an empty one; a later save replaces it."""
    client = desk.client
    succeed(desk, "b", "a")
    group = client.group("g", ["b", client.group("inner", ["a", "b"]), client.results(["a"]), client.group("empty")])
    position = group.save()
    desk.fold()
    client.lookup(group.key, at_least=position)
    restored = client.restore_group("g")

    assert ["B", ["A", "B"], ["A"], []] == restored.join(SOON)
    assert ["g", "inner", "g.2", "empty"] == [
        restored.group_id,
        *(member.group_id for member in restored if isinstance(member, ResultGroup)),
    ]
    client.group("g", ["a"]).save()
    desk.fold()
    assert ["A"] == client.restore_group("g").join(SOON)


def test_a_deleted_group_is_unknown_and_its_tasks_stay(desk: Desk) -> None:
    """Its tombstone is its own."""
    succeed(desk, "a")
    group = desk.client.group("g", ["a"])
    group.save()
    desk.fold()
    group.delete()
    desk.fold()

    with pytest.raises(UnknownTask, match="no group 'g' is saved"):
        desk.client.restore_group("g")
    assert ["A"] == group.join(SOON)


def test_a_group_inside_itself_is_refused(desk: Desk) -> None:
    """Nobody could join it."""
    desk.client.group("g", [desk.client.group("h")]).save()
    desk.client.group("h", [desk.client.group("g")]).save()
    desk.client.group("g", ["group:h"]).save()
    desk.fold()
    with pytest.raises(MalformedRecord, match="a member of itself"):
        desk.client.restore_group("g")


@pytest.mark.parametrize("bad", ["", None, 7, "x" * 1020])
def test_what_is_no_group_id_is_refused_at_the_call(desk: Desk, bad: Any) -> None:
    """As for tasks."""
    with pytest.raises(ValueError, match="a task id is a string of 1 to 1024 bytes"):
        desk.client.group(bad)


def test_forgetting_a_set_forgets_its_tasks(desk: Desk) -> None:
    """All of them, also in nested sets."""
    succeed(desk, "a", "b")
    desk.client.results(["a", desk.client.results(["b"])]).forget()
    desk.fold()

    assert ["UNKNOWN", "UNKNOWN"] == [result.state for result in desk.client.lookup_many(["a", "b"])]
