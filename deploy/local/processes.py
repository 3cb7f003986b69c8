"""Processes on this machine: name them for good, signal them, wait for them, keep them from each other."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

# Between two looks at a condition. Larger: starts get visibly slower. Smaller: two cores are spent on looking.
_POLL_SECONDS = 0.02

# A signal takes effect within milliseconds; what has not by then is stuck in the kernel (a dead disk).
SIGNAL_SECONDS = 10.0

# A clean shutdown: a broker hands over its partitions first. Shorter: SIGKILL would cut that, and the next start
# would have to recover its log.
_STOP_SECONDS = 20.0


class LocalServicesError(RuntimeError):
    """Say why a local service could not be started, stopped or reached."""


@dataclass(frozen=True)
class ProcessId:
    """Name one process for good: a pid alone may be given to another process later."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """Name the process that has this pid now. Raise `LocalServicesError` when there is none."""
        seen = _observe(pid)
        if seen is None:
            message = f"there is no process {pid}"
            raise LocalServicesError(message)
        return cls(pid, seen[1])

    @classmethod
    def read(cls, file: Path) -> ProcessId | None:
        """Read what `write` wrote; None when the file is missing or damaged."""
        try:
            pid, started = file.read_text().split("\n", 1)
            return cls(int(pid), started.strip())
        except (OSError, ValueError):
            return None

    def write(self, file: Path) -> None:
        """Write the name so that another process finds it whole or not at all."""
        write_whole(file, f"{self.pid}\n{self.started}\n")

    def state(self) -> str | None:
        """Return the state letter ("S", "T", …); None when the process has ended, reaped by its parent or not."""
        seen = _observe(self.pid)
        return seen[0] if seen is not None and seen[1] == self.started else None

    def is_running(self) -> bool:
        """Tell whether the process exists, paused or not."""
        return self.state() is not None

    def send(self, number: signal.Signals) -> None:
        """Send a signal; do nothing when the process has ended."""
        if self.is_running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def end(self, within: float = _STOP_SECONDS) -> None:
        """Ask the process to end, kill it when it has not after `within` seconds, and block until it is gone."""
        self.send(signal.SIGTERM)
        self.send(signal.SIGCONT)  # a paused process acts on SIGTERM only once it runs again
        if not wait_until(lambda: not self.is_running(), within):
            self.kill()

    def kill(self) -> None:
        """Kill the process and block until it is gone. Raise `LocalServicesError` when the system cannot."""
        self.send(signal.SIGKILL)
        if not wait_until(lambda: not self.is_running(), SIGNAL_SECONDS):
            message = f"process {self.pid} did not end after SIGKILL"
            raise LocalServicesError(message)


def wait_until(condition: Callable[[], bool], within: float) -> bool:
    """Block until the condition holds, at most `within` seconds; tell whether it does."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def write_whole(file: Path, text: str) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    part.write_text(text)
    part.replace(file)


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold an exclusive lock among processes; block until it is free. A process that dies lets go of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _observe(pid: int) -> tuple[str, str] | None:
    """Return the state letter and the start time of a process that has not ended, from /proc or else from ps."""
    if Path("/proc/self/stat").exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            return None
        # The command name before the last ")" may hold spaces. Fields 3, 20 and 22: state, threads, start time.
        fields = stat.rpartition(")")[2].split()
        state, threads, started = fields[0], int(fields[17]), fields[19]
        # The first thread shows as a zombie while the others are still letting go of the port.
        ended = state in "ZX" and threads <= 1
        return None if ended else (state, started)
    done = subprocess.run(
        ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, started = done.stdout.strip().partition(" ")
    return (state[0], started.strip()) if state and state[0] != "Z" else None


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Turn the signals that end a program into KeyboardInterrupt, so that a start cut short leaves nothing behind."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
