"""A property that is awaited: it asks nobody before that, and does not pass for its own answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from streamresults.aio.questions import Questions

T = TypeVar("T")


class Asked(Generic[T]):
    """What ``await`` gives; nothing is asked before, and nothing is left of one that nobody awaits."""

    __slots__ = ("_call", "_questions")

    def __init__(self, questions: Questions, call: Callable[[], T]) -> None:
        self._questions: Final = questions
        self._call: Final = call

    def __await__(self) -> Generator[object, None, T]:
        return self._questions.ask(self._call).__await__()

    def __bool__(self) -> NoReturn:
        """Refuse to stand for the answer: ``if handle.ready`` would always be true."""
        raise TypeError("this is to be awaited: write `await` before it")

    def __repr__(self) -> str:
        return "<Asked: to be awaited>"
