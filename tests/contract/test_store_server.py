"""
What a store says of its server, and what it does when that is flushed, restarted, full, away, or none at all.

We test these aspects: name and policy; scripts and connections are made again; a flushed view begins a generation; a
full server moves nothing; one that is away, a replica or refuses the login is named in one line; an address that is
none is told before anything connects; and the store in memory pretends all of it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.errors import ConfigurationError, StoreOutOfMemory, StoreUnavailable
from streamresults.store.coverage import Outcome
from streamresults.store.memory import MemoryStore
from streamresults.store.redis import RedisStore
from tests.contract.store_desk import ONE, STARTED, TOPIC, TWO, batch, descriptor, entry, look, mark, offsets, watermark

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis_server import RedisServer

    from streamresults.store.base import Store


def test_a_store_says_what_it_is(store: Store) -> None:
    """Name and version, and what it does when it is full."""
    assert store.ping().split()[0] in ("memory", "redis", "valkey")
    assert isinstance(store.eviction_policy(), str)


def test_the_memory_store_can_be_away_full_and_emptied(namespace: str) -> None:
    """Flows are tried out against a store that fails like a server, and recovers."""
    store = MemoryStore()
    view = store.view(namespace, TOPIC)
    view.apply([batch(0, 5, {"a": entry(3)})])

    store.outage(full=True)
    with pytest.raises(StoreOutOfMemory):
        view.apply([batch(5, 6)])

    assert [3] == offsets(view, "a")

    store.outage(down=True)
    with pytest.raises(StoreUnavailable):
        look(view)

    store.outage()

    assert 5 == watermark(view)

    store.flush()

    assert watermark(view) is None


# On a Redis of the test's own


@pytest.mark.redis
def test_forgotten_scripts_are_loaded_again(server: RedisServer, own: RedisStore) -> None:
    """SCRIPT FLUSH, a restart or a failover costs a round trip, for one batch and for many."""
    view = own.view("ns", TOPIC)
    view.apply([batch(0, 1, {"a": entry(0)})])
    server.execute("SCRIPT", "FLUSH")
    replies = view.apply([batch(1, 2), batch(0, 9, partition=1)])
    server.execute("SCRIPT", "FLUSH")

    assert [Outcome.APPLIED, Outcome.APPLIED] == [one.outcome for one in replies]
    assert [0] == offsets(view, "a")


@pytest.mark.redis
def test_a_flushed_view_begins_a_generation(server: RedisServer, own: RedisStore) -> None:
    """After FLUSHALL the next batch begins at its own begin, and nothing of before is shown."""
    view = own.view("ns", TOPIC)
    view.apply([batch(0, 5, {"a": entry(3)})])
    server.execute("FLUSHALL")

    assert look(view, "a").coverage is None

    (reply,) = view.apply([batch(5, 6, {"b": entry(5)}, generation=TWO)])

    assert (True, 5, 6, TWO) == (
        reply.began, reply.coverage.start, reply.coverage.watermark, reply.coverage.generation,
    )  # fmt: skip
    assert [None, 5] == offsets(view, "a", "b")


@pytest.mark.redis
def test_a_restarted_server_is_used_again(server: RedisServer, own: RedisStore) -> None:
    """Connections and scripts are made again; no store has to be opened anew."""
    view = own.view("ns", TOPIC)
    view.apply([batch(0, 5)])
    server.restart_empty()
    with suppress(StoreUnavailable):
        look(view)  # the connection that was lost may be noticed only when it is used

    (reply,) = view.apply([batch(5, 6)])

    assert reply.began


@pytest.mark.redis
@pytest.mark.parametrize("count", [1, 3])
def test_out_of_memory_moves_nothing(server: RedisServer, own: RedisStore, count: int) -> None:
    """A full server refuses the batch as a whole, is still read, and takes the same batch when there is room."""
    view = own.view("ns", TOPIC)
    view.apply([batch(0, 5, {"a": entry(3, STARTED)}, partition=p) for p in range(count)])
    more = [batch(5, 6, {"a": entry(5), "b": entry(5)}, partition=p, marks={"c": mark()}) for p in range(count)]
    server.configure("maxmemory", "1")
    try:
        with pytest.raises(StoreOutOfMemory, match="maxmemory") as caught:
            view.apply(more)
        looked = look(view, "a", "b", "c")
    finally:
        server.configure("maxmemory", "0")

    assert "\n" not in str(caught.value)
    assert looked.coverage is not None
    assert 5 == looked.coverage.watermark
    assert [ONE + entry(3, STARTED), None, None] == list(looked.values)
    assert [None, None, None] == list(looked.marks)
    assert [Outcome.APPLIED] * count == [one.outcome for one in view.apply(more)]


@pytest.mark.redis
def test_a_server_that_is_away_is_named(server: RedisServer, own: RedisStore) -> None:
    """Every call raises StoreUnavailable with one line that names the address and says what to look at."""
    view = own.view("ns", TOPIC)
    server.kill()
    calls: list[Callable[[], Any]] = [
        lambda: view.apply([batch(0, 1)]),
        lambda: view.apply([batch(0, 1), batch(0, 1, partition=1)]),
        lambda: look(view, "a"),
        lambda: own.read_descriptor("ns", "t"),
        lambda: own.write_descriptor("ns", descriptor("t")),
        lambda: own.namespaces("t"),
        lambda: own.subscribe("c"),
        own.ping,
        own.eviction_policy,
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable, match=rf"{server.address}.*Is it running\?$") as caught:
            call()

        assert "\n" not in str(caught.value)


@pytest.mark.redis
def test_a_read_only_replica_is_no_store_to_write_to(server: RedisServer, own: RedisStore) -> None:
    """A replica refuses batches with StoreUnavailable."""
    server.execute("REPLICAOF", "127.0.0.1", "1")
    try:
        with pytest.raises(StoreUnavailable, match="replica"):
            own.view("ns", TOPIC).apply([batch(0, 1)])
    finally:
        server.execute("REPLICAOF", "NO", "ONE")


@pytest.mark.redis
def test_a_refused_login_says_so(server: RedisServer) -> None:
    """A wrong password is told apart from a server that is away."""
    store = RedisStore(server.url.replace("://", "://nobody:wrong@"))
    with pytest.raises(StoreUnavailable, match="refused the login"):
        store.ping()
    store.close()


# Addresses


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://localhost",
        "redis://localhost:port",
        "redis://localhost?no_such_option=1",
        "rediss://localhost?ssl_ca_certs=/no/such/file",
        "redis://localhost?ssl_ca_certs=/no/such/file",
        "rediss://localhost?ssl_cert_reqs=CERT_REQUIRED",
        "redis+sentinel://localhost:26379",
        "redis+sentinel://localhost:26379/mymaster?sentinel_pasword=x",
        "redis+sentinel://localhost:port/mymaster",
        "redis+cluster://localhost:1/3",
        "redis+cluster://localhost:1?db=3",
        "redis+cluster://localhost:1,,:2",
        "redis+nothing://localhost:1",
    ],
)
def test_an_address_that_is_none_is_a_configuration_error(url: str) -> None:
    """The mistake is told before anything connects."""
    with pytest.raises(ConfigurationError, match="Redis URL"):
        RedisStore(url)
