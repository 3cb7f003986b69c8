"""
Whatever is killed, frozen, flushed or poisoned, the view becomes the fold of the log again and nothing acknowledged is
lost.

We test these aspects: a compactor's death at the worst moment, a zombie, several compactors, rebalances; a Redis that
is flushed, restarted empty or from an old dump, full, or away; a Kafka that goes away while clients wait; poison of
every kind. A checker that shares no code with the fold compares log and view after each.
"""

from __future__ import annotations

import signal
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Self

import pytest
from confluent_kafka import Producer

from streamresults.compactor.lane import KEEPALIVE
from streamresults.deadline import Deadline
from streamresults.errors import DeadLettered, TrailingBytes, TruncatedRecord
from streamresults.events.codec import Codec
from streamresults.events.event import Event
from streamresults.topic.records import BATCH_BYTES, RECORD_BYTES
from tests import services
from tests.faults.world import PARTITIONS, SOON, World
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from kafka_server import KafkaCluster
    from redis_server import RedisServer

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """Give a Redis that tests may break."""
    with closing(services.redis_server()) as server:
        yield server


@pytest.fixture
def whole_redis(redis: RedisServer) -> Iterator[RedisServer]:
    """Give the same Redis, and mend it behind the test."""
    yield redis
    redis.restart_empty()


@pytest.fixture
def world(kafka_bootstrap: str, whole_redis: RedisServer) -> Iterator[World]:
    """Give a topic of its own on the shared Kafka, and a Redis to be broken."""
    with World(kafka_bootstrap, whole_redis.url) as made:
        yield made


class Load:
    """Publishes all the time, in a thread, until told to stop."""

    def __init__(self, world: World, *states: str) -> None:
        self._world = world
        self._states = states
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.batches = 0

    def _run(self) -> None:
        while not self._stop.is_set():
            self._world.publish(50, *self._states)
            self.batches += 1

    def goes_on(self, batches: int = 5) -> None:
        """Return when some more batches have been published."""
        aim = self.batches + batches
        eventually(lambda: self.batches >= aim, SOON, "publishing goes on")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(SOON)


def test_death_between_script_and_commit_repeats_work_and_changes_nothing(world: World) -> None:
    """The view knows how far it is; the group's offsets decide nothing."""
    world.publish(500)
    dying = world.spawn("die")
    assert dying.wait(SOON) == -signal.SIGKILL
    world.publish(500, "STARTED", "FAILURE", "SUCCESS")
    world.compact()

    world.check()


def test_sigterm_commits_and_ends_with_0(world: World) -> None:
    """What was folded is committed when the process ends."""
    world.publish(300)
    process = world.spawn()
    eventually(world.caught_up, SOON)
    process.send_signal(signal.SIGTERM)

    assert process.wait(SOON) == 0
    world.check()


def test_a_zombie_does_no_harm(world: World) -> None:
    """Who wakes up after another has taken over finds the watermark moved, and writes nothing."""
    world.publish(200)
    zombie = world.spawn()
    eventually(world.caught_up, SOON)
    world.publish(500, "STARTED")
    zombie.send_signal(signal.SIGSTOP)
    world.publish(500)
    # Another group: so it need not wait until the brokers have given the zombie up, and both write for certain.
    world.compact(group="another")
    eventually(world.caught_up, SOON)
    with Load(world) as load:
        load.goes_on()
        zombie.send_signal(signal.SIGCONT)
        load.goes_on(20)

    assert zombie.poll() is None
    world.check()


def test_two_compactors_of_two_groups_fold_every_record_once(world: World) -> None:
    """Coverage is a compare-and-set: whoever comes second goes on where the first has stopped."""
    world.compact(group="one")
    world.compact(group="another")
    with Load(world, "STARTED", "RETRY", "FAILURE") as load:
        load.goes_on(20)

    world.check()


def test_members_that_come_and_go_while_folding_lose_nothing(world: World) -> None:
    """A rebalance moves partitions between members in the middle of everything."""
    world.compact()
    with Load(world) as load:
        for _ in range(3):
            extra = world.compact()
            load.goes_on(15)
            extra.end()
            load.goes_on(5)

    world.check()


def test_flushall_under_load_costs_nothing_for_long(world: World, redis: RedisServer) -> None:
    """New results are there at once, and the view completes itself while more of them come."""
    world.compact(from_earliest=False)
    eventually(world.caught_up, SOON)
    old = world.publish(100)
    eventually(world.caught_up, SOON)
    with Load(world) as load:
        load.goes_on()
        redis.execute("FLUSHALL")
        (new,) = world.publish(1)
        world.client.wait(new, SOON, via="view")
        load.goes_on()
    eventually(lambda: all(found.found for found in world.client.lookup_many(old)), SOON)

    world.check()


def test_a_redis_that_comes_back_empty_is_filled_again(world: World, redis: RedisServer) -> None:
    """The compactor waits for it, and then begins a generation."""
    world.compact()
    with Load(world) as load:
        load.goes_on()
        redis.restart_empty()
        load.goes_on()

    world.check()


def test_a_redis_that_comes_back_older_is_brought_up_to_date(world: World, redis: RedisServer, tmp_path: Path) -> None:
    """An older watermark is continued from where it is; nothing is written beyond the gap."""
    world.compact()
    with Load(world, "STARTED", "FAILURE") as load:
        load.goes_on()
        dump = redis.save(tmp_path / "old.rdb")
        load.goes_on(20)
        redis.restart_with(dump)
        load.goes_on()

    world.check()


def test_a_redis_that_is_away_is_waited_for(world: World, redis: RedisServer) -> None:
    """Partitions pause, results still travel over the topic, and it goes on by itself."""
    running = world.compact()
    eventually(world.caught_up, SOON)
    redis.kill()
    (task,) = world.publish(1)
    waited: list[str] = []
    waiter = threading.Thread(target=lambda: waited.append(world.client.wait("later", SOON, via="topic").state))
    waiter.start()
    eventually(lambda: running.compactor._pause.held, SOON, "the compactor is paused")
    eventually(lambda: _is_read(world), SOON, "the topic is read")
    world.pending.append(world.publisher.send(Event(task_id="later", state="SUCCESS")))
    waiter.join(SOON)
    redis.start()

    assert ["SUCCESS"] == waited
    world.check()
    assert world.client.lookup(task).state == "SUCCESS"


def _is_read(world: World) -> bool:
    engine = world.client._engine
    return engine is not None and any(watch.is_read and watch.waiters for watch in engine.waits.watches.values())


def test_a_full_redis_pauses_and_loses_nothing(world: World, redis: RedisServer) -> None:
    """Out of memory is an outage like another, with bounded memory on this side."""
    running = world.compact()
    eventually(world.caught_up, SOON)
    redis.configure("maxmemory", "1mb")
    world.publish(2000)
    eventually(lambda: running.compactor._pause.held, SOON, "the compactor is paused")
    redis.configure("maxmemory", "0")

    world.check()


def _poison(key: str) -> dict[str, tuple[bytes | None, bytes | None]]:
    """Return records that cannot be read, by what is wrong with them, as (key, value)."""
    codec = Codec()
    good = codec.encode(Event(task_id=key, state="SUCCESS"))
    other = codec.encode(Event(task_id="somebody-else", state="SUCCESS"))
    return {
        "BadMagic": (key.encode(), b"\x00\x00" + good[2:]),
        "UnknownFingerprint": (key.encode(), good[:2] + b"\x01\x02\x03\x04\x05\x06\x07\x08" + good[10:]),
        "TruncatedRecord": (key.encode(), good[:14]),
        "KeyMismatch": (key.encode(), other),
        "no key": (None, good),
        "key not UTF-8": (b"\xff\xfe", good),
        "long key": (b"k" * 900_000, b"value"),
        "empty": (key.encode(), b""),
        "garbage": (key.encode(), b"\x07" * 900_000),
        "too large with our headers": (key.encode(), b"\x07" * (RECORD_BYTES - 10)),
        "key too large with our headers": (b"k" * (RECORD_BYTES - 10), b""),
    }


def _write_plainly(world: World, records: Sequence[tuple[int, str, bytes | None, bytes | None]]) -> None:
    """Write records as strangers do: (partition, a word for the header, key, value)."""
    producer = Producer({"bootstrap.servers": world.settings.kafka_bootstrap, "message.max.bytes": BATCH_BYTES})
    for partition, word, key, value in records:
        producer.produce(world.settings.topic, value, key, partition=partition, headers=[("theirs", word.encode())])
    assert producer.flush(SOON) == 0


def test_poison_of_every_kind_hurts_nobody_else(world: World) -> None:
    """The good ones arrive, the bad ones stand in the dead-letter topic with all they came with."""
    world.compact()
    with Load(world) as load:
        _write_plainly(
            world, [(p, kind, *record) for p in range(PARTITIONS) for kind, record in _poison(f"bad-{p}").items()]
        )
        load.goes_on()
    world.check()
    bad = {(r.partition, r.offset): r for r in world.raw() if r.headers}
    letters = {}
    for letter in world.raw(world.settings.dead_letter_topic):
        headers = dict(letter.headers)
        letters[int(headers["sr.dlq.partition"]), int(headers["sr.dlq.offset"])] = letter

    assert PARTITIONS * len(_poison("")) == len(bad)
    assert set(bad) == set(letters)
    for place, record in bad.items():
        headers = dict(letters[place].headers)
        assert world.settings.topic.encode() == headers["sr.dlq.topic"]
        assert headers["sr.dlq.error"]
        assert headers["sr.dlq.message"]
        if b"too large" in dict(record.headers)["theirs"]:
            assert headers["sr.dlq.value_left_in_place"] == b"true"
        else:
            assert (record.key or b"", record.value) == (letters[place].key or b"", letters[place].value)
            assert record.headers[0] in letters[place].headers


@pytest.mark.parametrize(
    ("cut", "error"), [(-9, TruncatedRecord), (None, TrailingBytes)], ids=["truncated", "trailing"]
)
def test_a_bad_body_is_its_readers_error_alone(world: World, cut: int | None, error: type[Exception]) -> None:
    """The fold reads the prefix only; who opens the body gets the typed error."""
    value = Codec().encode(Event(task_id="odd", state="SUCCESS", labels={"a": "long enough to cut"}))
    place = world.client._whereabouts.find(Deadline(SOON))
    partition = world.client._whereabouts.partition_of("odd", place)
    _write_plainly(world, [(partition, "", b"odd", value[:cut] if cut else value + b"more")])
    world.compact()
    eventually(world.caught_up, SOON)

    with pytest.raises(error):
        _ = world.client.lookup("odd").event


def test_a_dead_letter_ends_its_waits_at_once(world: World) -> None:
    """Whoever waits for a task whose record cannot be read is told so, with the place of its bytes."""
    world.compact()
    eventually(world.caught_up, SOON)
    errors: list[BaseException] = []

    def wait(via: str) -> None:
        try:
            world.client.get("bad", SOON, via=via)  # type: ignore[arg-type]
        except DeadLettered as exc:
            errors.append(exc)

    threads = [threading.Thread(target=wait, args=(via,)) for via in ("topic", "view")]
    for thread in threads:
        thread.start()
    eventually(lambda: _is_read(world), SOON)
    writer = world.wiring.broker().writer(world.settings.topic)
    assert writer.produce(b"bad", b"\x00garbage", None)
    for thread in threads:
        thread.join(SOON)
    writer.close(Deadline(SOON))

    assert [world.settings.dead_letter_topic] * 2 == [str(getattr(e, "place", "")).split("[")[0] for e in errors]


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    """Give a Kafka that tests may break."""
    with closing(services.kafka_cluster()) as brokers:
        yield brokers


def test_a_view_grows_older_while_its_compactor_does_not_reach_kafka(
    cluster: KafkaCluster, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Who asks Redis alone could else take a result that is not folded for none at all, and that for the newest."""
    asked_often = {"topic.metadata.refresh.interval.ms": "1000"}
    with World(cluster.bootstrap, redis.url, kafka=asked_often) as world:
        world.compact()
        (task,) = world.publish(1, "SUCCESS")
        eventually(world.caught_up, SOON)
        cluster.processes[0].pause()
        try:
            eventually(lambda: (world.client.lookup(task).as_of or 0) > 3 * KEEPALIVE, SOON)
        finally:
            cluster.processes[0].resume()
        assert "Kafka does not answer" in caplog.text

        eventually(lambda: (world.client.lookup(task).as_of or 0) < KEEPALIVE, SOON)
        world.publish(5)
        world.check()


def test_a_kafka_that_restarts_while_clients_wait_loses_no_result(cluster: KafkaCluster, redis: RedisServer) -> None:
    """Every wait ends with its result, every acknowledged publish is in the log and in the view."""
    with World(cluster.bootstrap, redis.url) as world:
        world.compact()
        world.publish(50)
        eventually(world.caught_up, SOON)
        results: dict[str, str] = {}

        def wait(task: str, via: str) -> None:
            results[task + via] = world.client.wait(task, 120, via=via).state  # type: ignore[arg-type]

        waits = [
            threading.Thread(target=wait, args=(f"late-{index}", via))
            for index in range(20)
            for via in ("topic", "view")
        ]
        for thread in waits:
            thread.start()
        eventually(lambda: _is_read(world), SOON)
        cluster.kill()
        early = [world.publisher.send(Event(task_id=f"late-{i}", state="SUCCESS")) for i in range(10)]
        cluster.start()
        late = [world.publisher.send(Event(task_id=f"late-{i}", state="SUCCESS")) for i in range(10, 20)]
        world.pending += [*early, *late]
        for thread in waits:
            thread.join(120)

        assert {f"late-{index}{via}": "SUCCESS" for index in range(20) for via in ("topic", "view")} == results
        world.check()
