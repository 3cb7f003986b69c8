"""A compactor in a process of its own, as in production; run as a module, it is that process."""

from __future__ import annotations

import logging
import sys
import time
from threading import Event as Signal
from threading import Thread
from typing import Self

import msgspec

from benchmarks.child_process import ChildProcess
from benchmarks.processes import peak_kib
from streamresults.settings import Settings
from streamresults.wiring import Wiring


class CompactorProcess(ChildProcess):
    """
    Starts a compactor and blocks until partitions are assigned; leaving ends it.

    Args:
        from_earliest: A generation begins at the oldest record; if not, at the end, and back-fill completes it.
    """

    def __init__(self, settings: Settings, *, from_earliest: bool = True) -> None:
        super().__init__(
            "compactor_process", msgspec.json.encode(settings).decode(), "earliest" if from_earliest else "end"
        )

    def __enter__(self) -> Self:
        self.await_action("partitions_assigned", 60)
        time.sleep(0.5)  # the first, empty batches that begin the view
        return self

    def await_action(self, action: str, seconds: float) -> float:
        """Block until the compactor has logged it; return when, by ``perf_counter``."""
        return self.await_line(lambda line: line == action, seconds)[1]

    def peak_mib(self) -> float:
        """Return the most memory that the process has held so far."""
        return float(self.answer("peak", 30)) / 1024


class _Told(logging.Handler):
    """Prints the action of every line of log."""

    def emit(self, record: logging.LogRecord) -> None:
        print(getattr(record, "action", ""), flush=True)


def main(settings: str, begin: str) -> None:
    """Run a compactor until standard input ends; answer questions asked there."""
    for name in ("compactor", "backfill"):
        logger = logging.getLogger(f"streamresults.{name}")
        logger.addHandler(_Told())
        logger.setLevel(logging.INFO)
        logger.propagate = False
    stop = Signal()
    with Wiring(msgspec.json.decode(settings, type=Settings)) as wiring:
        runner = Thread(target=wiring.compactor(from_earliest=begin == "earliest").run, args=(stop,))
        runner.start()
        for _question in sys.stdin:
            print("peak", peak_kib(), flush=True)
        stop.set()
        runner.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
