"""The lines in which the demonstrations show what has become of a call."""

from __future__ import annotations

import sys
from typing import Final

import click

_STYLES: Final = {"ok": "green", "failed": "red", "unknown": "yellow"}


def told(glyph: str, call: str, outcome: str, note: str, task_id: str) -> None:
    """
    Print a call, what it came to, and what to see in it.

    Args:
        glyph: ``ok``, ``failed`` or ``unknown``.
    """
    shown = _glyphs()[glyph]
    if sys.stdout.isatty():
        shown = click.style(shown, fg=_STYLES[glyph])
    click.echo(f"{shown} {call:<25} {outcome}")
    click.echo(f"    {note}  [{task_id}]")
    sys.stdout.flush()


def _glyphs() -> dict[str, str]:
    """Return marks that this terminal can show."""
    fancy = {"ok": "✔", "failed": "✘", "unknown": "?"}
    try:
        "".join(fancy.values()).encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return {"ok": "+", "failed": "x", "unknown": "?"}
    return fancy
