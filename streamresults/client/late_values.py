"""
The fetcher: values that stand in the log alone are fetched before the waits that ended with them are told.

So nobody who waits holds a thread for that, and an outage of Kafka delays these waits and no others: they are asked for
again until they come, the waits' own deadlines pass, or it is known that they never will.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from streamresults.client.fetching import Spot, may_come
from streamresults.client.waiter import Phase
from streamresults.deadline import ANSWER, Deadline
from streamresults.errors import RecordGone

if TYPE_CHECKING:
    from streamresults.client.threads import Threads
    from streamresults.client.waiter import Answer, Waiter
    from streamresults.client.waits import Waits

#: Seconds for one attempt: the first, and the longest when none has come for that long. Shorter asks slow brokers anew
#: before they can answer, longer holds up those that came for those that do not.
_ATTEMPT: Final = 2.0
#: Reads records of the log: see :meth:`Fetcher.fetch_many`.
Fetch = Callable[[Iterable[Spot], Deadline], Mapping[Spot, bytes | Exception | None]]


class LateValues:
    """
    Serves the waits that have ended with a value that they do not have yet.

    Args:
        fetch: May block for as long as one answer of the brokers takes.
    """

    def __init__(self, waits: Waits, threads: Threads, fetch: Fetch) -> None:
        self._waits: Final = waits
        self._threads: Final = threads
        self._fetch: Final = fetch
        self._attempt = _ATTEMPT
        waits.fetch_unread = self._call

    def _call(self) -> None:
        """Have it look at what there is to do; the lock is held."""
        self._threads.start("fetcher", self._fetch_forever)
        self._waits.lock.notify_all()

    def _fetch_forever(self) -> None:
        waits = self._waits
        while not waits.closed:
            with waits.lock:
                waits.lock.wait_for(lambda: waits.closed or waits.unfetched)
                unread = dict(waits.unfetched)
            if waits.closed:
                return
            found = self._found({_spot(waiter, answer) for waiter, answer in unread.items()})
            with waits.lock:
                late = [self._end(waiter, answer, found[_spot(waiter, answer)]) for waiter, answer in unread.items()]
            self._attempt = min(2 * self._attempt, ANSWER) if all(late) else _ATTEMPT
            if any(late):
                waits.pause()

    def _found(self, spots: set[Spot]) -> Mapping[Spot, bytes | Exception | None]:
        try:
            return self._fetch(spots, Deadline(self._attempt))
        except Exception as exc:  # noqa: BLE001 -- whatever the client library does, this thread goes on
            return dict.fromkeys(spots, exc)

    def _end(self, waiter: Waiter, answer: Answer, value: bytes | Exception | None) -> bool:
        """End a wait with its value, or with why there is none; ``True`` when that may still come. The lock is held."""
        if waiter.phase is not Phase.FETCHING:
            return False  # given up meanwhile
        if may_come(value):
            return True
        if isinstance(value, bytes):
            assert answer.best is not None
            waiter.finish(answer._replace(best=replace(answer.best, value=value)))
            self._waits.strike_out(waiter)
        else:
            self._waits.fail(waiter, value or RecordGone(f"the record at {_spot(waiter, answer)} is a tombstone"))
        return False


def _spot(waiter: Waiter, answer: Answer) -> Spot:
    assert answer.best is not None
    return waiter.partition, answer.best.offset
