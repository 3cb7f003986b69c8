"""
Waits for tasks that have several homes: where partitions were added, a task's events may stand in several of them.

Such a wait has a part in each home, an ordinary wait on that partition. The first SUCCESS of any part is the answer;
another end is the answer once every other part has its proof that nothing better was missed, and then the higher rank
wins, after it the newer home: what a lookup that reads every home says too. Everything here happens under the dispatch
lock.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from streamresults.client.provenance import Basis
from streamresults.client.waiter import Phase, Waiter
from streamresults.events.states import RANK_SUCCESS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamresults.client.waiter import Answer
    from streamresults.client.waits import Waits

#: Seconds that an end which is no SUCCESS waits for the proof of the other homes. Shorter takes a slow fold for a
#: dead one; longer keeps a failure that is known from its waiter.
_PROOF_WITHIN: Final = 10.0


class SplitWait:
    """
    One wait with a part in each home. The lock is held in every call.

    Args:
        front: What the caller holds. It is in no partition's list; it ends when the parts say so.
    """

    def __init__(self, homes: Homes, front: Waiter) -> None:
        self._homes: Final = homes
        self._front: Final = front
        #: By home, that of the newest partition count first.
        self.parts: dict[int, Waiter] = {}
        self._ended_at = 0.0

    def cover(self, partitions: Sequence[int]) -> list[Waiter]:
        """Have a part in each of these homes, given newest first; return the parts that are new."""
        front = self._front
        new = {
            partition: Waiter(
                front.task_id,
                partition,
                self.look,
                through_topic=front.through_topic,
                spent=time.monotonic() - front.began,
            )
            for partition in partitions
            if partition not in self.parts
        }
        known = {**self.parts, **new}
        order = [*partitions, *(partition for partition in self.parts if partition not in partitions)]
        self.parts = {partition: known[partition] for partition in order}
        return list(new.values())

    def look(self) -> None:
        """See whether the parts amount to an end; called whenever one has ended."""
        if self._front.phase is Phase.OVER:
            return
        error = next((part.error for part in self.parts.values() if part.error is not None), None)
        if error is not None:
            self._leave()
            self._front.finish(error=error)
            return
        best = self._best()
        if best is None:
            return
        answer = best.answer
        assert answer is not None
        if answer.rank < RANK_SUCCESS:
            self._ended_at = self._ended_at or time.monotonic()
            unproven = [part for part in self.parts.values() if not _is_proven(part)]
            in_time = time.monotonic() - self._ended_at < _PROOF_WITHIN
            if in_time and not all(_lacks_coverage(part) for part in unproven):
                self._homes.unsettled[self] = None
                return
            answer = _partial(answer) if unproven else answer
        self._leave()
        self._front.partition, self._front.state_seen = best.partition, best.state_seen
        self._front.finish(answer)

    def give_up(self) -> Answer | None:
        """End the wait from outside; return the best that is known, if that is an end."""
        for part in self.parts.values():
            if part.phase is not Phase.OVER:
                part.answer = self._homes.waits.best_known(part)
        best = self._best()
        unproven = any(not _is_proven(part) for part in self.parts.values())
        seen = [part.state_seen for part in self.parts.values() if part.state_seen]
        self._leave()
        self._front.give_up()
        if best is None or best.answer is None:
            self._front.state_seen = seen[0] if seen else ""
            return None
        self._front.partition, self._front.state_seen = best.partition, best.state_seen
        return _partial(best.answer) if unproven and best.answer.rank < RANK_SUCCESS else best.answer

    def _best(self) -> Waiter | None:
        """Return the part with the best answer: the higher rank, then the newer home."""
        ended = [part for part in self.parts.values() if part.answer is not None]
        return max(ended, key=lambda part: part.answer.rank if part.answer is not None else -1, default=None)

    def _leave(self) -> None:
        """Take the parts out of everything that they are in."""
        for part in self.parts.values():
            self._homes.waits.strike_out(part)
            part.give_up()
        self._homes.forget(self, self._front)


def _is_proven(part: Waiter) -> bool:
    """Tell whether nothing can have been missed in a part's home, or its own end is known."""
    if part.phase is Phase.OVER:
        return True
    return part.phase is Phase.ASLEEP and (part.through_topic or (part.seen is not None and part.seen.complete))


def _lacks_coverage(part: Waiter) -> bool:
    """Tell whether a home's view was looked at and does not cover everything: a proof may take long."""
    return part.seen is not None and not part.seen.complete


def _partial(answer: Answer) -> Answer:
    return answer._replace(basis=Basis.PARTIAL)


class Homes:
    """Which waits of an engine have several homes. Thread-safe where it says so."""

    def __init__(self, waits: Waits) -> None:
        self.waits: Final = waits
        #: ``None`` while every task has one home.
        self._of: Callable[[str], Sequence[int]] | None = None
        self._split: Final[dict[Waiter, SplitWait]] = {}
        #: Those of which a part has ended, and another one lacks its proof.
        self.unsettled: Final[dict[SplitWait, None]] = {}

    @property
    def several(self) -> bool:
        """Whether tasks were said to have several homes."""
        return self._of is not None

    def know(self, of: Callable[[str], Sequence[int]]) -> None:
        """
        Take note that tasks have several homes now, and have everybody who waits do so in all of them. Takes the lock.

        Args:
            of: Returns a task's homes, that of the newest partition count first.
        """
        with self.waits.lock:
            self._of = of
            parts = {part for split in self._split.values() for part in split.parts.values()}
            alone = [waiter for waiter in self.waits.everybody() if waiter not in parts]
            for front, split in list(self._split.items()):
                self._enter_all(split.cover(of(front.task_id)))
            for waiter in alone:
                partitions = of(waiter.task_id)
                if tuple(partitions) != (waiter.partition,):
                    self._split_up(waiter, partitions)
            self.waits.lock.notify_all()

    def enter(self, waiter: Waiter) -> None:
        """Put a new wait where it belongs; the lock is held."""
        partitions = () if self._of is None else self._of(waiter.task_id)
        if len(partitions) > 1:
            self._split_up(waiter, partitions)
        else:
            self.waits.enter(waiter)

    def give_up(self, waiter: Waiter) -> Answer | None:
        """End a wait from outside; return the best that is known, if that is an end. Takes the lock."""
        if self._split:
            with self.waits.lock:
                split = self._split.get(waiter)
                if split is not None:
                    return split.give_up()
        return self.waits.give_up(waiter)

    def settle(self) -> None:
        """Look again at those who wait for a proof. Takes the lock."""
        if self.unsettled:
            with self.waits.lock:
                for split in list(self.unsettled):
                    split.look()

    def forget(self, split: SplitWait, front: Waiter) -> None:
        """Strike out a wait that is over; the lock is held."""
        self._split.pop(front, None)
        self.unsettled.pop(split, None)

    def _split_up(self, front: Waiter, partitions: Sequence[int]) -> None:
        """Have a wait in several homes; one that is under way begins anew in each, which no wait is harmed by."""
        self.waits.strike_out(front)
        front.phase = Phase.SPLIT
        split = self._split[front] = SplitWait(self, front)
        parts = split.cover(partitions)
        for part in parts:
            if part.partition == front.partition:
                part.best, part.state_seen = front.best, front.state_seen
        self._enter_all(parts)

    def _enter_all(self, parts: Sequence[Waiter]) -> None:
        for part in parts:
            self.waits.enter(part)
