"""The members of a set that is joined, as Celery nests them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from celery.result import ResultSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Meta = dict[str, Any]


class Members:
    """The members of a set, with those of the sets inside it."""

    def __init__(self, results: Iterable[Any]) -> None:
        self._members: Final = list(results)
        #: Results that wait for a task; several of them may be for one.
        self._waiting: Final[dict[str, list[Any]]] = {}
        #: Sets inside that were not given yet, each with the number of its tasks that have not ended.
        self._sets: Final[list[Any]] = []
        for member in self._members:
            for leaf in _leaves(member):
                if not leaf._cache:  # noqa: SLF001 -- the way of all backends
                    self._waiting.setdefault(str(leaf.id), []).append(leaf)

    def ids(self) -> list[str]:
        """Return the tasks that have not ended."""
        return list(self._waiting)

    def ended_before(self) -> Iterator[tuple[str, Any]]:
        """Give what has ended already."""
        for member in self._members:
            if isinstance(member, ResultSet):
                if _all_cached(member):
                    yield member.id, member.children
                else:
                    self._sets.append(member)
            elif member._cache:  # noqa: SLF001 -- as above
                yield member.id, member._cache  # noqa: SLF001 -- as above

    def ended(self, task_id: str, meta: Meta) -> Iterator[tuple[str, Any]]:
        """Have the results of a task know its end, and give what has ended by that."""
        found = self._waiting.pop(task_id, [])
        for leaf in found:
            leaf._maybe_set_cache(dict(meta))  # noqa: SLF001 -- as above
        yield from ((leaf.id, leaf._cache) for leaf in found if any(leaf is one for one in self._members))  # noqa: SLF001
        for nested in [one for one in self._sets if _all_cached(one)]:
            self._sets.remove(nested)
            yield nested.id, nested.children


def _leaves(member: Any) -> Iterator[Any]:
    if isinstance(member, ResultSet):
        for inner in member.results:
            yield from _leaves(inner)
    else:
        yield member


def _all_cached(member: Any) -> bool:
    return all(leaf._cache for leaf in _leaves(member))  # noqa: SLF001 -- as above
