# ruff: noqa: SLF001 -- records of the client's own, in a file of its own
"""A set with a name: saved to the topic as a record of its own, restored in any process, deleted by a tombstone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streamresults.client.connected import check_id, within
from streamresults.client.result_set import ResultSet
from streamresults.deadline import NOT_STATED
from streamresults.errors import (
    ConfigurationError,
    MalformedRecord,
    NotYetCovered,
    StreamResultsError,
    UnknownTask,
)
from streamresults.events import states
from streamresults.events.event import GROUP_PREFIX, Event, Position

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streamresults.client.client import Client
    from streamresults.client.handle import ResultHandle
    from streamresults.client.picking import Places
    from streamresults.client.result import Result
    from streamresults.deadline import Deadline, OptionalTimeout


class ResultGroup(ResultSet):
    """
    Tasks and groups of them under an id; made by :meth:`Client.group` and :meth:`Client.restore_group`.

    Its order is that of its members, whatever the order in which they end. Members whose events name this group and
    their index in it stand in the order of these instead, where such members stand: one that replaces another, and was
    appended, has its place.
    """

    def __init__(self, client: Client, group_id: str, members: Iterable[str | ResultHandle | ResultSet] = ()) -> None:
        check_id(GROUP_PREFIX + group_id if isinstance(group_id, str) and group_id else group_id)
        self.group_id: Final = group_id
        super().__init__(client, members)

    def __repr__(self) -> str:
        return f"<ResultGroup {self.group_id!r} of {len(self)}>"

    @property
    def key(self) -> str:
        """Its id among those of tasks."""
        return GROUP_PREFIX + self.group_id

    def group_ids(self) -> dict[bytes, str]:
        """Return its own id and those of groups in it."""
        return {self.group_id.encode(): self.group_id, **super().group_ids()}

    def _sorted(self, places: Places) -> Sequence[ResultHandle | ResultSet]:
        members, indexes = list(self._members), places.get(self.group_id, {})
        slots = {
            at: index
            for at, member in enumerate(members)
            if not isinstance(member, ResultSet) and (index := indexes.get(member.task_id)) is not None
        }
        order = sorted(slots, key=slots.__getitem__)
        if order != list(slots):
            for at, member in zip(slots, [members[at] for at in order], strict=True):
                members[at] = member
        return members

    def save(self, timeout: OptionalTimeout = NOT_STATED) -> Position:
        """
        Write the group to the topic, nested ones first; return where it stands once the brokers hold it.

        A later save replaces an earlier one. A nested set without a name gets this one's, with its place behind it.

        Raises:
            PublishFailed: Not acknowledged in time.
            ConfigurationError: This process has no Kafka.
            ClientClosed: See its name.
        """
        return self._save(self._client._deadline(timeout))

    def _save(self, deadline: Deadline) -> Position:
        client = self._client
        client._check_open(self.key)
        children = []
        for index, member in enumerate(self):
            if isinstance(member, ResultSet):
                nested = (
                    member
                    if isinstance(member, ResultGroup)
                    else ResultGroup(client, f"{self.group_id}.{index}", member)
                )
                nested._save(deadline)
                children.append(nested.key)
            else:
                children.append(member.task_id)
        event = Event(
            kind="group",
            task_id=self.key,
            state=states.SAVED,
            terminal=True,
            group_id=self.group_id,
            children=tuple(children),
            expires_after_ms=int(client._options.result_expires * 1000),
        )
        if not client._options.schemas_topic:
            raise ConfigurationError("saving a group needs to know where schemas stand: set schemas_topic")
        place = client._whereabouts.find(within(deadline))
        codec = client._decoding.codec
        client._tombstones.register_schema(codec, client._options.schemas_topic, deadline)
        partition = client._whereabouts.partition_of(self.key, place)
        (written,) = client._tombstones.write(self.key, [partition], deadline, codec.encode(event))
        return Position(place.topic_id, written.partition, written.offset)

    def delete(self, timeout: OptionalTimeout = NOT_STATED) -> Position:
        """
        Write the group's tombstone; its tasks stay.

        Raises:
            PublishFailed, ClientClosed: See their names.
        """
        return self._client.forget(self.key, timeout)


def restore(client: Client, group_id: str, deadline: Deadline, above: tuple[str, ...] = ()) -> ResultGroup:
    """
    Return a saved group with all that is nested in it.

    Raises:
        UnknownTask: No such group is saved.
        MalformedRecord: It is a member of itself, or names one that is no task id.
        NotYetCovered, StoreUnavailable, TopicUnavailable, ClientClosed: See their names.
    """
    group = ResultGroup(client, group_id)
    if group_id in above:
        msg = f"group {group_id!r} is a member of itself, by way of {' > '.join(above)!r}"
        raise MalformedRecord(msg)
    found = _saved(client, group.key, deadline)
    if not found.found or found.prefix.kind != "group":
        msg = f"no group {group_id!r} is saved, as far as the view, which covers the whole log, knows"
        raise UnknownTask(msg, task_id=group.key)
    for child in found.child_ids:
        nested = child.removeprefix(GROUP_PREFIX)
        try:
            group.add(child if nested == child else restore(client, nested, deadline, (*above, group_id)))
        except ValueError as exc:
            if isinstance(exc, StreamResultsError):
                raise
            msg = f"group {group_id!r} names a member that is none: {exc}"
            raise MalformedRecord(msg) from exc
    return group


def _saved(client: Client, key: str, deadline: Deadline) -> Result:
    """Look a group up; it is not said to be unknown before the view has folded what the log holds now."""
    try:
        found = client.lookup(key, timeout=deadline.remaining())
    except NotYetCovered:
        if client._inspector is None:
            raise
    else:
        if found.found or client._inspector is None:
            return found
    return client.lookup(key, fresh=True, timeout=deadline.remaining())
