"""The program as a tree of commands, and the one place where whatever ends it becomes a line and an exit code."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final

import click

from streamresults import __version__
from streamresults.cli.exits import Exit, explain
from streamresults.cli.options import common_options

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Every command with its line of help, so that help needs none of their files.
COMMANDS: Final = {
    "demo": "Show it all within seconds: no Kafka, Redis, Docker or Java needed.",
    "doctor": "Check configuration, topics, Redis and coverage; say what mends each.",
    "init": "Create the topics with the settings that the guarantees rest on.",
    "compactor": "Fold the topic into Redis.",
    "publish": "Publish one event of a task.",
    "get": "Look tasks up.",
    "wait": "Block until tasks have ended.",
    "events": "Show a task's events from its first one on, until it ends.",
    "forget": "Forget tasks: write their tombstones.",
    "tail": "Follow the topic.",
    "replay": "Read a bounded range of the topic again, and verify Redis against it.",
    "exceptions": "Show exception types in the topic, and what the allowlist says to them.",
    "celery": "Look after a Celery application: its chords, and what it stored before.",
    "lag": "Show how far Redis is behind the topic, and what it covers.",
}

_EXIT_CODES: Final = """\b
Exit codes:
  0 done, or SUCCESS       5 Kafka or Redis not reachable
  1 FAILURE or REVOKED     6 verification found a mismatch
  2 usage, configuration   7 not covered by the view yet
  3 UNKNOWN task id        8 dead-lettered or unreadable
  4 timeout              130 interrupted"""


class Commands(click.Group):
    """Loads the file of a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """Return the names in the order of help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- the same
        """Load one command."""
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = import_module(f"streamresults.cli.{cmd_name}").command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 -- the same
        """Write the list without loading anything."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=Commands,
    epilog=_EXIT_CODES,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@common_options()
@click.version_option(__version__, message="streamresults %(version)s")
@click.pass_context
def program(ctx: click.Context) -> None:
    """
    Task results as a log you can join, look up and replay.

    Options may stand before or behind the command. All of them can also come from STREAMRESULTS_* variables or from
    streamresults.toml.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(Exit.USAGE)


def _check_text(arguments: Sequence[str]) -> None:
    """Refuse what no record, address or name can hold, before a library does so in its own words."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            msg = f"the argument {argument!r} is no text that UTF-8 can hold."
            raise click.UsageError(msg) from None


def _give_up_output() -> None:
    """Have Python not try again, as it ends, to write what could not be written: it would have the last word."""
    try:
        if sys.stdout is not None:  # as where it was closed before this began
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(arguments: Sequence[str]) -> int:
    """Run the program: data on stdout, at most one line of error on stderr, never a traceback."""
    try:
        _check_text(arguments)
        code = program.main(args=list(arguments), prog_name="streamresults", standalone_mode=False)
    except click.exceptions.Abort:
        return Exit.INTERRUPTED
    except click.ClickException as exc:
        path = exc.ctx.command_path if isinstance(exc, click.UsageError) and exc.ctx else "streamresults"
        message = " ".join(exc.format_message().split())
        click.echo(f"error: {message} Try: {path} --help", err=True)
        return Exit.USAGE
    except Exception as exc:  # noqa: BLE001 -- the last resort: everything becomes one line
        _give_up_output()
        return explain(exc)
    return int(code or 0)
