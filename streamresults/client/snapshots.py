"""Reading what is known of one task, again and again until it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streamresults.client.connected import check_id
from streamresults.deadline import NOT_STATED
from streamresults.errors import NotYetCovered
from streamresults.events import states

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from streamresults.client.client import Client
    from streamresults.client.result import Result
    from streamresults.deadline import OptionalTimeout
    from streamresults.events.event import Position


class Snapshots:
    """Keeps the end of one task, and reads the view until there is one."""

    __slots__ = ("__weakref__", "_client", "_kept", "task_id")

    def __init__(self, client: Client, task_id: str) -> None:
        check_id(task_id)
        self._client: Final = client
        self.task_id: Final = task_id
        self._kept: Result | None = None

    def __eq__(self, other: object) -> bool:
        return self.task_id == other.task_id if isinstance(other, Snapshots) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.task_id)

    def snapshot(
        self, *, fresh: bool = False, at_least: Position | None = None, timeout: OptionalTimeout = NOT_STATED
    ) -> Result:
        """
        Return what is known of the task at one moment: an immutable value whose properties belong together.

        Args:
            fresh: As for :meth:`Client.lookup`; with it, or with ``at_least``, the view is always read.

        Raises:
            NotYetCovered, StoreUnavailable, TopicUnavailable, ClientClosed: As :meth:`Client.lookup` does.
        """
        if not fresh and at_least is None:
            kept = self._known()
            if kept is not None:
                return kept
        return self._keep(self._client.lookup(self.task_id, fresh=fresh, at_least=at_least, timeout=timeout))

    def _snapshot_or_none(self) -> Result | None:
        try:
            return self.snapshot()
        except NotYetCovered:
            return None

    def _known(self) -> Result | None:
        """Return the end that this handle, or another one of a task that succeeded, has seen."""
        kept = self._kept
        if kept is None:
            kept = self._kept = self._client._cache.get(self.task_id)  # noqa: SLF001 -- it is kept for handles
        return kept

    def _keep(self, found: Result) -> Result:
        if found.ready:
            self._kept = found
            self._client._cache.keep((found,))  # noqa: SLF001
        return found

    # -- properties -------------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """The task's state; ``UNKNOWN`` when the view, which covers the whole log, holds no event of it."""
        return self.snapshot().state

    @property
    def ready(self) -> bool:
        """Whether nothing more will come; ``False`` also while the view cannot tell."""
        found = self._snapshot_or_none()
        return found is not None and found.ready

    @property
    def successful(self) -> bool:
        """Whether the task ended with SUCCESS."""
        return self._has(states.SUCCESS)

    @property
    def failed(self) -> bool:
        """Whether the task ended with FAILURE."""
        return self._has(states.FAILURE)

    def _has(self, state: str) -> bool:
        found = self._snapshot_or_none()
        return found is not None and found.state == state

    @property
    def result(self) -> object:
        """The result, the exception of a task that failed, or what was last reported of one that runs."""
        return self.snapshot().result

    @property
    def exception(self) -> BaseException | None:
        """The exception of a state that carries one."""
        return self.snapshot().exception

    @property
    def traceback(self) -> str:
        """The formatted remote traceback; empty for none."""
        return self.snapshot().traceback

    @property
    def date_done(self) -> datetime | None:
        """When the task ended, in UTC; ``None`` before."""
        return self.snapshot().date_done

    @property
    def name(self) -> str:
        """The task's registered name."""
        return self.snapshot().name

    @property
    def args(self) -> tuple[object, ...] | None:
        """The positional arguments; ``None`` where they were not recorded."""
        return self.snapshot().args

    @property
    def kwargs(self) -> dict[str, object] | None:
        """The keyword arguments; ``None`` where they were not recorded."""
        return self.snapshot().kwargs

    @property
    def worker(self) -> str:
        """Who published the event."""
        return self.snapshot().worker

    @property
    def queue(self) -> str:
        """The queue that the task was taken from."""
        return self.snapshot().queue

    @property
    def retries(self) -> int | None:
        """How often the task was tried again; ``None`` where that was not recorded."""
        return self.snapshot().retries

    @property
    def labels(self) -> Mapping[str, str]:
        """What its publisher has noted of it."""
        return self.snapshot().labels

    @property
    def position(self) -> Position | None:
        """Where the event stands in the log."""
        return self.snapshot().position

    @property
    def group(self) -> str:
        """The id of the group that the task belongs to; empty for none."""
        return self.snapshot().group_id
