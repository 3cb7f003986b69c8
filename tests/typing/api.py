"""The public API as a user's code would use it: never run, checked by mypy --strict alone."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, assert_type

import streamresults
from streamresults import Client, Position, Publisher, Result

if TYPE_CHECKING:
    from collections.abc import Sequence


def publish(publisher: Publisher) -> None:
    """Publish in every way."""
    assert_type(publisher.succeeded("a", {"any": [1, b"value"]}, name="shop.charge"), Position)
    assert_type(publisher.failed_with("a", ValueError("declined")), Position)
    publisher.started("a", attempt=2)
    pending = publisher.send(publisher.event("a", "PROGRESS", result=0.5, expires=timedelta(hours=1)))
    assert_type(pending.position(timeout=5), Position)
    assert_type(pending.future().result(), Position)
    with publisher.run("a", args=(1,), kwargs={"two": 2}) as run:
        run.result = object()
    assert_type(publisher.send(publisher.event("a", "PROGRESS"), timeout=None), streamresults.Pending)
    assert_type(publisher.flush(timedelta(seconds=5)).unacknowledged, int)


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
