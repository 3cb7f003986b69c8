"""
Partitions are added, and a topic is made again, while workers publish, compactors fold and clients wait.

We test these aspects, on real Kafka and real Redis: publishers with old and new metadata under load, every
acknowledged publish found by lookups, waits, replays and a verification; forgetting in every home; a topic that is
deleted and made again under a running compactor and clients.

STREAMRESULTS_TEST_ROUNDS says how often, STREAMRESULTS_TEST_SEED repeats a run's random choices.
"""

from __future__ import annotations

import os
import secrets
import threading
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec
import pytest
from confluent_kafka import murmur2
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from streamresults.deadline import Deadline
from streamresults.errors import TopicMissing, TopicRecreated
from streamresults.events.codec import Codec
from streamresults.events.event import Event
from streamresults.wiring import Wiring
from tests.conftest import create_topics
from tests.faults.world import SOON, World
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamresults.client import Client, Registration
    from streamresults.publisher import Publisher

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.timeout(0)]

#: Partitions at first, and after each growth.
COUNTS = (3, 6, 7)
#: Tasks that are published, and waited for, between two changes.
TASKS = 400
#: What becomes of a task, whichever worker publishes each of its events.
HISTORIES = (
    ("SUCCESS",),
    ("FAILURE",),
    ("STARTED", "SUCCESS"),
    ("STARTED", "FAILURE"),
    ("FAILURE", "SUCCESS"),
    ("SUCCESS", "FAILURE"),
    ("STARTED", "RETRY", "FAILURE"),
)
_RANKS = {"STARTED": 1, "RETRY": 1, "FAILURE": 3, "SUCCESS": 4}
#: How often clients and compactors look which topic there is, in milliseconds.
OFTEN = "500"


def rounds() -> range:
    return range(int(os.environ.get("STREAMRESULTS_TEST_ROUNDS", "1")))


def seed(number: int) -> str:
    return f"{os.environ.get('STREAMRESULTS_TEST_SEED', secrets.token_hex(4))}-{number}"


class Standing(NamedTuple):
    """The record that stands for a task, by the words of the design."""

    rank: int
    partition: int
    offset: int
    state: str


class Growing(World):
    """A world whose topic gets more partitions."""

    def __init__(self, bootstrap: str, redis_url: str, random: Random) -> None:
        super().__init__(
            bootstrap, redis_url, partitions=COUNTS[0], kafka={"topic.metadata.refresh.interval.ms": OFTEN}
        )
        self.random = random
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        self.opened: list[Any] = []
        self.publishers = [self.worker()]

    def __exit__(self, *exc: object) -> None:
        for opened in self.opened:
            opened.close()
        super().__exit__(*exc)

    def wired(self, refresh: str) -> Wiring:
        return Wiring(msgspec.structs.replace(self.settings, kafka={"topic.metadata.refresh.interval.ms": refresh}))

    def worker(self) -> Publisher:
        """Open a publisher that never learns of partitions that are added from now on."""
        publisher = self.wired("-1").publisher()
        publisher.warm(SOON)
        self.opened.append(publisher)
        return publisher

    def another_client(self, refresh: str) -> Client:
        client = self.wired(refresh).client()
        self.opened.append(client)
        return client

    def grow(self, partitions: int) -> None:
        """Add partitions, and a worker that knows them."""
        self.admin.create_partitions([NewPartitions(self.settings.topic, partitions)])[self.settings.topic].result(SOON)
        self.partitions = partitions
        inspector = self.wiring.inspector()
        eventually(lambda: inspector.describe(Deadline(SOON)).partitions == partitions, SOON, "the brokers know")
        inspector.ends(list(range(partitions)), Deadline(SOON))
        inspector.close()
        self.publishers.append(self.worker())

    def work(self, tasks: Sequence[str]) -> None:
        """Publish a history of each task, each event from a worker of any age."""
        for task in tasks:
            for state in self.random.choice(HISTORIES):
                worker = self.random.choice(self.publishers)
                self.pending.append(worker.send(Event(task_id=task, state=state)))

    def flush(self) -> None:
        for worker in self.publishers:
            assert worker.flush(SOON).unacknowledged == 0

    def standing(self) -> dict[str, Standing]:
        """Fold the log over every home of each task: the higher rank, then the newer home."""
        codec = Codec()
        states = {(raw.partition, raw.offset): codec.decode_prefix(raw.value).state for raw in self.raw() if raw.value}
        best: dict[str, Standing] = {}
        for partition, tasks in self.fold().items():
            for task, offset in tasks.items():
                state = states[partition, offset]
                one, before = Standing(_RANKS[state], partition, offset, state), best.get(task)
                if before is None or self._order(task, one) > self._order(task, before):
                    best[task] = one
        return best

    def _order(self, task: str, found: Standing) -> tuple[int, int]:
        """Return what to compare by: the rank, then how new the home is."""
        return found.rank, -self.homes(task).index(found.partition)

    def homes(self, task: str) -> list[int]:
        return list(dict.fromkeys(murmur2(task.encode(), count) for count in reversed(COUNTS)))


class Waiting:
    """Waits of every kind for some tasks, begun before anything of them is published."""

    def __init__(self, world: Growing, tasks: Sequence[str]) -> None:
        self.answers: dict[str, list[Any]] = {task: [] for task in tasks}
        self._threads = []
        for number, task in enumerate(tasks):
            via = cast("Any", ("topic", "view")[number % 2])
            if number % 8 < 2:
                self._threads.append(threading.Thread(target=self._wait, args=(world.client, task, via)))
            else:
                world.client.on_result(task, self._take, via=via)
        for thread in self._threads:
            thread.start()

    def _wait(self, client: Client, task: str, via: Any) -> None:
        self._end(task, lambda: client.wait(task, SOON, via=via))

    def _take(self, told: Registration) -> None:
        self._end(told.task_id, told.result)

    def _end(self, task: str, result: Callable[[], Any]) -> None:
        try:
            self.answers[task].append(result())
        except Exception as exc:  # noqa: BLE001 -- judged by the test
            self.answers[task].append(exc)

    def all_ended(self) -> bool:
        return all(self.answers.values())


@pytest.mark.parametrize("number", rounds())
def test_partitions_are_added_under_load(kafka_bootstrap: str, redis_url: str, number: int) -> None:
    """Nothing is lost, nothing is stuck, whichever partition a worker has written to."""
    random = Random(seed(number))
    with Growing(kafka_bootstrap, redis_url, random) as world:
        world.compact()
        world.compact()
        unaware = world.another_client("3600000")
        unaware.lookup_many(["somebody"])
        waits = []
        for era, count in enumerate(COUNTS):
            tasks = [f"{era}-{index}" for index in range(TASKS)]
            waits.append(Waiting(world, tasks))
            world.work(tasks[: TASKS // 2])
            if count != COUNTS[-1]:
                world.grow(COUNTS[era + 1])
            world.work(tasks[TASKS // 2 :])
        world.flush()

        for waiting in waits:
            eventually(waiting.all_ended, SOON, "every wait ends")
        _judge(world, waits)
        world.check()
        _look_everywhere(world)
        _forget(world, unaware)


def _judge(world: Growing, waits: Sequence[Waiting]) -> None:
    """Every answer is an end of that task, which stands in the log where the answer says."""
    codec = Codec()
    log = {(raw.partition, raw.offset): raw for raw in world.raw()}
    for waiting in waits:
        for task, answers in waiting.answers.items():
            (found,) = answers
            assert not isinstance(found, Exception), (task, found)
            assert found.position is not None
            record = log[found.position.partition, found.position.offset]
            assert record.key == task.encode()
            assert record.value is not None
            assert found.state == codec.decode_prefix(record.value).state in ("SUCCESS", "FAILURE")


def _look_everywhere(world: Growing) -> None:
    """Lookups, a replay of one task and a verification say what the log says."""
    standing = world.standing()
    tasks = sorted(standing)
    found = world.client.lookup_many(tasks)
    assert {task: standing[task][1:] for task in tasks} == {
        one.task_id: (one.position.partition, one.position.offset, one.state) for one in found if one.position
    }
    assert {str(one.basis) for one in found} == {"full"}
    raw: dict[str, list[tuple[int, int]]] = {}
    for record in world.raw():
        raw.setdefault((record.key or b"").decode(), []).append((record.partition, record.offset))
    with world.wiring.replay() as replay:
        for task in world.random.sample(tasks, 5):
            assert sorted(raw[task]) == sorted((one.partition, one.offset) for one in replay.read(task_id=task))
        verified = replay.verify()
    verified.raise_if_unclean()
    assert verified.complete
    assert sum(map(len, world.fold().values())) == verified.matched


def _forget(world: Growing, unaware: Client) -> None:
    """Forget in every home, by a client that has never heard of the new partitions, and be believed at once."""
    forgotten = world.random.sample(sorted(world.standing()), 20)
    for task in forgotten:
        position = unaware.forget(task, SOON)
        assert world.client.lookup(task, at_least=position, timeout=SOON).state == "UNKNOWN"
        assert world.client.lookup(task, fresh=True, timeout=SOON).state == "UNKNOWN"
    tombstones = {(record.key, record.partition) for record in world.raw() if record.value is None}
    assert {(task.encode(), home) for task in forgotten for home in world.homes(task)} == tombstones


class Recreated(Growing):
    """A world whose topic is deleted and made again."""

    def make_again(self) -> None:
        topic = self.settings.topic
        self.admin.delete_topics([topic])[topic].result(SOON)

        def created() -> bool:
            create_topics(self.wiring, COUNTS[0])
            return self.topic_id() != self.old_id

        self.old_id = self.current_id
        eventually(created, SOON, "the topic is there again")
        self.current_id = self.topic_id()

    old_id = ""
    current_id = ""

    def topic_id(self) -> str:
        inspector = self.wiring.inspector()
        try:
            return inspector.describe(Deadline(SOON)).topic_id
        except TopicMissing:
            return self.old_id
        finally:
            inspector.close()


@pytest.mark.parametrize("number", rounds())
def test_a_topic_is_made_again_under_a_compactor_and_clients(kafka_bootstrap: str, redis_url: str, number: int) -> None:
    """Whoever waits is told, the compactor ends and says why, and the new view knows nothing of the old topic."""
    random = Random(seed(number))
    with Recreated(kafka_bootstrap, redis_url, random) as world:
        world.current_id = world.topic_id()
        running = world.compact()
        old = [f"old-{index}" for index in range(TASKS)]
        world.work(old)
        world.flush()
        eventually(world.caught_up, SOON, "the view reaches the end of the log")
        waiting = Waiting(world, [f"never-{index}" for index in range(40)])
        world.make_again()

        eventually(waiting.all_ended, SOON, "every wait ends")
        for (answer,) in waiting.answers.values():
            assert isinstance(answer, TopicRecreated), answer
            assert (world.old_id, world.current_id) == (answer.old_id, answer.new_id)
        with pytest.raises(TopicRecreated, match="Start the compactor again"):
            running.end()
        world.running.remove(running)

        world.pending.clear()
        world.publishers = [world.worker()]
        fresh = Waiting(world, [f"new-{index}" for index in range(TASKS)])
        world.compact()
        world.work(list(fresh.answers))
        world.flush()
        eventually(fresh.all_ended, SOON, "every wait ends")
        _judge(world, [fresh])
        world.check()
        assert {"UNKNOWN"} == {world.client.lookup(task, fresh=True, timeout=SOON).state for task in old[:20]}
        found = world.client.lookup_many(sorted(fresh.answers))
        assert {world.current_id} == {one.position.topic_id for one in found if one.position}
        with world.wiring.replay() as replay:
            verified = replay.verify()
        verified.raise_if_unclean()
        assert verified.complete
