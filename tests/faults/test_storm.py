"""
Every fault of one Redis, at a random moment, while everybody publishes, folds, waits and looks up.

We test these aspects: a view that is flushed, starved and set back, in the middle of a back-fill too; compactors that
are killed, frozen and joined by others; retention that overtakes a back-fill; a broker that is killed. What is checked
after each of them, and how often they strike, is in ``scene.py``.
"""

from __future__ import annotations

import signal
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from streamresults.compactor import backfill
from streamresults.events.event import Event
from tests import services
from tests.faults.judge import backfilling
from tests.faults.run_compactor import CHUNK
from tests.faults.scene import OLD, Scene, brokers
from tests.faults.world import SOON, World
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kafka_server import KafkaCluster
    from redis_server import RedisServer

    from tests.faults.storm import Storm

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.timeout(0)]


@pytest.fixture(scope="module")
def kafka() -> Iterator[KafkaCluster]:
    """Give a Kafka that tests may break, and that misses a compactor soon."""
    yield from brokers()


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """Give a Redis that tests may break."""
    with closing(services.redis_server()) as server:
        yield server


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have back-fill take its time, so that much can happen in the middle of it."""
    monkeypatch.setattr(backfill, "CHUNK", CHUNK)


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
        eventually(lambda: running._pause.held, SOON, "the compactor is paused")
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
