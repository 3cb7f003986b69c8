"""One server on this machine: start it, wait until it answers, stop it, break it on purpose."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import weakref
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from ports import HOST, check_port, free_ports
from processes import SIGNAL_SECONDS, LocalServicesError, ProcessId, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LOG_LINES_SHOWN = 25


class ServerProcess(ABC):
    """
    One server in a folder of its own; a subclass says which command it is and how it shows that it is ready.

    The server lives in its own session, so Ctrl-C in a shell does not reach it. It is killed when this object is
    collected or the interpreter exits, unless `detach` was called. Not thread-safe.
    """

    # How long a start may take. Smaller: a busy CI machine fails for no reason. Larger: a real failure is told late.
    ready_within = 60.0

    def __init__(self, name: str, folder: Path | None, port: int | None) -> None:
        """Prepare, without starting anything. Without a folder a temporary one is made, and removed by `close`."""
        self.name = name
        self.port = free_ports(1)[0] if port is None else port
        self._temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix=f"streamresults-{name}-")) if folder is None else folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._id: ProcessId | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._at_exit: weakref.finalize[..., ServerProcess] | None = None
        self._remove = weakref.finalize(self, _discard, os.getpid(), None, self.folder if self._temporary else None)

    @property
    def address(self) -> str:
        """Return host:port."""
        return f"{HOST}:{self.port}"

    @property
    def log(self) -> Path:
        """Return the file that keeps all the server wrote, over all its starts."""
        return self.folder / "log"

    @property
    def pid(self) -> int:
        """Return the pid. Raise `LocalServicesError` when the server is not running."""
        return self._running().pid

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Return the command that runs the server in the foreground."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Tell whether the server answers. May raise OSError, which counts as no."""

    def is_running(self) -> bool:
        """Tell whether the process exists, paused or not."""
        self._reap()
        return self._id is not None and self._id.is_running()

    def start(self) -> None:
        """
        Start the server and block until it answers.

        Raise `LocalServicesError` when its port is taken, its folder is in use, it ends early or is not ready in time.
        """
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start the process without waiting for it. Raise `LocalServicesError` like `start`."""
        pid_file = self.folder / "pid"
        running = ProcessId.read(pid_file)
        if running is not None and running.is_running():
            message = f"{self.name} is running already in {self.folder} as process {running.pid}"
            raise LocalServicesError(message)
        check_port(self.port)
        self._child = self._spawn(list(self.command()))
        self._id = ProcessId.of(self._child.pid)
        self._at_exit = weakref.finalize(self, _discard, os.getpid(), self._child, None)
        self._id.write(pid_file)

    def wait_ready(self) -> None:
        """Block until the server answers. Raise `LocalServicesError` with the end of its log when it does not."""
        if wait_until(lambda: not self.is_running() or self._answers(), self.ready_within):
            if self.is_running():
                return
            problem = "ended before it was ready"
        else:
            problem = f"was not ready within {self.ready_within:.0f} s"
        self.kill()
        message = f"{self.name} {problem}; the end of {self.log}:\n{self.log_tail()}"
        raise LocalServicesError(message)

    def stop(self) -> None:
        """End the server cleanly, with SIGKILL when it takes too long, and block until it is gone. Keep its data."""
        self._end(lambda process: process.end())

    def kill(self) -> None:
        """Kill the server with SIGKILL, as a crash would, and block until it is gone. Keep its data."""
        self._end(lambda process: process.kill())

    def restart(self) -> None:
        """Stop the server if it runs and start it on the same port with the same data. Block and raise like `start`."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the server with SIGSTOP: connections stay open and nothing answers. Block until it is frozen."""
        self._switch(signal.SIGSTOP, lambda state: state in ("T", None))

    def resume(self) -> None:
        """Let a paused server go on, and block until it does."""
        self._switch(signal.SIGCONT, lambda state: state != "T")

    def detach(self) -> None:
        """Let the server outlive this object and this interpreter, its folder too."""
        self._remove.detach()
        if self._at_exit is not None:
            self._at_exit.detach()

    def close(self) -> None:
        """Stop the server, and remove its folder when it is a temporary one. Harmless when repeated."""
        self.stop()
        self._remove()

    def log_tail(self) -> str:
        """Return the last lines of the log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:])
        except FileNotFoundError:
            return ""

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            try:
                return subprocess.Popen(
                    command,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                message = f"could not run {command[0]}: {error}"
                raise LocalServicesError(message) from error

    def _answers(self) -> bool:
        try:
            return self.is_ready()
        except OSError:
            return False

    def _running(self) -> ProcessId:
        if self._id is None or not self.is_running():
            message = f"{self.name} in {self.folder} is not running"
            raise LocalServicesError(message)
        return self._id

    def _end(self, end: Callable[[ProcessId], None]) -> None:
        if self._id is not None:
            end(self._id)
            self._reap()
            (self.folder / "pid").unlink(missing_ok=True)
            self._id = None
        if self._at_exit is not None:
            self._at_exit.detach()

    def _switch(self, number: signal.Signals, reached: Callable[[str | None], bool]) -> None:
        process = self._running()
        process.send(number)
        if not wait_until(lambda: reached(process.state()), SIGNAL_SECONDS):
            message = f"{self.name} did not react to {number.name}"
            raise LocalServicesError(message)

    def _reap(self) -> None:
        if self._child is not None and self._child.poll() is not None:
            self._child = None


def _discard(owner: int, child: subprocess.Popen[bytes] | None, folder: Path | None) -> None:
    if os.getpid() != owner:
        return  # a forked child inherits the finalizers, and its exit must not end its parent's servers
    if child is not None:
        child.kill()
        child.wait()
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
