"""Many tasks as one thing: counted in one round trip, joined in their order, or taken as they end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from streamresults.client.joining import Joining
from streamresults.client.members import Members
from streamresults.client.unfetched import UnfetchedResult
from streamresults.deadline import ANSWER, NOT_STATED, Deadline
from streamresults.errors import StreamResultsError
from streamresults.events import states

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamresults.client.handle import ResultHandle
    from streamresults.client.options import Via
    from streamresults.client.result import Result
    from streamresults.deadline import OptionalTimeout


class Counts(NamedTuple):
    """How far the tasks of a set are; each task counts once, however often it is a member."""

    total: int
    #: Those that have ended, however.
    ready: int
    successful: int
    #: Those that ended with FAILURE.
    failed: int

    @property
    def waiting(self) -> int:
        """Those that have not ended, as far as the view knows."""
        return self.total - self.ready

    @property
    def completed(self) -> int:
        """The same as ``ready``."""
        return self.ready


class ResultSet(Members):
    """
    Tasks and sets of them, in an order; made by :meth:`Client.results`. Changing it is not thread-safe, reading it is.

    A task may be a member twice; it is asked for once. What hangs in nested sets belongs to the whole.
    """

    # -- counting ---------------------------------------------------------------------------------------------------

    def counts(self) -> Counts:
        """
        Count in one round trip, whatever the size; tasks that are kept already are not asked for.

        Raises:
            StoreUnavailable, ClientClosed: See their names.
        """
        handles = self.handles()
        known = [kept for handle in handles.values() if (kept := handle._known()) is not None]  # noqa: SLF001
        kept_ids = {kept.task_id for kept in known}
        known += self._look([task_id for task_id in handles if task_id not in kept_ids])
        ready = [one for one in known if one.ready]
        successful = failed = 0
        for one in ready:
            state = _state(one)
            successful += state == states.SUCCESS
            failed += state == states.FAILURE
        return Counts(len(handles), len(ready), successful, failed)

    def _look(self, task_ids: list[str]) -> list[Result]:
        client = self._client
        client._check_open("")  # noqa: SLF001
        if not task_ids:
            return []
        lookups = client._lookups  # noqa: SLF001
        found = lookups.look_in_view(task_ids, client._whereabouts.find(Deadline(ANSWER)))  # noqa: SLF001
        # Only the record says of an end that is no SUCCESS which one it is.
        unclear = [
            one for one in found if isinstance(one, UnfetchedResult) and one.ready and not one.successful_by_rank
        ]
        if unclear:
            whole: list[Result] = list(unclear)
            lookups.fetch(whole, Deadline(ANSWER))
            found = [one for one in found if one not in unclear] + whole
        return found

    @property
    def ready(self) -> bool:
        """Whether every task has ended; true of no tasks."""
        counts = self.counts()
        return counts.ready == counts.total

    @property
    def successful(self) -> bool:
        """Whether every task has ended with SUCCESS; true of no tasks."""
        counts = self.counts()
        return counts.successful == counts.total

    @property
    def failed(self) -> bool:
        """Whether any task has ended with FAILURE."""
        return self.counts().failed > 0

    @property
    def waiting(self) -> bool:
        """Whether any task has not ended."""
        return self.counts().waiting > 0

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
        values: dict[str, object] = {}
        order = {task_id: index for index, task_id in enumerate(self.handles())}
        for ended in self._ends(via, self._client._deadline(timeout)):  # noqa: SLF001
            for task_id, found in sorted(ended, key=lambda one: order[one[0]]) if propagate else ended:
                values[task_id] = value = _value(found, propagate=propagate)
                if callback is not None:
                    callback(task_id, value)
        return self._in_order(values)

    get = join

    def all(self, timeout: OptionalTimeout = NOT_STATED, *, via: Via = "auto") -> list[Any]:
        """
        Block until every task has ended, and return what is known of each, in the order of the members.

        What could not be read is an exception in its place.

        Raises:
            WaitTimeout, ClientClosed, WaitRefused: As :meth:`join` does.
        """
        return self._in_order(dict(self.ends(timeout, via=via)))

    def ends(
        self, timeout: OptionalTimeout = NOT_STATED, *, via: Via = "auto"
    ) -> Iterator[tuple[str, Result | Exception]]:
        """
        Give the id of each task as it ends, each once, with what is known of it or why that could not be read.

        Raises:
            WaitTimeout, ClientClosed, WaitRefused: As :meth:`join` does.
        """
        for ended in self._ends(via, self._client._deadline(timeout)):  # noqa: SLF001
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
        for handle in self.as_completed(timeout, via=via):
            return handle
        raise ValueError("the set has no tasks: there is no first one")

    def any(self, timeout: OptionalTimeout = NOT_STATED, *, via: Via = "auto") -> ResultHandle:
        """
        Block until one task has ended with SUCCESS, and return it.

        Raises:
            BaseException: All of them have ended, and none with SUCCESS: what the last one raised.
            WaitTimeout, ClientClosed, WaitRefused: As :meth:`join` does.
            ValueError: The set has no tasks.
        """
        last: object = None
        for task_id, found in self.ends(timeout, via=via):
            if not isinstance(found, Exception) and found.state == states.SUCCESS:
                return self.handles()[task_id]
            last = found
        if last is None:
            raise ValueError("the set has no tasks: none of them can succeed")
        _value(last, propagate=True)
        msg = f"all tasks have ended, and none with {states.SUCCESS}"
        raise ValueError(msg)

    def first_exception(self, timeout: OptionalTimeout = NOT_STATED, *, via: Via = "auto") -> ResultHandle | None:
        """
        Block until a task has failed or was revoked, and return it; ``None`` once all have ended without that.

        Raises:
            WaitTimeout, ClientClosed, WaitRefused: As :meth:`join` does.
        """
        for task_id, found in self.ends(timeout, via=via):
            if isinstance(found, Exception) or found.state in states.PROPAGATE:
                return self.handles()[task_id]
        return None

    def _ends(self, via: Via, deadline: Deadline) -> Iterator[list[tuple[str, Result | Exception]]]:
        """Give what ends, and let the handles keep it."""
        handles = self.handles()
        kept = [(task_id, found) for task_id, handle in handles.items() if (found := handle._known()) is not None]  # noqa: SLF001
        if kept:
            yield list(kept)
        have = {task_id for task_id, _ in kept}
        left = [task_id for task_id in handles if task_id not in have]
        if not left:
            return
        joining = Joining(self._client, left, via, deadline)
        for ended in joining.ends():
            for task_id, end in ended:
                if not isinstance(end, Exception) and type(end) is not UnfetchedResult:
                    handles[task_id]._keep(end)  # noqa: SLF001
            yield ended

    def _in_order(self, values: dict[str, object]) -> list[Any]:
        return [
            member._in_order(values)  # noqa: SLF001 -- it is one of us
            if isinstance(member, ResultSet)
            else values[member.task_id]
            for member in self._members
        ]

    def forget(self, timeout: OptionalTimeout = NOT_STATED) -> None:
        """
        Forget every task of the set; see :meth:`Client.forget`.

        Raises:
            PublishFailed, ClientClosed: See their names; some may be forgotten then.
        """
        deadline = self._client._deadline(timeout)  # noqa: SLF001
        for handle in self.handles().values():
            handle.forget(deadline.remaining())


def _state(result: Result) -> str:
    try:
        return result.state
    except StreamResultsError:
        return ""  # broken, or not to be had: it has ended, and nobody knows how


def _value(found: object, *, propagate: bool) -> object:
    """Return the value of what has ended; an exception is raised or returned."""
    if isinstance(found, Exception):
        if propagate:
            raise found
        return found
    result: Any = found
    if propagate:
        return result.value()
    try:
        return result.value_or_exception()
    except StreamResultsError as exc:
        return exc
