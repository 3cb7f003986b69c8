"""Many tasks as one thing: joined in their order, or taken as they end."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

from streamresults.client.counting import Counting
from streamresults.client.joining import Joining
from streamresults.client.picking import Everything, First, FirstException, FirstSuccess, Values
from streamresults.client.result import Result
from streamresults.deadline import NOT_STATED

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from streamresults.client.handle import ResultHandle
    from streamresults.client.joining import Ended
    from streamresults.client.options import Via
    from streamresults.client.picking import Picking, Places
    from streamresults.client.result_cache import ResultCache
    from streamresults.deadline import Deadline, OptionalTimeout

T = TypeVar("T")


class ResultSet(Counting):
    """
    Tasks and sets of them, in an order; made by :meth:`Client.results`. Changing it is not thread-safe, reading it is.

    A task may be a member twice; it is asked for once. What hangs in nested sets belongs to the whole.
    """

    # -- waiting ----------------------------------------------------------------------------------------------------

    def join(
        self,
        timeout: OptionalTimeout = NOT_STATED,
        *,
        propagate: bool = True,
        via: Via = "auto",
        callback: Callable[[str, object], object] | None = None,
    ) -> list[Any]:
        """
        Block until every task has ended, and return their results in the order of the members; lists of nested sets.

        Args:
            timeout: One for all of them; 0 looks once.
            propagate: Raise the exception of a task that failed as soon as one has, of several the first in order; if
                not, exceptions stand in the list, also where a result cannot be read.
            callback: Called with id and value of each task as it ends.

        Raises:
            WaitTimeout: Some have not ended; says how many and which.
            BaseException: What a task raised.
            ClientClosed, WaitRefused: See their names.
        """
        return self._pick(Values(self, propagate=propagate, callback=callback), timeout, via)

    get = join

    def all(self, timeout: OptionalTimeout = NOT_STATED, *, via: Via = "auto") -> list[Any]:
        """
        Block until every task has ended, and return what is known of each, in the order of the members.

        What could not be read is an exception in its place.

        Raises:
            WaitTimeout, ClientClosed, WaitRefused: As :meth:`join` does.
        """
        return self._pick(Everything(self), timeout, via)

    def ends(
        self, timeout: OptionalTimeout = NOT_STATED, *, via: Via = "auto"
    ) -> Iterator[tuple[str, Result | Exception]]:
        """
        Give the id of each task as it ends, each once, with what is known of it or why that could not be read.

        Raises:
            WaitTimeout, ClientClosed, WaitRefused: As :meth:`join` does.
        """
        with closing(self._ends(self.handles(), via, self._client._deadline(timeout))) as ends:  # noqa: SLF001
            for ended in ends:
                yield from ended

    def as_completed(self, timeout: OptionalTimeout = NOT_STATED, *, via: Via = "auto") -> Iterator[ResultHandle]:
        """
        Give a handle of each task as it ends, each once, also of nested sets; its properties need not be read again.

        Raises:
            WaitTimeout, ClientClosed, WaitRefused: As :meth:`join` does.
        """
        handles = self.handles()
        for task_id, _ in self.ends(timeout, via=via):
            yield handles[task_id]

    def first(self, timeout: OptionalTimeout = NOT_STATED, *, via: Via = "auto") -> ResultHandle:
        """
        Block until one task has ended, however it ended, and return it.

        Raises:
            WaitTimeout, ClientClosed, WaitRefused: As :meth:`join` does.
            ValueError: The set has no tasks.
        """
        return self._pick(First(self.handles()), timeout, via)

    def any(self, timeout: OptionalTimeout = NOT_STATED, *, via: Via = "auto") -> ResultHandle:
        """
        Block until one task has ended with SUCCESS, and return it.

        Raises:
            BaseException: All of them have ended, and none with SUCCESS: what the last one raised.
            WaitTimeout, ClientClosed, WaitRefused: As :meth:`join` does.
            ValueError: The set has no tasks.
        """
        return self._pick(FirstSuccess(self.handles()), timeout, via)

    def first_exception(self, timeout: OptionalTimeout = NOT_STATED, *, via: Via = "auto") -> ResultHandle | None:
        """
        Block until a task has failed or was revoked, and return it; ``None`` once all have ended without that.

        Raises:
            WaitTimeout, ClientClosed, WaitRefused: As :meth:`join` does.
        """
        return self._pick(FirstException(self.handles()), timeout, via)

    def _pick(self, picking: Picking[T], timeout: OptionalTimeout, via: Via) -> T:
        with closing(self._ends(picking.handles, via, self._client._deadline(timeout))) as ends:  # noqa: SLF001
            for ended in ends:
                if picking.take(picking.read(ended)):
                    break
        return picking.picked()

    def _ends(
        self, handles: Mapping[str, ResultHandle], via: Via, deadline: Deadline
    ) -> Generator[list[Ended], None, None]:
        """Give what ends, and let the handles keep it."""
        kept, left = kept_ends(handles)
        if kept:
            yield kept
        if left:
            with closing(Joining(self._client, left, via, deadline).ends()) as ends:
                for ended in ends:
                    keep_ends(self._client._cache, handles, ended)  # noqa: SLF001
                    yield ended

    # -- for every face of a set --------------------------------------------------------------------------------------

    def group_ids(self) -> dict[bytes, str]:
        """Return the ids of the groups that this consists of, by their bytes; empty where order needs none."""
        found: dict[bytes, str] = {}
        for member in self._members:
            if isinstance(member, ResultSet):
                found.update(member.group_ids())
        return found

    def in_order(self, values: Mapping[str, object], places: Places) -> list[Any]:
        """
        Return values in the order of the members, lists for nested sets.

        Args:
            places: What events say of groups, and of indexes in them.
        """
        return [
            member.in_order(values, places) if isinstance(member, ResultSet) else values[member.task_id]
            for member in self._sorted(places)
        ]

    def _sorted(self, places: Places) -> Sequence[ResultHandle | ResultSet]:  # noqa: ARG002 -- groups go by it
        return self._members

    def forget(self, timeout: OptionalTimeout = NOT_STATED) -> None:
        """
        Forget every task of the set; see :meth:`Client.forget`.

        Raises:
            PublishFailed, ClientClosed: See their names; some may be forgotten then.
        """
        deadline = self._client._deadline(timeout)  # noqa: SLF001
        for handle in self.handles().values():
            handle.forget(deadline.remaining())


def kept_ends(handles: Mapping[str, ResultHandle]) -> tuple[list[Ended], list[str]]:
    """Return the ends that handles have seen already, and the ids of all other tasks. Asks nobody."""
    kept: list[Ended] = []
    left = []
    for task_id, handle in handles.items():
        found = handle._known()  # noqa: SLF001
        if found is None:
            left.append(task_id)
        else:
            kept.append((task_id, found))
    return kept, left


def keep_ends(cache: ResultCache, handles: Mapping[str, ResultHandle], ended: Sequence[Ended]) -> None:
    """Let handles, and the cache of all handles, keep the ends that have come; a mark alone may still be overtaken."""
    ends = [end for _, end in ended if type(end) is Result and (end.mark is None or end.ready)]
    for end in ends:
        handles[end.task_id]._kept = end  # noqa: SLF001
    cache.keep(ends)
