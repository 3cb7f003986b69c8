"""
All waits of a process: one reader of the topic, one looker at the view, however many wait.

The wait through the topic follows "Waiting" in docs/architecture.md step by step; the numbers stand in the code. What
must hold at one moment happens under one lock, the dispatch lock of the table of waits. Threads and event loops share
this engine: only what ``notify`` does differs.

The threads, each started when it is first needed:

========  ===============  ============================================================================
looker    ``looking.py``   plain looks, looks (step 2), decisions (step 3) and rounds of looking again
assigner  ``assigning.py`` asks the brokers where partitions end, has them read; may block
reader    ``reading.py``   matches records (step 4), loses its place (step 5)
listener  ``listening.py`` hears from the fold who became ready
fetcher   ``late_values``  fetches values that stand in the log alone, before waits are told of their ends
========  ===============  ============================================================================
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from streamresults.client.assigning import Assigner
from streamresults.client.homes import Homes
from streamresults.client.late_values import LateValues
from streamresults.client.listening import Listener
from streamresults.client.looking import Looker
from streamresults.client.reading import Reader
from streamresults.client.threads import Threads
from streamresults.client.waiter import Answer, Phase, Waiter
from streamresults.client.waits import Waits
from streamresults.errors import ClientClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamresults.client.fetching import Fetcher
    from streamresults.client.followers import Follower
    from streamresults.client.watermarks import HighestWatermarks
    from streamresults.events.codec import Codec
    from streamresults.store.base import Subscription, View
    from streamresults.topic.base import TopicInspector, TopicReader


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
        view: ``None`` without Redis.
        open_reader: Opens the reader when the first wait needs it; ``None`` without Kafka.
        inspector: Answers where partitions end, on a connection of its own; ``None`` without Kafka.
        trouble: Why the view did not answer when it was looked for; empty if it did.
        subscribe: Listens on this process's channel; ``None`` without Redis.
        fetcher: Reads records of the log by their positions, and is closed with the engine; ``None`` without Kafka.
        forgotten: Told of the tombstones that the reader passes; must not block.
    """

    def __init__(
        self,
        view: View | None,
        codec: Codec,
        watermarks: HighestWatermarks,
        *,
        open_reader: Callable[[], TopicReader] | None,
        inspector: TopicInspector | None,
        subscribe: Callable[[], Subscription] | None,
        channel: str,
        options: EngineOptions,
        trouble: str = "",
        forgotten: Callable[[str], None] | None = None,
        fetcher: Fetcher | None = None,
    ) -> None:
        self._can_read: Final = open_reader is not None and inspector is not None
        self._watermarks: Final = watermarks
        self.waits: Final = Waits()
        self.homes: Final = Homes(self.waits)
        #: Says why the engine was ended, where that was not by closing it.
        self._why_ended: Callable[[], Exception] | None = None
        self.waits.view_trouble = trouble if view is not None else "no Redis is configured"
        self.threads: Final = Threads()
        self.reader: Final = Reader(self.waits, self.threads, codec, open_reader, forgotten)
        self.assigner: Final = Assigner(self.waits, self.threads, self.reader, watermarks, inspector)
        self.listener: Final = Listener(self.waits, self.threads, subscribe)
        self._fetcher: Final = fetcher
        if fetcher is not None:
            LateValues(self.waits, self.threads, fetcher.fetch_many)
        self.looker: Final = Looker(
            self.waits,
            view,
            codec,
            watermarks,
            assigner=self.assigner,
            reader=self.reader,
            listener=self.listener,
            channel=channel,
            options=options,
            settle=self.homes.settle,
        )

    @property
    def traffic(self) -> float:
        """Bytes a second that are read of the topic."""
        return self.reader.traffic

    def submit(
        self, task_id: str, partition: int, notify: Callable[[], None], *, through_topic: bool, spent: float = 0.0
    ) -> Waiter:
        """
        Begin a wait and return at once; ``notify`` is called once, on another thread, and must not block.

        Args:
            spent: Seconds for which the caller has been waiting already.

        Raises:
            ClientClosed: The engine is closed.
            TopicRecreated: It was ended, as its topic is gone.
        """
        waiter = Waiter(task_id, partition, notify, through_topic=through_topic and self._can_read, spent=spent)
        with self.waits.lock:
            if self._why_ended is not None:
                raise self._why_ended()
            if self.waits.closed:
                raise ClientClosed("the client is closed", task_id=task_id)
            self.threads.start("looker", self.looker.look_forever)
            self.homes.enter(waiter)
        return waiter

    def follow(self, follower: Follower) -> None:
        """
        Have every record of a key told to a follower, from the moment that its partition is read.

        Raises:
            ClientClosed, TopicRecreated: As :meth:`submit` does.
        """
        with self.waits.lock:
            self._check_open(follower.key.decode())
            self.threads.start("looker", self.looker.look_forever)
            self.waits.follow(follower)
            self.assigner.call()

    def look_again(self, waiter: Waiter) -> None:
        """Read the view once more for a wait that sleeps."""
        with self.waits.lock:
            if waiter.phase is Phase.ASLEEP:
                self.waits.want(waiter)
                self.waits.lock.notify_all()

    def _check_open(self, task_id: str) -> None:
        """Refuse whoever comes too late; the lock is held."""
        if self._why_ended is not None:
            raise self._why_ended()
        if self.waits.closed:
            raise ClientClosed("the client is closed", task_id=task_id)

    def give_up(self, waiter: Waiter) -> Answer | None:
        """End a wait from outside; return the best that the topic has shown meanwhile, if that is an end."""
        return self.homes.give_up(waiter)

    def leave(self, waiters: Sequence[Waiter]) -> None:
        """End waits from outside, and tell nobody. Never blocks: finalizers come here."""

        def give_up() -> None:
            for waiter in waiters:
                self.homes.give_up(waiter)

        self.waits.lock.leave(give_up)

    def unfollow(self, followers: Sequence[Follower]) -> None:
        """Tell these nothing more. Never blocks: finalizers come here."""

        def unfollow() -> None:
            for follower in followers:
                self.waits.unfollow(follower)

        self.waits.lock.leave(unfollow)

    def describe(self, partition: int) -> str:
        """Say what the view covers and what is wrong, for an error's text."""
        with self.waits.lock:
            watch = self.waits.watches.get(partition)
            if self.waits.view_trouble:
                view = f"view: {self.waits.view_trouble}"
            elif watch is None or not watch.was_looked_at:
                view = "view: not looked at yet"
            elif watch.heard_at < 0:
                view = f"view: nothing of partition {partition} is there, no compactor seems to run"
            else:
                age = time.monotonic() - watch.heard_at
                view = f"view: folded up to {self._watermarks.of(partition)}, last heard of {age:.1f} s ago"
            if watch is not None and watch.is_read:
                trouble = f", now {self.waits.topic_trouble}" if self.waits.topic_trouble else ""
                return f"{view}; topic: read up to {watch.next_offset}{trouble}"
            return f"{view}; topic: {self.waits.topic_trouble or 'not read'}"

    def fail(self, why: Callable[[], Exception]) -> None:
        """End every wait with an error of its own."""
        with self.waits.lock:
            for waiter in [*self.waits.everybody(), *self.waits.unfetched]:
                self.waits.fail(waiter, why())
            self.waits.end_followers(why)

    def end(self, why: Callable[[], Exception]) -> None:
        """Let nobody wait any more, for a reason: end every wait with it, and close."""
        with self.waits.lock:
            self._why_ended = why
            self.fail(why)
        self.close()

    def close(self) -> None:
        """End every wait with ClientClosed, and release every connection."""
        if self.waits.close():
            self.reader.wake()
            self.listener.close()
            if self._fetcher is not None:
                self._fetcher.close()
            self.threads.join()
            self.reader.close()
