"""
All waits of a process: one reader of the topic, one looker at the view, however many wait.

The wait through the topic follows architecture 3.4 step by step; the numbers stand in the code. What must hold at one
moment happens under one lock, the dispatch lock. Threads and event loops share this engine: only what ``notify`` does
differs. Nothing here decodes a payload.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from contextlib import contextmanager
from threading import Condition, Thread, current_thread
from typing import TYPE_CHECKING, Final, NamedTuple

from streamresults.client.decisions import AfterLook, AfterRecord, Seen, after_look, after_record
from streamresults.client.result import Basis
from streamresults.client.waiter import VALUES_EVERY, Answer, Phase, Waiter, Watch
from streamresults.deadline import Deadline
from streamresults.errors import ClientClosed, MalformedRecord, RecordError, ServiceUnavailable, StreamResultsError
from streamresults.events.fold import NEVER, Best, Summary, event_summary, tombstone_summary
from streamresults.events.states import RANK_READY, rank
from streamresults.store.base import Interest
from streamresults.store.value import unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from streamresults.client.whereabouts import Place
    from streamresults.events.codec import Codec
    from streamresults.store.base import Looked, Subscription
    from streamresults.topic.base import Polled, Record, TopicInspector, TopicReader

_log: Final = logging.getLogger("streamresults.waiter")
#: Seconds without a script on a partition after which the view counts as not heard of. Shorter takes a slow fold for a
#: dead one; longer keeps a failure that the topic has shown from its waiter.
UNHEARD_AFTER: Final = 10.0
#: Seconds that a partition is still read after its last waiter. Shorter pays the start of a read again and again,
#: longer reads traffic that nobody waits for.
_IDLE_AFTER: Final = 60.0
#: Seconds that the reader's poll blocks; an assignment wakes it earlier.
_POLL: Final = 0.1
#: Seconds for one answer of a broker; the wait goes on through the view meanwhile.
_ANSWER: Final = 2.0
#: Seconds until a service that failed is asked again.
_RETRY: Final = 0.25


class EngineOptions(NamedTuple):
    """How the engine behaves."""

    #: Seconds between safety re-reads of waits through the view.
    interval: float = 1.0
    #: Off: only messages wake waits through the view; for tests of the wake-up itself.
    safety_rereads: bool = True


class Engine:
    """
    The waits of one process on one topic. Thread-safe.

    Args:
        open_reader: Opens the reader when the first wait needs it; ``None`` without Kafka.
        inspector: Answers where partitions end, on a connection of its own; ``None`` without Kafka.
        subscribe: Listens on this process's channel; ``None`` without Redis.
    """

    def __init__(
        self,
        place: Place,
        codec: Codec,
        *,
        open_reader: Callable[[], TopicReader] | None,
        inspector: TopicInspector | None,
        subscribe: Callable[[], Subscription] | None,
        channel: str,
        options: EngineOptions,
    ) -> None:
        self._place: Final = place
        self._codec: Final = codec
        self._open_reader: Final = open_reader
        self._inspector: Final = inspector
        self._subscribe: Final = subscribe
        self._options: Final = options
        # Long enough that a few renewals may fail, short enough that a dead process is soon forgotten.
        self._interest: Final = Interest(channel, max(10.0, 5 * options.interval))
        #: The dispatch lock, and with it the looker's bell.
        self._lock: Final = Condition()
        self._watches: Final[dict[int, Watch]] = {}
        self._new: deque[Waiter] = deque()
        #: Who wants a look at values now.
        self._wanted: dict[Waiter, None] = {}
        #: Waits through the view by the time of their next safety re-read: the interval is one, so this is a queue.
        self._rereads: Final[deque[tuple[float, Waiter]]] = deque()
        self._reader: TopicReader | None = None
        self._subscription: Subscription | None = None
        self._threads: Final[list[Thread]] = []
        self._closed = False
        self._assigner_runs = False
        #: Why the view, or the topic, could not be asked the last time; empty while it can.
        self.view_trouble = "" if place.view is not None else "no Redis is configured"
        self.topic_trouble = ""
        self._bytes_read = 0
        self._rate_window = (time.monotonic(), 0)
        #: Bytes a second that the reader delivers.
        self.traffic = 0.0

    # -- for callers ------------------------------------------------------------------------------------------------

    def submit(self, task_id: str, partition: int, notify: Callable[[], None], *, through_topic: bool) -> Waiter:
        """
        Begin a wait and return at once; ``notify`` is called once, on another thread, and must not block.

        Raises:
            ClientClosed: The engine is closed.
        """
        waiter = Waiter(task_id, partition, notify, through_topic=through_topic and self._open_reader is not None)
        with self._lock:
            if self._closed:
                raise ClientClosed("the client is closed", task_id=task_id)
            if not self._threads:
                self._start_thread(self._look_forever, "streamresults-looker")
            self._enter(waiter)
            self._lock.notify_all()
        return waiter

    def give_up(self, waiter: Waiter) -> Answer | None:
        """End a wait from outside; return the best that the topic has shown meanwhile, if that is an end."""
        with self._lock:
            if waiter.phase is Phase.OVER:
                return waiter.answer
            waiter.phase = Phase.OVER
            watch = self._watches.get(waiter.partition)
            if watch is not None:
                watch.remove(waiter)
            self._wanted.pop(waiter, None)
            return _delivered_answer(waiter)

    def describe(self, partition: int) -> str:
        """Say what the view covers and what is wrong, for an error's text."""
        with self._lock:
            watch = self._watches.get(partition)
            if self.view_trouble:
                view = f"view: {self.view_trouble}"
            elif watch is None or watch.heard_at < 0:
                view = f"view: nothing of partition {partition} is there, no compactor seems to run"
            else:
                age = time.monotonic() - watch.heard_at
                view = f"view: folded up to {watch.highest_watermark}, last heard of {age:.1f} s ago"
            if watch is not None and watch.is_read:
                return f"{view}; topic: read up to {watch.next_offset}"
            return f"{view}; topic: {self.topic_trouble or 'not read'}"

    def close(self) -> None:
        """End every wait with ClientClosed, and release every connection."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for waiter in self._all_waiters():
                waiter.finish(error=ClientClosed("the client was closed", task_id=waiter.task_id))
            self._lock.notify_all()
            reader, subscription, threads = self._reader, self._subscription, list(self._threads)
        if reader is not None:
            reader.wake()
        if subscription is not None:
            subscription.close()
        for thread in threads:
            if thread is not current_thread():
                thread.join()
        if reader is not None:
            reader.close()

    # -- the looker -------------------------------------------------------------------------------------------------

    def _look_forever(self) -> None:
        while not self._closed:
            try:
                self._look_once()
            except Exception as exc:  # noqa: BLE001 -- whatever a store or a value does, this thread goes on
                _log.exception("a look failed: the waits on it end with an error")
                self._fail_looking(exc)
                with self._lock:
                    self._lock.wait_for(lambda: self._closed, _RETRY)

    def _look_once(self) -> None:
        with self._lock:
            self._lock.wait(self._until_due())
            if self._closed:
                return
            fresh = [waiter for waiter in self._new if waiter.phase is Phase.NEW]
            self._new.clear()
            self._due_rereads()
        self._plain_look(fresh)
        self._want_a_reader(fresh)
        self._rounds()
        self._look_at_wanted()
        self._release_idle()

    def _until_due(self) -> float | None:
        """Return the seconds until something is due; the lock is held."""
        if self._new or self._wanted:
            return 0.0
        due = [watch.round_at for watch in self._watches.values() if watch.unproven]
        due += [w.idle_since + _IDLE_AFTER for w in self._watches.values() if w.is_read and not w.waiters]
        if self._rereads:
            due.append(self._rereads[0][0])
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _enter(self, waiter: Waiter) -> None:
        """Put a new wait where it belongs; the lock is held."""
        watch = self._watches.get(waiter.partition)
        if watch is None:
            watch = self._watches[waiter.partition] = Watch(waiter.partition)
        watch.add(waiter)
        if not waiter.through_topic:
            self._want(waiter)
        elif watch.is_read:
            self._register(waiter, watch)
        else:
            self._new.append(waiter)

    def _register(self, waiter: Waiter, watch: Watch) -> None:
        """Step 1: take R, the next offset that the reader will match. The lock is held."""
        waiter.next_offset, waiter.seen = watch.next_offset, None
        self._want(waiter)

    def _want(self, waiter: Waiter) -> None:
        waiter.phase = Phase.LOOKING
        self._wanted[waiter] = None

    def _plain_look(self, waiters: Sequence[Waiter]) -> None:
        """Look before anything is assigned: what is ready already ends the wait and costs no reader."""
        if not waiters or self.view_trouble:
            return  # a view that does not answer must not hold up the reader
        found = self._ask_view(_by_partition(waiters))
        with self._lock:
            for waiter, index in _indexed(waiters):
                looked = found.get(waiter.partition)
                if looked is not None and waiter.phase is not Phase.OVER:
                    with self._only_its_own(waiter):
                        self._decide_plainly(waiter, looked, index)

    def _decide_plainly(self, waiter: Waiter, looked: Looked, index: int) -> None:
        watch = self._heard(waiter.partition, looked)
        verdict = after_look(_seen(looked, index), NEVER, watch.highest_watermark)
        if verdict in {AfterLook.DONE, AfterLook.DONE_PARTIAL}:
            self._conclude(waiter, watch, verdict, looked, index)
        else:
            waiter.state_seen = self._state(looked.values[index])

    @contextmanager
    def _only_its_own(self, waiter: Waiter) -> Iterator[None]:
        """End this wait alone when its value is none of ours; nobody else's wait suffers. The lock is held."""
        try:
            yield
        except ValueError as exc:
            self._watches[waiter.partition].remove(waiter)
            waiter.finish(error=MalformedRecord(f"task {waiter.task_id!r}: {exc}"))

    def _want_a_reader(self, fresh: Sequence[Waiter]) -> None:
        """Have the partitions of those who found nothing read from now on; the assigner does it, it may block."""
        with self._lock:
            if any(waiter.phase is Phase.NEW for waiter in fresh):
                self._call_assigner()

    def _call_assigner(self) -> None:
        """Have the assigner look at what there is to do; the lock is held."""
        if not self._assigner_runs:
            self._assigner_runs = True
            self._start_thread(self._assign_forever, "streamresults-assigner")
        self._lock.notify_all()

    def _send_to_step_1(self, offsets: Mapping[int, int]) -> None:
        """Fix the reader's next offsets and send *every* waiter back to step 1, also those in the middle of a look."""
        for partition, offset in offsets.items():
            watch = self._watches[partition]
            watch.next_offset = offset
            for waiter in watch.everybody():
                if waiter.through_topic:
                    waiter.reset_count += 1
                    watch.unproven.discard(waiter)
                    self._register(waiter, watch)

    def _rounds(self) -> None:
        """Step 3, again: one reading of the coverage per partition, however many lack their proof."""
        now = time.monotonic()
        with self._lock:
            due = [watch for watch in self._watches.values() if watch.unproven and watch.round_at <= now]
            for watch in due:
                watch.next_round()
        if not due:
            return
        found = self._ask_view({watch.partition: () for watch in due})
        with self._lock:
            for partition, looked in found.items():
                self._reconsider(self._heard(partition, looked), looked)
        self._use_what_the_topic_showed(due)

    def _reconsider(self, watch: Watch, looked: Looked) -> None:
        """Want the values of those for whom the coverage has moved far enough; the lock is held."""
        coverage = looked.coverage
        if coverage is None or coverage.watermark < watch.highest_watermark:
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
                self._want(waiter)
                watch.values_at = watch.values_at if newly else now + VALUES_EVERY

    def _use_what_the_topic_showed(self, watches: Iterable[Watch]) -> None:
        """End the waits whose end the topic has shown, where the view has not been heard of for long."""
        with self._lock:
            now = time.monotonic()
            for watch in watches:
                for waiter in list(watch.unproven):
                    if now - max(watch.heard_at, waiter.began) >= UNHEARD_AFTER:
                        answer = _delivered_answer(waiter)
                        if answer is not None:
                            self._over(waiter, watch, answer)

    def _look_at_wanted(self) -> None:
        """Step 2: read value and coverage in one atomic command, everybody's in one round trip."""
        with self._lock:
            wanted = [waiter for waiter in self._wanted if waiter.phase is Phase.LOOKING]
            self._wanted.clear()
            resets = [waiter.reset_count for waiter in wanted]
        if not wanted:
            return
        found = self._look_with_interest(wanted)
        with self._lock:
            for (waiter, index), reset_count in zip(_indexed(wanted), resets, strict=True):
                if waiter.phase is not Phase.LOOKING or waiter.reset_count != reset_count or waiter in self._wanted:
                    continue  # ended, sent back to step 1, or told again meanwhile
                with self._only_its_own(waiter):
                    self._decide(waiter, found.get(waiter.partition), index)

    def _look_with_interest(self, wanted: Sequence[Waiter]) -> dict[int, Looked]:
        # Whoever waits through the view leaves word; so does a joiner whose partition is not read, or not yet covered.
        telling = any(
            not w.through_topic or w.next_offset < 0 or (w.seen is not None and not w.seen.complete) for w in wanted
        )
        if telling and self._subscription is None and self._subscribe is not None:
            try:
                self._subscription = self._subscribe()  # the channel first, then the look: else a message is missed
            except ServiceUnavailable as exc:
                self.view_trouble = str(exc)
                return {}
            self._start_thread(self._listen_forever, "streamresults-listener")
        return self._ask_view(_by_partition(wanted), self._interest if telling else None)

    def _ask_view(self, wanted: Mapping[int, Sequence[str]], interest: Interest | None = None) -> dict[int, Looked]:
        """Look at the view; nothing comes back while there is none to be asked."""
        if self._place.view is None:
            return {}
        try:
            found = self._place.view.look(wanted, interest)
        except ServiceUnavailable as exc:
            self.view_trouble = str(exc)
            return {}
        self.view_trouble = ""
        return found

    def _decide(self, waiter: Waiter, looked: Looked | None, index: int) -> None:
        """Step 3: decide under the dispatch lock."""
        watch = self._watches[waiter.partition]
        seen = None
        if looked is not None:
            self._heard(waiter.partition, looked)
            seen = _seen(looked, index)
            waiter.state_seen = self._state(looked.values[index])
        # A look that cannot be used proves nothing later either.
        usable = seen is not None and seen.watermark >= watch.highest_watermark
        waiter.seen = looked.coverage if looked is not None and usable else None
        next_offset = waiter.next_offset if waiter.through_topic and watch.is_read else NEVER
        verdict = after_look(seen, next_offset, watch.highest_watermark)
        if verdict is AfterLook.SLEEP:
            assert seen is not None
            waiter.phase, waiter.folded_to, waiter.best = Phase.ASLEEP, seen.watermark, None
        elif verdict is not AfterLook.AGAIN:
            assert looked is not None
            self._conclude(waiter, watch, verdict, looked, index)
        elif waiter.through_topic:
            waiter.phase = Phase.UNPROVEN
            watch.unproven.add(waiter)
            watch.hurry()
            watch.next_round()
        else:
            waiter.phase = Phase.ASLEEP
            if self._options.safety_rereads or not usable:
                self._rereads.append((time.monotonic() + self._options.interval, waiter))

    def _conclude(self, waiter: Waiter, watch: Watch, verdict: AfterLook, looked: Looked, index: int) -> None:
        assert looked.coverage is not None
        as_of = max(0.0, (looked.now_ms - looked.coverage.as_of_ms) / 1000)
        basis = Basis.PARTIAL if verdict is AfterLook.DONE_PARTIAL else Basis.FULL
        mark = looked.marks[index]
        if verdict is AfterLook.DEAD_LETTERED:
            self._over(waiter, watch, Answer(None, -1, 0, basis, as_of, mark))
            return
        value = looked.values[index]
        assert value is not None
        best = unpack(value).summary.best
        assert best is not None
        self._over(waiter, watch, Answer(best.value, best.offset, best.appended_ms, basis, as_of, mark))

    def _over(self, waiter: Waiter, watch: Watch, answer: Answer) -> None:
        watch.remove(waiter)
        self._wanted.pop(waiter, None)
        waiter.finish(answer)

    def _heard(self, partition: int, looked: Looked) -> Watch:
        """Note what a look says of the view itself; the lock is held."""
        watch = self._watches[partition]
        coverage = looked.coverage
        if coverage is not None:
            if coverage.watermark < watch.highest_watermark and self._inspector is not None:
                watch.older_view_seen = True  # a failover, which passes; or the log lost records: the assigner asks
                self._call_assigner()
            watch.highest_watermark = max(watch.highest_watermark, coverage.watermark)
            if looked.now_ms - coverage.as_of_ms < UNHEARD_AFTER * 1000:
                watch.heard_at = time.monotonic()
        return watch

    def _due_rereads(self) -> None:
        """Want the safety re-reads that are due; the lock is held."""
        now = time.monotonic()
        while self._rereads and self._rereads[0][0] <= now:
            waiter = self._rereads.popleft()[1]
            if waiter.phase is Phase.ASLEEP:
                self._want(waiter)

    def _release_idle(self) -> None:
        """Stop reading partitions that nobody has waited on for a while."""
        with self._lock:
            now = time.monotonic()
            idle = [
                w for w in self._watches.values() if w.is_read and not w.waiters and now - w.idle_since >= _IDLE_AFTER
            ]
            for watch in idle:
                # The watch itself stays, for its highest watermark: an older view may not answer later either.
                watch.next_offset = -1
            if idle and self._reader is not None:
                # Under the lock: whoever waits next has the partition assigned after this, not before.
                self._reader.unassign([watch.partition for watch in idle])

    def _fail_looking(self, exc: Exception) -> None:
        """End the waits that a failed look left in mid-air: a clear error is better than a wait that hangs."""
        with self._lock:
            for waiter in self._all_waiters():
                if waiter.phase in {Phase.NEW, Phase.LOOKING} and waiter not in self._wanted:
                    self._watches[waiter.partition].remove(waiter)
                    waiter.finish(error=exc)

    # -- the assigner -----------------------------------------------------------------------------------------------

    def _assign_forever(self) -> None:
        while not self._closed:
            with self._lock:
                self._lock.wait_for(lambda: self._closed or self._unread() or self._doubtful())
                unread, doubtful = self._unread(), self._doubtful()
            if self._closed:
                return
            try:
                self._read_from_the_end(unread)
                self._resolve_doubt(doubtful)
            except Exception as exc:  # noqa: BLE001 -- whatever the brokers or the library do, this thread goes on
                if self._closed:
                    return
                self.topic_trouble = str(exc)
                self._wait_without_reader(unread)
            else:
                self.topic_trouble = ""

    def _unread(self) -> list[Watch]:
        """Return the partitions that somebody waits on and nobody reads; the lock is held."""
        return [w for w in self._watches.values() if not w.is_read and any(x.through_topic for x in w.everybody())]

    def _doubtful(self) -> list[Watch]:
        return [watch for watch in self._watches.values() if watch.older_view_seen]

    def _read_from_the_end(self, unread: Sequence[Watch]) -> None:
        """Resolve S explicitly, on a connection of its own, *then* assign: "from the end" loses messages."""
        if not unread:
            return
        assert self._inspector is not None
        ends = self._inspector.ends([watch.partition for watch in unread], Deadline(_ANSWER))
        reader = self._opened_reader()
        with self._lock:
            if reader is not self._reader:
                return  # it broke meanwhile: the next round takes the new one
            self._send_to_step_1(ends)
            self._lock.notify_all()
        reader.assign(ends)

    def _resolve_doubt(self, doubtful: Sequence[Watch]) -> None:
        """Where the log itself ends below the highest watermark, records were lost and that watermark means nothing."""
        if not doubtful:
            return
        assert self._inspector is not None
        ends = self._inspector.ends([watch.partition for watch in doubtful], Deadline(_ANSWER))
        with self._lock:
            for watch in doubtful:
                watch.older_view_seen = False
                if ends[watch.partition] < watch.highest_watermark:
                    watch.highest_watermark = -1
                    watch.hurry()
            self._lock.wait_for(lambda: self._closed, _RETRY)  # a failover lasts a while: no need to ask all the time

    def _wait_without_reader(self, unread: Sequence[Watch]) -> None:
        """Have those whom the topic cannot serve wait through the view; ask the topic again in a moment."""
        with self._lock:
            for waiter in [waiter for watch in unread for waiter in watch.everybody()]:
                if waiter.phase is Phase.NEW:
                    self._want(waiter)
            self._lock.notify_all()
            self._lock.wait_for(lambda: self._closed, _RETRY)

    # -- the reader -------------------------------------------------------------------------------------------------

    def _opened_reader(self) -> TopicReader:
        if self._reader is None:
            assert self._open_reader is not None
            self._reader = self._open_reader()
            self._start_thread(self._read_forever, "streamresults-reader")
        return self._reader

    def _read_forever(self) -> None:
        reader = self._reader
        assert reader is not None
        while not self._closed:
            try:
                polled = reader.poll(_POLL)
                self._dispatch(polled)
            except Exception as exc:  # noqa: BLE001 -- whatever a record or the client library does, waits must go on
                if self._closed:
                    return
                _log.warning(
                    "the reader failed and starts again: %s", exc, exc_info=not isinstance(exc, StreamResultsError)
                )
                reader = self._restart_reader(reader)

    def _dispatch(self, polled: Polled) -> None:
        if polled.records:
            with self._lock:
                rang = False
                for record in polled.records:
                    rang = self._match(record) or rang
                if rang:
                    self._lock.notify_all()
        self._measure(polled.records)
        if polled.out_of_range:
            self._forget_offsets(list(polled.out_of_range))

    def _match(self, record: Record) -> bool:
        """Step 4: hand a record to whoever waits for its key; tell whether the looker has new work. Lock held."""
        offset = record.offset() or 0
        watch = self._watches.get(record.partition() or 0)
        if watch is None or not 0 <= watch.next_offset <= offset:
            return False  # from before a reset
        watch.next_offset = offset + 1
        key = record.key()
        waiters = watch.waiters.get(key) if isinstance(key, bytes) else None
        if not waiters:
            return False
        summary = self._delivered_summary(record, offset)
        state = self._state_of(summary)
        for waiter in list(waiters):
            if waiter.through_topic:
                waiter.state_seen = state
                self._deliver(waiter, watch, offset, summary)
        return True

    def _delivered_summary(self, record: Record, offset: int) -> Summary | None:
        """Return what one record amounts to; ``None`` when it cannot be read: the compactor will say why."""
        value = record.value()
        if value is None:
            return tombstone_summary(offset, NEVER)
        try:
            assert isinstance(value, bytes)
            if not self._codec.is_known(value):
                return None
            prefix = self._codec.decode_prefix(value)
        except RecordError:
            return None
        place = rank(prefix.state, terminal=prefix.terminal)
        return event_summary(Best(place, offset, record.timestamp()[1], NEVER, value))

    def _deliver(self, waiter: Waiter, watch: Watch, offset: int, summary: Summary | None) -> None:
        best = summary.best if summary else None
        asleep = waiter.phase is Phase.ASLEEP
        verdict = after_record(asleep=asleep, folded_to=waiter.folded_to, offset=offset, rank=best.rank if best else -1)
        if verdict is AfterRecord.DONE:
            assert best is not None
            self._over(waiter, watch, Answer(best.value, offset, best.appended_ms, Basis.TOPIC))
        elif verdict is AfterRecord.LOOK_BEYOND or (summary is None and asleep):
            waiter.next_offset = offset + 1
            if summary is not None:
                waiter.keep_best(summary)
            if asleep:  # an unreadable record: only the view can say what became of it
                waiter.phase = Phase.UNPROVEN
                waiter.seen = None
                watch.unproven.add(waiter)
            watch.hurry()

    def _forget_offsets(self, partitions: Sequence[int]) -> None:
        """Note that the reader lost its place: the assigner resolves another, and sends everybody back to step 1."""
        with self._lock:
            for partition in partitions:
                watch = self._watches.get(partition)
                if watch is not None:
                    watch.next_offset = -1
            self._lock.notify_all()

    def _restart_reader(self, broken: TopicReader) -> TopicReader:
        broken.close()
        with self._lock:
            if self._lock.wait_for(lambda: self._closed, _RETRY):
                return broken
            assert self._open_reader is not None
            self._reader = self._open_reader()
            partitions = list(self._watches)
        self._forget_offsets(partitions)
        return self._reader

    def _measure(self, records: Sequence[Record]) -> None:
        """Keep the rate of what is read, for ``via="auto"``."""
        self._bytes_read += sum(len(record.value() or b"") for record in records)
        since, before = self._rate_window
        now = time.monotonic()
        if now - since >= 1.0:
            self.traffic = (self._bytes_read - before) / (now - since)
            self._rate_window = (now, self._bytes_read)

    # -- the listener -----------------------------------------------------------------------------------------------

    def _listen_forever(self) -> None:
        subscription = self._subscription
        assert subscription is not None
        while not self._closed:
            try:
                told = subscription.get(1.0)
            except ServiceUnavailable as exc:
                self.view_trouble = str(exc)
                with self._lock:
                    self._lock.wait_for(lambda: self._closed, _RETRY)
                continue
            except Exception:  # noqa: BLE001 -- whatever the store or its library does, this thread goes on
                if self._closed:
                    return
                _log.exception("the listener failed and goes on")
                told = None
            if told or told is None:
                self._hear(told)

    def _hear(self, told: Sequence[str] | None) -> None:
        """Look at once for those the fold has told of; for everybody, when messages may have been missed."""
        keys = None if told is None else {task_id.encode() for task_id in told}
        with self._lock:
            for watch in self._watches.values():
                for key in list(watch.waiters) if keys is None else keys & watch.waiters.keys():
                    for waiter in watch.waiters[key]:
                        if waiter.phase is Phase.UNPROVEN or (
                            waiter.phase is Phase.ASLEEP and not waiter.through_topic
                        ):
                            watch.unproven.discard(waiter)
                            self._want(waiter)
                        elif waiter.phase is Phase.LOOKING:
                            self._wanted[waiter] = (
                                None  # its look may have been read before the message: look once more
                            )
            self._lock.notify_all()

    # -- within -----------------------------------------------------------------------------------------------------

    def _state(self, value: bytes | None) -> str:
        """Return the state of a stored value that ends no wait, for people."""
        return self._state_of(unpack(value).summary if value is not None else None)

    def _state_of(self, summary: Summary | None) -> str:
        best = summary.best if summary is not None else None
        if best is None or best.value is None:
            return ""
        try:
            return self._codec.decode_prefix(best.value).state
        except RecordError:
            return ""

    def _start_thread(self, target: Callable[[], None], name: str) -> None:
        thread = Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _all_waiters(self) -> list[Waiter]:
        return [waiter for watch in self._watches.values() for waiter in watch.everybody()]


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


def _seen(looked: Looked, index: int) -> Seen | None:
    coverage = looked.coverage
    if coverage is None:
        return None
    value = looked.values[index]
    best = unpack(value).summary.best if value is not None else None
    alive = best is not None and best.expires_ms > looked.now_ms
    return Seen(
        watermark=coverage.watermark,
        complete=coverage.complete,
        rank=best.rank if best is not None and alive else -1,
        marked=looked.marks[index] is not None,
    )


def _delivered_answer(waiter: Waiter) -> Answer | None:
    best = waiter.best.best if waiter.best is not None else None
    if best is None or best.rank < RANK_READY:
        return None
    return Answer(best.value, best.offset, best.appended_ms, Basis.TOPIC)
