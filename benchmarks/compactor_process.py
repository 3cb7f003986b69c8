"""A compactor in a process of its own, as in production; run as a module, it is that process."""

from __future__ import annotations

import logging
import resource
import subprocess
import sys
import time
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event as Signal
from threading import Thread
from typing import Self

import msgspec

from benchmarks.bench import ROOT
from streamresults.settings import Settings
from streamresults.wiring import Wiring


class CompactorProcess:
    """Starts a compactor and blocks until partitions are assigned; leaving ends it."""

    def __init__(self, settings: Settings) -> None:
        command = [sys.executable, "-m", "benchmarks.compactor_process", msgspec.json.encode(settings).decode()]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._lines: SimpleQueue[str] = SimpleQueue()
        Thread(target=self._collect, daemon=True).start()

    def __enter__(self) -> Self:
        self.await_action("partitions_assigned", 60)
        time.sleep(0.5)  # the first, empty batches that begin the view
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def await_action(self, action: str, seconds: float) -> None:
        """Block until the compactor has logged it."""
        until = time.monotonic() + seconds
        while self._next(until) != action:
            pass

    def peak_mib(self) -> float:
        """Return the most memory that the process has held so far."""
        assert self._process.stdin is not None
        self._process.stdin.write("peak\n")
        until = time.monotonic() + 30
        while not (line := self._next(until)).startswith("peak "):
            pass
        return float(line.split()[1]) / 1024

    def _next(self, until: float) -> str:
        try:
            return self._lines.get(timeout=max(0.0, until - time.monotonic()))
        except Empty:
            msg = "the compactor's process did not answer in time"
            raise RuntimeError(msg) from None

    def _collect(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.strip())


class _Told(logging.Handler):
    """Prints the action of every line of log."""

    def emit(self, record: logging.LogRecord) -> None:
        print(getattr(record, "action", ""), flush=True)


def _peak_kib() -> int:
    """Return the most memory held by this process; getrusage would on Linux answer with its parent's, if larger."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1])


def main(settings: str) -> None:
    """Run a compactor until standard input ends; answer questions asked there."""
    logger = logging.getLogger("streamresults.compactor")
    logger.addHandler(_Told())
    logger.setLevel(logging.INFO)
    logger.propagate = False
    stop = Signal()
    with Wiring(msgspec.json.decode(settings, type=Settings)) as wiring:
        runner = Thread(target=wiring.compactor(from_earliest=True).run, args=(stop,))
        runner.start()
        for _question in sys.stdin:
            print("peak", _peak_kib(), flush=True)
        stop.set()
        runner.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
