"""``streamresults celery import``: what Celery's own backend keeps in Redis, copied into the topic."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

import click

from streamresults.cli.exits import Exit
from streamresults.cli.options import Invocation, common_options, pass_invocation
from streamresults.cli.output import Column, block, emit, table
from streamresults.cli.text import printable
from streamresults.errors import ConfigurationError

if TYPE_CHECKING:
    from streamresults.celery.importing import Counts

#: Seconds between two lines of progress where they stand below each other; on a terminal there is but one.
_EVERY: Final = 5.0
#: Records that are named. More would hide what they have in common.
_NAMED: Final = 100
_COLUMNS: Final = (Column("type", "EXCEPTION NOT LISTED"), Column("records", "RECORDS", right=True))


@click.command("import", help="Copy what Celery's own backend keeps in Redis into the topic. Nothing there is changed.")
@click.option("-A", "--app", "app_name", metavar="MODULE", required=True, help="The application, as for `celery -A`.")
@click.option(
    "--from", "url", metavar="URL", help="The old result_backend. [default: the fallback_backend, or the one it has]"
)
@click.option("--dry-run", "dry", is_flag=True, help="Read all of it, and publish nothing.")
@common_options(hidden=True)
@pass_invocation
def command(invocation: Invocation, *, app_name: str, url: str | None, dry: bool) -> int:
    """
    Copy results and saved groups; exits with 8 if there were records that cannot be read.

    Also lists the exceptions among them that the application's list does not name, and the line that would. An
    application with another result backend is not switched over yet: its results go where environment and configuration
    file say.
    """
    invocation.start_logging("critical")
    try:
        from streamresults.celery.applications import backend_for, find_any_application
        from streamresults.celery.configuration import fallback_of
        from streamresults.celery.importing import Importing
    except ImportError as exc:
        msg = "this command needs Celery and redis: pip install 'streamresults[celery]'"
        raise ConfigurationError(msg) from exc
    app = find_any_application(app_name)
    backend = backend_for(app)
    old = url or (fallback_of(app.conf, backend.url or "") if backend is app.backend else app.conf.result_backend)
    if not old:
        raise click.UsageError("name the old backend with --from: the application has no fallback_backend.")
    told = _Telling(quiet=invocation.quiet)
    try:
        with Importing(backend, old, told.bad) as importing:
            counts = importing.run(dry=dry, on_progress=told.progress)
    finally:
        told.end()
        backend.connections.close()
    _show(counts, invocation.output, dry=dry)
    if counts.unlisted and not invocation.quiet:
        names = ", ".join(f'"{printable(name)}"' for name in counts.unlisted)
        click.echo(f"to list them: streamresults_allow = [{names}]", err=True)
    return Exit.DEAD_LETTERED if counts.bad else Exit.OK


class _Telling:
    """Says on stderr how far it has come, and what cannot be taken over."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._named = 0
        self._open_line = False
        self._next = time.monotonic() + _EVERY

    def progress(self, counts: Counts) -> None:
        if self._quiet or (not self._terminal and time.monotonic() < self._next):
            return
        self._next = time.monotonic() + _EVERY
        line = f"{counts.tasks} tasks, {counts.groups} groups; {counts.known} known already, {counts.bad} bad"
        click.echo(f"\r{line}" if self._terminal else line, nl=not self._terminal, err=True)
        self._open_line = self._terminal

    def bad(self, key: str, why: str) -> None:
        self._named += 1
        if self._named <= _NAMED:
            self.end()
            click.echo(f"bad: {printable(key)}: {printable(' '.join(why.split()))}", err=True)
        elif self._named == _NAMED + 1:
            click.echo("bad: more, which are counted only", err=True)

    def end(self) -> None:
        if self._open_line:
            click.echo(err=True)
            self._open_line = False


def _show(counts: Counts, output: str, *, dry: bool) -> None:
    rows = {
        "tasks": counts.tasks,
        "groups": counts.groups,
        "known already": counts.known,
        "expired meanwhile": counts.gone,
        "of chords under way": counts.chords,
        "bad": counts.bad,
    }
    if output != "table":
        counted = {name.replace(" ", "_"): count for name, count in rows.items()}
        emit(counted | {"unlisted": counts.unlisted, "dry_run": dry})
        return
    block([("would import" if dry else "imported", ""), *((name, str(count)) for name, count in rows.items())])
    if counts.unlisted:
        click.echo()
        found = sorted(counts.unlisted.items(), key=lambda one: (-one[1], one[0]))
        table([{"type": printable(name), "records": count} for name, count in found], _COLUMNS, sys.stdout)
