"""
Every way to raise what a task raised shows where it was waited for and, behind that, where it broke.

We test these aspects: each call and property, for threads and for event loops; a listed type and one that is not;
raising twice, and while something else is being handled; that no file is opened for it.
"""

from __future__ import annotations

import asyncio
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.aio import AsyncClient, AsyncPublisher
from streamresults.errors import RemoteTaskError
from streamresults.events.event import Event
from streamresults.events.exceptions import capture
from tests.hostile.detectors import watched
from tests.unit.desk import Desk, desks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from streamresults import Client


class Unlisted(Exception):
    """Not on the allowlist of these tests."""


def charge(kind: type[Exception]) -> None:
    """Break, as a task does."""
    raise kind("declined")


def remotely(kind: type[Exception]) -> Exception:
    """Return an exception with a context, as a worker publishes it."""
    try:
        try:
            charge(KeyError)
        except KeyError:
            charge(kind)
    except kind as exc:
        return exc
    raise AssertionError


@pytest.fixture(params=[ValueError, Unlisted])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """Give a client of one failed task, ``t``."""
    opening = desks()
    desk: Desk = next(opening)()
    nodes, text = capture(remotely(request.param), desk.wiring.decoding().serializers.by_name("json"))
    event = Event(task_id="t", state="FAILURE", exception=nodes, traceback=text)
    desk.append(b"t", desk.codec.encode(event))
    desk.fold()
    yield desk.client
    next(opening, None)


@pytest.mark.parametrize("face", ["threads", "event loop"])
def test_a_traceback_is_all_there_is(face: str) -> None:
    """Of a killed process: it is published as it is, and who waits sees it and can match the name in it."""
    opening = desks()
    desk: Desk = next(opening)()
    text = "Traceback (most recent call last):\n  File 'x', line 1\nshop.errors.Declined: no funds\n"
    with desk.wiring.publisher() as publisher:
        if face == "threads":
            publisher.failed_with_traceback("t", text, name="shop.charge")
        else:
            asyncio.run(AsyncPublisher(publisher).failed_with_traceback("t", text, name="shop.charge"))
    desk.fold()
    found = desk.client.lookup("t")
    with pytest.raises(RemoteTaskError) as caught:
        found.value()
    next(opening, None)

    assert ("FAILURE", "shop.charge", text) == (found.state, found.name, found.traceback)
    assert caught.value.is_type("shop.errors:Declined")
    assert text.strip() in str(caught.value)


def raise_it(exc: Any) -> None:
    """Raise what was returned instead of raised."""
    raise exc


def on_a_loop(client: Client, call: Callable[[AsyncClient], Awaitable[object]]) -> None:
    """Let a coroutine do it."""

    async def scenario() -> None:
        await call(AsyncClient(client))

    asyncio.run(scenario())


WAYS: dict[str, Callable[[Client], object]] = {
    "client.get": lambda client: client.get("t", 0),
    "client.get, propagate=False": lambda client: raise_it(client.get("t", 0, propagate=False)),
    "handle.get": lambda client: client.result("t").get(0),
    "handle.get, propagate=False": lambda client: raise_it(client.result("t").get(0, propagate=False)),
    "handle.exception": lambda client: raise_it(client.result("t").exception),
    "handle.result": lambda client: raise_it(client.result("t").result),
    "handle.wait().exception": lambda client: raise_it(client.result("t").wait(0).exception),
    "snapshot().exception": lambda client: raise_it(client.result("t").snapshot().exception),
    "lookup().exception": lambda client: raise_it(client.lookup("t").exception),
    "lookup().result": lambda client: raise_it(client.lookup("t").result),
    "lookup().value()": lambda client: client.lookup("t").value(),
    "lookup_many": lambda client: raise_it(client.lookup_many(["t"])[0].exception),
    "join": lambda client: client.results(["t"]).join(5),
    "join, propagate=False": lambda client: raise_it(client.results(["t"]).join(5, propagate=False)[0]),
    "first_exception": lambda client: raise_it(client.results(["t"]).first_exception(5).exception),  # type: ignore[union-attr]
    "await client.get": lambda client: on_a_loop(client, lambda face: face.get("t", 5)),
    "await handle": lambda client: on_a_loop(client, lambda face: face.result("t")),
    "await handle.get": lambda client: on_a_loop(client, lambda face: face.result("t").get(5)),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_remote_frames_stand_behind_the_local_ones(client: Client, way: str) -> None:
    """However it comes to be raised; nothing is opened for a remote frame."""
    with pytest.raises(Exception, match="declined") as caught:
        WAYS[way](client)
    with watched() as noticed:
        remote = [frame for frame in traceback.extract_tb(caught.value.__traceback__) if "<remote" in frame.filename]
        shown = "".join(traceback.format_exception(caught.value))

    assert [] == noticed
    assert ["remotely", "charge"] == [frame.name for frame in remote]
    own = shown.partition("During handling of the above exception")[2]
    here = own.index("in test_the_remote_frames_stand_behind_the_local_ones")
    assert here < own.index(f'File "<remote {__file__}>"') < own.index("declined")
    assert 4 == shown.count(f'File "<remote {__file__}>"'), "the context has its frames as well"


def test_raising_again_begins_with_the_recorded_frames(client: Client) -> None:
    """A handle keeps its task's end: the second raise shows the frames of its own call alone."""
    handle = client.result("t")
    for _ in range(3):
        with pytest.raises(Exception, match="declined") as caught:
            handle.get(0)

    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert 1 == frames.count("test_raising_again_begins_with_the_recorded_frames")
    assert ["remotely", "charge"] == frames[-2:]


def test_a_look_at_an_exception_that_is_being_handled_leaves_its_frames(client: Client) -> None:
    """The property gives the same one, and takes nothing from it."""
    handle = client.result("t")
    with pytest.raises(Exception, match="declined") as caught:
        handle.get(0)
    before = traceback.format_exception(caught.value)

    assert handle.exception is caught.value
    assert before == traceback.format_exception(caught.value)


def test_what_was_being_handled_is_left_alone(client: Client) -> None:
    """Python makes it the context; the next raise has the recorded context again, and the local one its own frames."""
    handle = client.result("t")
    local = OSError("a local one")

    def while_it_is_handled() -> None:
        try:
            raise local
        except OSError:
            handle.get(0)

    with pytest.raises(Exception, match="declined") as caught:
        while_it_is_handled()
    assert caught.value.__context__ is local
    frames = traceback.extract_tb(local.__traceback__)
    with pytest.raises(Exception, match="declined") as caught:
        handle.get(0)

    assert frames == traceback.extract_tb(local.__traceback__)
    assert "card" not in str(caught.value.__context__)
    assert caught.value.__context__ is not local
    assert "charge" == traceback.extract_tb(caught.value.__context__.__traceback__)[-1].name  # type: ignore[union-attr]
