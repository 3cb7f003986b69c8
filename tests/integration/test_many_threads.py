"""How many threads share one connection to Redis: all are served, and few connections stay."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from streamresults.store import redis_calls
from streamresults.store.redis import RedisStore
from tests import services
from tests.starting import required
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis_server import RedisServer

#: More than the 100 connections at which redis-py stops by itself.
THREADS = 150
#: Seconds that a turn is worth waiting for, and a reply, on a loaded machine.
LONG = 40


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """Give a Redis of the test's own, to be paused."""
    server = required(services.redis_server)
    yield server
    server.close()


@pytest.mark.redis
@pytest.mark.parametrize("patience", [LONG, 0])
def test_threads_take_turns_and_none_is_turned_away(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    """While it is their turn they share few connections; who has waited for long enough opens one of its own."""
    monkeypatch.setattr(redis_calls, "_ITS_TURN", patience)
    store = RedisStore(f"{server.url}?client_name=threads&socket_timeout={LONG}")
    view = store.view("n", "t")
    view.look({0: ["a"]})
    expected = redis_calls.AT_ONCE if patience else THREADS

    server.pause()
    with ThreadPoolExecutor(THREADS) as pool:
        looks = [pool.submit(view.look, {0: ["a"]}) for _ in range(THREADS)]
        try:
            eventually(lambda: store._nodes._client.connection_pool._created_connections == expected)  # type: ignore[attr-defined]
        finally:
            server.resume()

    assert [look.result()[0].values for look in looks] == [[None]] * THREADS
    assert server.execute("CLIENT", "LIST").count(" name=threads ") == expected
    store.close()
