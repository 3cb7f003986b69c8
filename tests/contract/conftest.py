"""Every kind of store and of topic in turn, and servers that a test of them may break."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from streamresults.deadline import Deadline
from streamresults.store.memory import MemoryStore
from streamresults.store.redis import RedisStore
from tests import services  # also puts the local services on the path
from tests.contract.store_desk import TOPIC, remove
from tests.contract.topic_desk import SOON
from tests.contract.topic_harness import KafkaHarness, MemoryHarness, SignedHarness
from tests.starting import required, started

# isort: split
from redis_cluster import RedisCluster
from redis_replicated import RedisReplicated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis_server import RedisServer

    from streamresults.store.base import Store, Subscription, View
    from streamresults.topic.base import Broker, TopicReader, TopicWriter
    from tests.contract.store_desk import Listen
    from tests.contract.topic_harness import Harness


# Stores


@pytest.fixture
def namespace() -> str:
    """Name a part of the store that nobody else uses."""
    return f"contract-{uuid4().hex}"


@pytest.fixture(scope="session")
def sentinel_store() -> Iterator[RedisStore]:
    """Give a store on a primary that Sentinel names."""
    yield from _store_on(started(RedisReplicated()))


@pytest.fixture(scope="session")
def cluster_store() -> Iterator[RedisStore]:
    """Give a store on a Cluster of three primaries."""
    yield from _store_on(started(RedisCluster()))


def _store_on(servers: RedisReplicated | RedisCluster) -> Iterator[RedisStore]:
    store = RedisStore(servers.url)
    yield store
    store.close()
    servers.close()


@pytest.fixture(
    params=["memory", *(pytest.param(kind, marks=pytest.mark.redis) for kind in ("redis", "sentinel", "cluster"))]
)
def store(request: pytest.FixtureRequest, namespace: str) -> Iterator[Store]:
    """Return each kind of store in turn; what a test left on the server is removed."""
    if request.param == "memory":
        yield MemoryStore()
        return
    real: RedisStore = request.getfixturevalue(f"{request.param}_store")
    yield real
    remove(real, namespace)


@pytest.fixture
def view(store: Store, namespace: str) -> View:
    """Return an empty view."""
    return store.view(namespace, TOPIC)


@pytest.fixture
def listen(store: Store, namespace: str) -> Iterator[Listen]:
    """Return a function that subscribes; the subscriptions end with the test."""
    opened: list[Subscription] = []

    def subscribe(name: str) -> Subscription:
        opened.append(store.subscribe(f"{namespace}:{name}"))
        return opened[-1]

    yield subscribe
    for one in opened:
        one.close()


@pytest.fixture(scope="session")
def redis_process() -> Iterator[RedisServer]:
    """Start a Redis that is broken on purpose, one for all: `server` mends it before each test."""
    server = required(services.redis_server)
    yield server
    server.close()


@pytest.fixture
def server(redis_process: RedisServer) -> RedisServer:
    """Return the Redis that a test may break, running and empty."""
    if not redis_process.is_running():
        redis_process.start()
    redis_process.execute("FLUSHALL")
    return redis_process


@pytest.fixture
def own(server: RedisServer) -> Iterator[RedisStore]:
    """Return a store on it."""
    store = RedisStore(server.url)
    yield store
    store.close()


# Topics


@pytest.fixture(params=["memory", "signed", pytest.param("kafka", marks=pytest.mark.kafka)])
def harness(request: pytest.FixtureRequest) -> Harness:
    """Each implementation in turn."""
    if request.param != "kafka":
        return MemoryHarness() if request.param == "memory" else SignedHarness()
    return KafkaHarness(request.getfixturevalue("kafka_bootstrap"))


@pytest.fixture
def broker(harness: Harness) -> Broker:
    return harness.broker


@pytest.fixture
def topic(harness: Harness) -> str:
    return harness.topic()


@pytest.fixture
def writer(broker: Broker, topic: str) -> Iterator[TopicWriter]:
    writer = broker.writer(topic)
    writer.warm(Deadline(SOON))
    yield writer
    writer.close(Deadline(SOON))


@pytest.fixture
def reader(broker: Broker, topic: str) -> Iterator[TopicReader]:
    reader = broker.reader(topic)
    yield reader
    reader.close()
