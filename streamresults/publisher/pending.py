"""One event on its way, and what will become of it. Thousands are under way at once, so it is kept small."""

from __future__ import annotations

from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from streamresults.deadline import Deadline
from streamresults.events.event import Position

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamresults.deadline import Timeout
    from streamresults.events.event import Event
    from streamresults.publisher.outcomes import Outcomes
    from streamresults.topic.records import Acknowledgement

#: Seconds after which who waits offers itself again to the writer. It is told without that; but the thread that would
#: tell it may be held up by what a signal's handler has interrupted, and the handler be the one that waits. Shorter
#: wakes many threads for nothing while a broker is away, longer holds such a handler up for as long.
ATTEND_AGAIN: Final = 0.25


class Pending:
    """
    One event on its way: answers when the brokers have spoken.

    Made by :meth:`Publisher.send`. Costs a tenth of a concurrent Future; :meth:`future` gives one on request.
    """

    __slots__ = ("_callbacks", "_error", "_outcomes", "_place", "event")

    def __init__(self, event: Event, outcomes: Outcomes) -> None:
        #: The event that is published.
        self.event = event
        self._outcomes = outcomes
        #: Partition and offset, once the brokers hold it.
        self._place: tuple[int, int] | None = None
        self._error: Exception | None = None
        #: Replaced and never changed; whoever does holds the lock of the outcomes.
        self._callbacks: Sequence[Callable[[Pending], None]] = ()

    def __call__(self, acknowledgement: Acknowledgement) -> None:
        """Take the brokers' answer; the writer calls this once, on whichever thread serves."""
        if acknowledgement.error is None:
            self._place = acknowledgement.partition, acknowledgement.offset
        elif self._error is None:
            self._error = self._outcomes.refused(self.event, acknowledgement.error)
        # The order matters: who waits first leaves word and then looks at the answer, so one of us sees the other.
        if self._callbacks:
            self._tell()

    def settle(self, error: Exception) -> None:
        """Take an outcome from elsewhere than the brokers; what they have said before stands."""
        if not self.done:
            self._error = error
            self._tell()

    def _tell(self) -> None:
        for callback in self._callbacks:
            callback(self)

    @property
    def done(self) -> bool:
        """Whether the brokers have spoken."""
        return self._place is not None or self._error is not None

    @property
    def acknowledged(self) -> bool:
        """Whether the brokers hold the event."""
        return self._place is not None and self._error is None

    def on_done(self, callback: Callable[[Pending], None]) -> None:
        """
        Have a function called once the outcome is known; where it is known already, now.

        On any thread: the publisher's own, or one that publishes or waits for an event at that moment. It must not
        block; it may be called twice, when the outcome comes at this moment.
        """
        with self._outcomes.lock:
            self._callbacks = (*self._callbacks, callback)
        if self.done:
            callback(self)
        else:
            self._outcomes.urge()

    def position(self, timeout: Timeout = None) -> Position:
        """
        Block until the brokers hold the event and return where it stands; ``None`` waits for ever.

        Raises:
            PublishFailed: It was refused, or its outcome is unknown.
            TimeoutError: The timeout passed first; the event is still under way.
        """
        deadline = Deadline(timeout)
        while not self.done:
            self._outcomes.attend(lambda: self.done, deadline.remaining())
            if not self.done and not self._wait(deadline.remaining(ATTEND_AGAIN)) and deadline.passed():
                msg = f"task {self.event.task_id!r}: not acknowledged yet"
                raise TimeoutError(msg)
        if self._error is not None:
            raise self._error
        assert self._place is not None
        return Position(self._outcomes.topic_id, *self._place)

    def _wait(self, seconds: float) -> bool:
        told: SimpleQueue[Pending] = SimpleQueue()  # a twentieth of what an Event costs, and no lock of ours
        with self._outcomes.lock:
            self._callbacks = (*self._callbacks, told.put)
        try:
            if not self.done:
                with suppress(Empty):
                    told.get(timeout=seconds)
        finally:
            with self._outcomes.lock:
                self._callbacks = tuple(one for one in self._callbacks if one != told.put)
        return self.done

    def give_up(self, error: Exception) -> None:
        """Take the outcome from a caller who waits no longer; what the brokers say later changes nothing."""
        self._error = error

    def future(self) -> Future[Position]:
        """Return a concurrent Future of the same outcome."""
        future: Future[Position] = Future()

        def settle(pending: Pending) -> None:
            # Both the writer's thread and this one may come here: the first one settles it.
            with suppress(InvalidStateError):
                if pending._error is not None:
                    future.set_exception(pending._error)
                else:
                    future.set_result(pending.position())

        self.on_done(settle)
        return future
