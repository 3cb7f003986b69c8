"""
The faults of Sentinel, of a Cluster and of a Redis behind TLS, while everybody publishes, folds, waits and looks up.

We test these aspects: a primary that is killed, frozen and swapped; a slot that moves; a secured Redis that loses
everything. What is checked after each of them, and how often they strike, is in ``scene.py``.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from streamresults.compactor import backfill
from tests.faults.conftest import revive
from tests.faults.run_compactor import CHUNK
from tests.faults.scene import Scene, brokers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kafka_server import KafkaCluster
    from redis_cluster import RedisCluster
    from redis_replicated import RedisReplicated
    from redis_secured import RedisSecured

    from tests.faults.storm import Storm

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.timeout(0)]

#: Enough that every primary of a Cluster has some.
CLUSTER_PARTITIONS = 6


@pytest.fixture(scope="module")
def kafka() -> Iterator[KafkaCluster]:
    """Give a Kafka that tests may break, and that misses a compactor soon."""
    yield from brokers()


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have back-fill take its time, so that much can happen in the middle of it."""
    monkeypatch.setattr(backfill, "CHUNK", CHUNK)


@pytest.fixture
def on_sentinel(kafka: KafkaCluster, replicated: RedisReplicated) -> Scene:
    """Give a scene on a primary and its replica."""
    revive(replicated.servers)
    replicated.wait_ready()
    return Scene(kafka.bootstrap, replicated.url)


# -- Sentinel ----------------------------------------------------------------------------------------------------------


def test_sentinel_replaces_a_killed_primary(on_sentinel: Scene, replicated: RedisReplicated) -> None:
    """The replica may be behind: the compactor goes back to what it has."""

    def fault(storm: Storm) -> None:
        old = replicated.primary
        storm.moment()
        if storm.random.random() < 0.5:
            on_sentinel.flush(old)
        old.kill()
        replicated.wait_for_another(old)
        storm.moment()
        old.start()
        replicated.wait_ready()

    on_sentinel.strike(fault)


def test_sentinel_replaces_a_frozen_primary(on_sentinel: Scene, replicated: RedisReplicated) -> None:
    """It wakes up and believes to be the primary until it is told otherwise."""

    def fault(storm: Storm) -> None:
        old = replicated.primary
        storm.moment()
        old.pause()
        replicated.wait_for_another(old)
        storm.moment()
        old.resume()
        storm.moment()
        replicated.wait_ready()

    on_sentinel.strike(fault)


def test_sentinel_swaps_primary_and_replica(on_sentinel: Scene, replicated: RedisReplicated) -> None:
    """In good order, under load, in the middle of a back-fill or not."""

    def fault(storm: Storm) -> None:
        storm.moment()
        if storm.random.random() < 0.5:
            on_sentinel.flush(replicated.primary)
        replicated.fail_over()
        storm.moment()
        replicated.wait_ready()

    on_sentinel.strike(fault, command=True)


@pytest.fixture
def on_cluster(kafka: KafkaCluster, cluster_servers: RedisCluster) -> Scene:
    """Give a scene on three primaries with a replica each."""
    revive(cluster_servers.servers)
    cluster_servers.wait_ready()
    return Scene(kafka.bootstrap, cluster_servers.url, partitions=CLUSTER_PARTITIONS)


# -- Cluster -----------------------------------------------------------------------------------------------------------


def test_a_slot_of_a_cluster_moves(on_cluster: Scene, cluster_servers: RedisCluster) -> None:
    """Its partition waits until it has arrived, and all others go on."""

    def fault(storm: Storm) -> None:
        slot = on_cluster.slot(storm.random.randrange(CLUSTER_PARTITIONS))
        storm.moment()
        source = cluster_servers.owner_of(slot)
        if storm.random.random() < 0.5:
            on_cluster.flush(source)
        targets = {cluster_servers.owner_of(other) for other in range(0, 16384, 1000)} - {source}
        cluster_servers.move_slot(slot, storm.random.choice(sorted(targets, key=lambda one: one.port)))

    on_cluster.strike(fault, command=True)


def test_a_replica_of_a_cluster_takes_over(on_cluster: Scene, cluster_servers: RedisCluster) -> None:
    """In good order, under load, in the middle of a back-fill or not."""

    def fault(storm: Storm) -> None:
        slot = on_cluster.slot(storm.random.randrange(CLUSTER_PARTITIONS))
        storm.moment()
        if storm.random.random() < 0.5:
            on_cluster.flush(cluster_servers.owner_of(slot))
        cluster_servers.fail_over(slot)

    on_cluster.strike(fault)


def test_a_primary_of_a_cluster_is_killed(on_cluster: Scene, cluster_servers: RedisCluster) -> None:
    """Its replica may be behind: its partitions go back to what it has."""

    def fault(storm: Storm) -> None:
        slot = on_cluster.slot(storm.random.randrange(CLUSTER_PARTITIONS))
        storm.moment()
        if storm.random.random() < 0.5:
            on_cluster.flush(cluster_servers.owner_of(slot))
        old = cluster_servers.crash(slot)
        cluster_servers.wait_for_another(slot, old)
        storm.moment()
        old.start()
        cluster_servers.wait_ready()

    on_cluster.strike(fault)


# -- TLS and ACL -------------------------------------------------------------------------------------------------------


# Python itself forgets a TLS socket whose connection is reset before its handshake begins; the collector closes it.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
@pytest.mark.parametrize("kind", ["flushed", "empty"])
def test_a_secured_redis_loses_everything(kafka: KafkaCluster, secured: RedisSecured, kind: str) -> None:
    """The whole system works with the least rights, and finds its way back behind TLS too."""
    scene = Scene(kafka.bootstrap, secured.url, namespace="ours")

    def fault(storm: Storm) -> None:
        storm.moment()
        if kind == "flushed":
            scene.flush(secured)
        else:
            secured.restart_empty()

    scene.strike(fault, command=True)
    gc.collect()
