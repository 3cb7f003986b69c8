"""What a set of tasks consists of: tasks and further sets, in an order. Nothing here asks anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streamresults.client.connected import check_many
from streamresults.client.snapshots import Snapshots

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from streamresults.client.client import Client
    from streamresults.client.handle import ResultHandle
    from streamresults.client.result_set import ResultSet


class Members:
    """The members of a set. Not thread-safe while it is changed."""

    def __init__(self, client: Client, members: Iterable[str | ResultHandle | ResultSet] = ()) -> None:
        self._client: Final = client
        self._members: list[ResultHandle | ResultSet] = []
        self.update(members)

    # -- members ----------------------------------------------------------------------------------------------------

    def add(self, member: str | ResultHandle | ResultSet) -> None:
        """
        Append a task or a set; one that is there already is there twice then.

        Raises:
            ValueError: It is no task id, or a set that this one is in.
        """
        if isinstance(member, Members):
            if member is self or _is_within(self, member):
                raise ValueError("a set cannot be a member of itself")
        elif not isinstance(member, Snapshots):
            member = self._client.result(member)
        self._members.append(member)

    def update(self, members: Iterable[str | ResultHandle | ResultSet]) -> None:
        """
        Append many.

        Raises:
            ValueError: As :meth:`add` does; those before it were appended.
            TypeError: It is one text, and no list of ids.
        """
        result = self._client.result
        for member in check_many(members):
            if type(member) is str:  # what most are, by the shortest way
                self._members.append(result(member))
            else:
                self.add(member)

    def discard(self, member: str | ResultHandle | ResultSet) -> None:
        """Take a member out wherever it stands; harmless when it is not there."""
        wanted = self._client.result(member) if isinstance(member, str) else member
        self._members = [one for one in self._members if one != wanted]

    def remove(self, member: str | ResultHandle | ResultSet) -> None:
        """
        Do :meth:`discard`.

        Raises:
            KeyError: It is not there.
        """
        if member not in self:
            raise KeyError(member)
        self.discard(member)

    def clear(self) -> None:
        """Take every member out."""
        self._members.clear()

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[ResultHandle | ResultSet]:
        return iter(list(self._members))

    def __getitem__(self, index: int) -> ResultHandle | ResultSet:
        return self._members[index]

    def __contains__(self, member: object) -> bool:
        return (self._client.result(member) if isinstance(member, str) else member) in self._members

    def __eq__(self, other: object) -> bool:
        return self._members == other._members if isinstance(other, Members) else NotImplemented

    __hash__ = None  # type: ignore[assignment] # it changes

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self._members)}>"

    def handles(self) -> dict[str, ResultHandle]:
        """Return every task of the set and of those in it once, by its id, in their order."""
        found: dict[str, ResultHandle] = {}
        for member in self._members:
            if isinstance(member, Members):
                for task_id, handle in member.handles().items():
                    found.setdefault(task_id, handle)
            else:
                found.setdefault(member.task_id, member)
        return found


def _is_within(wanted: Members, whole: Members) -> bool:
    """Tell whether a set is a member of another one, or of one of those in it."""
    inner = [member for member in whole if isinstance(member, Members)]
    return any(one is wanted or _is_within(wanted, one) for one in inner)
