"""Records the calls of a function: the decorator. It changes neither what a call returns nor what it raises."""

from __future__ import annotations

import functools
import inspect
import uuid
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from streamresults.publisher.task_run import TaskRun

P = ParamSpec("P")
R = TypeVar("R")


class Recorder:
    """
    The decorator that :meth:`Publisher.record` returns; one may decorate several functions.

    Args:
        begin: Makes the block that records a call: :meth:`Publisher.run`, or the one of another face.
    """

    def __init__(
        self,
        begin: Callable[..., TaskRun],
        name: str,
        *,
        make_id: Callable[..., str] | None,
        record_call: bool,
        fields: dict[str, Any],
    ) -> None:
        self._begin: Final = begin
        self._name: Final = name
        self._make_id: Final = make_id
        self._record_call: Final = record_call
        self._fields: Final = fields

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """
        Return a function of the same signature whose calls are recorded.

        Raises:
            TypeError: It is a generator function: its call returns before it has run.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            msg = f"{function.__qualname__} is a generator function: wrap what drives it in publisher.run(...) instead"
            raise TypeError(msg)
        name = self._name or f"{function.__module__}.{function.__qualname__}"
        if inspect.iscoroutinefunction(function):
            return cast("Callable[P, R]", self._asynchronous(function, name))

        @functools.wraps(function)
        def recorded(*args: P.args, **kwargs: P.kwargs) -> R:
            with self._run(name, args, kwargs) as run:
                result = function(*args, **kwargs)
                run.result = result
            return result

        return recorded

    def _asynchronous(self, function: Callable[P, Awaitable[R]], name: str) -> Callable[P, Awaitable[R]]:
        @functools.wraps(function)
        async def recorded(*args: P.args, **kwargs: P.kwargs) -> R:
            async with self._run(name, args, kwargs) as run:
                result = await function(*args, **kwargs)
                run.result = result
            return result

        return recorded

    def _run(self, name: str, args: tuple[object, ...], kwargs: dict[str, Any]) -> TaskRun:
        task_id = self._make_id(*args, **kwargs) if self._make_id is not None else uuid.uuid4().hex
        call = {"args": args, "kwargs": kwargs} if self._record_call else {}
        return self._begin(task_id, name=name, **call, **self._fields)
