"""A handle: one task by its id, in any process. Making one asks nobody; it keeps the end that it has seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamresults.client.attempts import attempts_of
from streamresults.client.options import check_function
from streamresults.client.tree import Kin
from streamresults.deadline import NOT_STATED
from streamresults.errors import ConfigurationError, NotAuthoritative, NotYetCovered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Unpack

    from streamresults.client.attempts import Attempt
    from streamresults.client.callbacks import Registration
    from streamresults.client.options import Via, WaitOptions
    from streamresults.client.result import Result
    from streamresults.deadline import OptionalTimeout, Timeout
    from streamresults.events.event import Position


class ResultHandle(Kin):
    """
    One task; made by :meth:`Client.result`. Thread-safe, and equal to every handle of the same id.

    Each property reads the view until the task has ended; what has ended is kept, and never read again. Who needs
    several properties of one moment takes a :meth:`snapshot`. Where the view cannot tell, reading raises NotYetCovered.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        kept = self._kept
        return f"<ResultHandle {self.task_id!r}{'' if kept is None else f' {kept.state}'}>"

    # -- waiting ----------------------------------------------------------------------------------------------------

    def get(
        self,
        timeout: OptionalTimeout = NOT_STATED,
        *,
        via: Via = "auto",
        propagate: bool = True,
        callback: Callable[[str, object], object] | None = None,
        **options: Unpack[WaitOptions],
    ) -> object:
        """
        Block until the task has ended, and return its result or raise its exception; see :meth:`Client.get`.

        Raises:
            WaitTimeout, NoResult, DeadLettered, ClientClosed, WaitRefused: See their names.
            BaseException: What the task raised, if its class is allowed, else RemoteTaskError.
        """
        check_function("callback", callback)
        result = self.wait(timeout, via=via, **options)
        found = result.value() if propagate else result.value_or_exception()
        if callback is not None:
            callback(self.task_id, found)
        return found

    def wait(
        self, timeout: OptionalTimeout = NOT_STATED, *, via: Via = "auto", **options: Unpack[WaitOptions]
    ) -> Result:
        """
        Block until the task has ended, however it ended; see :meth:`Client.wait`.

        Raises:
            WaitTimeout, ClientClosed, WaitRefused: See their names.
        """
        if not options:
            kept = self._known()
            if kept is not None:
                return kept
        return self._keep(self._client.wait(self.task_id, timeout, via=via, **options))

    def on_result(self, callback: Callable[[Registration], object], *, via: Via = "auto") -> Registration:
        """Have a function called once the task has ended; see :meth:`Client.on_result`."""
        return self._client.on_result(self.task_id, callback, via=via)

    def events(self, timeout: Timeout = None) -> Iterator[Result]:
        """Give every event of the task until it ends; see :meth:`Client.events`."""
        return self._client.events(self.task_id, timeout)

    def attempts(self) -> list[Attempt]:
        """
        Return the runs of the task that the log tells of, the first one first.

        Raises:
            ConfigurationError: This process has no Kafka.
            TopicUnavailable: See its name.
        """
        return attempts_of(self.events(0))

    # -- whether there is such a task -------------------------------------------------------------------------------

    def exists(self, timeout: OptionalTimeout = NOT_STATED) -> bool:
        """
        Tell whether the log holds an event of the task. ``False`` is authoritative as of when this was called.

        Raises:
            NotAuthoritative: The view holds none, and this process has no Kafka to ask whether it has folded all.
            NotYetCovered: The view did not get far enough in time.
            StoreUnavailable, TopicUnavailable, ClientClosed: See their names.
        """
        kept = self._known()
        if kept is not None and kept.found:
            return True
        try:
            if self._client.lookup(self.task_id, timeout=timeout).found:
                return True
        except NotYetCovered:
            pass
        try:
            return self._client.lookup(self.task_id, fresh=True, timeout=timeout).found
        except ConfigurationError as exc:
            msg = (
                f"task {self.task_id!r} was not found in the view, which may not have folded all of the log: only a "
                "process with Kafka can tell that it does not exist: set kafka_bootstrap"
            )
            raise NotAuthoritative(msg, task_id=self.task_id) from exc

    def forget(self, timeout: OptionalTimeout = NOT_STATED) -> Position:
        """Write the task's tombstone, and let go of what is kept; see :meth:`Client.forget`."""
        self._kept = None
        return self._client.forget(self.task_id, timeout)
