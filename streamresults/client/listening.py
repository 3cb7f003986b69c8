"""The listener: hears which tasks the fold has made ready, and has them looked at. It never reads a value itself."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from streamresults.client.waiter import Phase
from streamresults.errors import ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamresults.client.threads import Threads
    from streamresults.client.waits import Waits
    from streamresults.store.base import Subscription

_log: Final = logging.getLogger("streamresults.waiter")
#: Seconds that listening blocks; closing the subscription ends it earlier.
_LISTEN: Final = 1.0


class Listener:
    """
    Listens on this process's channel, from when somebody first leaves word with the fold.

    Args:
        subscribe: ``None`` without Redis.
    """

    def __init__(self, waits: Waits, threads: Threads, subscribe: Callable[[], Subscription] | None) -> None:
        self._waits: Final = waits
        self._threads: Final = threads
        self._subscribe: Final = subscribe
        self._subscription: Subscription | None = None

    def listens(self) -> bool:
        """Listen, if that is not so already, and tell whether it is: before it is, no word may be left."""
        if self._subscription is not None or self._subscribe is None:
            return True
        try:
            self._subscription = self._subscribe()
        except ServiceUnavailable as exc:
            self._waits.view_trouble = str(exc)
            return False
        self._threads.start("listener", self._listen_forever)
        return True

    def close(self) -> None:
        """End listening."""
        if self._subscription is not None:
            self._subscription.close()

    def _listen_forever(self) -> None:
        subscription, waits = self._subscription, self._waits
        assert subscription is not None
        while not waits.closed:
            try:
                told = subscription.get(_LISTEN)
            except ServiceUnavailable as exc:
                waits.view_trouble = str(exc)
                waits.pause()
                continue
            except BaseException:  # noqa: BLE001 -- whatever the store or its library does, this thread goes on
                if waits.closed:
                    return
                _log.exception("the listener failed and goes on", extra={"action": "listener_failed"})
                told = None
            if told or told is None:
                self.hear(told)

    def hear(self, told: Sequence[str] | None) -> None:
        """Look at once for those the fold has told of; for everybody, when messages may have been missed."""
        keys = None if told is None else {task_id.encode() for task_id in told}
        with self._waits.lock:
            for watch in self._waits.watches.values():
                for key in list(watch.waiters) if keys is None else keys & watch.waiters.keys():
                    for waiter in watch.waiters[key]:
                        # One whose look is under way looks once more: it may have been read before the message.
                        told_now = waiter.phase in {Phase.UNPROVEN, Phase.LOOKING}
                        if told_now or (waiter.phase is Phase.ASLEEP and not waiter.through_topic):
                            watch.unproven.discard(waiter)
                            self._waits.want(waiter)
            self._waits.lock.notify_all()
