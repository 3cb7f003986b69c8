"""What comes behind the queue: an acknowledgement is waited for, and what has failed is tried again where it may be."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from streamresults.errors import PublishFailed, RecordTooLarge, Spooled

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.deadline import Deadline, OptionalTimeout
    from streamresults.events.event import Event, Position
    from streamresults.publisher.outcomes import Outcomes
    from streamresults.publisher.pending import Pending
    from streamresults.publisher.preparing import Preparing
    from streamresults.publisher.retrying import Retrying
    from streamresults.publisher.spool import Spool


class Confirming:
    """
    Sees the events of one publisher through. Thread-safe.

    Args:
        queue: Queues an event that is prepared already.
        spool: Keeps what is not acknowledged in time, and has nothing tried again; ``None`` without one.
    """

    def __init__(
        self,
        queue: Callable[[Event, OptionalTimeout], Pending],
        outcomes: Outcomes,
        preparing: Preparing,
        retrying: Retrying,
        spool: Spool | None,
    ) -> None:
        self._queue: Final = queue
        self._outcomes: Final = outcomes
        self._preparing: Final = preparing
        self._retrying: Final = retrying
        self._spool: Final = spool
        self._closing = threading.Event()

    def after_fork(self) -> None:
        """Replace, in a forked child, what another thread of the parent may have held at that moment."""
        self._closing = threading.Event()

    def close(self) -> None:
        """Try nothing again any more: whoever pauses before a retry gets its error at once."""
        self._closing.set()

    def confirmed(self, pending: Pending, budget: Deadline) -> Position:
        """
        Block until the brokers hold an event, and return its position.

        Raises:
            Spooled: The disk of the spool holds it instead.
            PublishFailed: It was refused, or not acknowledged in time.
        """
        try:
            return pending.position(budget.remaining())
        except TimeoutError as exc:
            if self._spool is not None:
                return self._spool.outcome(pending)
            error = self._outcomes.gave_up(
                pending.event, f"outcome unknown: not acknowledged in {budget.total:g} s", written=None
            )
            pending.give_up(error)
            raise error from exc

    def try_again(self, event: Event, last: PublishFailed, budget: Deadline) -> Position | None:
        """
        Publish an event that failed again, inside its deadline, as long as that is safe and may help.

        Returns:
            ``None`` where it rests in the spool.

        Raises:
            PublishFailed: It failed again, or must not be tried again; a RetriesExhausted if it was.
        """
        outside = isinstance(last, RecordTooLarge) and self._preparing.can_keep_outside(event)
        if outside:
            event = self._preparing.kept_outside(event)
        if not outside and not self._may(last):
            raise last
        retries = 0
        for pause in self._retrying.pauses(budget):
            if self._closing.wait(0.0 if outside else pause):
                break
            retries += 1
            outside = False
            self._outcomes.not_given_up(1)
            try:
                return self.confirmed(self._queue(event, budget.remaining()), budget)
            except Spooled:
                return None
            except PublishFailed as exc:
                last = exc
            if not self._may(last):
                break
        raise self._retrying.exhausted(last, event.state, retries)

    def _may(self, last: PublishFailed) -> bool:
        return self._spool is None and self._retrying.may(last)
