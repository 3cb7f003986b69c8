"""The members of a set that is joined, as Celery nests them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from celery.result import ResultSet

from streamresults.celery.task_ids import text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Meta = dict[str, Any]


class _Inside:
    """A set inside of a set, and how many of its tasks have not ended."""

    __slots__ = ("left", "results")

    def __init__(self, results: Any, left: int) -> None:
        self.results: Final = results
        self.left = left


class Members:
    """The members of a set, with those of the sets inside it."""

    def __init__(self, results: Iterable[Any]) -> None:
        self._members: Final = list(results)
        #: Who gives a member of the set itself, and not one of a set inside: ids of objects that ``_members`` holds.
        self._own: Final = {id(member) for member in self._members}
        #: Results that wait for a task; several of them may be for one.
        self._waiting: Final[dict[str, list[Any]]] = {}
        #: Sets inside that wait for a task.
        self._inside: Final[dict[str, list[_Inside]]] = {}
        for member in self._members:
            if isinstance(member, ResultSet):
                self._await_set(member)
            elif not member._cache:  # noqa: SLF001 -- the way of all backends
                self._await(member)

    def _await_set(self, member: ResultSet) -> None:
        awaited = dict.fromkeys(self._await(leaf) for leaf in _leaves(member) if not leaf._cache)  # noqa: SLF001 -- as above
        inside = _Inside(member, len(awaited))
        for task_id in awaited:
            self._inside.setdefault(task_id, []).append(inside)

    def _await(self, leaf: Any) -> str:
        task_id = text_of(leaf.id)
        self._waiting.setdefault(task_id, []).append(leaf)
        return task_id

    def ids(self) -> list[str]:
        """Return the tasks that have not ended."""
        return list(self._waiting)

    def ended_before(self) -> Iterator[tuple[str, Any]]:
        """Give what has ended already."""
        for member in self._members:
            if isinstance(member, ResultSet):
                if all(leaf._cache for leaf in _leaves(member)):  # noqa: SLF001 -- as above
                    yield member.id, member.children
            elif member._cache:  # noqa: SLF001 -- as above
                yield member.id, member._cache  # noqa: SLF001 -- as above

    def ended(self, task_id: str, meta: Meta) -> list[tuple[str, Any]]:
        """Have the results of a task know its end, and return what has ended by that."""
        ended = []
        leaves = self._waiting.pop(task_id, ())
        for leaf in leaves:
            leaf._maybe_set_cache(meta if len(leaves) == 1 else dict(meta))  # noqa: SLF001 -- as above
            if id(leaf) in self._own:
                ended.append((leaf.id, leaf._cache))  # noqa: SLF001 -- as above
        for inside in self._inside.pop(task_id, ()):
            inside.left -= 1
            if not inside.left:
                ended.append((inside.results.id, inside.results.children))
        return ended


def _leaves(member: Any) -> Iterator[Any]:
    if isinstance(member, ResultSet):
        for inner in member.results:
            yield from _leaves(inner)
    else:
        yield member
