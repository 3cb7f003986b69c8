"""``streamresults lag``: how far the view is behind the log, and what it covers of it; how long back-fill will take."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from streamresults.cli.coverage import read_lag
from streamresults.cli.exits import Exit, explain
from streamresults.cli.filling import FillWatch
from streamresults.cli.options import Invocation, common_options, pass_invocation
from streamresults.cli.output import Column, emit, emit_rows, table
from streamresults.deadline import ANSWER, Deadline
from streamresults.errors import ServiceUnavailable, TopicMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from streamresults.cli.coverage import PartitionLag
    from streamresults.cli.filling import Filling

#: Seconds between two looks: of --watch, and of those that the rate of a back-fill is taken from.
_EVERY: Final = 1.0
_COLUMNS: Final = (
    Column("partition", "PARTITION", right=True),
    Column("low", "LOW", right=True),
    Column("covered_from", "COVERED FROM", right=True),
    Column("watermark", "WATERMARK", right=True),
    Column("end", "END", right=True),
    Column("lag", "LAG", right=True),
    Column("to_fill", "TO FILL", right=True),
    Column("complete", "COMPLETE"),
    Column("view_age", "AGE s", right=True),
)


@click.command("lag", help="Show per partition how far Redis is behind the topic, and what it covers.")
@click.option("--watch", is_flag=True, help="Look again every second until Ctrl-C, also while a service is away.")
@click.option("--fail-above", type=click.IntRange(min=0), metavar="N", help="Exit with 7 when more than N are behind.")
@common_options(hidden=True)
@pass_invocation
def command(invocation: Invocation, *, watch: bool, fail_above: int | None) -> int:
    """Show the lag."""
    with invocation.wiring() as wiring:
        inspector, store = wiring.inspector(), wiring.store()
        try:
            about = inspector.describe(Deadline(ANSWER))
            view = store.view(wiring.namespace(about), about.topic_id)
            looks = _looks(lambda: read_lag(inspector, view, about.partitions))
            if watch:
                _watch(looks, invocation.output)
            found, filling = next(looks)
            if filling.left:
                found, filling = next(looks)  # a rate takes two
            _show(found, filling, invocation.output)
        finally:
            inspector.close()
            store.close()
    total = sum(one.lag for one in found)
    return Exit.NOT_YET_COVERED if fail_above is not None and total > fail_above else Exit.OK


def _looks(read: Callable[[], list[PartitionLag]]) -> Iterator[tuple[list[PartitionLag], Filling]]:
    """
    Look again and again, a second apart.

    Raises:
        TopicMissing: There is no such topic any more.
        ServiceUnavailable: The first look failed. Of a later one that fails its error is shown.
    """
    progress = FillWatch()
    found = read()
    while True:
        yield found, progress.read(found, time.monotonic())
        time.sleep(_EVERY)
        found = _read_once_it_answers(read)


def _read_once_it_answers(read: Callable[[], list[PartitionLag]]) -> list[PartitionLag]:
    while True:
        try:
            return read()
        except TopicMissing:
            raise
        except ServiceUnavailable as exc:
            explain(exc)
            time.sleep(_EVERY)


def _watch(looks: Iterator[tuple[list[PartitionLag], Filling]], output: str) -> NoReturn:
    """Show one look after the other: in place on a terminal, else below each other."""
    first, terminal = True, sys.stdout.isatty()
    for found, filling in looks:
        if output == "table" and terminal:
            click.clear()
        elif output == "table" and not first:
            click.echo()
        _show(found, filling, output)
        first = False
    raise AssertionError("looking never ends by itself")


def _row(one: PartitionLag) -> dict[str, Any]:
    coverage = one.coverage
    return {
        "partition": one.partition,
        "low": one.marks.low,
        "covered_from": None if coverage is None else coverage.start,
        "watermark": None if coverage is None else coverage.watermark,
        "end": one.marks.high,
        "lag": one.lag,
        "to_fill": one.to_fill,
        "complete": one.complete,
        "view_age": one.age,
    }


def _show(found: Sequence[PartitionLag], filling: Filling, output: str) -> None:
    rows = [_row(one) for one in found]
    ages = [one.age for one in found if one.age is not None]
    total = {
        "partition": "total",
        "lag": sum(one.lag for one in found),
        "to_fill": filling.left,
        "complete": all(one.complete for one in found),
        "view_age": max(ages) if len(ages) == len(found) else None,
    }
    progress = {"covered": filling.covered, "fill_rate": filling.rate, "fill_seconds": filling.seconds}
    if output == "json":
        emit({"partitions": rows, "total": {**total, **progress}})
    elif output == "jsonl":
        emit_rows([*rows, {**total, **progress}], (), "jsonl")
    else:
        table([*rows, {"low": "", "covered_from": "", "watermark": "", "end": "", **total}], _COLUMNS, sys.stdout)
        if filling.left:
            click.echo(f"\n{filling}")
