"""``streamresults get``: what the view knows of tasks, and whether the log knows more before it says UNKNOWN."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from streamresults.cli.exits import Exit, explain
from streamresults.cli.facts import result_code, result_facts, show
from streamresults.cli.kin import attempts_facts, show_kin, tree_facts
from streamresults.cli.options import Invocation, common_options, duration, pass_invocation
from streamresults.cli.options import task_id as read_task_id
from streamresults.cli.output import emit_rows
from streamresults.errors import NotYetCovered, StreamResultsError

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command("get", help="Look tasks up. With several ids the exit code is the highest of theirs.")
@click.argument("task_ids", type=read_task_id, nargs=-1, required=True, metavar="ID...")
@click.option(
    "--fresh/--no-fresh",
    default=None,
    help="Wait until the view has folded all that the log holds now. [default: before it says UNKNOWN]",
)
@click.option("--timeout", type=duration, default="5", show_default="5 s", help="How long --fresh waits.")
@click.option("--traceback", is_flag=True, help="Show the remote traceback.")
@click.option("--tree", is_flag=True, help="Show all tasks that it called, and those that these called.")
@click.option("--attempts", is_flag=True, help="Show every run of the task that the log tells of.")
@common_options(hidden=True)
@pass_invocation
def command(
    invocation: Invocation,
    *,
    task_ids: Sequence[str],
    fresh: bool | None,
    timeout: float,
    traceback: bool,
    tree: bool,
    attempts: bool,
) -> int:
    """Look tasks up."""
    code = Exit.OK
    rows = []
    with invocation.wiring() as wiring, wiring.client() as client:
        decoding = wiring.decoding()
        for known in client.lookup_many(task_ids):
            result = known
            if fresh or (fresh is None and wiring.has_topic and not known.found and known.mark is None):
                try:
                    result = client.lookup(known.task_id, fresh=True, timeout=timeout)
                except NotYetCovered as exc:
                    code = max(code, explain(exc))
                    continue
            code = max(code, result_code(result))
            facts = result_facts(result, decoding, wiring.settings.topic, traceback=traceback)
            rows.append(facts)
            try:
                if tree:
                    facts["tree"] = tree_facts(client.result(known.task_id).graph())
                if attempts:
                    facts["attempts"] = attempts_facts(client.result(known.task_id).attempts())
            except StreamResultsError as exc:
                code = max(code, explain(exc))  # what is known of the task is shown all the same
    if invocation.output == "table":
        for index, row in enumerate(rows):
            if index:
                click.echo()
            show(row)
            show_kin(row)
    else:
        emit_rows(rows, (), invocation.output)
    return code
