"""
Whose turn it is to poll the topic: the reader's own thread's, or that of a thread which waits alone.

A thread that another one wakes runs some 0.2 ms later, which is a tenth of a whole wait. So a thread that waits for the
only task of its client polls by itself, and hands each record to whoever waits for it just as the reader's thread does,
which rests meanwhile. There is never more than one that polls: the turn is lent, and given back.
"""

from __future__ import annotations

from queue import Empty, SimpleQueue
from threading import Lock, current_thread, get_native_id, main_thread
from typing import TYPE_CHECKING, Final

from streamresults.errors import TopicUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Thread

    from streamresults.topic.records import Polled

#: Seconds between two looks whether the turn will ever come back; giving it back wakes at once.
_LOOK_AGAIN: Final = 1.0


class Bell:
    """What a thread that blocks is rung with: that its wait is over, or that it is to poll."""

    __slots__ = ("_rings",)

    def __init__(self) -> None:
        self._rings: Final[SimpleQueue[bool]] = SimpleQueue()

    def over(self) -> None:
        """Ring for the end of the wait; never blocks."""
        self._rings.put(False)

    def poll(self) -> None:
        """Ring for the turn to poll; never blocks."""
        self._rings.put(True)

    def wait(self, seconds: float) -> bool | None:
        """Block until it rings: ``True`` for the turn to poll, ``False`` for the end; ``None`` when it has not rung."""
        try:
            return self._rings.get(timeout=seconds)
        except Empty:
            return None


class Turn:
    """
    The turn to poll. Thread-safe.

    Args:
        closed: Tells whether nobody is to poll any more.
    """

    def __init__(self, closed: Callable[[], bool]) -> None:
        self._closed: Final = closed
        #: Guards who has asked for the turn and who has it; never held while anything blocks.
        self._lock: Final = Lock()
        self._asks: tuple[Bell, Callable[[], bool]] | None = None
        self._has: Bell | None = None
        #: Where the turn that is lent comes back, with what was left undone. One of each loan: of one that its owner
        #: was killed in the middle of, nothing comes back into the next.
        self._back: SimpleQueue[Exception | Polled | None] = SimpleQueue()
        #: The reader's own thread; ``None`` until it runs.
        self.owner: Thread | None = None

    @property
    def is_asked_for(self) -> bool:
        """Whether somebody asks for it."""
        return self._asks is not None

    def ask(self, bell: Bell, may_come: Callable[[], bool]) -> bool:
        """
        Ask for the turn, and tell whether that is possible: it comes by the bell, or never.

        The main thread does not get it: that is where signals arrive, and one must not end it between two records. Nor
        does a green thread: polling would block all others.

        Args:
            may_come: Tells the turn's owner whether it is time for it; must not block.
        """
        if self.owner is None or current_thread() is main_thread() or get_native_id() == self.owner.native_id:
            return False
        with self._lock:
            if self._asks is not None or self._has is not None:
                return False
            self._asks = bell, may_come
        return True

    def leave(self, bell: Bell, undone: BaseException | Polled | None = None) -> None:
        """
        Want the turn no more, and give it back; harmless without it.

        Args:
            undone: The error that polling ended with, or what was polled and is left to the turn's owner.
        """
        if isinstance(undone, BaseException) and not isinstance(undone, Exception):
            undone = TopicUnavailable(f"the thread that polled was interrupted by {type(undone).__name__}")
        with self._lock:
            if self._asks is not None and self._asks[0] is bell:
                self._asks = None
            if self._has is bell:
                self._has = None
                self._back.put(undone)

    def lend(self) -> Polled | None:
        """
        Lend the turn to whoever has asked for it, and block until it is back; only its owner calls this.

        Returns:
            What was polled meanwhile and is left to do.

        Raises:
            Exception: What polling ended with.
        """
        if self._asks is None:  # nearly always, and whoever asks later is seen the next time
            return None
        with self._lock:
            if self._asks is None or not self._asks[1]():
                return None
            bell = self._has = self._asks[0]
            self._asks = None
            back = self._back = SimpleQueue()
        bell.poll()
        while not self._closed():
            try:
                undone = back.get(timeout=_LOOK_AGAIN)
            except Empty:
                continue
            if isinstance(undone, Exception):
                raise undone
            return undone
        return None
