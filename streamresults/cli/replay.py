"""``streamresults replay``: read a bounded range of the log again, or fold it and hold the view against it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import click

from streamresults.cli.exits import Exit
from streamresults.cli.facts import FORGOTTEN, USUAL_LINE, event_facts, event_line
from streamresults.cli.options import Invocation, common_options, pass_invocation
from streamresults.cli.options import task_id as read_task_id
from streamresults.cli.output import Column, emit, emit_rows, table
from streamresults.cli.text import moment, printable

if TYPE_CHECKING:
    from streamresults.client.provenance import Decoding
    from streamresults.replay import Covered, Replay, Replayed, Verified

_COVERED: Final = (
    Column("partition", "PARTITION", right=True),
    Column("begin", "BEGIN", right=True),
    Column("end", "END", right=True),
    Column("records", "RECORDS", right=True),
    Column("matched", "MATCHED", right=True),
    Column("unreadable", "UNREADABLE", right=True),
    Column("refused", "REFUSED", right=True),
    Column("missing", "ABSENT", right=True),
    Column("note", "NOTE"),
)
_VERDICTS: Final = (
    Column("partition", "PARTITION", right=True),
    Column("begin", "BEGIN", right=True),
    Column("end", "END", right=True),
    Column("records", "RECORDS", right=True),
    Column("matched", "MATCHED", right=True),
    Column("differing", "DIFFERING", right=True),
    Column("missing", "MISSING", right=True),
    Column("skipped", "SKIPPED", right=True),
    Column("refused", "REFUSED", right=True),
    Column("note", "NOTE"),
)
_DIFFERENCES: Final = (
    Column("task_id", "TASK"),
    Column("partition", "PARTITION", right=True),
    Column("kind", "KIND"),
    Column("reason", "REASON"),
)


@click.command("replay")
@click.option("--from", "begin", default="earliest", show_default=True, metavar="BOUND", help="Where to begin.")
@click.option("--to", "end", default="end", show_default=True, metavar="BOUND", help="The first that is not read.")
@click.option("--task-id", type=read_task_id, metavar="ID", help="Only this task: reads where it can be.")
@click.option("--verify", is_flag=True, help="Fold the log and compare Redis with it; exits with 6 on a mismatch.")
@common_options(hidden=True)
@pass_invocation
def command(invocation: Invocation, *, begin: str, end: str, task_id: str | None, verify: bool) -> int:
    """
    Read a bounded range of the topic again. It joins no group and commits nothing.

    BOUND: earliest, end, an offset (1234), offsets by partition (0:1234), a time (2026-02-14T10:00:00Z) or a time ago
    (@-48h). What was covered is told on stderr.
    """
    if verify and (end != "end" or task_id is not None):
        raise click.UsageError("--verify compares all up to where the view has got: without --to and --task-id.")
    with invocation.wiring() as wiring, wiring.replay() as replay:
        if verify:
            return _verify(replay, begin, invocation)
        decoding = wiring.decoding()
        try:
            for replayed in replay.read(begin, end, task_id=task_id):
                _show(replayed, decoding, invocation.output)
        finally:
            if replay.ranges and not invocation.quiet:
                table([_covered(part) for part in replay.ranges], _COVERED, sys.stderr)
    return Exit.OK


def _show(replayed: Replayed, decoding: Decoding, output: str) -> None:
    place = {
        "partition": replayed.partition,
        "offset": replayed.offset,
        "appended_at": moment(replayed.appended_ms),
    }
    facts: dict[str, Any]
    if replayed.event is not None:
        facts = {**event_facts(replayed.event, decoding), **place}
    else:
        state = FORGOTTEN if replayed.error is None else None
        facts = {"task_id": replayed.task_id, "state": state, "name": None, "result": None, "error": None, **place}
        if replayed.error is not None:
            facts["unreadable"] = f"{type(replayed.error).__name__}: {replayed.error}"
    if output != "table":
        emit(facts)
    elif facts["state"] is None:
        where = f"partition {replayed.partition} offset {replayed.offset}"
        click.echo(printable(f"unreadable record at {where}: {facts['unreadable']}"), err=True)
    else:
        click.echo(event_line(USUAL_LINE, facts))


def _covered(part: Covered) -> dict[str, Any]:
    return {column.key: getattr(part, column.key) for column in _COVERED}


def _verify(replay: Replay, begin: str, invocation: Invocation) -> int:
    verified = replay.verify(begin)
    if not invocation.quiet:
        table([_verdict(part) for part in verified.partitions], _VERDICTS, sys.stderr)
        click.echo(_summary(verified), err=True)
    rows = [{c.key: getattr(one, c.key) for c in _DIFFERENCES} for one in verified.differences]
    if rows or invocation.output != "table":
        emit_rows(rows, _DIFFERENCES, invocation.output)
    verified.raise_if_unclean()
    return Exit.OK


def _verdict(part: Any) -> dict[str, Any]:
    return {column.key: getattr(part, column.key) for column in _VERDICTS}


def _summary(verified: Verified) -> str:
    covered = "" if verified.complete else "; the view does not cover all that the log holds"
    if verified.refused:
        covered = f", {verified.refused} refused for their signature{covered}"
    return (
        f"verify: {verified.matched} match, {verified.differing} differ, {verified.missing} missing, "
        f"{verified.skipped} skipped; {verified.records} records read{covered}"
    )
