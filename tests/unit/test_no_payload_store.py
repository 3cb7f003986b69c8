"""
A result that rests in a payload store, for a process that is not told where: a typed error for that task alone.

We test these aspects: every way to read it names the task's error and the setting; the tasks beside it, and what is
known of the task without its result, are not affected; nothing is asked for what a record names.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from streamresults import wiring as wiring_module
from streamresults.aio import AsyncClient
from streamresults.cli.exits import Exit
from streamresults.cli.program import program
from streamresults.errors import ConfigurationError, PayloadError, PayloadStoreNotConfigured
from streamresults.events.event import Event, Payload, Reference
from streamresults.wiring import Wiring
from tests.hostile.detectors import watched
from tests.unit.desk import Desk, desks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamresults import Client

URI = "s3://bucket/results/aa"
KEPT = Payload(content_type="application/json", reference=Reference(uri=URI, sha256=bytes(32), size=9))
PLAIN = Payload(content_type="application/json", body=b'"plain"')


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Give a desk with the task ``kept`` between two others; no payload store is configured."""
    opening = desks()
    found: Desk = next(opening)()
    for task, payload in (("a", PLAIN), ("kept", KEPT), ("z", PLAIN)):
        event = Event(task_id=task, state="SUCCESS", payload=payload, name="shop.report")
        found.append(task.encode(), found.codec.encode(event))
    found.fold()
    yield found
    next(opening, None)


READ: dict[str, Callable[[Client], object]] = {
    "get": lambda client: client.get("kept", 0),
    "handle.get": lambda client: client.result("kept").get(0),
    "handle.result": lambda client: client.result("kept").result,
    "lookup": lambda client: client.lookup("kept").result,
    "lookup, value": lambda client: client.lookup("kept").value(),
    "lookup_many": lambda client: client.lookup_many(["a", "kept", "z"])[1].result,
    "join": lambda client: client.results(["a", "kept", "z"]).join(5),
    "await get": lambda client: asyncio.run(_awaited(client)),
}


async def _awaited(client: Client) -> object:
    return await AsyncClient(client).get("kept", 5)


@pytest.mark.parametrize("way", READ)
def test_reading_it_names_the_setting(desk: Desk, way: str) -> None:
    """It is an error of that payload and of the configuration, whichever a caller catches; nothing is opened."""
    with watched() as noticed, pytest.raises(PayloadStoreNotConfigured, match="STREAMRESULTS_PAYLOAD_STORE") as caught:
        READ[way](desk.client)

    assert way in {"join", "await get"} or noticed == []
    assert isinstance(caught.value, PayloadError)
    assert isinstance(caught.value, ConfigurationError)
    assert URI == caught.value.uri


def test_the_others_are_read(desk: Desk) -> None:
    """In the same lookup and the same set; of the task itself everything but the result is known."""
    found = desk.client.lookup_many(["a", "kept", "z"])
    joined = desk.client.results(["a", "kept", "z"]).join(5, propagate=False)

    assert ["plain", "plain"] == [found[0].result, found[2].result]
    assert ("SUCCESS", True, "shop.report") == (found[1].state, found[1].ready, found[1].name)
    assert desk.client.result("kept").exists()
    assert ("plain", "plain") == (joined[0], joined[2])
    assert isinstance(joined[1], PayloadStoreNotConfigured)


def test_a_replay_goes_on(desk: Desk) -> None:
    """It reads events, which say where the result rests."""
    with desk.wiring.replay() as replay:
        events = [replayed.event for replayed in replay.read()]

    assert ["a", "kept", "z"] == [event.task_id for event in events if event is not None]
    assert URI == events[1].payload.reference.uri  # type: ignore[union-attr]


@pytest.mark.parametrize("command", [("get", "a", "kept", "z"), ("replay",)])
def test_the_command_line_shows_where_it_is(desk: Desk, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """For get and replay, with the others beside it."""
    monkeypatch.setattr(wiring_module, "Wiring", partial(Wiring, broker=desk.broker, store=desk.store))
    done = CliRunner().invoke(program, [*command, "--output", "jsonl"], standalone_mode=False)
    rows = {row["task_id"]: row["result"] for row in map(json.loads, done.stdout.splitlines())}

    assert {"a": "plain", "kept": {"uri": URI, "size": 9}, "z": "plain"} == rows
    assert Exit.OK == done.return_value


@pytest.mark.parametrize("command", [("get", "t"), ("replay",)])
def test_the_command_line_shows_what_was_compressed(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As its publisher gave it: a record's own body needs no store."""
    opening = desks()
    desk: Desk = next(opening)(compression="gzip", compress_above=10)
    with desk.wiring.publisher() as publisher:
        publisher.succeeded("t", "x" * 100)
    desk.fold()
    monkeypatch.setattr(wiring_module, "Wiring", partial(Wiring, broker=desk.broker, store=desk.store))
    done = CliRunner().invoke(program, [*command, "--output", "jsonl"], standalone_mode=False)
    next(opening, None)

    assert ["x" * 100] == [json.loads(line)["result"] for line in done.stdout.splitlines()]
