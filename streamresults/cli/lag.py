"""``streamresults lag``: how far the view is behind the log, and what it covers of it."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final

import click

from streamresults.cli.coverage import read_lag
from streamresults.cli.exits import Exit
from streamresults.cli.options import Invocation, common_options, pass_invocation
from streamresults.cli.output import Column, emit, emit_rows, table
from streamresults.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamresults.cli.coverage import PartitionLag

_ANSWER: Final = 10.0
#: Seconds between two looks of --watch.
_EVERY: Final = 2.0
_COLUMNS: Final = (
    Column("partition", "PARTITION", right=True),
    Column("low", "LOW", right=True),
    Column("covered_from", "COVERED FROM", right=True),
    Column("watermark", "WATERMARK", right=True),
    Column("end", "END", right=True),
    Column("lag", "LAG", right=True),
    Column("complete", "COMPLETE"),
    Column("view_age", "AGE s", right=True),
)


@click.command("lag", help="Show per partition how far Redis is behind the topic, and what it covers.")
@click.option("--watch", is_flag=True, help="Look again every 2 s until Ctrl-C.")
@click.option("--fail-above", type=click.IntRange(min=0), metavar="N", help="Exit with 7 when more than N are behind.")
@common_options(hidden=True)
@pass_invocation
def command(invocation: Invocation, *, watch: bool, fail_above: int | None) -> int:
    """Show the lag."""
    with invocation.wiring() as wiring:
        inspector, store = wiring.inspector(), wiring.store()
        try:
            about = inspector.describe(Deadline(_ANSWER))
            view = store.view(wiring.namespace(about), about.topic_id)
            while True:
                found = read_lag(inspector, view, about.partitions)
                _show(found, invocation.output, clear=watch)
                if not watch:
                    break
                time.sleep(_EVERY)
        finally:
            inspector.close()
            store.close()
    total = sum(one.lag for one in found)
    return Exit.NOT_YET_COVERED if fail_above is not None and total > fail_above else Exit.OK


def _row(one: PartitionLag) -> dict[str, Any]:
    coverage = one.coverage
    return {
        "partition": one.partition,
        "low": one.marks.low,
        "covered_from": None if coverage is None else coverage.start,
        "watermark": None if coverage is None else coverage.watermark,
        "end": one.marks.high,
        "lag": one.lag,
        "complete": one.complete,
        "view_age": one.age,
    }


def _show(found: Sequence[PartitionLag], output: str, *, clear: bool) -> None:
    rows = [_row(one) for one in found]
    ages = [one.age for one in found if one.age is not None]
    total = {
        "partition": "total",
        "lag": sum(one.lag for one in found),
        "complete": all(one.complete for one in found),
        "view_age": max(ages) if len(ages) == len(found) else None,
    }
    if output == "json":
        emit({"partitions": rows, "total": total})
    elif output == "jsonl":
        emit_rows([*rows, total], (), "jsonl")
    else:
        if clear:
            click.clear()
        table([*rows, {"low": "", "covered_from": "", "watermark": "", "end": "", **total}], _COLUMNS, sys.stdout)
