"""Many tasks as one thing for coroutines: by the names that threads use; groups are saved, restored and deleted."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING

import pytest

from streamresults.aio import AsyncClient, AsyncResultGroup, AsyncResultHandle, AsyncResultSet
from streamresults.client import ResultGroup, ResultHandle, ResultSet
from streamresults.errors import UnknownTask
from tests.unit.desk import SOON, Desk
from tests.unit.set_desk import succeed

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("folded_view")

FACES = [(AsyncResultHandle, ResultHandle), (AsyncResultSet, ResultSet), (AsyncResultGroup, ResultGroup)]


#: Of sets for threads: what their faces stand on.
WITHIN = {"in_order"}


#: Attributes of each group for threads.
INSTANCES = {"group_id"}


# -- the same names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("face", "stands_on"), FACES)
def test_a_face_has_the_same_names_with_the_same_parameters(face: type, stands_on: type) -> None:
    """Of handles, sets and groups, as of clients."""
    ours = {name for name in dir(face) if not name.startswith("_")}
    theirs = {name for name in dir(stands_on) if not name.startswith("_")} - WITHIN

    assert theirs == ours - INSTANCES
    for name in theirs:
        here, there = inspect.getattr_static(face, name), inspect.getattr_static(stands_on, name)
        assert callable(here) == callable(there), name
        if callable(here):
            assert _parameters(there) == _parameters(here), name


def _parameters(function: Callable[..., object]) -> list[tuple[str, object]]:
    return [(one.name, one.default) for one in inspect.signature(function).parameters.values()]


def test_members_are_tasks_and_sets_in_an_order(desk: Desk) -> None:
    """By id or by handle; nested sets come back as what they are. Nothing is asked, so nothing is awaited."""
    face = AsyncClient(desk.client)
    nested = face.group("g", ["c", "a"])
    found = face.results(["a", face.result("b"), nested, "a"])

    assert [face.result("a"), face.result("b"), nested, face.result("a")] == list(found)
    assert [AsyncResultHandle, AsyncResultGroup] == [type(found[1]), type(found[2])]
    assert ["a", "b", "c"] == list(found.handles())
    assert ["a" in found, nested in found, face.result("b") in found, "c" in found] == [True, True, True, False]
    assert found == face.results(["a", "b", face.group("g", ["c", "a"]), "a"])
    found.remove("a")
    with pytest.raises(KeyError):
        found.remove(face.result("a"))
    found.update(["x", "y"])
    found.discard("x")
    assert "<AsyncResultSet of 3>" == repr(found)
    nested.add("z")  # which is the one inside
    assert ["b", "c", "a", "z", "y"] == list(found.handles())
    found.clear()
    assert 0 == len(found)


def test_what_is_to_be_awaited_does_not_pass_for_its_answer(desk: Desk) -> None:
    """``if handle.ready`` would always be true."""
    face = AsyncClient(desk.client)
    for asked in (face.result("t").ready, face.results().ready):
        with pytest.raises(TypeError, match="await"):
            bool(asked)


def test_a_handle_answers_what_a_handle_for_threads_does(desk: Desk) -> None:
    """Each property, awaited, and the tree below it."""
    with desk.wiring.publisher(worker="w") as publisher:
        publisher.succeeded("t", 7, name="n", args=[1], labels={"k": "v"}, children=("b", "c"), retries=2)
        publisher.succeeded("b", 8, parent_id="t", root_id="t")
    desk.fold()

    async def scenario() -> None:
        face = AsyncClient(desk.client)
        t, b = face.result("t"), face.result("b")
        assert ("SUCCESS", True, True, False) == (await t.state, await t.ready, await t.successful, await t.failed)
        assert (7, "n", (1,), {"k": "v"}, 2) == (
            await t.result,
            await t.name,
            await t.args,
            await t.labels,
            await t.retries,
        )
        assert [b, face.result("c")] == await t.children
        assert (None, t, t) == (await t.parent, await b.parent, await b.root)
        assert (b, 3) == (await t.leaf(), len(await t.graph()))
        assert [(t, 7), (b, 8), (face.result("c"), None)] == [one async for one in t.collect(intermediate=True)]
        given = t.iterdeps()
        assert [(None, t), (t, b)] == [await anext(given), await anext(given)]
        with pytest.raises(UnknownTask, match="not complete"):
            await anext(given)
        assert "SUCCESS" == (await t.snapshot(fresh=True)).state

    asyncio.run(scenario())


# -- groups ---------------------------------------------------------------------------------------------------------


def test_a_group_is_saved_restored_and_deleted(desk: Desk) -> None:
    """In its order, with nested ones; its tasks stay."""
    succeed(desk, "b", "a")
    face = AsyncClient(desk.client)

    async def scenario() -> None:
        group = face.group("g", ["b", face.group("inner", ["a", "b"]), face.results(["a"])])
        assert ("g", "group:g") == (group.group_id, group.key)
        position = await group.save()
        desk.fold()
        await face.lookup(group.key, at_least=position)
        restored = await face.restore_group("g")
        assert ["B", ["A", "B"], ["A"]] == await restored.join(SOON)
        assert [AsyncResultHandle, AsyncResultGroup, AsyncResultGroup] == [type(one) for one in restored]
        await group.delete()
        desk.fold()
        with pytest.raises(UnknownTask, match="no group 'g' is saved"):
            await face.restore_group("g")
        await restored.forget()
        desk.fold()
        assert ["UNKNOWN", "UNKNOWN"] == [one.state for one in await face.lookup_many(["a", "b"])]

    asyncio.run(scenario())
