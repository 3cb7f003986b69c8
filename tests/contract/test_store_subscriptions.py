"""
Listening to a store, and what becomes of it when the server goes away.

We test these aspects: listening in vain; closing, from another thread, twice, and without a listener left behind; and,
on a Redis of the test's own, that a lost connection is told and made again, whether it was cut, killed or fell silent,
and that one which only pauses is kept.
"""

from __future__ import annotations

from threading import Event, Thread, Timer
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.errors import StoreUnavailable
from streamresults.store.redis import RedisStore
from tests.contract.store_desk import SOON, heard

if TYPE_CHECKING:
    from redis_server import RedisServer

    from tests.contract.store_desk import Listen


def test_listening_in_vain_gives_nothing(listen: Listen) -> None:
    """A time-out is no message and no loss."""
    assert [] == listen("asked").get(0.01)


def test_closing_ends_a_get_in_another_thread(listen: Listen) -> None:
    """A thread that listens comes back as soon as the subscription is closed."""
    subscription = listen("asked")
    found: list[Any] = []
    listening = Event()

    def read() -> None:
        listening.set()
        found.append(subscription.get(SOON))

    reader = Thread(target=read)
    reader.start()
    listening.wait(SOON)
    began = monotonic()
    subscription.close()
    reader.join(SOON)

    assert [[]] == found
    assert monotonic() - began < SOON / 2


def test_a_closed_subscription_gives_nothing_at_once(listen: Listen) -> None:
    """After closing there is nothing to wait for, and closing twice is once."""
    subscription = listen("asked")
    subscription.close()
    subscription.close()
    began = monotonic()

    assert [] == subscription.get(SOON)
    assert monotonic() - began < SOON / 2


# On a Redis of the test's own


@pytest.mark.redis
def test_a_lost_connection_is_told_and_made_again(server: RedisServer, own: RedisStore) -> None:
    """None says that messages may have been missed; what is published from then on arrives."""
    subscription = own.subscribe("c")
    server.execute("CLIENT", "KILL", "TYPE", "pubsub")

    assert subscription.get(SOON) is None

    server.execute("PUBLISH", "c", "a")

    assert ["a"] == heard(subscription, 1)

    subscription.close()


@pytest.mark.redis
def test_a_message_that_arrives_in_pieces_loses_nothing(server: RedisServer, own: RedisStore) -> None:
    """A server that stops for a moment within a message: the rest is waited for, and the connection is kept."""
    subscription = own.subscribe("c")
    # More than sockets hold, so some of it is still with the server.
    server.execute("EVAL", "for i = 1, 250 do redis.call('PUBLISH', 'c', i .. string.rep('x', 100000)) end", "0")
    server.pause()
    resuming = Timer(0.2, server.resume)
    resuming.start()

    assert sorted(f"{number}{'x' * 100_000}" for number in range(1, 251)) == heard(subscription, 250)

    resuming.join(SOON)
    subscription.close()


@pytest.mark.redis
def test_a_subscription_outlives_its_server(server: RedisServer, own: RedisStore) -> None:
    """While the server is away every get says so; when it is back the loss is told, and messages arrive."""
    subscription = own.subscribe("c")
    server.kill()
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match=server.address):
            subscription.get(SOON)
    server.start()

    assert subscription.get(SOON) is None

    server.execute("PUBLISH", "c", "a")

    assert ["a"] == heard(subscription, 1)

    subscription.close()


@pytest.mark.redis
def test_a_server_that_falls_silent_counts_as_lost(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen server closes no connection: it is asked, and a quiet one that answers is kept."""
    monkeypatch.setattr("streamresults.store.redis_subscription.SOCKET_TIMEOUT", 0.2)
    store = RedisStore(f"{server.url}?socket_timeout=0.2")
    subscription = store.subscribe("c")
    for _ in range(20):
        assert [] == subscription.get(0.05)

    def listen_on() -> None:
        for _ in range(200):
            assert [] == subscription.get(0.05)

    server.pause()
    with pytest.raises(StoreUnavailable, match=server.address):
        listen_on()
    server.resume()

    assert subscription.get(SOON) is None

    store.close()
    subscription.close()


@pytest.mark.redis
def test_a_closed_subscription_leaves_no_listener(server: RedisServer, own: RedisStore) -> None:
    """Its connection is given back and hears nothing any more, and the store goes on."""
    subscription = own.subscribe("c")
    reader = Thread(target=subscription.get, args=(SOON,))
    reader.start()
    subscription.close()
    reader.join(SOON)
    own.ping()

    assert server.execute("PUBLISH", "c", "a") == "0"
