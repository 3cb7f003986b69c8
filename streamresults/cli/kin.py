"""Trees and attempts of a task, as facts and as lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from streamresults.cli.output import Column, emit_rows
from streamresults.cli.text import moment, printable
from streamresults.errors import StreamResultsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamresults.client import Attempt, Graph, Result

_ATTEMPTS = (
    Column("attempt", "ATTEMPT", right=True),
    Column("state", "STATE"),
    Column("started_at", "STARTED"),
    Column("last_at", "LAST EVENT"),
    Column("events", "EVENTS", right=True),
    Column("worker", "WORKER"),
    Column("error", "ERROR"),
)


def tree_facts(graph: Graph) -> list[dict[str, Any]]:
    """Return one entry for each task of a tree, level by level."""
    return [
        {
            "task_id": node.result.task_id,
            "state": _state(node.result),
            "name": _name(node.result) or None,
            "depth": node.depth,
            "below": node.below or None,
        }
        for node in graph
    ]


def _state(result: Result) -> str:
    try:
        return result.state
    except StreamResultsError as exc:
        return f"unreadable: {type(exc).__name__}"


def _name(result: Result) -> str:
    try:
        return result.name
    except StreamResultsError:
        return ""


def attempts_facts(attempts: Sequence[Attempt]) -> list[dict[str, Any]]:
    """Return one entry for each run."""
    return [
        {
            "attempt": attempt.number or None,
            "state": attempt.state,
            "started_at": moment(attempt.started_at.timestamp() * 1000) if attempt.started_at else None,
            "last_at": moment(attempt.last_at.timestamp() * 1000),
            "events": attempt.events,
            "worker": attempt.worker or None,
            "error": _error(attempt.last),
        }
        for attempt in attempts
    ]


def _error(result: Result) -> str | None:
    try:
        exception = result.event.exception
    except StreamResultsError as exc:
        return f"unreadable: {type(exc).__name__}"
    return exception[0].type_name if exception else None


def show_kin(facts: dict[str, Any]) -> None:
    """Write what of both is there, for people."""
    if "tree" in facts:
        click.echo()
        _show_below("", 0, facts["tree"])
    if "attempts" in facts:
        click.echo()
        emit_rows(facts["attempts"], _ATTEMPTS, "table")


def _show_below(above: str, depth: int, nodes: Sequence[dict[str, Any]]) -> None:
    """Write what hangs below one node, without recursion: a chain may be thousands of tasks long."""
    below: dict[str, list[dict[str, Any]]] = {}
    for node in nodes:
        below.setdefault(node["below"] or "", []).append(node)
    left = [(depth, node) for node in reversed(below.get(above, []))]
    while left:
        indent, node = left.pop()
        name = f"  {printable(node['name'])}" if node["name"] else ""
        click.echo(f"{'  ' * indent}{printable(node['task_id'])}  {printable(node['state'])}{name}")
        left += [(indent + 1, child) for child in reversed(below.get(node["task_id"], []))]
