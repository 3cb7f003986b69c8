# ruff: noqa: SLF001 -- a part of the client's face
"""What a set of tasks consists of, for coroutines. Nothing here asks anybody, so nothing is awaited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from streamresults.aio.handle import AsyncResultHandle
from streamresults.client.connected import check_many
from streamresults.client.result_set import ResultSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from streamresults.aio.client import AsyncClient
    from streamresults.aio.sets import AsyncResultSet
    from streamresults.client import ResultHandle

    #: What may be said where a member is wanted.
    Member: TypeAlias = "str | AsyncResultHandle | AsyncResultSet"


class AsyncMembers:
    """
    The members of a set. Not thread-safe while it is changed.

    Args:
        whole: The same for threads.
    """

    def __init__(self, face: AsyncClient, whole: ResultSet) -> None:
        self._face: Final = face
        self._set: Final = whole

    def add(self, member: Member) -> None:
        """Append a task or a set; one that is there already is there twice then."""
        self._set.add(member_of(member))

    def update(self, members: Iterable[Member]) -> None:
        """Append many."""
        self._set.update(member_of(member) for member in check_many(members))

    def discard(self, member: Member) -> None:
        """Take a member out wherever it stands; harmless when it is not there."""
        self._set.discard(member_of(member))

    def remove(self, member: Member) -> None:
        """Do :meth:`discard`; raises KeyError where it is not there."""
        self._set.remove(member_of(member))

    def clear(self) -> None:
        """Take every member out."""
        self._set.clear()

    def handles(self) -> dict[str, AsyncResultHandle]:
        """Return every task of the set and of those in it once, by its id, in their order."""
        return {task_id: self._handle(handle) for task_id, handle in self._set.handles().items()}

    def group_ids(self) -> dict[bytes, str]:
        """Return the ids of the groups that this consists of, by their bytes; see :meth:`ResultSet.group_ids`."""
        return self._set.group_ids()

    def __len__(self) -> int:
        return len(self._set)

    def __iter__(self) -> Iterator[AsyncResultHandle | AsyncResultSet]:
        return iter([self._face_of(member) for member in self._set])

    def __getitem__(self, index: int) -> AsyncResultHandle | AsyncResultSet:
        return self._face_of(self._set[index])

    def __contains__(self, member: object) -> bool:
        if isinstance(member, AsyncMembers):
            return member._set in list(self._set)
        return (member._handle if isinstance(member, AsyncResultHandle) else member) in self._set

    def __eq__(self, other: object) -> bool:
        return self._set == other._set if isinstance(other, AsyncMembers) else NotImplemented

    __hash__ = None  # type: ignore[assignment] # it changes

    def __repr__(self) -> str:
        return repr(self._set).replace("<", "<Async", 1)

    def _face_of(self, member: ResultHandle | ResultSet) -> AsyncResultHandle | AsyncResultSet:
        return self._face._set_of(member) if isinstance(member, ResultSet) else self._handle(member)

    def _handle(self, handle: ResultHandle) -> AsyncResultHandle:
        return AsyncResultHandle(self._face, handle)


def member_of(member: Member) -> str | ResultHandle | ResultSet:
    """Return what stands for a member in a set for threads."""
    if isinstance(member, AsyncMembers):
        return member._set
    return member._handle if isinstance(member, AsyncResultHandle) else member
