"""
Everybody at once: publishers in threads and in a process, waits of every kind, lookups of every kind.

What was acknowledged and what was told is kept for the judge. Random choices follow from the seed; what the threads
make of them does not.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from queue import Empty, SimpleQueue
from random import Random
from typing import TYPE_CHECKING, Any, Self

import msgspec

from streamresults.events.event import Position
from streamresults.wiring import Wiring
from tests.faults.judge import Told
from tests.faults.load import Acknowledged, Batches, is_large
from tests.faults.world import SOON
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from streamresults.client import Client, Registration, Result
    from tests.faults.world import World

PUBLISHERS = 2
#: Threads that each wait for one task at a time.
WAITING = 3
LOOKING = 2
#: Seconds between two batches of one publisher: about half of what two processors can do, so that others get a turn.
_PACE = 0.03
#: Seconds that a lookup may wait for the view.
_LOOKUP = 3.0
#: Lookups are of the last so many acknowledged events.
_LOOKED_UP = 5000
#: Events published before and behind a fault at least.
_SOME = 100
_LOAD = Path(__file__).with_name("load.py")


class LoadProcess:
    """A process that publishes; leaving ends it."""

    def __init__(self, world: World, seed: str) -> None:
        command = [sys.executable, "-m", "tests.faults.load", msgspec.json.encode(world.settings).decode(), seed]
        self._process = subprocess.Popen(
            command, cwd=_LOAD.parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._line() == "running"

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line, "the publishing process has ended"
        return line

    def batch(self) -> Iterator[Sequence[Acknowledged]]:
        """Have it publish a batch, and yield what is acknowledged."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        while (line := self._line()) != "done":
            yield [Acknowledged(*one) for one in json.loads(line)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


class Storm:
    """
    All of it, from entering until leaving; then :attr:`told` and :attr:`acknowledged` are complete.

    Args:
        name: Begins the ids of all tasks.
    """

    def __init__(self, world: World, process: LoadProcess, name: str, seed: str) -> None:
        self._world = world
        self._process = process
        self._name = name
        self.seed = f"{seed}.{name}"
        self.random = Random(self.seed)
        self.acknowledged: list[Acknowledged] = []
        self.told: list[Told] = []
        #: What waits are under way, by task; more than one may wait for each.
        self.waits = 0
        self._over = 0
        self._counting = threading.Lock()
        self._stop = threading.Event()
        self._blocking: SimpleQueue[str] = SimpleQueue()
        #: The clients that wait and look up; the second one knows no Kafka. Each with the ends that it has seen.
        without_kafka = msgspec.structs.replace(world.settings, kafka_bootstrap="")
        self._clients = [world.client, Wiring(without_kafka).client()]
        self._seen: list[dict[int, int]] = [{}, {}]
        self._registered: list[Registration] = []
        self._problems: list[BaseException] = []
        self._publishing = [threading.Thread(target=self._guarded, args=(self._publish, n)) for n in range(PUBLISHERS)]
        self._publishing.append(threading.Thread(target=self._guarded, args=(self._drive, PUBLISHERS)))
        self._asking = [threading.Thread(target=self._guarded, args=(self._wait, n)) for n in range(WAITING)]
        self._asking += [threading.Thread(target=self._guarded, args=(self._look, n)) for n in range(LOOKING)]

    def __enter__(self) -> Self:
        for client in self._clients:
            client.lookup_many(["somebody"])  # each knows its topic before anything breaks
        for thread in (*self._publishing, *self._asking):
            thread.start()
        self.goes_on()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if exc is not None:
            self._problems.append(exc)  # then nobody waits for what will not come
        self._stop.set()
        for thread in self._publishing:
            thread.join(SOON)
        try:
            if kind is None:
                eventually(self._all_over, SOON, f"every wait ends (seed {self.seed}); {self._missing()}")
        finally:
            for thread in self._asking:
                thread.join(SOON)
            for registered in self._registered:
                registered.cancel()
            self._clients[1].close()
        if self._problems and exc is None:
            raise self._problems[0]

    # -- for faults -------------------------------------------------------------------------------------------------

    def goes_on(self, events: int = _SOME) -> None:
        """Return when some more events were acknowledged."""
        aim = len(self.acknowledged) + events
        eventually(
            lambda: self._problems or len(self.acknowledged) >= aim, SOON, f"publishing goes on (seed {self.seed})"
        )
        if self._problems:
            raise self._problems[0]

    def moment(self, events: int = 300) -> None:
        """Return at some moment: after a random number of events, at most so many."""
        self.goes_on(self.random.randrange(events))

    # -- publishing -------------------------------------------------------------------------------------------------

    def _guarded(self, target: Callable[[int], None], number: int) -> None:
        try:
            target(number)
        except BaseException as exc:  # noqa: BLE001 -- told by the thread that tests
            self._problems.append(exc)

    def _publish(self, number: int) -> None:
        random, name = Random(f"{self.seed}.{number}"), f"{self._name}.{number}"
        with self._world.wiring.publisher() as publisher:
            batches = Batches(
                publisher,
                self._world.client,
                random,
                name,
                about_to=lambda tasks: self._begin_waits(random, tasks),
                acknowledged=self._acknowledge,
            )
            while not self._stop.wait(_PACE):
                batches.publish()

    def _acknowledge(self, done: Sequence[Acknowledged]) -> None:
        self.acknowledged += done

    def _drive(self, _: int) -> None:
        """Have a process publish."""
        while not self._stop.wait(_PACE):
            for done in self._process.batch():
                self._acknowledge(done)

    # -- waiting ----------------------------------------------------------------------------------------------------

    def _begin_waits(self, random: Random, tasks: Sequence[str]) -> None:
        for task in tasks:
            chance = random.random()
            if chance < 0.1:
                self._count(1)
                self._blocking.put(task)
            elif chance < 0.7:
                self._register(random, task)

    def _register(self, random: Random, task: str) -> None:
        client, via = self._chosen(random, task)
        self._count(1)
        self._registered.append(client.on_result(task, lambda told: self._tell(told.task_id, told.result), via=via))

    def _chosen(self, random: Random, task: str) -> tuple[Client, Any]:
        if is_large(task) or random.random() < 0.5:  # what stands in the log alone needs a client that knows Kafka
            return self._clients[0], random.choice(("topic", "view", "auto"))
        return self._clients[1], random.choice(("view", "auto"))

    def _wait(self, number: int) -> None:
        random = Random(f"{self.seed}.wait.{number}")
        while not self._all_over() or not self._stop.is_set():
            try:
                task = self._blocking.get(timeout=0.1)
            except Empty:
                continue
            client, via = self._chosen(random, task)
            self._tell(task, lambda task=task, client=client, via=via: client.wait(task, SOON, via=via))  # type: ignore[misc]

    def _tell(self, task: str, result: Callable[[], Result]) -> None:
        asked = time.time() * 1000
        try:
            answer: Result | Exception = result()
        except Exception as exc:  # noqa: BLE001 -- the judge's to say
            answer = exc
        self.told.append(Told("wait", task, 0, asked, answer))
        self._count(0, 1)

    def _count(self, begun: int, over: int = 0) -> None:
        with self._counting:
            self.waits += begun
            self._over += over

    def _all_over(self) -> bool:
        return bool(self._problems) or self._over == self.waits

    def _missing(self) -> str:
        return f"{self.waits - self._over} of {self.waits} under way"

    # -- looking up -------------------------------------------------------------------------------------------------

    def _look(self, number: int) -> None:
        random = Random(f"{self.seed}.look.{number}")
        recent: deque[Acknowledged] = deque(maxlen=50)
        while not self._stop.wait(_PACE / 3):
            if not self.acknowledged:
                continue
            recent.append(self.acknowledged[-1])
            one = random.choice(random.choice((self.acknowledged[-_LOOKED_UP:], recent, self._forgotten() or recent)))
            which = 0 if is_large(one.task) else random.randrange(len(self._clients))
            self._ask(random, which, one)

    def _forgotten(self) -> list[Acknowledged]:
        return [one for one in self.acknowledged[-_LOOKED_UP:] if not one.state]

    def _ask(self, random: Random, which: int, one: Acknowledged) -> None:
        client, chance = self._clients[which], random.random()
        # Nobody answers from a view older than one that this client has seen.
        since = self._seen[which].get(one.partition, 0)
        asked = time.time() * 1000
        how = "lookup"
        try:
            if chance < 0.3:
                answer = client.lookup_many([one.task])[0]
            elif chance < 0.6 and which == 0:
                since, how = max(since, one.offset + 1), "fresh"
                answer = client.lookup(one.task, fresh=True, timeout=_LOOKUP)
            else:
                since, how = max(since, one.offset + 1), "at_least"
                position = Position(self._world.publisher.topic_id, one.partition, one.offset)
                answer = client.lookup(one.task, at_least=position, timeout=_LOOKUP)
        except Exception as exc:  # noqa: BLE001 -- the judge's to say
            self.told.append(Told(how, one.task, since, asked, exc))
            return
        self.told.append(Told(how, one.task, since, asked, answer))
        self._seen[which][one.partition] = max(since, self._seen[which].get(one.partition, 0))
