"""The caller's side as one object: waiting, looking up, forgetting. All of it is a thin face of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamresults.client.handle import ResultHandle
from streamresults.client.result_group import ResultGroup, restore
from streamresults.client.result_set import ResultSet
from streamresults.client.waiting import Waiting
from streamresults.deadline import NOT_STATED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamresults.deadline import OptionalTimeout


class Client(Waiting):
    """
    Waits for results and looks them up. Thread-safe, however many threads wait: one reader, one looker per client.

    In a forked child it opens its own connections and its own engine, and never touches its parent's.
    """

    def result(self, task_id: str) -> ResultHandle:
        """
        Return a handle of a task; asks nobody, so that the task need not be known to anybody yet.

        Raises:
            ValueError: It is no task id.
        """
        return ResultHandle(self, task_id)

    def results(self, members: Iterable[str | ResultHandle | ResultSet] = ()) -> ResultSet:
        """
        Return many tasks as one thing; asks nobody.

        Raises:
            ValueError: One is no task id.
        """
        return ResultSet(self, members)

    def group(self, group_id: str, members: Iterable[str | ResultHandle | ResultSet] = ()) -> ResultGroup:
        """
        Return many tasks as one thing with a name, under which it can be saved; asks nobody.

        Raises:
            ValueError: One is no task id, or the group's is none.
        """
        return ResultGroup(self, group_id, members)

    def restore_group(self, group_id: str, timeout: OptionalTimeout = NOT_STATED) -> ResultGroup:
        """
        Return a group that was saved, in any process, with its members in their order.

        Raises:
            UnknownTask: No such group is saved: the view covers the whole log, and, where this process has Kafka to
                ask, all that it held when this was called.
            NotYetCovered, StoreUnavailable, TopicUnavailable, ClientClosed: See their names.
        """
        return restore(self, group_id, self._deadline(timeout))
