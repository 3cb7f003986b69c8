"""What a set makes of its tasks as they end: fed by a thread or by a coroutine, which alone differ in how they wait."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from streamresults.client.options import check_function
from streamresults.client.result import Result
from streamresults.errors import StreamResultsError
from streamresults.events import states

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from streamresults.client.handle import ResultHandle
    from streamresults.client.joining import Ended
    from streamresults.client.result_set import ResultSet

T = TypeVar("T")

#: Of groups: the tasks whose events say that they belong to it, with their indexes in it.
Places = dict[str, dict[str, int]]


class Picking(ABC, Generic[T]):
    """
    Takes what ends until that is enough. Used by one thread or coroutine.

    Args:
        handles: Whose ends are wanted, in their order.
    """

    def __init__(self, handles: Mapping[str, ResultHandle]) -> None:
        self.handles: Final = handles

    def read(self, ended: Sequence[Ended]) -> Any:
        """Return what :meth:`take` takes; asks the payload store where a result rests there, and may block then."""
        return ended

    @abstractmethod
    def take(self, read: Any) -> bool:
        """Take what has ended, in any number of steps; tell whether that is enough. Blocks nowhere."""

    @abstractmethod
    def picked(self) -> T:
        """Return what came of it, once it is enough or all have ended."""


class _Values(NamedTuple):
    """What tasks that have ended amount to, by their ids."""

    values: dict[str, object]
    places: Places
    #: What is to be raised for the next one.
    error: BaseException | None = None


class Values(Picking[list[Any]]):
    """Every value, in the order of the set; see :meth:`ResultSet.join`."""

    def __init__(
        self, whole: ResultSet, *, propagate: bool, callback: Callable[[str, object], object] | None = None
    ) -> None:
        super().__init__(whole.handles())
        self._whole: Final = whole
        self._propagate: Final = propagate
        check_function("callback", callback)
        self._callback: Final = callback
        self._groups: Final = whole.group_ids()
        self._values: Final[dict[str, object]] = {}
        self._places: Final[Places] = defaultdict(dict)

    def read(self, ended: Sequence[Ended]) -> _Values:
        """Decode the values; of several exceptions that are to be raised, the first in order is."""
        ordered = self._ordered(ended) if self._propagate else ended
        propagate, groups = self._propagate, self._groups
        values: dict[str, object] = {}
        places: Places = defaultdict(dict)
        for task_id, found in ordered:
            try:
                if propagate and type(found) is Result:
                    values[task_id] = found.value()  # what most are, by the shortest way
                else:
                    values[task_id] = value_of(found, propagate=propagate)
            except BaseException as exc:  # noqa: BLE001 -- what a task raised; raised by who takes this
                return _Values(values, places, exc)
            if groups:
                _put_place(places, task_id, found, groups)
        return _Values(values, places)

    def _ordered(self, ended: Sequence[Ended]) -> Sequence[Ended]:
        if [task_id for task_id, _ in ended] == list(islice(self.handles, len(ended))):
            return ended  # what had ended before anybody waited comes in order, and may be all there is
        order = self._order
        return sorted(ended, key=lambda one: order[one[0]])

    @cached_property
    def _order(self) -> dict[str, int]:
        return {task_id: index for index, task_id in enumerate(self.handles)}

    def take(self, read: _Values) -> bool:
        """Keep the values; raise the first exception where that is wanted."""
        self._values.update(read.values)
        for group_id, indexes in read.places.items():
            self._places[group_id].update(indexes)
        if self._callback is not None:
            for task_id, value in read.values.items():
                self._callback(task_id, value)
        if read.error is not None:
            raise read.error
        return False

    def picked(self) -> list[Any]:
        """Return the values in order, lists for nested sets."""
        return self._whole.in_order(self._values, self._places)


class Everything(Picking[list[Any]]):
    """What is known of each task, in the order of the set; see :meth:`ResultSet.all`."""

    def __init__(self, whole: ResultSet) -> None:
        super().__init__(whole.handles())
        self._whole: Final = whole
        self._found: Final[dict[str, object]] = {}

    def take(self, read: Sequence[Ended]) -> bool:
        """Keep all."""
        self._found.update(read)
        return False

    def picked(self) -> list[Any]:
        """Return all in order, lists for nested sets."""
        groups = self._whole.group_ids()
        places: Places = defaultdict(dict)
        if groups:
            for task_id, found in self._found.items():
                _put_place(places, task_id, found, groups)
        return self._whole.in_order(self._found, places)


class First(Picking["ResultHandle"]):
    """The first task that ends; see :meth:`ResultSet.first`."""

    def __init__(self, handles: Mapping[str, ResultHandle]) -> None:
        super().__init__(handles)
        self._first = ""

    def take(self, read: Sequence[Ended]) -> bool:
        """Keep the first."""
        self._first = read[0][0]
        return True

    def picked(self) -> ResultHandle:
        """Return it."""
        if not self._first:
            raise ValueError("the set has no tasks: there is no first one")
        return self.handles[self._first]


class FirstSuccess(Picking["ResultHandle"]):
    """The first task that ends with SUCCESS; see :meth:`ResultSet.any`."""

    def __init__(self, handles: Mapping[str, ResultHandle]) -> None:
        super().__init__(handles)
        self._first = ""
        self._last: object = None

    def take(self, read: Sequence[Ended]) -> bool:
        """Look for a success."""
        for task_id, found in read:
            if _state(found) == states.SUCCESS:
                self._first = task_id
                return True
            self._last = found
        return False

    def picked(self) -> ResultHandle:
        """Return it, or raise what the last one raised."""
        if self._first:
            return self.handles[self._first]
        if self._last is None:
            raise ValueError("the set has no tasks: none of them can succeed")
        value_of(self._last, propagate=True)
        msg = f"all tasks have ended, and none with {states.SUCCESS}"
        raise ValueError(msg)


class FirstException(Picking["ResultHandle | None"]):
    """The first task that has failed or was revoked; see :meth:`ResultSet.first_exception`."""

    def __init__(self, handles: Mapping[str, ResultHandle]) -> None:
        super().__init__(handles)
        self._first: ResultHandle | None = None

    def take(self, read: Sequence[Ended]) -> bool:
        """Look for a failure."""
        for task_id, found in read:
            state = _state(found)
            if not state or state in states.PROPAGATE:
                self._first = self.handles[task_id]
                return True
        return False

    def picked(self) -> ResultHandle | None:
        """Return it; ``None`` for none."""
        return self._first


def _state(found: Any) -> str:
    """Return how a task has ended; empty where an error stands for that, or its record is not to be had."""
    try:
        return "" if isinstance(found, Exception) else str(found.state)
    except StreamResultsError:
        return ""


def value_of(found: object, *, propagate: bool) -> object:
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


def _put_place(places: Places, task_id: str, found: object, groups: Mapping[bytes, str]) -> None:
    """Take note of which of these groups a task belongs to, and of its index there, where its event says so."""
    if type(found) is not Result:
        return  # nothing that has an event to be looked at
    try:
        place = found.place_among(groups)
    except StreamResultsError:
        return  # a body that is broken: it keeps its place in the list
    if place is not None:
        places[place[0]][task_id] = place[1]
