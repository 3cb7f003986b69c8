"""
Nobody sleeps through a result, whatever races with what.

We test these aspects: tasks are published, waited for, folded and read by threads that nobody synchronises; the view
is written late and answers late, at random; the reader breaks; safety re-reads are off, so that every wake-up has to
come by itself. Every wait must end, and with a state that the fold of the task's records had at some moment.

STREAMRESULTS_TEST_RACES says how many waits to race, STREAMRESULTS_TEST_SEED repeats a run's random choices.
"""

from __future__ import annotations

import os
import secrets
import threading
from random import Random
from typing import TYPE_CHECKING, cast

import pytest

from streamresults.client import waits
from streamresults.deadline import Deadline
from streamresults.events.codec import Codec
from streamresults.events.event import Event
from streamresults.events.fold import NEVER, Best, Summary, combine, event_summary, tombstone_summary
from streamresults.events.states import RANK_READY, rank
from streamresults.settings import Settings
from streamresults.store.memory import MemoryStore
from streamresults.topic.memory import MemoryBroker
from streamresults.wiring import Wiring
from tests.conftest import create_topics
from tests.faults.held_back import BreakingReader, HeldBackStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from streamresults.client.engine import Engine
    from streamresults.client.waiter import Waiter
    from streamresults.store.base import Store
    from streamresults.topic.base import Broker, TopicReader

#: Seconds within which every wait of a round ends; what takes longer was slept through.
SOON = 20.0
#: Seconds that one write or answer of the view is held back at most. Shorter than a round's publishing hides mistakes.
LONGEST_DELAY = 0.15
WAITERS_PER_TASK = 4
TASKS_PER_ROUND = 250

#: What becomes of a task; ``None`` is its tombstone. Every history ends with a result that stands.
HISTORIES: Sequence[tuple[str | None, ...]] = (
    ("SUCCESS",),
    ("SUCCESS",),
    ("FAILURE",),
    ("FAILURE",),
    ("STARTED", "SUCCESS"),
    ("STARTED", "FAILURE"),
    ("FAILURE", "SUCCESS"),
    ("SUCCESS", "FAILURE"),
    ("STARTED", "RETRY", "STARTED", "FAILURE"),
    ("FAILURE", "STARTED"),
    ("SUCCESS", None, "FAILURE"),
    ("FAILURE", None, "SUCCESS"),
    ("STARTED", None, "FAILURE"),
    ("SUCCESS", "SUCCESS"),
)


def _races(default: int) -> int:
    return int(os.environ.get("STREAMRESULTS_TEST_RACES", default))


def _seed() -> int:
    return int(os.environ.get("STREAMRESULTS_TEST_SEED", secrets.randbits(32)))


def _fold_states(history: Sequence[str | None]) -> set[str]:
    """Return the ready states that the fold has after some record of the history."""
    summary: Summary | None = None
    found = set()
    for offset, state in enumerate(history):
        one = tombstone_summary(offset, NEVER)
        if state is not None:
            one = event_summary(Best(rank(state, terminal=False), offset, 0, NEVER, state.encode()))
        summary = one if summary is None else combine(summary, one)
        if summary.best is not None and summary.best.rank >= RANK_READY:
            found.add((summary.best.value or b"").decode())
    return found


class Arena:
    """A topic, a compactor that is held back, and a client whose every wake-up has to come by itself."""

    def __init__(self, settings: Settings, broker: Broker, store: HeldBackStore, random: Random) -> None:
        self.random = random
        self.codec = Codec()
        self.readers: list[BreakingReader] = []
        self.wiring = Wiring(settings, broker=broker, store=cast("Store", store))
        create_topics(self.wiring)
        self.writer = broker.writer(settings.topic)
        self.client = self.wiring.client()
        open_reader = self.client._open_reader
        assert open_reader is not None
        self.client._open_reader = self._breaking(open_reader)  # type: ignore[misc, assignment]
        self.stop = threading.Event()
        self.compactor = self.wiring.compactor(from_earliest=True)
        self.thread = threading.Thread(target=self.compactor.run, args=(self.stop,))
        self.thread.start()

    def _breaking(self, open_reader: Callable[[], TopicReader]) -> Callable[[], BreakingReader]:
        def opened() -> BreakingReader:
            self.readers.append(BreakingReader(open_reader()))
            return self.readers[-1]

        return opened

    def engine(self) -> Engine:
        place = self.client._whereabouts.find(Deadline(SOON))
        return self.client._running_engine(place, "")

    def close(self) -> None:
        self.stop.set()
        self.thread.join(SOON)
        self.client.close()
        self.writer.close(Deadline(SOON))
        self.wiring.close()


class Round:
    """Some tasks, published by one thread while another one begins to wait for them."""

    def __init__(self, arena: Arena, number: int, tasks: int, *, through_topic: bool) -> None:
        random = arena.random
        self.arena = arena
        self.through_topic = through_topic
        self.histories = {f"{number}-{index}": random.choice(HISTORIES) for index in range(tasks)}
        self.records = self._shuffled_records()
        self.waits = [task for task in self.histories for _ in range(WAITERS_PER_TASK)]
        random.shuffle(self.waits)
        self.waiters: list[Waiter] = []
        self._left = len(self.waits)
        self._counting = threading.Lock()
        self.all_over = threading.Event()

    def _shuffled_records(self) -> list[tuple[str, str | None]]:
        """Return the records of all tasks in a random order that keeps each task's own."""
        order = [task for task, history in self.histories.items() for _ in history]
        self.arena.random.shuffle(order)
        left = {task: iter(history) for task, history in self.histories.items()}
        return [(task, next(left[task])) for task in order]

    def _over(self) -> None:
        with self._counting:
            self._left -= 1
            if not self._left:
                self.all_over.set()

    def _publish(self) -> None:
        codec = self.arena.codec
        for task, state in self.records:
            value = None if state is None else codec.encode(Event(task_id=task, state=state))
            while not self.arena.writer.produce(task.encode(), value, None):
                self.arena.writer.wait_for_room(Deadline(SOON))

    def run(self, *, break_reader: bool) -> None:
        engine = self.arena.engine()
        place = self.arena.client._whereabouts.find(Deadline(SOON))
        publisher = threading.Thread(target=self._publish)
        started = False
        begin = self.arena.random.randrange(len(self.waits))
        for index, task in enumerate(self.waits):
            if index >= begin and not started:
                publisher.start()
                started = True
            if break_reader and index % 50 == 0 and self.arena.readers:
                self.arena.readers[-1].break_now.set()
            partition = self.arena.client._whereabouts.partition_of(task, place)
            self.waiters.append(engine.submit(task, partition, self._over, through_topic=self.through_topic))
        publisher.join()
        self.all_over.wait(SOON)

    def slept_through(self) -> list[str]:
        return [f"{w.task_id} {self.histories[w.task_id]} {w.phase}" for w in self.waiters if w.answer is None]

    def wrong(self) -> list[str]:
        found = []
        for waiter in self.waiters:
            if waiter.answer is not None:
                best = waiter.answer.best
                assert best is not None
                assert best.value is not None
                state = self.arena.codec.decode_prefix(best.value).state
                if state not in _fold_states(self.histories[waiter.task_id]):
                    found.append(f"{waiter.task_id} {self.histories[waiter.task_id]} answered {state}")
        return found


def _race(arena: Arena, seed: int, races: int, tasks: int, *, through_topic: bool, breaking: float) -> None:
    done = number = 0
    while done < races:
        through = through_topic
        one = Round(arena, number, tasks, through_topic=through)
        one.run(break_reader=arena.random.random() < breaking)
        slept, wrong = one.slept_through(), one.wrong()

        assert ([], []) == (slept, wrong), (
            f"seed {seed}, round {number}: slept through {len(slept)}, wrong {len(wrong)}"
        )

        done += len(one.waits)
        number += 1


@pytest.fixture
def seed() -> int:
    """Give the seed of this test's random choices."""
    return _seed()


@pytest.fixture
def memory_arena(seed: int) -> Iterator[Arena]:
    """Give an arena on the in-memory topic and store."""
    random = Random(seed)
    store = HeldBackStore(MemoryStore(), random, LONGEST_DELAY)
    arena = Arena(Settings(safety_rereads=False), MemoryBroker(), store, random)
    yield arena
    arena.close()


@pytest.fixture
def real_arena(seed: int, kafka_bootstrap: str, redis_url: str) -> Iterator[Arena]:
    """Give an arena on real Kafka and real Redis."""
    from streamresults.store.redis import RedisStore  # noqa: PLC0415 -- only where Redis is wanted
    from streamresults.topic.kafka import KafkaBroker  # noqa: PLC0415

    name = f"race-{secrets.token_hex(5)}"
    settings = Settings(
        kafka_bootstrap=kafka_bootstrap, redis_url=redis_url, topic=name, namespace=name, safety_rereads=False
    )
    random, redis = Random(seed), RedisStore(redis_url)
    arena = Arena(settings, KafkaBroker(kafka_bootstrap), HeldBackStore(redis, random, LONGEST_DELAY), random)
    yield arena
    arena.close()
    redis.close()


@pytest.mark.timeout(3600)
def test_no_wait_through_the_topic_sleeps_through_its_result(memory_arena: Arena, seed: int) -> None:
    """The proof is an unbroken one: what the view had not folded, the reader shows."""
    _race(memory_arena, seed, _races(60_000), TASKS_PER_ROUND, through_topic=True, breaking=0.0)


@pytest.mark.timeout(3600)
def test_no_wait_through_the_view_sleeps_through_its_message(memory_arena: Arena, seed: int) -> None:
    """The channel is listened on before the look that leaves word: no message is missed."""
    _race(memory_arena, seed, _races(20_000), TASKS_PER_ROUND, through_topic=False, breaking=0.0)


@pytest.mark.timeout(3600)
def test_no_wait_sleeps_through_a_reset_of_the_reader(
    memory_arena: Arena, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reset sends everybody back to step 1, also those in the middle of a look."""
    monkeypatch.setattr(waits, "_RETRY", 0.0005)  # else the view has caught up before the reader is back
    _race(memory_arena, seed, _races(20_000), TASKS_PER_ROUND, through_topic=True, breaking=0.5)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("through_topic", [True, False], ids=["topic", "view"])
def test_no_wait_on_real_services_sleeps_through_its_result(
    real_arena: Arena, seed: int, *, through_topic: bool
) -> None:
    """The same over a network that reorders nothing and delays everything."""
    _race(real_arena, seed, _races(10_000), TASKS_PER_ROUND, through_topic=through_topic, breaking=0.0)


@pytest.mark.timeout(3600)
def test_no_wait_on_real_services_sleeps_through_a_reset(
    real_arena: Arena, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that breaks loses what it had fetched; the next one begins where the log ends by then."""
    monkeypatch.setattr(waits, "_RETRY", 0.0005)
    _race(real_arena, seed, _races(10_000), TASKS_PER_ROUND, through_topic=True, breaking=0.5)
