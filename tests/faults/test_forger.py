"""
A forger writes to the topic as fast as workers do, while compactors are killed and Redis is flushed.

We test these aspects: every result that stands at the end, and every end that a wait was told, is the worker's; the
view equals the log without what was forged; each forged record is a dead letter, at least once.
"""

from __future__ import annotations

import itertools
import signal
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any, Self

import pytest
from confluent_kafka import Producer

from streamresults.events.codec import Codec
from streamresults.events.event import Event, Payload
from tests import services
from tests.faults.world import SOON, World
from tests.hostile.forging import SECRETS, signature
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis_server import RedisServer

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.timeout(180)]


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """Give a Redis that a test may flush."""
    with closing(services.redis_server()) as server:
        yield server


@pytest.fixture
def world(kafka_bootstrap: str, redis: RedisServer) -> Iterator[World]:
    """Give a topic that is signed."""
    keys = {key_id: SECRETS[key_id] for key_id in ("k1", "k2")}
    with World(kafka_bootstrap, redis.url, signing_key_id="k1", signing_keys=keys) as made:
        yield made


class Forger:
    """Writes forged ends and tombstones of the given tasks, round after round, until told to stop."""

    def __init__(self, world: World, tasks: list[str]) -> None:
        self._producer = Producer({"bootstrap.servers": world.settings.kafka_bootstrap, "linger.ms": 5})
        self._topic = world.settings.topic
        self._tasks = tasks
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.rounds = self.written = 0

    def _run(self) -> None:
        codec, payload = Codec(), Payload(content_type="application/json", body=b'"forged"')
        for number in itertools.count():
            if self._stop.is_set():
                return
            for index, task in enumerate(self._tasks):
                key = task.encode()
                state = ("SUCCESS", "FAILURE", None)[(number + index) % 3]
                value = None if state is None else codec.encode(Event(task_id=task, state=state, payload=payload))
                guessed = signature("k1", b"guessed" * 5, topic=self._topic, key=key, value=value, ms=0)
                headers: Any = (None, [("sr.signature", guessed)], [("sr.signature", b"")])[number % 3]
                self._producer.produce(self._topic, value, key, headers=headers)
                self.written += 1
            self._producer.flush()
            self.rounds += 1

    def goes_on(self) -> None:
        """Return when some more rounds have been written."""
        aim = self.rounds + 3
        eventually(lambda: self.rounds >= aim, SOON, "forging goes on")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(SOON)


@pytest.mark.slow
def test_nothing_forged_is_believed_whatever_is_killed(world: World, redis: RedisServer) -> None:
    """Before, while and after the true record of a task is written."""
    tasks = [f"task-{number}" for number in range(300)]
    ends: dict[str, Any] = {}
    with Forger(world, tasks) as forger:
        for number, task in enumerate(tasks):
            via: Any = ("topic", "view", "auto")[number % 3]
            world.client.on_result(task, lambda end: ends.update({end.task_id: end}), via=via)
        dying = world.spawn("die")
        world.publish(150)
        assert dying.wait(SOON) == -signal.SIGKILL
        killed = world.spawn()
        forger.goes_on()
        killed.kill()
        redis.execute("FLUSHALL")
        assert {task for task in ends if int(task.removeprefix("task-")) >= 150} == set()
        world.compact()
        forger.goes_on()
        world.publish(150)
        forger.goes_on()
    eventually(lambda: len(ends) == len(tasks), SOON, "every wait has ended")
    eventually(world.caught_up, SOON)

    told = {task: end.result() for task, end in ends.items()}
    with world.wiring.client() as client:
        found = client.lookup_many(tasks)
    assert {("SUCCESS", None)} == {(one.state, one.result) for one in (*told.values(), *found)}
    true = {pending.event.task_id: pending.position(SOON) for pending in world.pending}
    assert true == {one.task_id: one.position for one in found}
    assert true == {task: one.position for task, one in told.items()}
    with world.wiring.replay() as replay:
        verified = replay.verify()
    assert verified.clean
    assert verified.complete
    assert forger.written == verified.refused
    letters = {
        dict(raw.headers)["sr.dlq.partition"] + dict(raw.headers)["sr.dlq.offset"].rjust(9) for raw in _letters(world)
    }
    assert forger.written == len(letters)


def _letters(world: World) -> Any:
    return world.raw(world.settings.dead_letter_topic)
