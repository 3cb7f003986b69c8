"""A result whose value stands in the log alone and was not read from there: it knows what the view's header says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from streamresults.client.result import Result
from streamresults.errors import TopicUnavailable

if TYPE_CHECKING:
    from streamresults.client.fetching import Spot


class UnfetchedResult(Result):
    """
    What is known without the record: that it is there, where, and whether the task has ended.

    Everything else raises :attr:`why`.
    """

    __slots__ = ("why",)

    #: Why the record was not read.
    why: Exception

    @property
    def spot(self) -> Spot:
        """Where the record stands."""
        assert self.position is not None
        return self.position[1:]

    def fetched(self, found: bytes | Exception | None) -> Result:
        """Return the whole result, or the same with why it is not whole."""
        if isinstance(found, Exception) or found is None:
            self.why = found or TopicUnavailable(f"the record at {self.spot} of the log is a tombstone")
            return self
        assert self._best is not None
        return Result(self.task_id, self._provenance, replace(self._best, value=found), self.mark)

    def __repr__(self) -> str:
        return f"<Result {self.task_id!r} not read from the log, {self.basis}>"

    def _bytes(self) -> bytes:
        raise self.why
