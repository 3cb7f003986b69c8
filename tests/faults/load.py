"""
Publishers at full speed: what becomes of tasks, event after event, and where the brokers say that it stands.

Also a program: publishes one batch for each line of its input, and prints what was acknowledged, and "done" behind it.
Arguments: the settings as JSON, the seed.
"""

from __future__ import annotations

import json
import sys
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from streamresults.errors import PublishFailed
from streamresults.settings import Settings
from streamresults.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from streamresults.client import Client
    from streamresults.events.event import Event
    from streamresults.publisher import Pending, Publisher

#: What becomes of a task, in phases; between two of them it is forgotten, behind an empty one for good.
HISTORIES: Sequence[tuple[Sequence[str], ...]] = (
    *((("SUCCESS",),),) * 4,
    *((("STARTED", "SUCCESS"),),) * 4,
    (("FAILURE",),),
    (("STARTED", "FAILURE"),),
    (("STARTED", "RETRY", "FAILURE", "RETRY", "SUCCESS"),),
    (("SUCCESS", "FAILURE"),),
    (("FAILURE", "FAILURE", "STARTED"),),
    (("SUCCESS", "SUCCESS"),),
)
#: The same for tasks that are forgotten; one of them in each batch.
FORGOTTEN: Sequence[tuple[Sequence[str], ...]] = (
    (("SUCCESS",), ()),
    (("STARTED", "FAILURE"), ()),
    (("SUCCESS",), ("FAILURE",)),
    (("FAILURE",), ("STARTED", "SUCCESS")),
)
#: Tasks whose events are on their way together.
BATCH = 25
#: Seconds after which the result of one task of each batch expires.
EXPIRES = 0.5
#: Seconds for the brokers to acknowledge, over a restart of theirs.
ACKNOWLEDGED = 60.0
#: Bytes of a result.
SMALL, LARGE = 20, 3000


class Acknowledged(NamedTuple):
    """One event that the brokers said they hold; a state of '' is a tombstone."""

    task: str
    state: str
    partition: int
    offset: int


def expires(task: str) -> bool:
    """Tell whether the result of a task expires; all of such a task is one event."""
    return task.endswith("x")


def is_large(task: str) -> bool:
    """Tell whether the results of a task are large: kept in the log alone when ``inline_max`` says so."""
    return task.endswith("l")


class Batches:
    """
    Publishes batches of tasks, one after the other.

    Args:
        forget: Writes a task's tombstone.
        about_to: Told of the tasks of a batch that end with a result, before anything of them is published.
        acknowledged: Told what the brokers hold.
    """

    def __init__(
        self,
        publisher: Publisher,
        client: Client,
        random: Random,
        name: str,
        *,
        about_to: Callable[[Sequence[str]], object],
        acknowledged: Callable[[Sequence[Acknowledged]], object],
    ) -> None:
        self._publisher = publisher
        self._client = client
        self._random = random
        self._name = name
        self._about_to = about_to
        self._acknowledged = acknowledged
        self._number = 0

    def publish(self) -> None:
        """Publish one batch, and block until it is acknowledged."""
        left = self._histories()
        self._about_to([task for task, phases in left.items() if phases[-1] and not expires(task)])
        while left:
            self._publish(self._shuffled({task: phases[0] for task, phases in left.items()}))
            left = {task: phases[1:] for task, phases in left.items() if len(phases) > 1}
            for task in left:
                self._forget(task)

    def _histories(self) -> dict[str, tuple[Sequence[str], ...]]:
        names = [f"{self._name}.{self._number + index}" for index in range(BATCH)]
        names[2] += "l"
        self._number += BATCH
        histories = {task: self._random.choice(HISTORIES) for task in names}
        histories[names[0]] = self._random.choice(FORGOTTEN)
        histories[f"{names[1]}x"] = (("SUCCESS",),)
        return histories

    def _shuffled(self, phases: dict[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
        order = [task for task, states in phases.items() for _ in states]
        self._random.shuffle(order)
        left = {task: iter(states) for task, states in phases.items()}
        for task in order:
            yield task, next(left[task])

    def _publish(self, events: Iterator[tuple[str, str]]) -> None:
        pending = [self._publisher.send(self._event(task, state)) for task, state in events]
        self._acknowledged([self._arrived(one) for one in pending])

    def _event(self, task: str, state: str) -> Event:
        size = LARGE if is_large(task) else SMALL
        expiry = EXPIRES if expires(task) else None
        return self._publisher.event(task, state, result="x" * size, expires=expiry)

    def _arrived(self, pending: Pending) -> Acknowledged:
        """Wait for the brokers and return what they said; an event whose outcome is unknown is published again."""
        while True:
            try:
                position = pending.position(ACKNOWLEDGED)
            except PublishFailed:
                pending = self._publisher.send(pending.event)
                continue
            return Acknowledged(pending.event.task_id, pending.event.state, position.partition, position.offset)

    def _forget(self, task: str) -> None:
        while True:
            try:
                position = self._client.forget(task, ACKNOWLEDGED)
            except PublishFailed:
                continue  # the log may hold it all the same, and may hold it twice
            self._acknowledged([Acknowledged(task, "", position.partition, position.offset)])
            return


def main() -> None:
    """Publish."""
    settings = msgspec.json.decode(sys.argv[1], type=Settings)

    def tell(done: Sequence[Acknowledged]) -> None:
        print(json.dumps(done), flush=True)  # noqa: T201 -- told to the test

    with Wiring(settings) as wiring, wiring.publisher() as publisher:
        client = wiring.client()
        publisher.warm(ACKNOWLEDGED)
        print("running", flush=True)  # noqa: T201
        batches = Batches(publisher, client, Random(sys.argv[2]), "p", about_to=lambda _: 0, acknowledged=tell)
        for _ in sys.stdin:
            batches.publish()
            print("done", flush=True)  # noqa: T201
        client.close()


if __name__ == "__main__":
    main()
