"""
The assigner: asks the brokers where partitions end, which may block, so that nobody else has to.

It has the reader read what somebody waits on, and resolves the doubt about a view that seems to be an older one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from streamresults.client.looking import UNHEARD_AFTER
from streamresults.client.waiter import Phase
from streamresults.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamresults.client.reading import Reader
    from streamresults.client.threads import Threads
    from streamresults.client.waiter import Watch
    from streamresults.client.waits import Waits
    from streamresults.client.watermarks import HighestWatermarks
    from streamresults.topic.base import TopicInspector

#: Seconds for one answer of a broker; the wait goes on through the view meanwhile.
_ANSWER: Final = 2.0
#: Seconds that this process's clock may be ahead of the brokers', by which records are dated. Smaller misses a result
#: where a clock is kept badly: one that nobody sets is a second or two off after a day, one that is set some
#: milliseconds. Larger reads more of what came before anybody waited, and may show a result that was forgotten there.
CLOCK_AHEAD: Final = 10.0


class Assigner:
    """
    Serves the partitions that nobody reads yet, and those in doubt.

    Args:
        inspector: On a connection of its own, so that no fetch delays an answer; ``None`` without Kafka.
    """

    def __init__(
        self,
        waits: Waits,
        threads: Threads,
        reader: Reader,
        watermarks: HighestWatermarks,
        inspector: TopicInspector | None,
    ) -> None:
        self._waits: Final = waits
        self._threads: Final = threads
        self._reader: Final = reader
        self._watermarks: Final = watermarks
        self.inspector: Final = inspector

    def call(self) -> None:
        """Have it look at what there is to do, if there is anybody to ask; the lock is held."""
        if self.inspector is not None:
            self._threads.start("assigner", self._assign_forever)
            self._waits.lock.notify_all()

    def _assign_forever(self) -> None:
        waits = self._waits
        while not waits.closed:
            with waits.lock:
                waits.lock.wait_for(lambda: waits.closed or waits.unread() or waits.doubtful())
                unread, doubtful = waits.unread(), waits.doubtful()
            if waits.closed:
                return
            try:
                self._read(unread)
                self._resolve_doubt(doubtful)
            except BaseException as exc:  # noqa: BLE001 -- whatever the brokers do, this thread goes on
                if waits.closed:
                    return
                waits.topic_trouble = str(exc) or type(exc).__name__
                self._wait_without_reader(unread)
            else:
                waits.topic_trouble = ""

    def _read(self, unread: Sequence[Watch]) -> None:
        """Resolve S explicitly *before* anything is assigned: "from the end" loses messages."""
        if unread:
            heard_since = time.monotonic() - UNHEARD_AFTER
            blind = [w for w in unread if self._waits.view_trouble or w.heard_at < max(0.0, heard_since)]
            seen = [watch for watch in unread if watch not in blind]
            offsets = self._ends(seen) if seen else {}
            self._reader.read_from({**offsets, **self._offsets_since(blind)} if blind else offsets)

    def _offsets_since(self, unread: Sequence[Watch]) -> dict[int, int]:
        """
        Return where the log ended when the oldest of these waits began, or somewhat before.

        No view can show what came since then: none answers, which has taken seconds to find out, or nobody folds. Only
        this process's clock says when that was, and it may be ahead of the brokers'.
        """
        assert self.inspector is not None
        with self._waits.lock:
            now = time.monotonic()
            began = min((waiter.began for watch in unread for waiter in watch.everybody()), default=now)
        moment = int((time.time() - (now - began) - CLOCK_AHEAD) * 1000)
        return self.inspector.offsets_at([watch.partition for watch in unread], moment, Deadline(_ANSWER))

    def _resolve_doubt(self, doubtful: Sequence[Watch]) -> None:
        """Where the log itself ends below the highest watermark, records were lost and that watermark means nothing."""
        if not doubtful:
            return
        ends = self._ends(doubtful)
        with self._waits.lock:
            for watch in doubtful:
                watch.older_view_seen = False
                if self._watermarks.log_ends(watch.partition, ends[watch.partition]):
                    watch.hurry()
        self._waits.pause()  # a failover lasts a while: no need to ask all the time

    def _ends(self, watches: Sequence[Watch]) -> dict[int, int]:
        assert self.inspector is not None
        return self.inspector.ends([watch.partition for watch in watches], Deadline(_ANSWER))

    def _wait_without_reader(self, unread: Sequence[Watch]) -> None:
        """Have those whom the topic cannot serve wait through the view; ask the topic again in a moment."""
        with self._waits.lock:
            for waiter in [waiter for watch in unread for waiter in watch.everybody()]:
                if waiter.phase is Phase.NEW:
                    self._waits.want(waiter)
            self._waits.lock.notify_all()
        self._waits.pause()
