"""
Who waits for what: the one table that looker, reader, assigner and listener share, under the one dispatch lock.

What must hold at one moment is read and changed while that lock is held: each method says whether it takes the lock
or needs it held. Nothing here blocks on a service.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Final

from streamresults.client.dispatch_lock import DispatchLock
from streamresults.client.waiter import Answer, Phase, Waiter, Watch
from streamresults.errors import ClientClosed, MalformedRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from streamresults.client.followers import Follower

#: Seconds that a partition is still read after its last waiter. Shorter pays the start of a read again and again,
#: longer reads traffic that nobody waits for.
_IDLE_AFTER: Final = 60.0
#: Seconds until a service that failed is asked again.
_RETRY: Final = 0.25
#: Safety re-reads of waits through the view: so many in one look, and so many a second. More load Redis with questions
#: to which messages are the usual answer: these take some 2 % of its time. Fewer leave a wait whose message was lost
#: waiting for longer: with 100 000 waits each is read again every 20 s.
REREADS_AT_ONCE: Final = 500
REREADS_A_SECOND: Final = 5000.0
#: Tasks that are waited for from which on one may be told a moment later. Fewer delay those that somebody looks at one
#: by one; more leave the reader to wake for each record of a middling set.
_MANY: Final = 64
#: Waits that came during one look from which on more are expected, and seconds for which these are gathered before the
#: next look. Fewer, or longer, delay ordinary waits; more, or shorter, ask the view a hundred times for ten thousand.
_BURST: Final = 100
_GATHER: Final = 0.01


class Waits:
    """The waits of one process on one topic."""

    def __init__(self) -> None:
        #: The dispatch lock, and with it everybody's bell.
        self.lock: Final = DispatchLock()
        self.watches: Final[dict[int, Watch]] = {}
        #: Who was not looked at yet; their partitions are not read.
        self.new: Final[deque[Waiter]] = deque()
        #: Who wants a look at values now.
        self.wanted: Final[dict[Waiter, None]] = {}
        #: Waits through the view with the time of their next safety re-read: the interval is one, so this is a queue.
        self.rereads: Final[dict[Waiter, float]] = {}
        #: When the next safety re-reads may be wanted, however many are due.
        self._reread_at = 0.0
        #: Waits that have ended with a value that stands in the log alone, and are not told before it is fetched.
        self.unfetched: Final[dict[Waiter, Answer]] = {}
        #: Has these values fetched; ``None`` in a process that cannot. Called under the lock, must not block.
        self.fetch_unread: Callable[[], None] | None = None
        #: Waits that came since the looker asked last what there is to do.
        self._came = 0
        self.closed = False
        #: Why the view, or the topic, could not be asked the last time; empty while it can.
        self.view_trouble = ""
        self.topic_trouble = ""

    # -- coming and going -------------------------------------------------------------------------------------------

    def enter(self, waiter: Waiter) -> None:
        """Put a new wait where it belongs, and ring for the first of those that the looker finds; the lock is held."""
        if not self.new and not self.wanted:
            self.lock.notify_all()  # once, not for each: a burst would be looked at one by one
        self._came += 1
        watch = self.watches.get(waiter.partition)
        if watch is None:
            watch = self.watches[waiter.partition] = Watch(waiter.partition)
        watch.add(waiter)
        if not waiter.through_topic:
            self.want(waiter)
        elif watch.is_read:
            self._register(waiter, watch)
        else:
            self.new.append(waiter)

    def over(self, waiter: Waiter, answer: Answer) -> None:
        """End a wait with its answer, once that is whole; the lock is held."""
        if answer.is_unread and self.fetch_unread is not None:
            self.strike_out(waiter)
            waiter.phase = Phase.FETCHING
            self.unfetched[waiter] = answer
            self.fetch_unread()
            return
        waiter.finish(answer)  # first: the thread that it wakes takes as long to run as what follows here
        self.strike_out(waiter)

    def fail(self, waiter: Waiter, error: Exception) -> None:
        """End a wait with an error; the lock is held."""
        self.strike_out(waiter)
        waiter.finish(error=error)

    def give_up(self, waiter: Waiter) -> Answer | None:
        """End a wait from outside; return the best that the topic has shown meanwhile. Takes the lock."""
        with self.lock:
            if waiter.phase is Phase.OVER:
                return waiter.answer
            answer = self.best_known(waiter)
            waiter.give_up()
            self.strike_out(waiter)
            return answer

    def best_known(self, waiter: Waiter) -> Answer | None:
        """Return the end that is known of a wait under way, its value perhaps not yet; the lock is held."""
        return self.unfetched.get(waiter) or waiter.delivered_answer()

    def close(self) -> bool:
        """End every wait; ``False`` when that has happened before. Takes the lock."""
        with self.lock:
            if self.closed:
                return False
            self.closed = True
            # Struck out as well: a thread that has not noticed yet must not send them back to step 1.
            for waiter in [*self.everybody(), *self.unfetched]:
                self.fail(waiter, ClientClosed("the client was closed", task_id=waiter.task_id))
            self.end_followers(lambda: ClientClosed("the client was closed", task_id=""))
            self.lock.notify_all()
        return True

    def strike_out(self, waiter: Waiter) -> None:
        """Take a wait out of everything that it is in; the lock is held."""
        watch = self.watches.get(waiter.partition)
        if watch is not None:
            watch.remove(waiter)
        self.wanted.pop(waiter, None)
        self.rereads.pop(waiter, None)
        self.unfetched.pop(waiter, None)

    @contextmanager
    def only_its_own(self, waiter: Waiter) -> Iterator[None]:
        """End this wait alone when its value is none of ours; nobody else's wait suffers. The lock is held."""
        try:
            yield
        except ValueError as exc:
            self.fail(waiter, MalformedRecord(f"task {waiter.task_id!r}: {exc}"))

    # -- following ---------------------------------------------------------------------------------------------------

    def follow(self, follower: Follower) -> None:
        """Have every record of a key told; the lock is held."""
        watch = self.watches.get(follower.partition)
        if watch is None:
            watch = self.watches[follower.partition] = Watch(follower.partition)
        watch.followers.setdefault(follower.key, []).append(follower)
        if watch.is_read:
            follower.begin(watch.next_offset)

    def unfollow(self, follower: Follower) -> None:
        """Tell nothing more; harmless when that is so. Takes the lock."""
        with self.lock:
            watch = self.watches.get(follower.partition)
            others = watch.followers.get(follower.key, []) if watch is not None else []
            if watch is not None and follower in others:
                others.remove(follower)
                if not others:
                    del watch.followers[follower.key]
                if not watch.wanted:
                    watch.idle_since = time.monotonic()

    def end_followers(self, why: Callable[[], Exception]) -> None:
        """Tell everybody who follows that nothing more will come; the lock is held."""
        for watch in self.watches.values():
            for followers in watch.followers.values():
                for follower in followers:
                    follower.end(why())

    # -- what is to be done -----------------------------------------------------------------------------------------

    def _register(self, waiter: Waiter, watch: Watch) -> None:
        """Step 1: take R, the next offset that the reader will match. The lock is held."""
        waiter.next_offset, waiter.seen = watch.next_offset, None
        self.want(waiter)

    def send_to_step_1(self, offsets: Mapping[int, int]) -> None:
        """
        Fix the reader's next offsets and send *every* waiter back to step 1, also those in the middle of a look.

        The lock is held: nobody may decide between the two.
        """
        for partition, offset in offsets.items():
            watch = self.watches[partition]
            watch.next_offset = offset
            for followers in watch.followers.values():
                for follower in followers:
                    follower.begin(offset)
            for waiter in watch.everybody():
                if waiter.through_topic:
                    waiter.reset_count += 1
                    watch.unproven.discard(waiter)
                    self._register(waiter, watch)
        self.lock.notify_all()

    def want(self, waiter: Waiter) -> None:
        """Want a look at the values for a wait; the lock is held."""
        waiter.phase = Phase.LOOKING
        self.wanted[waiter] = None

    def want_later(self, waiter: Waiter, seconds: float) -> None:
        """Want a look again in a while if it sleeps then; the lock is held."""
        self.rereads.pop(waiter, None)  # once, and behind the others
        self.rereads[waiter] = time.monotonic() + seconds

    def want_due_rereads(self) -> None:
        """Want the safety re-reads that are due, some at a time; the lock is held."""
        now = time.monotonic()
        if now < self._reread_at:
            return
        due = [waiter for waiter, at in islice(self.rereads.items(), REREADS_AT_ONCE) if at <= now]
        for waiter in due:
            del self.rereads[waiter]
            if waiter.phase is Phase.ASLEEP:
                self.want(waiter)
        self._reread_at = now + len(due) / REREADS_A_SECOND

    def reread_every(self, seconds: float) -> float:
        """Return the seconds between two safety re-reads of a wait; more than was asked for where very many wait."""
        return max(seconds, len(self.rereads) / REREADS_A_SECOND)

    def until_due(self) -> float | None:
        """
        Return the seconds until the looker has something to do, ``None`` for never; the lock is held.

        Only the looker asks, once before each look: a burst of waits is gathered, so that they share the next one.
        """
        came, self._came = self._came, 0
        if self.new or self.wanted:
            return _GATHER if came >= _BURST else 0.0
        due = [watch.round_at for watch in self.watches.values() if watch.unproven]
        now = time.monotonic()
        # Nobody rings when the last waiter of a partition has gone, so those that are waited on are looked at as well.
        due += [(now if w.wanted else w.idle_since) + _IDLE_AFTER for w in self.watches.values() if w.is_read]
        if self.rereads:
            due.append(max(self._reread_at, next(iter(self.rereads.values()))))
        return max(0.0, min(due) - now) if due else None

    def unread(self) -> list[Watch]:
        """Return the partitions that somebody waits on and nobody reads; the lock is held."""
        # Asked at every registration: it ends at the first who waits through the topic, however many wait.
        unread = [watch for watch in self.watches.values() if not watch.is_read]
        return [w for w in unread if w.followers or any(x.through_topic for found in w.waiters.values() for x in found)]

    def awaited(self) -> list[int]:
        """Return the partitions that are read because somebody waits on them, or follows a task. Takes the lock."""
        with self.lock:
            return [watch.partition for watch in self.watches.values() if watch.is_read and watch.wanted]

    def doubtful(self) -> list[Watch]:
        """Return the partitions of which an older view was seen; the lock is held."""
        return [watch for watch in self.watches.values() if watch.older_view_seen]

    def idle(self) -> list[Watch]:
        """Return the partitions that are read and that nobody has waited on for a while; the lock is held."""
        now = time.monotonic()
        return [w for w in self.watches.values() if w.is_read and not w.wanted and now - w.idle_since >= _IDLE_AFTER]

    def is_alone(self, waiter: Waiter) -> bool:
        """Tell whether nobody else waits, nor follows a task; the lock is held."""
        for watch in self.watches.values():
            if watch.followers or len(watch.waiters) > 1 or (watch.waiters and waiter.key not in watch.waiters):
                return False
        return True

    def are_many(self) -> bool:
        """Tell whether so many tasks are waited for that the next one may be told a moment later. Takes no lock."""
        count = 0
        for watch in list(self.watches.values()):
            count += len(watch.waiters)
            if count >= _MANY:
                return True
        return False

    # -- everybody --------------------------------------------------------------------------------------------------

    def everybody(self) -> list[Waiter]:
        """Return all who wait; the lock is held."""
        return [waiter for watch in self.watches.values() for waiter in watch.everybody()]

    def pause(self) -> bool:
        """Block a moment before a service is asked again; tell whether the engine was closed. Takes the lock."""
        with self.lock:
            return self.lock.wait_for(lambda: self.closed, _RETRY)
