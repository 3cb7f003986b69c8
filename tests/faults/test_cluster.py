"""
The view in a Cluster, while primaries are killed and slots move.

We test these aspects: under load, which goes on by itself, the view ends equal to a fold; what a half-moved slot
answers; scripts that one server forgot; wake-ups over any server.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

import pytest
from redis.crc import key_slot

from streamresults.errors import StoreUnavailable
from streamresults.events.fold import NEVER
from streamresults.store.base import Descriptor, Interest, Mark
from streamresults.store.coverage import Outcome
from streamresults.store.keys import Keys, descriptor_key
from streamresults.store.redis import RedisStore
from tests.faults.conftest import revive
from tests.faults.view_load import BATCH, PARTITIONS, SOON, TOPIC, Load, batch, restored, wakes
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis_cluster import RedisCluster
    from redis_server import RedisServer

    from streamresults.store.base import Subscription

pytestmark = pytest.mark.redis


@pytest.fixture
def cluster(cluster_servers: RedisCluster) -> RedisCluster:
    """Give three primaries with a replica each."""
    return cluster_servers


@pytest.fixture
def on_cluster(cluster: RedisCluster) -> Iterator[RedisStore]:
    """Give a store on the Cluster."""
    revive(cluster.servers)
    cluster.wait_ready()
    store = RedisStore(cluster.url)
    yield store
    store.close()


def slot_of(namespace: str, partition: int) -> int:
    """Return the slot of a partition's keys."""
    return key_slot(Keys(namespace, TOPIC).coverage(partition).encode())


def another(cluster: RedisCluster, primary: RedisServer) -> RedisServer:
    """Return a primary that is not this one."""
    return next(owner for owner in map(cluster.owner_of, range(0, 16384, 1000)) if owner is not primary)


def test_a_replica_takes_over_in_good_order(cluster: RedisCluster, on_cluster: RedisStore, namespace: str) -> None:
    """CLUSTER FAILOVER loses nothing, and the load follows MOVED."""
    view = on_cluster.view(namespace, TOPIC)
    with Load(view) as load:
        for partition in (0, 1, 2):
            cluster.fail_over(slot_of(namespace, partition))
            load.goes_on()

    load.check()


def test_a_killed_primary_is_replaced_in_a_cluster(
    cluster: RedisCluster, on_cluster: RedisStore, namespace: str
) -> None:
    """Its replica takes over; a subscription that was on it is made again elsewhere."""
    view = on_cluster.view(namespace, TOPIC)
    slot = slot_of(namespace, 0)
    with Load(view) as load:
        old = cluster.owner_of(slot)
        subscription = listening_on(on_cluster, f"{namespace}:wake", old)
        assert cluster.crash(slot) is old
        cluster.wait_for_another(slot, old)
        load.goes_on()
        eventually(lambda: restored(subscription), SOON, "the loss is told")
        wakes(on_cluster, namespace, f"{namespace}:wake", subscription)
        old.start()
        cluster.wait_ready()
        load.goes_on()
    subscription.close()

    load.check()


def listening_on(store: RedisStore, channel: str, server: RedisServer) -> Subscription:
    """Subscribe until the connection, which is to any server, is to this one."""
    while True:
        subscription = store.subscribe(channel)
        if server.ask("PUBSUB", "NUMSUB", channel)[1]:
            return subscription
        subscription.close()


def test_a_slot_moves_under_load(cluster: RedisCluster, on_cluster: RedisStore, namespace: str) -> None:
    """Its partition stands still while keys are on both sides, and goes on where they are then."""
    view, slot = on_cluster.view(namespace, TOPIC), slot_of(namespace, 3)
    with Load(view) as load:
        for _ in range(2):
            source = cluster.owner_of(slot)
            target = another(cluster, source)
            assert cluster.move_slot(slot, target) > 0
            assert cluster.owner_of(slot) is target
            load.goes_on()

    load.check()


def test_a_half_moved_slot_holds_up_its_partition_alone(
    cluster: RedisCluster, on_cluster: RedisStore, namespace: str
) -> None:
    """Its batches are refused for now, in bounded time; batches of other partitions in the same call are applied."""
    view, slot = on_cluster.view(namespace, TOPIC), slot_of(namespace, 3)
    view.apply([batch(3, 0, BATCH), batch(4, 0, BATCH)])
    source = cluster.owner_of(slot)
    target = another(cluster, source)
    cluster.begin_move(slot, target)
    cluster.move_keys(slot, target)
    began = monotonic()
    with pytest.raises(StoreUnavailable, match=r"TryAgain|Ask"):
        view.apply([batch(3, BATCH, 2 * BATCH), batch(4, BATCH, 2 * BATCH)])

    assert monotonic() - began < SOON / 5
    assert 2 * BATCH == view.look({4: []})[4].coverage.watermark  # type: ignore[union-attr]

    while cluster.move_keys(slot, target):
        pass
    cluster.end_move(slot, target)
    replies = view.apply([batch(3, BATCH, 2 * BATCH), batch(4, BATCH, 2 * BATCH)])

    assert [Outcome.APPLIED, Outcome.BEHIND] == [reply.outcome for reply in replies]


@pytest.mark.parametrize("flow", ["look", "batch"])
def test_a_script_that_names_a_key_of_a_moving_slot_is_tried_again(
    cluster: RedisCluster, on_cluster: RedisStore, namespace: str, flow: str
) -> None:
    """Keys that are few are named by the scripts themselves, whose error then is no refusal: what asks is held up."""
    view, slot = on_cluster.view(namespace, TOPIC), slot_of(namespace, 3)
    first = batch(3, 0, BATCH)
    mark = Mark(offset=0, reason="broken", place="there", keep_until_ms=NEVER)
    view.apply([first._replace(marks=[("broken", mark)])])
    view.look({3: ["never"]}, Interest(namespace, SOON))
    ended = first.entries[0][0]

    def ask() -> object:
        if flow == "look":
            return view.look({3: [ended]})
        return view.apply([first._replace(claim=first.claim._replace(begin=BATCH, end=BATCH + 1))])

    source = cluster.owner_of(slot)
    target = another(cluster, source)
    cluster.begin_move(slot, target)
    try:
        with pytest.raises(StoreUnavailable, match="non local key"):
            ask()
    finally:
        while cluster.move_keys(slot, target):
            pass
        cluster.end_move(slot, target)

    assert ask()


def test_one_key_is_read_on_the_side_where_it_is(cluster: RedisCluster, on_cluster: RedisStore, namespace: str) -> None:
    """A descriptor whose slot is open is found through ASK."""
    one = Descriptor(cluster_id="c", topic="results", topic_id=TOPIC, partition_counts=(12,), format=1)
    on_cluster.write_descriptor(namespace, one)
    slot = key_slot(descriptor_key(namespace, "results").encode())
    source = cluster.owner_of(slot)
    target = another(cluster, source)
    cluster.begin_move(slot, target)
    while cluster.move_keys(slot, target):
        pass

    assert one == on_cluster.read_descriptor(namespace, "results")

    cluster.end_move(slot, target)

    assert one == on_cluster.read_descriptor(namespace, "results")


def test_scripts_that_one_server_forgot_are_loaded_there(
    cluster: RedisCluster, on_cluster: RedisStore, namespace: str
) -> None:
    """Every call is applied once, on the servers that knew the script too."""
    view = on_cluster.view(namespace, TOPIC)
    view.apply([batch(p, 0, BATCH) for p in range(PARTITIONS)])
    cluster.owner_of(slot_of(namespace, 0)).execute("SCRIPT", "FLUSH")
    replies = view.apply([batch(p, b, b + BATCH) for p in range(PARTITIONS) for b in (BATCH, 2 * BATCH)])

    assert {Outcome.APPLIED} == {reply.outcome for reply in replies}


def test_any_server_of_the_cluster_wakes(cluster: RedisCluster, on_cluster: RedisStore, namespace: str) -> None:
    """What a script publishes on one server arrives at every other one, replicas too."""
    for offset, server in enumerate(cluster.servers):
        channel = f"{namespace}:wake:{offset}"
        subscription = listening_on(on_cluster, channel, server)
        wakes(on_cluster, namespace, channel, subscription, offset=offset)
        subscription.close()
