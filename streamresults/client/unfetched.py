"""A result whose value stands in the log alone and was not read from there: it knows what the view's header says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamresults.client.result import Basis, Result
from streamresults.errors import TopicUnavailable
from streamresults.events import states
from streamresults.events.states import RANK_READY, RANK_SUCCESS

if TYPE_CHECKING:
    from streamresults.client.fetching import Spot
    from streamresults.store.base import Mark


class UnfetchedResult(Result):
    """
    What is known without the record: that it is there, where, and whether the task has ended.

    Everything else raises :attr:`why`.
    """

    __slots__ = ("rank", "why")

    #: The rank of the event, by the fold's order.
    rank: int
    #: Why the record was not read.
    why: Exception

    @property
    def spot(self) -> Spot:
        """Where the record stands."""
        assert self.position is not None
        return self.position[1:]

    @property
    def successful_by_rank(self) -> bool:
        """Whether the header alone tells that the task succeeded."""
        return self.rank == RANK_SUCCESS

    def fetched(self, found: bytes | Exception | None) -> Result:
        """Return the whole result, or the same with why it is not whole."""
        if isinstance(found, Exception) or found is None:
            self.why = found or TopicUnavailable(f"the record at {self.spot} of the log is a tombstone")
            return self
        return Result(
            self.task_id,
            self._decoding,
            basis=self.basis,
            value=found,
            position=self.position,
            appended_ms=self.appended_ms,
            mark=self.mark,
            as_of=self.as_of,
            uncovered=self.uncovered,
        )

    def among_homes(self, *, mark: Mark | None, as_of: float | None, uncovered: str) -> Result:
        """Do what a whole result does."""
        found = UnfetchedResult(
            self.task_id,
            self._decoding,
            basis=Basis.PARTIAL if uncovered else self.basis,
            position=self.position,
            appended_ms=self.appended_ms,
            mark=mark,
            as_of=as_of,
            uncovered=uncovered,
        )
        found.rank = self.rank
        return found

    def __repr__(self) -> str:
        return f"<Result {self.task_id!r} not read from the log, {self.basis}>"

    def _bytes(self) -> bytes:
        raise self.why

    @property
    def found(self) -> bool:
        """There is an event."""
        return True

    @property
    def state(self) -> str:
        """The state, where the rank tells it; of another end nobody knows which one it was."""
        return states.SUCCESS if self.rank == RANK_SUCCESS else self.prefix.state

    @property
    def ready(self) -> bool:
        """Whether nothing more will come."""
        return self.rank >= RANK_READY
