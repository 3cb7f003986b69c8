"""How far many tasks are: counted in one round trip."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from streamresults.client.members import Members
from streamresults.client.unfetched import UnfetchedResult
from streamresults.deadline import ANSWER, Deadline
from streamresults.errors import StreamResultsError
from streamresults.events import states

if TYPE_CHECKING:
    from streamresults.client.result import Result


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


class Counting(Members):
    """Counts the members of a set, and what hangs in nested ones."""

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
        unclear = [one for one in found if isinstance(one, UnfetchedResult) and one.ready and not one.successful]
        if unclear:
            whole: list[Result] = list(unclear)
            lookups.fetch(whole, Deadline(ANSWER))
            unclear_ids = {one.task_id for one in unclear}
            found = [one for one in found if one.task_id not in unclear_ids] + whole
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


def _state(result: Result) -> str:
    try:
        return result.state
    except StreamResultsError:
        return ""  # broken, or not to be had: it has ended, and nobody knows how
