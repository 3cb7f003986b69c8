"""Word from the engine's threads for one coroutine, which stands on its loop until it needs no more of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from streamresults.aio.wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.aio.loops import Loop


class _News(Wakeup):
    """Word that something has come; stands on its loop until then, or for a while."""

    __slots__ = ()

    async def come(self, loop: Loop, seconds: float) -> None:
        number = loop.enter(self, seconds)
        try:
            await self
        finally:
            loop.forget(number)

    def leave(self) -> None:
        """Nothing is to be let go of: the bell is."""

    def due(self) -> float | None:
        """End: it has waited long enough."""
        self.wake()
        return None


class Bell:
    """
    Rung by the engine, on its threads, and heard by one coroutine. A context manager on the loop.

    Whoever rings it is let go of where the loop is closed meanwhile: see :meth:`rung_by`.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop: Final = loop
        self._rung = False
        self._news: _News | None = None
        self._let_go: Callable[[], None] | None = None

    def __enter__(self) -> Self:
        self._number = self._loop.enter(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.forget(self._number)
        self.leave()

    def rung_by(self, let_go: Callable[[], None]) -> None:
        """Say how to let go of who rings it: called once the bell is not needed any more."""
        self._let_go = let_go

    def leave(self) -> None:
        """Let go of who rings it."""
        let_go, self._let_go = self._let_go, None
        if let_go is not None:
            let_go()

    def due(self) -> float | None:
        """Do nothing; a bell has no moment."""
        return None

    def __call__(self) -> None:
        """Ring, on any thread."""
        self._rung = True
        news = self._news
        if news is not None:
            self._loop.tell(news)

    def forget(self) -> None:
        """Take note that all is read that was told of."""
        self._rung = False

    async def wait(self, seconds: float) -> None:
        """Return once it was rung since :meth:`forget`, or so many seconds have passed."""
        self._news = news = _News(self._loop.loop)
        if not self._rung:  # looked at behind leaving it: one of the two threads sees the other
            await news.come(self._loop, seconds)
        self._news = None
