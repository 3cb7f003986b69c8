"""What the tests of many tasks share: ends of many, what the view is asked for, and a join beside the test."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from streamresults.events.fold import NEVER, Best, event_summary
from streamresults.events.states import RANK_SUCCESS
from streamresults.store.value import pack_entry
from tests.unit.desk import SOON, Desk

if TYPE_CHECKING:
    from collections.abc import Callable


def succeed(desk: Desk, *tasks: str) -> None:
    """Have tasks end with their own ids as results."""
    with desk.wiring.publisher() as publisher:
        for task in tasks:
            publisher.succeeded(task, task.upper())


def fail(desk: Desk, *tasks: str) -> None:
    """Have tasks end with ValueErrors."""
    with desk.wiring.publisher() as publisher:
        for task in tasks:
            publisher.failed_with(task, ValueError(task))


def fold_without_value(desk: Desk, task: str, offset: int, rank: int = RANK_SUCCESS) -> None:
    """Fold an end of which the view holds the header alone."""
    desk._apply(offset + 1, [(task, pack_entry(event_summary(Best(rank, offset, 0, NEVER, None))))])


class Looks:
    """Counts what the view is asked for."""

    def __init__(self, desk: Desk) -> None:
        self.sizes: list[int] = []
        look = desk.view.look

        def counted(wanted: Any, interest: Any = None) -> Any:
            self.sizes.append(sum(map(len, wanted.values())))
            return look(wanted, interest)

        desk.view.look = counted  # type: ignore[method-assign]


class Joins:
    """Joins in a thread of its own."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._found: list[Any] = []
        self._error: Exception | None = None
        self._call = call
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._found.append(self._call())
        except Exception as exc:  # noqa: BLE001 -- raised where the test asks
            self._error = exc

    def result(self) -> Any:
        self._thread.join(SOON)
        assert not self._thread.is_alive(), "it does not end"
        if self._error is not None:
            raise self._error
        return self._found[0]
