"""Data on stdout: as a table for people, as JSON or JSON lines for programs. Progress never comes here."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from streamresults.cli.text import as_json, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

#: How a state or a verdict is coloured; the word itself always stands there too.
_STYLES: Final = {
    "SUCCESS": "green",
    "ok": "green",
    "yes": "green",
    "FAILURE": "red",
    "REVOKED": "red",
    "fail": "red",
    "no": "red",
    "warn": "yellow",
    "RETRY": "yellow",
    "UNKNOWN": "yellow",
}


class Column(NamedTuple):
    """One column of a table."""

    key: str
    heading: str
    right: bool = False


def emit(row: Mapping[str, object]) -> None:
    """Write one object as a line of JSON."""
    click.echo(as_json(row))


def emit_rows(rows: Sequence[Mapping[str, object]], columns: Sequence[Column], output: str) -> None:
    """Write rows in the form that was asked for."""
    if output == "json":
        click.echo(as_json(list(rows)))
    elif output == "jsonl":
        for row in rows:
            emit(row)
    else:
        table(rows, columns, sys.stdout)


def table(rows: Sequence[Mapping[str, object]], columns: Sequence[Column], to: TextIO) -> None:
    """Write aligned columns; on a terminal with colours, never cut, never wrapped."""
    cells = [[_cell(row.get(column.key)) for column in columns] for row in rows]
    widths = [max(len(c.heading), *(len(line[i]) for line in cells), 0) for i, c in enumerate(columns)]
    if to.isatty() and not os.environ.get("NO_COLOR"):
        _colourful(cells, columns, to)
        return
    lines = [[column.heading for column in columns], *cells]
    for line in lines:
        parts = [
            text.rjust(width) if column.right else text.ljust(width)
            for text, width, column in zip(line, widths, columns, strict=True)
        ]
        click.echo("  ".join(parts).rstrip(), file=to)


def _colourful(cells: Sequence[Sequence[str]], columns: Sequence[Column], to: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        shown.add_column(Text(column.heading), justify="right" if column.right else "left", overflow="fold")
    for line in cells:
        shown.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in line))
    Console(file=to).print(shown)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}"
    return printable(str(value))


def block(facts: Sequence[tuple[str, str]]) -> None:
    """Write facts about one thing, one a line, those that are empty left out."""
    for name, text in facts:
        if text:
            shown = click.style(text, fg=_STYLES.get(text)) if _STYLES.get(text) and _coloured() else text
            click.echo(f"{name:<10} {shown}")


def _coloured() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
