"""A load on a view alone: a log that is a function of partition and offset, folded as fast as it goes."""

from __future__ import annotations

import logging
from random import Random
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING, Final, Self

from streamresults.errors import StoreUnavailable
from streamresults.events.fold import NEVER, Best, Summary, combine, event_summary
from streamresults.store.base import Interest, LiveBatch
from streamresults.store.coverage import LiveClaim, Outcome
from streamresults.store.memory import MemoryStore
from streamresults.store.value import pack_entry
from tests.waiting import eventually

if TYPE_CHECKING:
    from types import TracebackType

    from streamresults.store.base import Subscription, View
    from streamresults.store.redis import RedisStore

TOPIC: Final = "topic-id"
PARTITIONS: Final = 12
GENERATION: Final = b"genera-1"
TASKS: Final = [f"t{number}" for number in range(300)]
#: A success, as an entry of a batch.
ENTRY: Final = pack_entry(event_summary(Best(4, 0, 1, NEVER, b"v")))
#: Events in one batch.
BATCH: Final = 25
#: How long a test waits for what must happen. Larger: a failure is told late. Smaller: a busy machine fails.
SOON: Final = 30.0

_log = logging.getLogger(__name__)


def batch(partition: int, begin: int, end: int) -> LiveBatch:
    """Return a batch of the log, which is a function of partition and offset."""
    folded: dict[str, Summary] = {}
    for offset in range(begin, end):
        random = Random(f"{partition}.{offset}")
        task, rank = random.choice(TASKS), random.randint(0, 4)
        one = event_summary(Best(rank, offset, offset, NEVER, b"%d" % offset))
        folded[task] = one if task not in folded else combine(folded[task], one)
    entries = [(task, pack_entry(summary)) for task, summary in folded.items()]
    return LiveBatch(partition, LiveClaim(begin, end, 0, begin, 0, GENERATION), entries)


class Load:
    """Folds the log into a view, as fast as it goes, and goes on through every outage."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._position = dict.fromkeys(range(PARTITIONS), 0)
        self._enough = Event()
        self._writer = Thread(target=self._write, name="load")
        self._problem: BaseException | None = None
        #: How often the view was away, how often a partition was sent back, and the last error's text.
        self.outages = 0
        self.rewinds = 0
        self.error = ""
        self._applied_at = dict.fromkeys(range(PARTITIONS), monotonic())
        #: The longest time for which a partition stood still, in seconds.
        self.gaps = dict.fromkeys(range(PARTITIONS), 0.0)

    def __enter__(self) -> Self:
        self._writer.start()
        self.goes_on()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._enough.set()
        self._writer.join()
        if self._problem is not None:
            raise self._problem
        longest = max(self.gaps.values())
        _log.info("longest gap %.2f s, outages %d, rewinds %d", longest, self.outages, self.rewinds)

    def goes_on(self) -> None:
        """Block until every partition has moved by several batches from where it is now."""
        there = {partition: position + 4 * BATCH for partition, position in self._position.items()}
        eventually(lambda: self._problem or all(self._position[p] >= there[p] for p in there), 30, "the load goes on")

    def check(self) -> None:
        """Compare the view with a fold of the log, done once and without any fault."""
        reference = MemoryStore().view("n", "t")
        # The log's order is all that counts: a fold in larger pieces gives the same bytes.
        reference.apply([batch(p, 0, position) for p, position in self._position.items()])
        wanted = dict.fromkeys(range(PARTITIONS), TASKS)
        expected, actual = reference.look(wanted), self._view.look(wanted)

        for partition in wanted:
            coverage = actual[partition].coverage
            assert coverage is not None
            assert (0, self._position[partition]) == (coverage.start, coverage.watermark)
            assert list(expected[partition].values) == list(actual[partition].values)

    def _write(self) -> None:
        try:
            while not self._enough.is_set():
                self._round()
        except BaseException as exc:  # noqa: BLE001 -- told by the thread that tests
            self._problem = exc

    def _round(self) -> None:
        batches = [
            batch(partition, begin, begin + BATCH)
            for partition, position in self._position.items()
            for begin in (position, position + BATCH)
        ]
        try:
            replies = self._view.apply(batches)
        except StoreUnavailable as exc:
            self.outages += 1
            self.error = str(exc)
            return
        for sent, reply in zip(batches, replies, strict=True):
            self._position[sent.partition] = reply.coverage.watermark
            if reply.outcome is Outcome.APPLIED:
                now = monotonic()
                waited = now - self._applied_at[sent.partition]
                self.gaps[sent.partition] = max(self.gaps[sent.partition], waited)
                self._applied_at[sent.partition] = now
            else:
                self.rewinds += 1


def wakes(store: RedisStore, namespace: str, channel: str, subscription: Subscription, *, offset: int = 0) -> None:
    """Check that a result wakes whoever waits, over the connection that a subscription has now."""
    partition, task = PARTITIONS, f"a{offset}"  # a partition that the load leaves alone
    view = store.view(namespace, TOPIC)
    claim = LiveClaim(offset, offset + 1, 0, offset, 0, GENERATION)
    view.look({partition: [task]}, Interest(channel, 60))
    (reply,) = view.apply([LiveBatch(partition, claim, [(task, ENTRY)])])
    found: list[str] = []

    def heard() -> bool:
        found.extend(subscription.get(0.1) or [])
        return bool(found)

    assert Outcome.APPLIED is reply.outcome
    eventually(heard, SOON, f"a message from {store.where}")
    assert [task] == found


def restored(subscription: Subscription) -> bool:
    """Tell whether a subscription has a connection again, as None says; while nobody is there it raises."""
    try:
        return subscription.get(0.1) is None
    except StoreUnavailable:
        return False
