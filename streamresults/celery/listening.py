"""``on_message`` of a set: every meta of each of its tasks, told by the thread that joins them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

from streamresults.client.attended_join import AttendedJoin

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from streamresults.client import Client, Result
    from streamresults.deadline import Deadline

Meta = dict[str, Any]


class Listening:
    """
    A join that may be listened to; a context. Where nobody listens it is the client's own join, and costs nothing.

    Args:
        on_message: Called with every meta of each task, from its first state on, by the thread that waits; of a set
            that has ended already, with the ends alone. ``None``: nobody listens.
        meta_of: Makes a meta of an event.
        deadline: Of the whole join.
    """

    def __init__(
        self,
        client: Client,
        on_message: Callable[[Meta], Any] | None,
        meta_of: Callable[[Result], Meta],
        deadline: Deadline,
    ) -> None:
        self._client: Final = client
        self._on_message: Final = on_message
        self._meta_of: Final = meta_of
        self._join: Final = None if on_message is None else AttendedJoin(client, self._event, deadline)

    def ends(self, task_ids: Collection[str], timeout: float | None) -> Iterator[tuple[str, Result | Exception]]:
        """
        Give the tasks that end within some seconds, each once everything was told of it.

        Raises:
            WaitTimeout: Not all of them have; may be called again with those.
        """
        if self._join is None:
            return self._client.results(task_ids).ends(timeout)
        return self._join.ends(list(task_ids), timeout)

    def tell(self, meta: Meta) -> None:
        """Tell of an end that is no event of the topic's, or was known without it."""
        if self._on_message is not None:
            self._on_message(meta)

    def _event(self, event: Result) -> None:
        self.tell(self._meta_of(event))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._join is not None:
            self._join.close()
