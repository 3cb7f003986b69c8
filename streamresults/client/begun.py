"""
One wait under way, for whoever is told of its end in a way of its own, such as an event loop.

Nothing here blocks, but for finding topic and view the first time and for a value that has to be fetched from the log:
:func:`is_placed` and :attr:`Begun.needs_fetch` say so before.
"""

# ruff: noqa: SLF001 -- one half of a client's face for one wait; the other half is waiting.py

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from streamresults.client.connected import check_id, within
from streamresults.client.waiter import Phase
from streamresults.events.running import check_waiting_allowed

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.client.engine import Engine
    from streamresults.client.options import Via
    from streamresults.client.result import Result
    from streamresults.client.waiter import Waiter
    from streamresults.client.waiting import Waiting
    from streamresults.client.whereabouts import Place
    from streamresults.deadline import Deadline, OptionalTimeout

_log: Final = logging.getLogger("streamresults.client")


class Begun:
    """One wait that was begun; made by :func:`begin`. Tens of thousands may stand at once."""

    __slots__ = ("_client", "_engine", "_place", "_waiter", "deadline")

    def __init__(self, client: Waiting, waiter: Waiter, engine: Engine, place: Place, deadline: Deadline) -> None:
        self._client: Final = client
        self._waiter: Final = waiter
        self._engine: Final = engine
        self._place: Final = place
        #: When it is over whatever has come; whoever waits keeps it.
        self.deadline: Final = deadline

    @property
    def needs_fetch(self) -> bool:
        """Whether :meth:`result` would block: the answer is known, and its value stands in the log alone."""
        answer = self._waiter.answer
        return answer is not None and answer.is_unread

    def result(self) -> Result:
        """
        End the wait, and return what has come, or raise why there is nothing.

        Raises:
            WaitTimeout: Nothing has come, and whoever asks has no more time.
            Exception: As :meth:`Client.wait` does.
        """
        waiter, client = self._waiter, self._client
        answer = waiter.answer or self._engine.give_up(waiter)
        if answer is not None:
            return client._as_result(waiter, answer, self._place, self.deadline)
        if waiter.error is not None:
            raise waiter.error
        raise client._timed_out(waiter, self.deadline, self._engine)

    def give_up(self) -> None:
        """
        End the wait from outside: nobody is told, and nothing of it is left. Harmless when it is over.

        Takes no lock, as a finalizer may come here.
        """
        if self._waiter.phase is not Phase.OVER:
            self._engine.leave((self._waiter,))

    def remind(self) -> None:
        """Log that it still lasts."""
        _log.info(
            "still waiting for task %s after %.0f s",
            self._waiter.task_id,
            self.deadline.elapsed(),
            extra={"action": "waiting"},
        )


def begin(client: Waiting, task_id: str, notify: Callable[[], None], deadline: Deadline, via: Via) -> Begun:
    """
    Begin a wait and return at once; blocks only where the client is not placed yet.

    Args:
        notify: Called once when it is over, on another thread and under the dispatch lock: must not block, nor raise.
            Nobody is told when the deadline passes.

    Raises:
        ClientClosed, ServiceUnavailable, ValueError, WaitRefused: As :meth:`Client.wait` does.
    """
    check_id(task_id)
    check_waiting_allowed(task_id)
    place, engine = client._entrance(task_id, within(deadline))
    partition = client._whereabouts.partition_of(task_id, place)
    through_topic, spent = client._through_topic(via, engine), deadline.elapsed()
    waiter = engine.submit(task_id, partition, notify, through_topic=through_topic, spent=spent)
    return Begun(client, waiter, engine, place, deadline)


def is_placed(client: Waiting) -> bool:
    """Tell whether a client knows topic and view in this process, so that beginning a wait does not block."""
    return client._closed or (client._usable and client._whereabouts.place is not None)


def find_place(client: Waiting, task_id: str, deadline: Deadline) -> None:
    """
    Have a client find topic and view; blocks until that is done.

    Raises:
        ServiceUnavailable, TopicMismatch, ClientClosed, ValueError: As :meth:`Client.wait` does.
    """
    check_id(task_id)
    client._entrance(task_id, within(deadline))


def deadline_of(client: Waiting, timeout: OptionalTimeout) -> Deadline:
    """Return the deadline of a wait; the client's own where none is stated."""
    return client._deadline(timeout)
