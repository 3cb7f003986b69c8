"""``streamresults forget``: write the tombstones of tasks. The view forgets as soon as it has folded them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from streamresults.cli.exits import Exit, explain
from streamresults.cli.options import Invocation, common_options, duration, pass_invocation
from streamresults.cli.options import task_id as read_task_id
from streamresults.cli.output import Column, emit_rows
from streamresults.errors import StreamResultsError

if TYPE_CHECKING:
    from collections.abc import Sequence

_COLUMNS = (Column("task_id", "TASK"), Column("partition", "PARTITION", right=True), Column("offset", "OFFSET", True))


@click.command("forget", help="Forget tasks. The log keeps their history until retention takes it.")
@click.argument("task_ids", type=read_task_id, nargs=-1, required=True, metavar="ID...")
@click.option("--timeout", type=duration, default="30", show_default="30 s", help="For each of them.")
@common_options(hidden=True)
@pass_invocation
def command(invocation: Invocation, *, task_ids: Sequence[str], timeout: float) -> int:
    """Forget tasks."""
    code = Exit.OK
    rows = []
    with invocation.wiring() as wiring, wiring.client() as client:
        for task_id in task_ids:
            try:
                position = client.forget(task_id, timeout)
            except StreamResultsError as exc:
                code = max(code, explain(exc))
                continue
            rows.append({"task_id": task_id, "partition": position.partition, "offset": position.offset})
    if rows:
        emit_rows(rows, _COLUMNS, invocation.output)
    return code
