"""Looking tasks up in the view, and forgetting them in the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamresults.client.connected import Connected, check_id, check_many, within
from streamresults.client.options import check_position
from streamresults.client.provenance import Basis
from streamresults.deadline import ANSWER, NOT_STATED, Deadline, OptionalTimeout
from streamresults.errors import NotYetCovered, ServiceUnavailable, TopicMissing
from streamresults.events.event import Position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamresults.client.result import Result
    from streamresults.client.whereabouts import Place


class LookingUp(Connected):
    """The face of view and log for who does not wait for an end."""

    def lookup(
        self,
        task_id: str,
        *,
        fresh: bool = False,
        at_least: Position | None = None,
        timeout: OptionalTimeout = NOT_STATED,
    ) -> Result:
        """
        Return what the view knows of a task; its age is ``as_of``.

        Args:
            fresh: First ask the brokers where the partition ends, and wait until the view has folded up to there: only
                then is UNKNOWN authoritative.
            at_least: Wait until the view has folded this position: the cheap form for who has published it.
            timeout: Bounds all of it; 0 looks once; not stated: the client's own.

        Raises:
            NotYetCovered: Not found, in a view that does not cover the whole log; or the view is older than one that
                this process has seen before, or did not get far enough.
            StoreUnavailable, TopicUnavailable, ClientClosed: See their names.
            TopicMismatch: ``at_least`` is a position in another topic.
            ValueError: ``at_least`` is a position of another task: its partition is not this task's.
            TypeError: ``at_least`` is no position.
        """
        check_id(task_id)
        check_position(at_least)
        self._check_open(task_id)
        deadline = self._deadline(timeout)
        whereabouts = self._whereabouts
        place = (whereabouts.refresh if fresh else whereabouts.find)(within(deadline))
        if at_least is not None:
            place = self._await_position(task_id, place, at_least, deadline)
        if fresh:
            self._lookups.await_end(task_id, place, whereabouts.homes(task_id, place), deadline)
        result = self._lookups.look_one(task_id, place, within(deadline))
        if fresh and len(place.counts) > 1 and not result.found:
            result = self._look_between(task_id, place, deadline)
        if not result.found:
            self._cache.evict(task_id)
        if not result.found and result.mark is None and result.basis is not Basis.FULL:
            msg = f"task {task_id!r} was not found, and it may exist: {result.uncovered}"
            raise NotYetCovered(msg, task_id=task_id)
        return result

    def _look_between(self, task_id: str, place: Place, deadline: Deadline) -> Result:
        """Look also where counts between the known ones would put a task: two growths in a row may look like one."""
        place = _between(place)
        self._lookups.await_end(task_id, place, self._whereabouts.homes(task_id, place), deadline)
        return self._lookups.look_one(task_id, place, within(deadline))

    def _await_position(self, task_id: str, place: Place, at_least: Position, deadline: Deadline) -> Place:
        """Wait until the view has folded a position; return the place, where its partition may be a new one."""
        homes = self._whereabouts.homes(task_id, place)
        if at_least.partition not in homes and at_least.topic_id in ("", place.topic_id):
            # Under a count that the client has not heard of, or that nobody has seen yet: see _look_between.
            place = _between(self._whereabouts.refresh(within(deadline)))
            homes = self._whereabouts.homes(task_id, place)
            if self._inspector is not None and at_least.partition not in homes and at_least.topic_id == place.topic_id:
                msg = (
                    f"at_least is a position in partition {at_least.partition}, and task {task_id!r} is in partition "
                    f"{homes[0]}: it is the position of another task"
                )
                raise ValueError(msg)
        self._lookups.await_position(task_id, place, at_least, deadline)
        others = [home for home in homes if home != at_least.partition]
        if others and self._inspector is not None:
            # What came before that position may stand in another home: a forgotten result must not show from there.
            self._lookups.await_end(task_id, place, others, deadline)
        return place

    def lookup_many(self, task_ids: Sequence[str], *, timeout: OptionalTimeout = NOT_STATED) -> list[Result]:
        """
        Return what the view knows of each task, in the order asked for, in one round trip.

        A task that was not found has the state UNKNOWN; its ``basis`` is ``partial`` when it may exist all the same.
        A view that is older than one that this process has seen before shows nothing, and ``uncovered`` says so.

        Values too large for the view are read from the log, all at the same time. One that is not there in time makes
        no other member suffer: that result raises why as soon as its value is asked for.

        Args:
            timeout: For what has to be read from the log; not stated: the client's own.

        Raises:
            StoreUnavailable, ClientClosed: See their names.
            ValueError: One is no task id.
            TypeError: It is one text, and no list of ids.
        """
        for task_id in check_many(task_ids):
            check_id(task_id)
        self._check_open(task_ids[0] if task_ids else "")
        place = self._whereabouts.find(Deadline(ANSWER))
        results = self._lookups.look(task_ids, place, self._deadline(timeout))
        if self._cache:
            for result in results:
                if not result.found:
                    self._cache.evict(result.task_id)
        return results

    # -- forgetting -------------------------------------------------------------------------------------------------

    def forget(self, task_id: str, timeout: OptionalTimeout = NOT_STATED) -> Position:
        """
        Write the task's tombstone; returns where it stands once the brokers hold it.

        Where partitions were added it is written to every partition that can hold events of the task, and the position
        is the one in the newest of them.

        The view forgets as soon as it has folded it: ``lookup(id, at_least=position)`` waits for that. The log keeps
        the task's history until retention takes it.

        Raises:
            PublishFailed: Not acknowledged in time.
            ClientClosed: See its name.
            ConfigurationError: This process has no Kafka.
        """
        check_id(task_id)
        self._check_open(task_id)
        deadline = self._deadline(timeout)
        place = self._whereabouts.find(within(deadline))
        if self._inspector is not None:
            place = self._newest(place, deadline)
        self._cache.evict(task_id)
        written, *_ = self._tombstones.write(task_id, self._whereabouts.homes(task_id, place), deadline)
        self._cache.evict(task_id)  # who read it meanwhile may have kept it
        return Position(place.topic_id, written.partition, written.offset)

    def _newest(self, place: Place, deadline: Deadline) -> Place:
        """Return the place as the brokers tell it now; where they do not answer, as it was last known."""
        try:
            return self._whereabouts.refresh(Deadline(deadline.remaining(ANSWER) / 2))
        except TopicMissing:
            raise
        except ServiceUnavailable:
            return place  # whether they take the tombstone is theirs to say


def _between(place: Place) -> Place:
    """Return a place that counts every number of partitions between the known ones as one that there has been."""
    return place._replace(counts=tuple(range(place.counts[0], place.counts[-1] - 1, -1)))
