"""Tasks that called each other: parents, children and what hangs below, from an id alone, in any process."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from streamresults.client.connected import is_id
from streamresults.client.snapshots import Snapshots
from streamresults.errors import NotYetCovered, StreamResultsError, UnknownTask, WaitTimeout
from streamresults.events.event import GROUP_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamresults.client.client import Client
    from streamresults.client.handle import ResultHandle
    from streamresults.client.result import Result

#: Most tasks of one tree. Larger lets a task that calls itself for ever take all memory.
TREE_MAX = 100_000


class Node(NamedTuple):
    """One task or saved group of a tree."""

    result: Result
    #: How many calls it is below the task that was asked about.
    depth: int
    #: The task or group that it hangs below; empty for the first one.
    below: str


class Graph:
    """What hangs below a task, read level by level; an immutable picture of one moment."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = tuple(nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def __repr__(self) -> str:
        return f"<Graph of {len(self.nodes)}>"

    @property
    def edges(self) -> list[tuple[str, str]]:
        """Who called whom: also where a task hangs below several, each of which once."""
        known = {node.result.task_id for node in self.nodes}
        called = [(node.result.task_id, child) for node in self.nodes for child in _children_of(node.result)]
        return [edge for edge in dict.fromkeys(called) if edge[1] in known]

    def members_of(self, group_id: str) -> tuple[str, ...]:
        """
        Return the tasks of this tree whose events name a group, in the order of their indexes in it.

        For a group that was never saved: ``client.group(group_id, graph.members_of(group_id))``. Where several have one
        index, as one was replaced, the one stands there whose event happened last. Tasks without an index come last.
        """
        by_index: dict[int, Result] = {}
        without = []
        for node in self.nodes:
            index = _index_in(node.result, group_id)
            if index is None:
                continue
            before = by_index.get(index)
            if index < 0:
                without.append(node.result.task_id)
            elif before is None or before.event.occurred_at_us <= node.result.event.occurred_at_us:
                by_index[index] = node.result
        return (*(by_index[index].task_id for index in sorted(by_index)), *without)

    def to_dot(self) -> str:
        """Return the tree in Graphviz's language: a node for each task, with its state."""
        lines = ["digraph tasks {"]
        for node in self.nodes:
            result = node.result
            lines.append(f'  "{_quoted(result.task_id)}" [label="{_label(result)}"];')
        lines += [f'  "{_quoted(caller)}" -> "{_quoted(called)}";' for caller, called in self.edges]
        return "\n".join([*lines, "}"])


def _index_in(result: Result, group_id: str) -> int | None:
    """Return a task's index in a group, -1 where its event says none; ``None`` where it is not of that group."""
    try:
        event = result.event if result.found else None
    except StreamResultsError:
        return None
    return event.group_index if event is not None and event.group_id == group_id else None


def _children_of(result: Result) -> tuple[str, ...]:
    """Return what a task called; nothing of one that is broken, which breaks nobody else."""
    try:
        return tuple(child for child in result.child_ids if is_id(child))
    except StreamResultsError:
        return ()


def _label(result: Result) -> str:
    try:
        parts = (result.name, result.task_id, result.state)
    except StreamResultsError as exc:
        parts = (result.task_id, f"unreadable: {type(exc).__name__}", "")
    return "\\n".join(_quoted(part) for part in parts if part)


def _quoted(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text).replace("\\", "\\\\").replace('"', '\\"')


def read_tree(client: Client, task_id: str) -> Graph:
    """
    Read a task and all that hangs below it, one round trip for each level; a task that hangs twice is read once.

    Raises:
        StoreUnavailable, ClientClosed: See their names.
    """
    nodes: list[Node] = []
    seen = {task_id}
    level = [(task_id, "")]
    depth = 0
    while level and len(nodes) < TREE_MAX:
        found = client.lookup_many([one for one, _ in level])
        reached = _by_index([Node(result, depth, below) for result, (_, below) in zip(found, level, strict=True)])
        nodes += reached
        level = []
        for node in reached:
            for child in _children_of(node.result):
                if child not in seen:
                    seen.add(child)
                    level.append((child, node.result.task_id))
        depth += 1
    return Graph(nodes)


def _by_index(level: list[Node]) -> list[Node]:
    """Return a level's nodes: below a group, members that say which index they have in it stand in that order."""
    slots: dict[str, dict[int, int]] = {}
    for at, node in enumerate(level):
        if node.below.startswith(GROUP_PREFIX):
            index = _index_in(node.result, node.below.removeprefix(GROUP_PREFIX))
            if index is not None and index >= 0:
                slots.setdefault(node.below, {})[at] = index
    ordered = list(level)
    for indexes in slots.values():
        for at, which in zip(indexes, sorted(indexes, key=lambda at: indexes[at]), strict=True):
            ordered[at] = level[which]
    return ordered


class Kin(Snapshots):
    """The face of a tree for a handle."""

    __slots__ = ()

    @property
    def parent(self) -> ResultHandle | None:
        """The task that called this one; ``None`` where nobody is known to have done so."""
        found = self._snapshot_or_none()
        return self._client.result(found.parent_id) if found is not None and is_id(found.parent_id) else None

    @property
    def root(self) -> ResultHandle | None:
        """The first of the ancestors that this one's event names; ``None`` for none."""
        found = self._snapshot_or_none()
        return self._client.result(found.root_id) if found is not None and is_id(found.root_id) else None

    @property
    def children(self) -> list[ResultHandle]:
        """The tasks that this one called, as its event names them; members of its groups stand in their order."""
        found = self._snapshot_or_none()
        ids = found.child_ids if found is not None else ()
        return [self._client.result(one) for child in ids for one in self._members(child) if is_id(one)]

    def _members(self, child: str) -> tuple[str, ...]:
        if not child.startswith(GROUP_PREFIX):
            return (child,)
        try:
            return self._client.lookup(child).child_ids
        except NotYetCovered:
            return ()

    def graph(self) -> Graph:
        """Return the tree below this task; see :class:`Graph`."""
        return read_tree(self._client, self.task_id)

    def iterdeps(self, *, intermediate: bool = False) -> Iterator[tuple[ResultHandle | None, ResultHandle]]:
        """
        Give (caller, task) for this task, whose caller is ``None``, and for all below it, level by level.

        Raises:
            WaitTimeout: A task has not ended, so that what it calls is not known; not with ``intermediate``.
            UnknownTask: Nothing is known of one; the same.
        """
        for node in self._nodes(intermediate=intermediate):
            caller = self._client.result(node.below) if node.below else None
            yield caller, self._client.result(node.result.task_id)

    def collect(self, *, intermediate: bool = False) -> Iterator[tuple[ResultHandle, object]]:
        """
        Give (task, value) for this task and all below it; of one that failed the value is its exception.

        Raises:
            WaitTimeout, UnknownTask: As :meth:`iterdeps` does.
        """
        for node in self._nodes(intermediate=intermediate):
            found = node.result
            yield self._client.result(found.task_id), found.result if found.found else None

    def _nodes(self, *, intermediate: bool) -> Iterator[Node]:
        for node in self.graph():
            result = node.result
            if not intermediate and not result.found:
                msg = f"the tree below {self.task_id!r} is not complete: nothing is known of {result.task_id!r}"
                raise UnknownTask(msg, task_id=result.task_id)
            if not intermediate and not result.ready:
                msg = f"the tree below {self.task_id!r} is not complete: {result.task_id!r} is {result.state}"
                raise WaitTimeout(msg, task_id=result.task_id, state=result.state)
            yield node

    def leaf(self) -> ResultHandle:
        """Return the last task of the chain that begins with this one: the first child of the first child."""
        handle: ResultHandle = self._client.result(self.task_id)
        seen = {handle.task_id}
        while (children := handle.children) and children[0].task_id not in seen:
            handle = children[0]
            seen.add(handle.task_id)
        return handle
