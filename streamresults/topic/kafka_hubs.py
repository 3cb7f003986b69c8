"""
librdkafka where threads are greenlets: gevent and eventlet run all of a process's threads within one.

A call into C that waits would hold up every one of them, and its hub with them. So there it is asked again and again
without waiting, with pauses that the hub fills with others' work, or, where it cannot be asked like that, waits on a
real thread of the hub's own pool. Neither library is imported here: they are there, and have patched, or they are not.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

Handle = TypeVar("Handle")
Answer = TypeVar("Answer")

#: Seconds of the first pause, and of all of them while a record is not acknowledged. Shorter burns the processor,
#: longer adds to every acknowledgement.
SHORTEST: Final = 0.001

#: Seconds of the longest pause. Shorter wakes an idle process more often, longer delays what comes after a silence.
LONGEST: Final = 0.01

#: What waits within C, and neither calls back into Python nor can be asked without waiting.
WAITING: Final = frozenset({"list_topics", "get_watermark_offsets", "offsets_for_times", "committed", "close"})


def on_a_real_thread() -> Callable[..., Any] | None:
    """Return what calls a function on a real thread while other greenlets go on; ``None`` where threads are real."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return _by_gevent
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return _by_eventlet
    return None


def _by_gevent(function: Callable[..., Answer], *arguments: Any, **named: Any) -> Answer:
    answer: Answer = sys.modules["gevent"].get_hub().threadpool.apply(function, arguments, named)
    return answer


def _by_eventlet(function: Callable[..., Answer], *arguments: Any, **named: Any) -> Answer:
    __import__("eventlet.tpool")
    answer: Answer = sys.modules["eventlet.tpool"].execute(function, *arguments, **named)
    return answer


def cooperative(handle: Handle) -> Handle:
    """Return a handle that holds up no greenlet; the same one where threads are real."""
    call = on_a_real_thread()
    stands_in: Any = handle if call is None else _Cooperative(handle, call)
    return stands_in  # type: ignore[no-any-return]  # it stands in the handle's place


def resolved(future: Future[Answer], seconds: float) -> Answer:
    """
    Return what a future of librdkafka's resolves to, which it does from a thread of its own.

    Raises:
        TimeoutError: It did not within the time.
    """
    if on_a_real_thread() is not None:
        # A real thread wakes no greenlet.
        until = time.monotonic() + seconds
        while not future.done() and time.monotonic() < until:
            time.sleep(SHORTEST)
        seconds = 0
    return future.result(seconds)


class _Cooperative:
    """Stands before a handle. What is not said here is the handle's own, and as fast."""

    def __init__(self, handle: Any, call: Callable[..., Any]) -> None:
        self._handle = handle
        self._call = call

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._handle, name)
        if name not in WAITING:
            return found
        call = self._call

        def waiting(*arguments: Any, **named: Any) -> Any:
            return call(found, *arguments, **named)

        return waiting

    def __len__(self) -> int:
        return len(self._handle)

    def poll(self, seconds: float) -> Any:
        """Wait for events, or for a message, as the handle's own does."""
        until = time.monotonic() + seconds
        pause = SHORTEST
        while True:
            found = self._handle.poll(0)
            left = until - time.monotonic()
            if left <= 0:
                return found
            if found is not None and not (isinstance(found, int) and not found):
                time.sleep(0)  # or a steady stream would leave no turn to anybody else
                return found
            time.sleep(min(pause, left))
            pause = SHORTEST if self._expects_more() else min(2 * pause, LONGEST)

    def _expects_more(self) -> bool:
        try:
            return len(self._handle) > 0
        except TypeError:  # a consumer: nobody knows
            return False
