"""
When an event is published again: decisions alone, no sleeping, so that threads and event loops share them.

librdkafka retries what is on its way, until its own delivery timeout. Only when it has given its last word on a record
is that event published again, as a new record with the same event id: nothing is retried by two at a time.
"""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Final

import msgspec

from streamresults.errors import (
    AppendFailed,
    PublishFailed,
    RecordTooLarge,
    RetriesExhausted,
    Spooled,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamresults.deadline import Deadline

#: Doublings after which a pause is at its longest, whatever the settings: beyond, the power is of no use.
_DOUBLINGS_MAX: Final = 32


class RetryOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How often, and with which pauses, something is tried again."""

    #: Whether anything is tried again at all.
    always_retry: bool = True
    #: Negative: as often as the deadline allows.
    max_retries: int = -1
    base_sleep_ms: int = 10
    max_sleep_ms: int = 10_000


def exception_safe_to_retry(exc: BaseException) -> bool:
    """
    Tell whether publishing the same event again is safe and may help: the default predicate.

    It is always safe, as the event keeps its id and the fold takes a second copy for the first. It helps where the
    brokers did not answer in time, be it the event or the schema before it. Where they refused it, because it is too
    large, the topic is missing or it may not be written, or where the publisher is closed, it does not.
    """
    if not isinstance(exc, PublishFailed) or isinstance(exc, RecordTooLarge | Spooled):
        return False
    appended = exc.__cause__
    while appended is not None and not isinstance(appended, AppendFailed):
        appended = appended.__cause__
    return exc.written is None if appended is None else appended.written is None


class Retrying:
    """
    One publisher's way of trying again. Thread-safe.

    Args:
        safe: Decides of an error; :func:`exception_safe_to_retry` when not stated.
        drawn: Draws a number from 0 to 1; for tests.
    """

    def __init__(
        self,
        options: RetryOptions,
        safe: Callable[[BaseException], bool] | None = None,
        drawn: Callable[[], float] = random.random,
    ) -> None:
        self._options: Final = options
        self._safe: Final = safe or exception_safe_to_retry
        self._drawn: Final = drawn

    def may(self, exc: PublishFailed) -> bool:
        """Tell whether an error is one to try again after."""
        return self._options.always_retry and self._safe(exc)

    def pauses(self, deadline: Deadline) -> Iterator[float]:
        """
        Yield the seconds to wait before each retry, and end when none is left or the deadline would pass meanwhile.

        Full jitter: anything from 0 to the doubled base, so that those who failed together do not come back together.
        """
        for number, pause in enumerate(self.for_ever()):
            if number == self._options.max_retries or pause >= deadline.remaining():
                return
            yield pause

    def for_ever(self) -> Iterator[float]:
        """Yield the same pauses without an end, for what goes on in the background."""
        for number in itertools.count():
            longest = min(self._options.max_sleep_ms, self._options.base_sleep_ms * 2 ** min(number, _DOUBLINGS_MAX))
            yield self._drawn() * longest / 1000

    def exhausted(self, last: PublishFailed, state: str, retries: int) -> PublishFailed:
        """Return what to raise when nothing is left to try; after no retry at all, that is the error itself."""
        if not retries:
            return last
        msg = f"tried again {retries} times: {last}"
        error = RetriesExhausted(msg, last=last, state=state, retries=retries)
        error.__cause__ = last
        return error
