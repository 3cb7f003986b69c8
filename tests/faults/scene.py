"""
Worlds that faults strike, each time in a storm; and nobody is told a wrong thing.

After each fault every acknowledged event is in the view, every wait has ended, every answer agrees with the log
(``judge.py``), a verification is clean, and nothing that was forgotten or has expired is shown.

STREAMRESULTS_TEST_ROUNDS says how often each fault strikes, STREAMRESULTS_TEST_SEED repeats a run's random choices.
"""

from __future__ import annotations

import logging
import os
import secrets
import subprocess
import sys
from contextlib import closing
from time import monotonic
from typing import TYPE_CHECKING, Any

from redis.crc import key_slot

from streamresults.store.keys import Keys
from tests import services
from tests.faults.judge import Judge, backfilling
from tests.faults.storm import LoadProcess, Storm
from tests.faults.world import SOON, World
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from kafka_server import KafkaCluster
    from redis_server import RedisServer

#: Times that a fault strikes one world; then another begins, as a log that grows makes every check slower.
PER_WORLD = 10
#: Events that are there before the first storm: what back-fill has to do.
OLD = 1500
#: As small as it can be, so that results are kept in the log alone too.
INLINE_MAX = 2000

_log = logging.getLogger(__name__)


def _rounds() -> int:
    return int(os.environ.get("STREAMRESULTS_TEST_ROUNDS", "1"))


def _seed() -> str:
    return os.environ.get("STREAMRESULTS_TEST_SEED", secrets.token_hex(4))


def brokers() -> Iterator[KafkaCluster]:
    """Give a Kafka that tests may break, and that misses a compactor soon, for a fixture; closes it."""
    soon = {"group.consumer.session.timeout.ms": "2000", "group.consumer.heartbeat.interval.ms": "500"}
    with closing(services.kafka_cluster(settings=soon)) as found:
        yield found


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
