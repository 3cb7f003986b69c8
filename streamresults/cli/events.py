"""``streamresults events``: one task's events, from its first one on, until it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from streamresults.cli.exits import Exit
from streamresults.cli.facts import USUAL_LINE, event_facts, event_form, event_line, result_code
from streamresults.cli.options import Invocation, common_options, duration, pass_invocation
from streamresults.cli.options import task_id as read_task_id
from streamresults.cli.output import emit, emit_rows
from streamresults.cli.text import moment
from streamresults.errors import StreamResultsError, UnknownTask

if TYPE_CHECKING:
    from streamresults.client import Result
    from streamresults.client.provenance import Decoding


@click.command("events")
@click.argument("task_id", type=read_task_id, metavar="ID")
@click.option("--timeout", type=duration, help="Stop after this long. [default: never]")
@click.option("--no-follow", is_flag=True, help="Show what there is, and stop.")
@click.option(
    "-f", "--format", "form", type=event_form, metavar="FORMAT", help=f"One line of each event. [default: {USUAL_LINE}]"
)
@common_options(hidden=True)
@pass_invocation
def command(invocation: Invocation, *, task_id: str, timeout: float | None, no_follow: bool, form: str | None) -> int:
    """
    Show a task's events, from its first one on, until it ends.

    The exit code is that of the last one; FORMAT is that of tail.
    """
    last = None
    rows = []
    with invocation.wiring() as wiring, wiring.client() as client:
        decoding = wiring.decoding()
        for last in client.events(task_id, 0 if no_follow else timeout):
            facts = _facts(last, decoding)
            if form is not None or invocation.output == "table":
                click.echo(event_line(form or USUAL_LINE, facts))
            elif invocation.output == "jsonl":
                emit(facts)
            else:
                rows.append(facts)
    if invocation.output == "json" and form is None:
        emit_rows(rows, (), "json")
    if last is None:
        msg = f"the log holds no event of task {task_id!r}"
        raise UnknownTask(msg, task_id=task_id)
    return result_code(last) if last.ready else Exit.OK


def _facts(result: Result, decoding: Decoding) -> dict[str, Any]:
    position = result.position
    assert position is not None
    place = {
        "partition": position.partition,
        "offset": position.offset,
        "appended_at": moment(result.appended_ms),
    }
    try:
        return {**event_facts(result.event, decoding), **place}
    except StreamResultsError as exc:
        told = f"{type(exc).__name__}: {exc}"
        return {"task_id": result.task_id, "state": result.state, "name": None, "unreadable": told, **place}
