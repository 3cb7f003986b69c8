"""``streamresults celery``: what only applications of Celery have."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from streamresults.cli import celery_import
from streamresults.cli.exits import Exit
from streamresults.cli.options import Invocation, common_options, pass_invocation
from streamresults.cli.options import task_id as read_task_id
from streamresults.cli.output import Column, block, emit, table
from streamresults.errors import ConfigurationError

if TYPE_CHECKING:
    from streamresults.celery.chord_report import Report

_MEMBERS = (
    Column("task_id", "MEMBER"),
    Column("part", "PART"),
    Column("state", "STATE"),
)


@click.group("celery", help="Look after a Celery application: its chords, and results that it has stored before.")
def command() -> None:
    """Hold the commands together."""


command.add_command(celery_import.command)


@command.command("chord", help="Show how a chord stands: which parts have come, and why it does not go on.")
@click.argument("name", type=read_task_id, metavar="ID")
@click.option("-A", "--app", "app_name", metavar="MODULE", help="The Celery application, as `celery -A` takes it.")
@click.option("--dispatch", is_flag=True, help="Count what the log knows, and send the body if all parts have come.")
@common_options(hidden=True)
@pass_invocation
def chord(invocation: Invocation, *, name: str, app_name: str | None, dispatch: bool) -> int:
    """Show a chord; ID is its group's, or its body's while it is counted."""
    if dispatch and not app_name:
        raise click.UsageError("--dispatch sends a task: name the application with -A.")
    try:
        from streamresults.celery.applications import find_application
        from streamresults.celery.chord_report import report_on
        from streamresults.celery.process import Connections
    except ImportError as exc:
        msg = "this command needs Celery: pip install 'streamresults[celery]'"
        raise ConfigurationError(msg) from exc
    wiring = invocation.wiring()
    with wiring:
        app: Any = None
        connections = Connections(wiring)
        if app_name:
            app = find_application(app_name)
            connections = app.backend.connections
        found = report_on(connections, name)
        if dispatch:
            app.backend.finish_chord(found.group_id)
            found = report_on(connections, found.group_id)
        _show(found, invocation.output)
        connections.close()
    return Exit.NOT_YET_COVERED if found.stuck else Exit.OK


def _show(found: Report, output: str) -> None:
    members = [
        {"task_id": one.task_id, "part": "come" if one.come else "missing", "state": one.state, "added": one.added}
        for one in found.members
    ]
    if output != "table":
        emit({**found._asdict(), "stuck": found.stuck, "members": members})
        return
    expected = "?" if found.expected is None else str(found.expected)
    block(
        (
            ("chord", found.group_id),
            ("status", found.status),
            ("parts", f"{found.come} of {expected}"),
            ("body", f"{found.body_id} {found.body_task}".strip()),
            ("body state", found.body_state),
            ("why", found.why),
        )
    )
    if members and found.status not in {"sent", "failed"}:
        click.echo()
        table(members, _MEMBERS, sys.stdout)
