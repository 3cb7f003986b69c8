"""
The looker: reads the view for everybody who wants it, and decides what each look means.

These are steps 2 and 3 of "Waiting" in docs/architecture.md.

It asks the view without the dispatch lock, and decides under it: between a decision and its effect no record may be
delivered.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from streamresults.client.answers import answer_in, seen_in, state_in
from streamresults.client.decisions import AfterLook, after_look
from streamresults.client.waiter import VALUES_EVERY, Phase
from streamresults.errors import ServiceUnavailable
from streamresults.events.fold import NEVER
from streamresults.store.base import Interest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from streamresults.client.assigning import Assigner
    from streamresults.client.engine import EngineOptions
    from streamresults.client.listening import Listener
    from streamresults.client.reading import Reader
    from streamresults.client.waiter import Waiter, Watch
    from streamresults.client.waits import Waits
    from streamresults.client.watermarks import HighestWatermarks, Sight
    from streamresults.events.codec import Codec
    from streamresults.store.base import View

_log: Final = logging.getLogger("streamresults.waiter")
#: Seconds without a script on a partition after which the view counts as not heard of. Shorter takes a slow fold for a
#: dead one; longer keeps a failure that the topic has shown from its waiter.
UNHEARD_AFTER: Final = 10.0


class Looker:
    """
    Looks for new waits, for those whose proof is missing, and for those who were told.

    Args:
        view: ``None`` without Redis.
        channel: Where the fold leaves word for this process.
        settle: Called after each look, for waits in several partitions: it may have brought the last proof.
    """

    def __init__(
        self,
        waits: Waits,
        view: View | None,
        codec: Codec,
        watermarks: HighestWatermarks,
        *,
        assigner: Assigner,
        reader: Reader,
        listener: Listener,
        channel: str,
        options: EngineOptions,
        settle: Callable[[], None],
    ) -> None:
        self._waits: Final = waits
        self._view: Final = view
        self._codec: Final = codec
        self._watermarks: Final = watermarks
        self._assigner: Final = assigner
        self._reader: Final = reader
        self._listener: Final = listener
        self._options: Final = options
        self._settle: Final = settle
        self._channel: Final = channel

    # -- the thread -------------------------------------------------------------------------------------------------

    def look_forever(self) -> None:
        """Look whenever somebody wants it, until the engine is closed."""
        while not self._waits.closed:
            try:
                self._look_once()
            except Exception as exc:  # noqa: BLE001 -- whatever a store or a value does, this thread goes on
                _log.exception("a look failed: the waits on it end with an error", extra={"action": "look_failed"})
                self._fail(exc)
                self._waits.pause()
            except BaseException:
                self._look_anew()
                raise

    def _look_once(self) -> None:
        waits = self._waits
        with waits.lock:
            if not waits.closed:  # as it may be by now: closing rings only once
                waits.lock.wait(waits.until_due())
            if waits.closed:
                return
            fresh = [waiter for waiter in waits.new if waiter.phase is Phase.NEW]
            waits.new.clear()
            waits.want_due_rereads()
        self._plain_look(fresh)
        self._want_a_reader(fresh)
        self._rounds()
        self._look_at_wanted()
        self._settle()
        self._reader.release_idle()

    def _look_anew(self) -> None:
        """Have those looked at whom a look has left in mid-air as this thread was killed; it begins again."""
        waits = self._waits
        with waits.lock:
            for waiter in waits.everybody():
                if waiter.phase is Phase.NEW and waiter not in waits.new:
                    waits.new.append(waiter)
                elif waiter.phase is Phase.LOOKING and waiter not in waits.wanted:
                    waits.want(waiter)

    def _fail(self, exc: Exception) -> None:
        """End the waits that a failed look left in mid-air: a clear error is better than a wait that hangs."""
        with self._waits.lock:
            for waiter in self._waits.everybody():
                if waiter.phase in {Phase.NEW, Phase.LOOKING} and waiter not in self._waits.wanted:
                    self._waits.fail(waiter, exc)

    # -- before step 1 ----------------------------------------------------------------------------------------------

    def _plain_look(self, waiters: Sequence[Waiter]) -> None:
        """Look before anything is assigned: what is ready already ends the wait and costs no reader."""
        if not waiters or self._waits.view_trouble:
            return  # a view that does not answer must not hold up the reader
        found = self._ask_view(_by_partition(waiters))
        with self._waits.lock:
            self._heard(found)
            for waiter, index in _indexed(waiters):
                sight = found.get(waiter.partition)
                if sight is not None and waiter.phase not in {Phase.OVER, Phase.SPLIT}:
                    with self._waits.only_its_own(waiter):
                        self._decide_plainly(waiter, sight, index)

    def _decide_plainly(self, waiter: Waiter, sight: Sight, index: int) -> None:
        """Take what is ready already; the lock is held."""
        verdict = after_look(seen_in(sight.looked, index), NEVER, sight.highest)
        if verdict in {AfterLook.DONE, AfterLook.DONE_PARTIAL}:
            self._waits.over(waiter, answer_in(sight.looked, index, verdict))
        else:
            waiter.state_seen = state_in(sight.looked, index, self._codec)

    def _want_a_reader(self, fresh: Sequence[Waiter]) -> None:
        """Have the partitions of those who found nothing read from now on. Takes the lock."""
        with self._waits.lock:
            if any(waiter.phase is Phase.NEW for waiter in fresh):
                self._assigner.call()

    # -- steps 2 and 3 ----------------------------------------------------------------------------------------------

    def _look_at_wanted(self) -> None:
        """Step 2: read value and coverage in one atomic command, everybody's in one round trip."""
        waits = self._waits
        with waits.lock:
            wanted = [waiter for waiter in waits.wanted if waiter.phase is Phase.LOOKING]
            waits.wanted.clear()
            resets = [waiter.reset_count for waiter in wanted]
        if not wanted:
            return
        found = self._look_with_interest(wanted)
        with waits.lock:
            self._heard(found)
            for (waiter, index), reset_count in zip(_indexed(wanted), resets, strict=True):
                if waiter.phase is not Phase.LOOKING or waiter.reset_count != reset_count or waiter in waits.wanted:
                    continue  # ended, sent back to step 1, or told again meanwhile
                with waits.only_its_own(waiter):
                    self._decide(waiter, found.get(waiter.partition), index)

    def _look_with_interest(self, wanted: Sequence[Waiter]) -> dict[int, Sight]:
        # Whoever waits through the view leaves word; so does a joiner whose partition is not read, or not yet covered.
        telling = any(
            not w.through_topic or w.next_offset < 0 or (w.seen is not None and not w.seen.complete) for w in wanted
        )
        if telling and not self._listener.listens():  # the channel first, then the look: else a message is missed
            return {}
        # Long enough that a few renewals may fail, short enough that a dead process is soon forgotten.
        lasts = max(10.0, 5 * self._waits.reread_every(self._options.interval))
        return self._ask_view(_by_partition(wanted), Interest(self._channel, lasts) if telling else None)

    def _decide(self, waiter: Waiter, sight: Sight | None, index: int) -> None:
        """Step 3: decide under the dispatch lock, which is held."""
        watch = self._waits.watches[waiter.partition]
        seen, highest = None, -1
        if sight is not None:
            seen, highest = seen_in(sight.looked, index), sight.highest
            waiter.state_seen = state_in(sight.looked, index, self._codec)
        # A look that cannot be used proves nothing later either.
        usable = sight is not None and seen is not None and not sight.is_older
        waiter.seen = sight.looked.coverage if sight is not None and usable else None
        next_offset = waiter.next_offset if waiter.through_topic and watch.is_read else NEVER
        verdict = after_look(seen, next_offset, highest)
        if verdict is AfterLook.SLEEP:
            assert seen is not None
            waiter.phase, waiter.folded_to, waiter.best = Phase.ASLEEP, seen.watermark, None
        elif verdict is not AfterLook.AGAIN:
            assert sight is not None
            self._waits.over(waiter, answer_in(sight.looked, index, verdict))
        else:
            self._again(waiter, watch, usable=usable)

    def _again(self, waiter: Waiter, watch: Watch, *, usable: bool) -> None:
        """Have a wait without its proof looked at again; the lock is held."""
        if waiter.through_topic:
            waiter.phase = Phase.UNPROVEN
            watch.unproven.add(waiter)
            watch.hurry()
            watch.next_round()
            return
        waiter.phase = Phase.ASLEEP
        if self._options.safety_rereads or not usable:
            self._waits.want_later(waiter, self._options.interval)

    # -- step 3, again ----------------------------------------------------------------------------------------------

    def _rounds(self) -> None:
        """Step 3, again: one reading of the coverage per partition, however many lack their proof."""
        now = time.monotonic()
        with self._waits.lock:
            due = [watch for watch in self._waits.watches.values() if watch.unproven and watch.round_at <= now]
            for watch in due:
                watch.next_round()
        if not due:
            return
        found = self._ask_view({watch.partition: () for watch in due})
        with self._waits.lock:
            self._heard(found)
            for partition, sight in found.items():
                self._reconsider(self._waits.watches[partition], sight)
            self._use_what_the_topic_showed(due)

    def _reconsider(self, watch: Watch, sight: Sight) -> None:
        """Want the values of those for whom the coverage has moved far enough; the lock is held."""
        coverage = sight.looked.coverage
        if coverage is None or sight.is_older:
            return
        now = time.monotonic()
        values_due = now >= watch.values_at
        for waiter in list(watch.unproven):
            seen = waiter.seen
            proven = coverage.watermark >= waiter.next_offset >= 0
            newly = proven and (seen is None or seen.watermark < waiter.next_offset)
            moved = seen is None or (seen.generation, seen.start) != (coverage.generation, coverage.start)
            # Whoever has no reader yet waits through the view, and only the watermark tells that something is new.
            moved = moved or (waiter.next_offset < 0 and seen is not None and seen.watermark < coverage.watermark)
            if newly or (moved and values_due):
                watch.unproven.discard(waiter)
                self._waits.want(waiter)
                watch.values_at = watch.values_at if newly else now + VALUES_EVERY

    def _use_what_the_topic_showed(self, watches: Iterable[Watch]) -> None:
        """End the waits whose end the topic has shown, where the view was not heard of for long; the lock is held."""
        now = time.monotonic()
        for watch in watches:
            for waiter in list(watch.unproven):
                if now - max(watch.heard_at, waiter.began) >= UNHEARD_AFTER:
                    answer = waiter.delivered_answer()
                    if answer is not None:
                        self._waits.over(waiter, answer)

    # -- the view ---------------------------------------------------------------------------------------------------

    def _ask_view(self, wanted: Mapping[int, Sequence[str]], interest: Interest | None = None) -> dict[int, Sight]:
        """Look at the view; nothing comes back while there is none to be asked."""
        if self._view is None:
            return {}
        try:
            found = self._watermarks.look(self._view, wanted, interest)
        except ServiceUnavailable as exc:
            self._waits.view_trouble = str(exc)
            return {}
        self._waits.view_trouble = ""
        return found

    def _heard(self, found: Mapping[int, Sight]) -> None:
        """Note what looks say of the view itself; the lock is held."""
        for partition, sight in found.items():
            coverage = sight.looked.coverage
            watch = self._waits.watches[partition]
            watch.was_looked_at = True
            if coverage is None:
                continue
            if sight.is_older and self._assigner.inspector is not None:
                watch.older_view_seen = True  # a failover, which passes; or the log lost records: the assigner asks
                self._assigner.call()
            if sight.looked.now_ms - coverage.as_of_ms < UNHEARD_AFTER * 1000:
                watch.heard_at = time.monotonic()


def _by_partition(waiters: Sequence[Waiter]) -> dict[int, list[str]]:
    wanted: dict[int, list[str]] = {}
    for waiter in waiters:
        wanted.setdefault(waiter.partition, []).append(waiter.task_id)
    return wanted


def _indexed(waiters: Sequence[Waiter]) -> Iterable[tuple[Waiter, int]]:
    """Pair each waiter with its place among those of its partition, as :func:`_by_partition` orders them."""
    counts: dict[int, int] = {}
    for waiter in waiters:
        index = counts.get(waiter.partition, 0)
        counts[waiter.partition] = index + 1
        yield waiter, index
