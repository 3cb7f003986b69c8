"""
What is said wrongly is refused at the call, in one line, before anybody waits.

We test these aspects: options of a wait, functions that are called, members of sets and of saved groups, one id where
many are asked for, positions, expiries, what redacting returns; and that None is no option.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.aio import AsyncClient, AsyncPublisher
from streamresults.errors import MalformedRecord, PublishFailed
from streamresults.events.event import Event
from tests.unit.desk import SOON, Desk

if TYPE_CHECKING:
    from collections.abc import Callable

#: Ids that none can be, as a record of another library's might name them.
NONE_OF_THEM = ("", "x" * 2000)


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    """Give a desk at which one task has ended."""
    found = open_desk()
    found.publish("t", "SUCCESS")
    found.fold()
    return found


def awaited(call: Any) -> object:
    """Run a coroutine."""
    return asyncio.run(call)


WAITS: dict[str, Callable[..., object]] = {
    "get": lambda desk, **options: desk.client.get("t", SOON, **options),
    "wait": lambda desk, **options: desk.client.wait("t", 0, **options),
    "handle": lambda desk, **options: desk.client.result("t").get(SOON, **options),
    "await": lambda desk, **options: awaited(AsyncClient(desk.client).get("t", SOON, **options)),
    "await wait": lambda desk, **options: awaited(AsyncClient(desk.client).wait("t", 0, **options)),
}

WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"intervall": 1}, TypeError, "a wait has no option 'intervall'; it has interval, on_interval"),
    ({"interval": 0}, ValueError, "an interval is a number of seconds above 0: 0"),
    ({"interval": -1}, ValueError, "an interval is a number of seconds above 0: -1"),
    ({"interval": "1"}, ValueError, "an interval is a number of seconds above 0: '1'"),
    ({"on_interval": 5}, TypeError, "on_interval is a function, not int: 5"),
    ({"on_message": []}, TypeError, r"on_message is a function, not list: \[\]"),
    ({"at_least": 7}, TypeError, "at_least is a Position, as publishing returns it, not int: 7"),
]


@pytest.mark.parametrize(("options", "kind", "words"), WRONG, ids=[str(options) for options, _, _ in WRONG])
@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_wrong_option_of_a_wait_is_refused(
    desk: Desk, wait: Callable[..., object], options: dict[str, Any], kind: type[Exception], words: str
) -> None:
    """Also of one that would find its answer at once: a misspelt one must not be ignored until it matters."""
    with pytest.raises(kind, match=words):
        wait(desk, **options)


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_none_says_as_little_as_leaving_an_option_out(desk: Desk, wait: Callable[..., object]) -> None:
    """For whoever hands on what he was given."""
    wait(desk, interval=None, on_interval=None, on_message=None, at_least=None)


CALLED: dict[str, Callable[[Desk, Any], object]] = {
    "get": lambda desk, bad: desk.client.get("t", SOON, callback=bad),
    "handle": lambda desk, bad: desk.client.result("t").get(SOON, callback=bad),
    "join": lambda desk, bad: desk.client.results(["t"]).join(SOON, callback=bad),
    "on_result": lambda desk, bad: desk.client.on_result("t", bad),
    "await get": lambda desk, bad: awaited(AsyncClient(desk.client).get("t", SOON, callback=bad)),
    "await join": lambda desk, bad: awaited(AsyncClient(desk.client).results(["t"]).join(SOON, callback=bad)),
    "await on_result": lambda desk, bad: awaited(AsyncClient(desk.client).on_result("t", bad)),
}


@pytest.mark.parametrize("call", CALLED.values(), ids=CALLED)
def test_what_cannot_be_called_is_no_callback(desk: Desk, call: Callable[[Desk, Any], object]) -> None:
    """It is not found out when a result is there, and lost by that."""
    with pytest.raises(TypeError, match="callback is a function, not str: 'print'"):
        call(desk, "print")


@pytest.mark.parametrize("name", ["on_result", "await on_result"])
def test_registration_needs_a_function(desk: Desk, name: str) -> None:
    """There is nothing else that it could tell."""
    with pytest.raises(TypeError, match="callback is a function, not NoneType"):
        CALLED[name](desk, None)


ONE_FOR_MANY: dict[str, Callable[[Desk], object]] = {
    "results": lambda desk: desk.client.results("abc"),
    "group": lambda desk: desk.client.group("g", "abc"),
    "lookup_many": lambda desk: desk.client.lookup_many("abc"),
    "update": lambda desk: desk.client.results().update("abc"),
    "await results": lambda desk: AsyncClient(desk.client).results("abc"),
    "await lookup_many": lambda desk: awaited(AsyncClient(desk.client).lookup_many("abc")),
}


@pytest.mark.parametrize("call", ONE_FOR_MANY.values(), ids=ONE_FOR_MANY)
def test_one_text_is_no_list_of_ids(desk: Desk, call: Callable[[Desk], object]) -> None:
    """Each of its characters would be waited for."""
    with pytest.raises(TypeError, match=r"several task ids are a list of them, also where it is one: \['abc'\]"):
        call(desk)


def test_set_cannot_be_a_member_of_itself(desk: Desk) -> None:
    """Nor by way of others: nobody could join it. It stays as it was."""
    whole = desk.client.results(["t"])
    inner = desk.client.results([desk.client.results([whole])])
    for bad in (whole, inner):
        with pytest.raises(ValueError, match="a set cannot be a member of itself"):
            whole.add(bad)

    assert [None] == whole.join(SOON)


@pytest.mark.parametrize("bad", [*NONE_OF_THEM, None, 5, b"t"], ids=lambda bad: str(bad)[:9])
def test_group_is_not_saved_with_a_member_that_is_none(desk: Desk, bad: Any) -> None:
    """It could never be restored; nothing is sent, by either face."""
    before = desk.broker._cluster.topics["results"].partitions[0].high
    with desk.wiring.publisher() as publisher:
        face = AsyncPublisher(publisher)
        calls: list[Callable[[], object]] = [
            lambda: publisher.save_group("g", ["a", bad]),
            lambda: publisher.save_group(bad, []),
            lambda: awaited(face.save_group("g", ["a", bad])),
            lambda: awaited(face.save_group(bad, [])),
        ]
        for call in calls:
            with pytest.raises(PublishFailed, match=r"(a task id|the id of a group) (is|has)") as refused:
                call()
            assert refused.value.written is False

    assert before == desk.broker._cluster.topics["results"].partitions[0].high


def test_text_is_not_saved_as_the_members_of_a_group(desk: Desk) -> None:
    """It names one task at most."""
    with desk.wiring.publisher() as publisher, pytest.raises(PublishFailed, match=r"a list of task ids.*\['abc'\]"):
        publisher.save_group("g", "abc")


def test_ids_that_none_can_be_break_nothing_but_themselves(desk: Desk) -> None:
    """Another library may have written them: a tree goes on without them, a group that names one says which."""
    kin = Event(task_id="p", state="SUCCESS", children=("t", *NONE_OF_THEM), parent_id=NONE_OF_THEM[1], root_id="")
    saved = Event(kind="group", task_id="group:g", state="SAVED", terminal=True, children=("t", NONE_OF_THEM[1]))
    for event in (kin, saved):
        desk.append(event.task_id.encode(), desk.codec.encode(event))
    desk.fold()
    handle = desk.client.result("p")

    assert ["p", "t"] == [node.result.task_id for node in handle.graph()]
    assert (["t"], None, None) == ([child.task_id for child in handle.children], handle.parent, handle.root)
    with pytest.raises(MalformedRecord, match="group 'g' names a member that is none: a task id is a string of 1 to"):
        desk.client.restore_group("g")


@pytest.mark.parametrize("bad", ["60", b"60", [60], -1, float("nan"), timedelta(seconds=-1)], ids=str)
def test_what_is_no_expiry_is_not_published(desk: Desk, bad: Any) -> None:
    """It says what one is."""
    with desk.wiring.publisher() as publisher, pytest.raises(ValueError, match="an expiry is a number of seconds from"):
        publisher.succeeded("t", expires=bad)


def test_redacting_that_forgets_to_return_the_event_is_told_so(desk: Desk) -> None:
    """Nothing was sent."""
    before = desk.broker._cluster.topics["results"].partitions[0].high
    forgetful: Any = lambda _: None  # noqa: E731
    with (
        desk.wiring.publisher(redact=forgetful) as publisher,
        pytest.raises(TypeError, match="redact returns the event that is published, not NoneType: nothing was sent"),
    ):
        publisher.succeeded("t")

    assert before == desk.broker._cluster.topics["results"].partitions[0].high
