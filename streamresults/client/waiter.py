"""One wait under way, and what is known of the partition it waits on. Plain state, guarded by the dispatch lock."""

from __future__ import annotations

import time
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from streamresults.client.provenance import Basis
from streamresults.events.fold import Summary, combine
from streamresults.events.states import RANK_READY

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.client.followers import Follower
    from streamresults.events.fold import Best
    from streamresults.store.base import Mark
    from streamresults.store.coverage import Coverage

#: Seconds between looks at a partition's coverage while somebody lacks the proof that nothing was missed: first and
#: longest. Shorter loads Redis, longer delays what only the view can show.
ROUND_FIRST: Final = 0.005
ROUND_LONGEST: Final = 0.25
#: Seconds between readings of values that only back-fill can have changed.
VALUES_EVERY: Final = 1.0


class Phase(Enum):
    """Where a wait stands."""

    #: Nothing was asked yet.
    NEW = "new"
    #: A look is wanted, or under way.
    LOOKING = "looking"
    #: Looked; the proof that nothing was missed is still missing.
    UNPROVEN = "unproven"
    #: Nothing can have been missed: the reader, or the fold's message, will bring it.
    ASLEEP = "asleep"
    #: It waits in several partitions: each part is a wait of its own, see ``homes.py``.
    SPLIT = "split"
    #: Ended; its value stands in the log alone and is fetched, see ``late_values.py``.
    FETCHING = "fetching"
    #: Answered, or given up.
    OVER = "over"


class Answer(NamedTuple):
    """What ended a wait."""

    #: The event that ended it; ``None`` for a mark alone.
    best: Best | None
    basis: Basis
    #: Seconds since the view was last written to; ``None`` when the answer is not from the view.
    as_of: float | None = None
    mark: Mark | None = None

    @property
    def rank(self) -> int:
        """By the fold's order; -1 for a mark alone."""
        return -1 if self.best is None else self.best.rank

    @property
    def is_unread(self) -> bool:
        """Whether its value is too large for the view, and has to be fetched from the log."""
        return self.best is not None and self.best.value is None


class Waiter:
    """One wait."""

    __slots__ = (
        "answer",
        "began",
        "best",
        "error",
        "folded_to",
        "key",
        "next_offset",
        "notify",
        "partition",
        "phase",
        "reset_count",
        "seen",
        "state_seen",
        "task_id",
        "through_topic",
    )

    def __init__(
        self, task_id: str, partition: int, notify: Callable[[], None], *, through_topic: bool, spent: float = 0.0
    ) -> None:
        self.task_id: Final = task_id
        self.key: Final = task_id.encode()
        #: Where it waits; once it is over, where its answer stands.
        self.partition = partition
        #: Whom to tell of the end; let go of then, as who is told may hold this wait.
        self.notify: Callable[[], None] | None = notify
        #: Waits through the topic; if not, through the view.
        self.through_topic: Final = through_topic
        #: When whoever waits began to: before topic and view were found.
        self.began: Final = time.monotonic() - spent
        self.phase = Phase.NEW
        #: R: the reader matches every record from here on; -1 while its partition is not read.
        self.next_offset = -1
        #: The A that a sleeper's proof was read with.
        self.folded_to = -1
        #: The coverage that the values were last read with.
        self.seen: Coverage | None = None
        #: The state that view or topic showed last, for people; empty for none.
        self.state_seen = ""
        #: The best record that the reader delivered, by the fold's order; used only when the view is not heard of.
        self.best: Summary | None = None
        #: Counts resets of the reader: a look that was asked for before one proves nothing after it.
        self.reset_count = 0
        self.answer: Answer | None = None
        #: Set when the wait cannot go on.
        self.error: Exception | None = None

    def keep_best(self, summary: Summary) -> None:
        """Remember a delivered record, as the fold would."""
        self.best = summary if self.best is None else combine(self.best, summary)

    def delivered_answer(self) -> Answer | None:
        """Return the best that the reader delivered, if that is an end."""
        best = self.best.best if self.best is not None else None
        if best is None or best.rank < RANK_READY:
            return None
        return Answer(best, Basis.TOPIC)

    def finish(self, answer: Answer | None = None, error: Exception | None = None) -> None:
        """End the wait once and tell whoever waits."""
        if self.phase is Phase.OVER:
            return
        self.phase, self.answer, self.error = Phase.OVER, answer, error
        notify, self.notify = self.notify, None
        if notify is not None:
            notify()

    def give_up(self) -> None:
        """End the wait and tell nobody."""
        self.phase, self.notify = Phase.OVER, None


class Watch:
    """What is known of one partition."""

    def __init__(self, partition: int) -> None:
        self.partition: Final = partition
        #: The next offset that the reader will match; -1: the partition is not read.
        self.next_offset = -1
        #: Everybody who waits on this partition, by key.
        self.waiters: Final[dict[bytes, list[Waiter]]] = {}
        #: Who wants every record of a key.
        self.followers: Final[dict[bytes, list[Follower]]] = {}
        #: Those whose proof is missing.
        self.unproven: Final[set[Waiter]] = set()
        #: Whether the view was asked about this partition, and has answered.
        self.was_looked_at = False
        #: When the view was last found alive.
        self.heard_at = -1.0
        #: A look brought an older moment than was seen before.
        self.older_view_seen = False
        self.idle_since = time.monotonic()
        self.round_at = 0.0
        self.values_at = 0.0
        self._pause = ROUND_FIRST

    @property
    def is_read(self) -> bool:
        """Whether the reader has an offset in this partition."""
        return self.next_offset >= 0

    @property
    def wanted(self) -> bool:
        """Whether anybody waits on this partition or follows a task in it."""
        return bool(self.waiters or self.followers)

    def everybody(self) -> list[Waiter]:
        """Return everybody who waits on this partition."""
        return [waiter for waiters in self.waiters.values() for waiter in waiters]

    def add(self, waiter: Waiter) -> None:
        """Enter a wait."""
        self.waiters.setdefault(waiter.key, []).append(waiter)

    def remove(self, waiter: Waiter) -> None:
        """Strike a wait out; harmless when it is not there."""
        self.unproven.discard(waiter)
        others = self.waiters.get(waiter.key)
        if others and waiter in others:
            others.remove(waiter)
            if not others:
                del self.waiters[waiter.key]
        if not self.wanted:
            self.idle_since = time.monotonic()

    def hurry(self) -> None:
        """Look again at once, and often for a while: something has just changed."""
        self._pause = ROUND_FIRST
        self.round_at = 0.0

    def next_round(self) -> None:
        """Set when to look again: 5 ms, doubling to 250 ms."""
        self.round_at = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, ROUND_LONGEST)
