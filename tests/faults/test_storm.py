"""
Every fault, at a random moment, while everybody publishes, folds, waits and looks up; and nobody is told a wrong thing.

We test these aspects: a view that is flushed, killed, replaced, moved, starved and set back, in the middle of a
back-fill too, over one Redis, Sentinel, a Cluster and TLS; compactors that are killed, frozen and joined by others;
retention that overtakes a back-fill; a broker that is killed. After each of them every acknowledged event is in the
view, every wait has ended, every answer agrees with the log (``judge.py``), a verification is clean, and nothing that
was forgotten or has expired is shown.

STREAMRESULTS_TEST_ROUNDS says how often each fault strikes, STREAMRESULTS_TEST_SEED repeats a run's random choices.
"""

from __future__ import annotations

import gc
import logging
import os
import secrets
import signal
import subprocess
import sys
import threading
from contextlib import closing
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from redis.crc import key_slot

from streamresults.compactor import backfill
from streamresults.events.event import Event
from streamresults.store.keys import Keys
from tests import services
from tests.faults.judge import Judge, backfilling
from tests.faults.run_compactor import CHUNK
from tests.faults.storm import LoadProcess, Storm
from tests.faults.world import SOON, World
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from random import Random

    from kafka_server import KafkaCluster
    from redis_cluster import RedisCluster
    from redis_replicated import RedisReplicated
    from redis_secured import RedisSecured
    from redis_server import RedisServer

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.timeout(0)]

#: Times that a fault strikes one world; then another begins, as a log that grows makes every check slower.
PER_WORLD = 10
#: Events that are there before the first storm: what back-fill has to do.
OLD = 1500
#: Enough that every primary of a Cluster has some.
CLUSTER_PARTITIONS = 6
#: As small as it can be, so that results are kept in the log alone too.
INLINE_MAX = 2000

_log = logging.getLogger(__name__)


def _rounds() -> int:
    return int(os.environ.get("STREAMRESULTS_TEST_ROUNDS", "1"))


def _seed() -> str:
    return os.environ.get("STREAMRESULTS_TEST_SEED", secrets.token_hex(4))


@pytest.fixture(scope="module")
def kafka() -> Iterator[KafkaCluster]:
    """Give a Kafka that tests may break, and that misses a compactor soon."""
    soon = {"group.consumer.session.timeout.ms": "2000", "group.consumer.heartbeat.interval.ms": "500"}
    with closing(services.kafka_cluster(settings=soon)) as brokers:
        yield brokers


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """Give a Redis that tests may break."""
    with closing(services.redis_server()) as server:
        yield server


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have back-fill take its time, so that much can happen in the middle of it."""
    monkeypatch.setattr(backfill, "CHUNK", CHUNK)


class Scene:
    """One world at a time, and the faults that strike it."""

    def __init__(self, bootstrap: str, redis_url: str, **settings: Any) -> None:
        self._where = bootstrap, redis_url
        self._settings = settings
        self.world: World
        self.judge: Judge
        self._ends_before: dict[int, int] = {}

    def strike(self, fault: Callable[[Storm], object], *, compactor: str = "thread", command: bool = False) -> None:
        """
        Have a fault strike as often as was asked for, each time in a storm of its own; check after each.

        Args:
            compactor: ``thread``, or ``process`` to be killed and frozen.
            command: Verify by the command too, which takes a second; one test of each topology does.
        """
        rounds, began, seed = _rounds(), monotonic(), _seed()
        events = waits = answers = 0
        for first in range(0, rounds, PER_WORLD):
            with (
                World(*self._where, inline_max=INLINE_MAX, **self._settings) as world,
                LoadProcess(world, f"{seed}.{first}") as process,
            ):
                self.world = world
                self._begin(compactor)
                for number in range(first, min(first + PER_WORLD, rounds)):
                    storm = Storm(world, process, f"r{number}", seed)
                    self._ends_before = dict(self.judge.ends)
                    with storm:
                        fault(storm)
                        storm.goes_on()
                    self.judge.check(storm.acknowledged, storm.told, storm.seed)
                    waits, answers = waits + storm.waits, answers + len(storm.told)
                    _log.info("round %d of %d, after %.0f s", number + 1, rounds, monotonic() - began)
                if command:
                    self._replay_by_command()
                events += self.judge.events
        _log.info(
            "rounds %d, events %d, waits %d, answers %d, %.0f s", rounds, events, waits, answers, monotonic() - began
        )

    def _begin(self, compactor: str) -> None:
        if compactor == "thread":
            self.world.compact(from_earliest=False)
        else:
            self.world.spawn("fill")
        self.world.publish(OLD // 2)
        self.judge = Judge(self.world)
        self.judge.check([], [], "at the beginning")

    def _replay_by_command(self) -> None:
        """Verify once more as a person does."""
        settings = self.world.settings
        where = ["--bootstrap", settings.kafka_bootstrap, "--redis", settings.redis_url]
        where += ["--topic", settings.topic, "--namespace", settings.namespace]
        command = [sys.executable, "-m", "streamresults", "replay", "--verify", *where]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SOON, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def flush(self, server: RedisServer) -> None:
        """Empty a Redis, and return in the middle of the back-fill that follows, if it is not over by then."""
        server.execute("FLUSHALL")
        eventually(lambda: backfilling(self.world), SOON, "back-fill begins")

    def lows_of_old(self, random: Random) -> Iterator[tuple[str, int, int]]:
        """Yield an offset of each partition below which everything is older than this storm: what may be taken."""
        for partition, ends in self._ends_before.items():
            yield self.world.settings.topic, partition, random.randrange(self.judge.low.get(partition, 0), ends + 1)

    def slot(self, partition: int) -> int:
        """Return the slot of a partition's keys."""
        keys = Keys(self.world.settings.namespace, self.world.publisher.topic_id)
        return key_slot(keys.coverage(partition).encode())


# One Redis


@pytest.fixture
def single(kafka: KafkaCluster, redis: RedisServer) -> Iterator[Scene]:
    """Give a scene on one Redis."""
    yield Scene(kafka.bootstrap, redis.url)
    redis.restart_empty()


def test_a_redis_is_flushed(single: Scene, redis: RedisServer) -> None:
    """New results are there at once, old ones come back."""

    def fault(storm: Storm) -> None:
        storm.moment()
        redis.execute("FLUSHALL")

    single.strike(fault)


def test_a_redis_is_flushed_again_in_the_middle_of_a_backfill(single: Scene, redis: RedisServer) -> None:
    """The back-fill of a generation that is gone stops, and the next one begins."""

    def fault(storm: Storm) -> None:
        storm.moment()
        single.flush(redis)
        storm.moment(60)
        redis.execute("FLUSHALL")

    single.strike(fault, command=True)


def test_a_compactor_is_killed_in_the_middle_of_a_backfill(single: Scene, redis: RedisServer) -> None:
    """Whoever comes next goes on where the view says."""

    def fault(storm: Storm) -> None:
        running = single.world.processes[-1]
        storm.moment()
        single.flush(redis)
        storm.moment(60)
        running.kill()
        assert running.wait(SOON) == -signal.SIGKILL
        storm.moment()
        single.world.spawn("fill")

    single.strike(fault, compactor="process")


def test_partitions_change_hands_in_the_middle_of_a_backfill(single: Scene, redis: RedisServer) -> None:
    """Two back-fill one partition for a moment, and one is refused."""

    def fault(storm: Storm) -> None:
        storm.moment()
        single.flush(redis)
        extra = single.world.compact(from_earliest=False)
        storm.moment()
        redis.execute("FLUSHALL")
        storm.moment(60)
        extra.end()
        single.world.running.remove(extra)

    single.strike(fault)


def test_retention_overtakes_a_backfill(single: Scene, kafka: KafkaCluster, redis: RedisServer) -> None:
    """What is gone is no longer missing; what was forgotten by a record that is gone stays forgotten."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})

    def fault(storm: Storm) -> None:
        storm.moment()
        single.flush(redis)
        # Those whose results are taken must have been told of them: their waits began in an earlier storm.
        single.judge.read()
        lows = single.lows_of_old(storm.random)
        for future in admin.delete_records([TopicPartition(*at) for at in lows]).values():
            future.result(SOON)
        storm.moment(60)

    single.strike(fault)


def test_a_redis_is_full_for_a_while(single: Scene, redis: RedisServer) -> None:
    """The compactor pauses, in the middle of a back-fill or not, and goes on by itself."""

    def fault(storm: Storm) -> None:
        running = single.world.running[0].compactor
        storm.moment()
        if storm.random.random() < 0.5:
            single.flush(redis)
        used = int(redis.about("memory")["used_memory"])
        redis.configure("maxmemory", str(used + storm.random.randrange(100_000)))
        eventually(lambda: running._held, SOON, "the compactor is paused")
        storm.moment()
        redis.configure("maxmemory", "0")

    single.strike(fault)


def test_a_redis_comes_back_empty(single: Scene, redis: RedisServer) -> None:
    """Killed, and started again without what it had."""

    def fault(storm: Storm) -> None:
        storm.moment()
        redis.kill()
        storm.moment()
        redis.restart_empty()

    single.strike(fault)


def test_a_redis_comes_back_older(single: Scene, redis: RedisServer, tmp_path: Path) -> None:
    """An old dump, now and then of a view that was not complete, is brought up to date."""

    def fault(storm: Storm) -> None:
        storm.moment()
        if storm.random.random() < 0.5:
            single.flush(redis)
        dump = redis.save(tmp_path / "old.rdb")
        storm.moment()
        redis.restart_with(dump)

    single.strike(fault)


def test_a_frozen_compactor_wakes_up_behind_another_one(single: Scene, redis: RedisServer) -> None:
    """Its batches and its back-fill are refused, whatever it was about to write."""

    def fault(storm: Storm) -> None:
        zombie = single.world.processes[0]
        storm.moment()
        if storm.random.random() < 0.5:
            single.flush(redis)
            storm.moment(60)
        zombie.send_signal(signal.SIGSTOP)
        other = single.world.spawn("fill")
        storm.moment()
        eventually(lambda: not backfilling(single.world), SOON, "another one completes the view")
        zombie.send_signal(signal.SIGCONT)
        storm.moment()
        other.send_signal(signal.SIGTERM)
        assert other.wait(SOON) == 0

    single.strike(fault, compactor="process")


def test_a_broker_is_killed_and_comes_back(single: Scene, kafka: KafkaCluster, redis: RedisServer) -> None:
    """What was acknowledged is there, what was not is sent again, and a back-fill goes on."""

    def fault(storm: Storm) -> None:
        storm.moment()
        if storm.random.random() < 0.5:
            single.flush(redis)
        kafka.kill()
        kafka.start()

    single.strike(fault)


def test_a_backfill_goes_on_beside_results_that_never_stop(kafka: KafkaCluster, redis: RedisServer) -> None:
    """A log that is written to all the time is never seen to end, and is no reason to hold back-fill up."""
    stop = threading.Event()
    with World(kafka.bootstrap, redis.url, partitions=1) as world:

        def publish() -> None:
            while not stop.wait(0.0005):
                world.publisher.send(Event(task_id="again", state="STARTED"))

        world.compact(from_earliest=False)
        world.publish(OLD)
        eventually(world.caught_up, SOON, "the view reaches the end of the log")
        publishing = threading.Thread(target=publish)
        publishing.start()
        try:
            redis.execute("FLUSHALL")
            eventually(lambda: backfilling(world), SOON, "back-fill begins")
            eventually(lambda: not backfilling(world), SOON, "back-fill ends")
        finally:
            stop.set()
            publishing.join(SOON)
        world.check()


# Sentinel


@pytest.fixture
def on_sentinel(kafka: KafkaCluster, replicated: RedisReplicated) -> Scene:
    """Give a scene on a primary and its replica."""
    revive(replicated.servers)
    replicated.wait_ready()
    return Scene(kafka.bootstrap, replicated.url)


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


# Cluster


@pytest.fixture
def on_cluster(kafka: KafkaCluster, cluster_servers: RedisCluster) -> Scene:
    """Give a scene on three primaries with a replica each."""
    revive(cluster_servers.servers)
    cluster_servers.wait_ready()
    return Scene(kafka.bootstrap, cluster_servers.url, partitions=CLUSTER_PARTITIONS)


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


# TLS and ACL


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


def revive(servers: list[RedisServer]) -> None:
    """Start what a test that failed left behind."""
    for server in servers:
        if not server.is_running():
            server.start()
        server.resume()
