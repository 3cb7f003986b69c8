"""The public API as a user's code would use it: never run, checked by mypy --strict alone."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, assert_type

import streamresults
from streamresults import Client, Position, Publisher, Result

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence


def publish(publisher: Publisher) -> None:
    """Publish in every way."""
    assert_type(publisher.succeeded("a", {"any": [1, b"value"]}, name="shop.charge"), Position | None)
    assert_type(publisher.failed_with("a", ValueError("declined")), Position | None)
    assert_type(publisher.revoked("a", "not needed"), Position | None)
    assert_type(publisher.publish_many([publisher.event("a", "SUCCESS")]), list[Position | None])
    publisher.progress("a", {"done": 3}, state="UPLOADING")
    publisher.retrying("a", ValueError("declined"), retries=1)
    publisher.rejected("a", "no such card")
    publisher.ignored("a")
    publisher.save_group("g", ["a", "b"])
    publisher.started("a", attempt=2)
    pending = publisher.send(publisher.event("a", "PROGRESS", result=0.5, expires=timedelta(hours=1)))
    assert_type(pending.position(timeout=5), Position)
    assert_type(pending.future().result(), Position)
    with publisher.run("a", args=(1,), kwargs={"two": 2}) as run:
        run.result = object()
    assert_type(publisher.send(publisher.event("a", "PROGRESS"), timeout=None), streamresults.Pending)
    assert_type(publisher.flush(timedelta(seconds=5)).unacknowledged, int)


def record(publisher: Publisher) -> None:
    """Record functions, whose signatures stay what they are."""

    @publisher.record("shop.charge", task_id=lambda order: f"charge-{order}")
    def charge(order: int) -> str:
        return str(order)

    @publisher.record()
    async def charge_later(order: int) -> str:
        return str(order)

    assert_type(charge(7), str)
    later: Coroutine[Any, Any, str] = charge_later(7)
    later.close()
    charge("seven")  # type: ignore[arg-type]


def get(client: Client) -> None:
    """Wait and look up in every way."""
    assert_type(client.get("a"), object)
    assert_type(client.wait("a", timeout=None, via="topic"), Result)
    assert_type(client.on_result("a", lambda ended: assert_type(ended.result(), Result), via="topic").cancel(), bool)
    assert_type(client.lookup("a", fresh=True), Result)
    many: Sequence[Result] = client.lookup_many(["a", "b"])
    for result in many:
        assert_type(result.state, str)
        assert_type(result.exception, BaseException | None)
        assert_type(result.position, Position | None)
    assert_type(client.lookup("a", at_least=client.forget("a")).found, bool)


def refuse(client: Client) -> None:
    """Misuse that a type checker has to notice."""
    client.wait("a", via="pigeon")  # type: ignore[arg-type]
    client.get(7)  # type: ignore[arg-type]
    client.lookup_many([1])  # type: ignore[list-item]


def handle(client: Client) -> None:
    """Catch errors by their public names."""
    try:
        client.get("a", 10)
    except streamresults.RemoteTaskError as exc:
        assert_type(exc.type_name, str)
        assert_type(exc.is_type("shop.errors:Declined"), bool)
    except streamresults.WaitTimeout as exc:
        assert_type(exc.state, str)
    except streamresults.NotYetCovered as exc:
        assert_type(exc.task_id, str)


def open_them() -> None:
    """Open both with settings stated."""
    with (
        streamresults.open_publisher(kafka_bootstrap="localhost:9092", kafka={"security.protocol": "SSL"}) as publisher,
        streamresults.open_client(redis_url="redis://localhost") as client,
    ):
        publish(publisher)
        get(client)


async def await_them(client: streamresults.AsyncClient, publisher: streamresults.AsyncPublisher) -> None:
    """Do the same by coroutines."""
    assert_type(await client.get("a", 10, via="topic"), object)
    assert_type(await client.result("a"), object)
    assert_type(await client.wait("a", timeout=timedelta(seconds=1)), Result)
    assert_type(await client.lookup_many(["a"]), list[Result])
    assert_type((await client.forget("a")).partition, int)
    async for event in client.events("a", 5):
        assert_type(event, Result)
    handle = client.result("a")
    assert_type(await handle.state, str)
    assert_type(await handle.ready, bool)
    assert_type(await handle.children, list[streamresults.AsyncResultHandle])
    tasks = client.results(["a", handle, client.results(["b"])])
    assert_type(await tasks.join(10), list[Any])
    assert_type((await tasks.counts()).waiting, int)
    assert_type(await tasks.first(10), streamresults.AsyncResultHandle)
    async for ended in tasks.as_completed(10):
        assert_type(ended, streamresults.AsyncResultHandle)
    assert_type(await client.restore_group("g"), streamresults.AsyncResultGroup)
    pending = await publisher.send(publisher.event("a", "PROGRESS", result=0.5))
    assert_type(await pending, Position)
    assert_type(await publisher.succeeded("a", 1), Position | None)
    async with publisher.run("a", name="shop.charge") as run:
        run.result = object()
    assert_type((await publisher.close()).failed, int)
    client.wait("a", via="pigeon")  # type: ignore[arg-type, unused-coroutine]


async def open_async() -> None:
    """Open both with settings stated."""
    async with (
        streamresults.open_async_publisher(kafka_bootstrap="localhost:9092") as publisher,
        streamresults.open_async_client(redis_url="redis://localhost") as client,
    ):
        await await_them(client, publisher)
