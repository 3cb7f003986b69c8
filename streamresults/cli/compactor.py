"""``streamresults compactor run``: fold the topic into the view until told to stop, or once up to its end."""

from __future__ import annotations

import logging
import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

from streamresults.cli.exits import Exit
from streamresults.cli.options import Invocation, common_options, duration, pass_invocation
from streamresults.cli.output import Column, emit_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.wiring import Wiring

_log: Final = logging.getLogger("streamresults.cli")
_COLUMNS: Final = (Column("partition", "PARTITION", right=True), Column("watermark", "WATERMARK", right=True))


@click.group("compactor", help="Fold the topic into Redis.", no_args_is_help=False)
def command() -> None:
    """Hold the commands about compactors."""


@command.command("run")
@click.option("--once", is_flag=True, help="Fold up to the end that the topic has now, print how far, and exit.")
@click.option(
    "--from",
    "begin",
    type=click.Choice(["earliest"]),
    help="Where there is no view yet, begin at the topic's oldest record, not its end. --once does so too.",
)
@click.option("--timeout", type=duration, help="How long --once may take. [default: as long as it takes]")
@common_options(hidden=True)
@pass_invocation
def run(invocation: Invocation, *, once: bool, begin: str | None, timeout: float | None) -> int:
    """
    Fold the topic into Redis until SIGTERM or Ctrl-C.

    Any number may run on one topic. A second signal exits at once, with 130; even that loses nothing.
    """
    if timeout is not None and not once:
        raise click.UsageError("--timeout goes with --once: without it a compactor runs until it is told to stop.")
    with invocation.wiring(log_level="info") as wiring, _stopped_by_signals() as stop:
        compactor = wiring.compactor(from_earliest=once or begin is not None)
        try:
            if not once:
                compactor.run(stop)
                return Exit.OK
            reached = compactor.run_once(stop, timeout)
        finally:
            _tell_counts(wiring)
        if stop.is_set():
            return Exit.INTERRUPTED
    rows = [{"partition": partition, "watermark": watermark} for partition, watermark in sorted(reached.items())]
    emit_rows(rows, _COLUMNS, invocation.output)
    return Exit.OK


def _tell_counts(wiring: Wiring) -> None:
    """Log what was counted meanwhile, where anything was."""
    decisions = {f"{name} {outcome}": count for (name, outcome), count in wiring.decisions.items()}
    refused = wiring.refusals.counts if wiring.refusals is not None else {}
    for what, counts in (("exceptions by type and outcome", decisions), ("refused for their signature", refused)):
        if counts:
            _log.info("%s: %s", what, counts, extra={"action": "counted"})


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """Give an event that the first signal sets; the second ends the process."""
    stop = threading.Event()

    def stopped(_number: int, _frame: object) -> None:
        if stop.is_set():
            os._exit(Exit.INTERRUPTED)
        stop.set()

    before = {number: signal.signal(number, stopped) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
