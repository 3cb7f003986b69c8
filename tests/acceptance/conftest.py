"""The command line as its users meet it: processes of its own, on real Kafka and real Redis."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.deadline import Deadline
from streamresults.settings import Settings
from streamresults.wiring import Wiring
from tests.conftest import create_topics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Seconds for one command. Longer hides a hang behind the limit of the whole test.
PATIENCE = 40.0
PARTITIONS = 3


@dataclass(frozen=True)
class Ran:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The lines of ``-o jsonl``."""
        return [json.loads(line) for line in self.out.splitlines()]

    def failed_in_one_line(self, code: int) -> str:
        """Check what every error is: nothing on stdout, one line that is no traceback; return the line."""
        assert (code, "") == (self.code, self.out), self
        (line,) = self.err.splitlines()
        assert line.startswith("error: ")
        assert "Traceback" not in line
        return line


@dataclass(frozen=True)
class Cli:
    """Runs commands with an environment of their own."""

    environment: dict[str, str]
    #: Where they run: a folder without a streamresults.toml.
    folder: Path
    wiring: Wiring = field(repr=False)
    program: tuple[str, ...] = (sys.executable, "-m", "streamresults")

    def __call__(self, *arguments: str, timeout: float = PATIENCE) -> Ran:
        """Run one to its end."""
        with self.started(*arguments) as process:
            out, err = process.communicate(timeout=timeout)
        return Ran(process.returncode, out, err)

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Start one, and kill it if it is still there at the end."""
        clean = {name: text for name, text in os.environ.items() if not name.startswith("STREAMRESULTS_")}
        process = subprocess.Popen(
            [*self.program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            cwd=self.folder,
            env={**clean, **self.environment},
        )
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()


@contextmanager
def cli_on(kafka: str, redis: str, folder: Path, *, topics: bool = True) -> Iterator[Cli]:
    """Give commands on a topic and a namespace of their own."""
    name = f"cli-{secrets.token_hex(5)}"
    environment = {
        "STREAMRESULTS_KAFKA_BOOTSTRAP": kafka,
        "STREAMRESULTS_REDIS_URL": redis,
        "STREAMRESULTS_TOPIC": name,
        "STREAMRESULTS_NAMESPACE": name,
    }
    settings = Settings(kafka_bootstrap=kafka, redis_url=redis, topic=name, namespace=name)
    with Wiring(settings) as wiring:
        if topics:
            create_topics(wiring, PARTITIONS)
        yield Cli(environment, folder, wiring)


def logged(process: subprocess.Popen[str], text: str) -> str:
    """Wait for a line on stderr; read on in the background, so that the process never waits for its pipe."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return line
    pytest.fail(f"ended without a word of {text!r}")


def append_garbage(cli: Cli, task_id: str) -> None:
    """Append a record that no reader can make sense of."""
    writer = cli.wiring.broker().writer(cli.wiring.settings.topic)
    writer.produce(task_id.encode(), b"garbage", None)
    assert writer.close(Deadline(PATIENCE)) == 0


@pytest.fixture
def cli(kafka_bootstrap: str, redis_url: str, tmp_path: Path) -> Iterator[Cli]:
    """Give commands on topics that nobody else uses; no compactor runs."""
    with cli_on(kafka_bootstrap, redis_url, tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def running(kafka_bootstrap: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """Give commands on topics that a compactor folds; shared by a module, so every test takes ids of its own."""
    with (
        cli_on(kafka_bootstrap, redis_url, tmp_path_factory.mktemp("cli")) as found,
        found.started("compactor", "run", "--from", "earliest") as compactor,
    ):
        logged(compactor, "partitions assigned")
        yield found
        compactor.terminate()
        compactor.wait(PATIENCE)


@pytest.fixture
def task_id() -> str:
    """Give an id that no other test uses."""
    return f"task-{secrets.token_hex(5)}"
