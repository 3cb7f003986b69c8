"""``streamresults wait``: block until tasks have ended, through the topic or through the view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from streamresults.cli.exits import Exit, explain
from streamresults.cli.facts import result_code, result_facts, show
from streamresults.cli.options import Invocation, common_options, duration, pass_invocation
from streamresults.cli.options import task_id as read_task_id
from streamresults.cli.output import emit, emit_rows
from streamresults.errors import StreamResultsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamresults.client import Client, Result


@click.command(
    "wait",
    help="Block until tasks have ended, and show each as it does. With several the exit code is the highest of theirs.",
)
@click.argument("task_ids", type=read_task_id, nargs=-1, required=True, metavar="ID...")
@click.option("--any/--all", "first_only", help="Stop with the first that ends, or wait for all. [default: --all]")
@click.option("--timeout", type=duration, help="For all of them. [default: wait_timeout, 30 s]")
@click.option(
    "--via",
    type=click.Choice(["auto", "topic", "view"]),
    default="auto",
    show_default=True,
    help="Read the topic itself, or wait for Redis to tell.",
)
@common_options(hidden=True)
@pass_invocation
def command(
    invocation: Invocation,
    *,
    task_ids: Sequence[str],
    first_only: bool,
    timeout: float | None,
    via: Literal["auto", "topic", "view"],
) -> int:
    """Wait for tasks."""
    code = Exit.OK
    rows = []
    with invocation.wiring() as wiring, wiring.client() as client:
        decoding = wiring.decoding()
        seconds = wiring.settings.wait_timeout if timeout is None else timeout
        for ended in _as_they_end(client, task_ids, seconds, via):
            if isinstance(ended, StreamResultsError):
                code = max(code, explain(ended))
                continue
            code = max(code, result_code(ended))
            facts = result_facts(ended, decoding, wiring.settings.topic)
            if invocation.output == "jsonl":
                emit(facts)
            elif invocation.output == "table":
                show(facts)
            rows.append(facts)
            if first_only:
                break
    if invocation.output == "json":
        emit_rows(rows, (), "json")
    return code


def _as_they_end(
    client: Client, task_ids: Sequence[str], seconds: float, via: Literal["auto", "topic", "view"]
) -> Iterator[Result | StreamResultsError]:
    """Wait for all at once: one after the other could miss what ends meanwhile while no compactor runs."""
    try:
        for _, ended in client.results(task_ids).ends(seconds, via=via):
            if isinstance(ended, Exception) and not isinstance(ended, StreamResultsError):
                raise ended
            yield ended
    except StreamResultsError as exc:
        yield exc
