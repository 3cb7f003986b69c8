"""
The mark of a running task, and whether code inside of it may wait for other tasks. It belongs to the task's context.

A context is that of :mod:`contextvars`: a thread's own, or an asyncio task's. No other thread and no other task is
affected by what is set here.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from streamresults.errors import WaitRefused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextvars import Token

#: The task that runs here and may not wait; empty for none.
_RUNNING: Final[ContextVar[str]] = ContextVar("streamresults_running", default="")


def begin_task(task_id: str) -> Token[str]:
    """Mark that a task runs here from now on; the token ends it."""
    return _RUNNING.set(task_id)


def end_task(token: Token[str]) -> None:
    """End what :func:`begin_task` has begun, in the same context."""
    _RUNNING.reset(token)


@contextmanager
def allow_waiting() -> Iterator[None]:
    """
    Let the code inside wait for other tasks, though a task runs it.

    For workers that cannot run out of slots: where all of them wait for tasks that no worker is left to run, none of
    them ever ends.
    """
    token = _RUNNING.set("")
    try:
        yield
    finally:
        _RUNNING.reset(token)


def check_waiting_allowed(awaited: str) -> None:
    """
    Refuse to wait inside a running task.

    Raises:
        WaitRefused: A task runs here, and nobody has allowed it to wait.
    """
    running = _RUNNING.get()
    if running:
        msg = (
            f"task {running!r} is about to wait for {awaited!r} while it runs: where every worker does so, nobody runs "
            "what they wait for. If that cannot happen: with streamresults.allow_waiting()"
        )
        raise WaitRefused(msg, task_id=awaited)
