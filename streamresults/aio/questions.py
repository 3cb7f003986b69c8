"""
What blocks is asked on a few threads, never on an event loop: one round trip each, as a rule.

The threads are daemons: a question that is still open never holds up the end of the process.
"""

from __future__ import annotations

import os
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from streamresults.aio.wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.aio.loops import Loop, Loops

P = ParamSpec("P")
T = TypeVar("T")

#: Threads of one face. Fewer let questions that wait for the view hold up the others; more are more threads.
THREADS: Final = 16
#: Seconds without a question after which a thread ends. Shorter starts them again and again, longer keeps those of a
#: face that was never closed.
_IDLE: Final = 5.0


class Question(Wakeup):
    """One question of a coroutine: stands on its loop until it is answered."""

    __slots__ = ("_asked", "_here")

    def __init__(self, loop: Loop, asked: Future[Any]) -> None:
        super().__init__(loop.loop)
        self._here: Final = loop
        self._asked: Final = asked

    def leave(self) -> None:
        """Ask no more, where it is not being asked already."""
        self._asked.cancel()

    def due(self) -> float | None:
        """Do nothing; no question has a moment."""

    def end(self, _: object = None) -> None:
        """Have it end, on whatever thread: it was answered, or will never be."""
        self._here.tell(self)


class Questions:
    """
    Asks for one face. Thread-safe; a forked child has threads of its own.

    Args:
        loops: Where those stand who ask.
        name: Of the threads.
        closed: Makes the error of who asks when it is closed, or is still waiting then.
    """

    def __init__(self, loops: Loops, name: str, closed: Callable[[], Exception]) -> None:
        self._loops: Final = loops
        self._name: Final = name
        self._why_closed: Final = closed
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = Lock()
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = 0
        #: Questions that no thread has dealt with yet.
        self._open = 0
        #: Those of coroutines that wait for an answer. Taken out by finalizers too, so no lock guards it.
        self._asked: dict[Question, None] = {}

    async def ask(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Return what a blocking call returns, in the caller's context, or raise what it raises.

        Whoever is cancelled meanwhile waits no longer; a call that has begun goes on to its own deadline, unheard.

        Raises:
            Exception: The one that ``closed`` makes, where it was closed, before or meanwhile.
        """
        if self._closed:
            raise self._why_closed()
        return await self._answer_to(self._put, partial(call, *args, **kwargs))

    async def ask_alone(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do :meth:`ask` on a thread of its own, for what may take as long as a task does."""
        if self._closed:
            raise self._why_closed()
        return await self._answer_to(self._ask_alone, partial(call, *args, **kwargs))

    async def last(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """End whatever was asked, let nobody ask any more, and return what a last call returns that closes it all."""
        self._closed = True
        for question in list(self._asked):
            question.end()
        self._end_threads()
        # On a thread of its own: those that there are may all wait for what this call ends.
        return await self._answer_to(self._ask_alone, partial(call, *args, **kwargs))

    async def _answer_to(self, put: Callable[[Callable[[], None]], None], call: Callable[[], T]) -> T:
        if self._pid != os.getpid():
            self._begin()
        loop = self._loops.here()
        asked: Future[T] = Future()
        question = Question(loop, asked)
        asked.add_done_callback(question.end)
        self._asked[question] = None
        number = loop.enter(question)
        try:
            put(partial(_answer, asked, partial(copy_context().run, call)))
            await question
            if not asked.done():
                raise self._why_closed()
        finally:
            asked.cancel()
            self._asked.pop(question, None)
            loop.forget(number)
        return asked.result()

    def _put(self, ask: Callable[[], None]) -> None:
        with self._lock:
            self._open += 1
            more = self._threads < min(THREADS, self._open)
            if more:
                self._threads += 1
            number = self._threads
        self._queue.put(ask)
        if more:
            Thread(target=self._ask_forever, name=f"{self._name}-{number}", daemon=True).start()

    def _ask_forever(self) -> None:
        while (ask := self._next()) is not None:
            ask()
            del ask  # what was asked may hold much, and the next question may be long in coming
            with self._lock:
                self._open -= 1

    def _next(self) -> Callable[[], None] | None:
        """Return what is to be asked next, ``None`` when this thread is to end."""
        while True:
            try:
                return self._queue.get(timeout=_IDLE)
            except Empty:
                with self._lock:
                    if self._queue.empty():
                        self._threads -= 1
                        return None

    def _ask_alone(self, ask: Callable[[], None]) -> None:
        Thread(target=ask, name=f"{self._name}-alone", daemon=True).start()

    def _end_threads(self) -> None:
        """Have the threads end once all was dealt with that was asked before."""
        with self._lock:
            for _ in range(self._threads):
                self._queue.put(None)


def _answer(asked: Future[Any], call: Callable[[], Any]) -> None:
    if not asked.set_running_or_notify_cancel():
        return
    try:
        found = call()
    except BaseException as exc:  # noqa: BLE001 -- whatever it is, it belongs to who asks
        asked.set_exception(exc)
    else:
        asked.set_result(found)
