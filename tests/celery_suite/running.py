"""Runs Celery's tests, some at a time, each time with a worker of its own."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

import redis

from tests import services

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from tests.celery_suite.suite_source import SuiteSource

#: What applies to a result backend: all of t/integration that finds its imports, and of t/unit what reads or writes
#: results through the application's backend, or tests the base classes that ours has.
INTEGRATION: Final = ("t/integration",)
UNIT: Final = (
    "t/unit/tasks",
    "t/unit/backends/test_base.py",
    "t/unit/backends/test_asynchronous.py",
    "t/unit/app/test_backends.py",
    "t/unit/worker/test_request.py",
)
#: Tests of t/integration that share a worker. More lets one test that holds up the worker spoil the others.
_AT_ONCE: Final = 20
#: Seconds for a test, as Celery's own marks have it. The slowest that pass take half of it: they wait for what must
#: not come.
_SECONDS: Final = 300
#: Databases of the Redis: its tests look into 0 for what tasks have left there.
_TRACES, _BROKER, _VIEW = 0, 1, 5


class Running:
    """
    Services, and what runs on them; a context.

    Args:
        source: The tests, prepared.
        backend: ``streamresults`` or ``redis``.
    """

    def __init__(self, source: SuiteSource, backend: str) -> None:
        self._source: Final = source
        self._backend: Final = backend
        self._open: Final = contextlib.ExitStack()
        self.logs: Final = Path(tempfile.mkdtemp(prefix="run-", dir=source.folder))
        self.report: Final = self.logs / "report.jsonl"
        self._redis = ""
        self._environment: dict[str, str] = {}

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opening:
            server = services.redis_server()
            opening.callback(server.close)
            self._redis = server.url.rsplit("/", 1)[0]
            at = urlsplit(server.url)
            self._environment = {
                **{name: value for name, value in os.environ.items() if not name.startswith("STREAMRESULTS_")},
                "PATH": f"{self._source.python.parent}:{os.environ['PATH']}",
                "PYTHONPATH": str(Path(__file__).parent),
                "REDIS_HOST": str(at.hostname),
                "REDIS_PORT": str(at.port),
                "TEST_BROKER": f"{self._redis}/{_BROKER}",
                "TEST_BACKEND": f"{self._redis}/{_TRACES}",
                # As Celery's own run has it: what test_trace_log_arguments reads is logged at this level.
                "WORKER_LOGLEVEL": "INFO",
                "CELERY_SUITE_SECONDS": str(_SECONDS),
                "CELERY_SUITE_REPORT": str(self.report),
            }
            if self._backend == "streamresults":
                self._compact(opening, str(at.netloc))
            self._open.push(opening.pop_all())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _compact(self, opening: contextlib.ExitStack, redis_at: str) -> None:
        """Start Kafka and a compactor, and have the tests use them."""
        cluster = services.kafka_cluster()
        opening.callback(cluster.close)
        name = f"suite-{secrets.token_hex(4)}"
        # This form, as Celery's tests skip what wants Redis unless the URL begins with its name.
        self._environment["TEST_BACKEND"] = (
            f"redis-streamresults://{redis_at}/{_VIEW}?brokers={cluster.bootstrap}&topic={name}&namespace={name}"
        )
        settings = {
            "STREAMRESULTS_KAFKA_BOOTSTRAP": cluster.bootstrap,
            "STREAMRESULTS_REDIS_URL": f"{self._redis}/{_VIEW}",
            "STREAMRESULTS_TOPIC": name,
            "STREAMRESULTS_NAMESPACE": name,
        }
        program = [str(self._source.python), "-m", "streamresults"]
        environment, folder = self._environment | settings, self._source.folder
        init = [*program, "init", "--partitions", "4"]
        subprocess.run(init, env=environment, cwd=folder, check=True, capture_output=True)
        log = opening.enter_context((self.logs / "compactor.log").open("w"))
        compactor = subprocess.Popen(
            [*program, "compactor", "run", "--from", "earliest"], env=environment, cwd=folder, stderr=log
        )
        opening.callback(compactor.wait)
        opening.callback(compactor.terminate)

    def run(self, selected: Sequence[str], say: Callable[[str], None]) -> list[str]:
        """Run the tests that are selected, say now and then how far that is, and return those of t/integration."""
        self.report.touch()
        tests = self._collected([of for of in selected if not of.startswith("t/unit")], say)
        say(f"{len(tests)} tests of t/integration; logs are in {self.logs}")
        for begin in range(0, len(tests), _AT_ONCE):
            for database in (_TRACES, _BROKER):
                with redis.Redis.from_url(f"{self._redis}/{database}") as client:
                    client.flushdb()
            say(f"{begin:5} {self._pytest(f'integration-{begin:03}', tests[begin : begin + _AT_ONCE])}")
        unit = [of for of in selected if of.startswith("t/unit")]
        if unit:
            say(f" unit {self._pytest('unit', unit)}")
        return tests

    def _collected(self, selected: Sequence[str], say: Callable[[str], None]) -> list[str]:
        if not selected:
            return []
        self._pytest("collected", ["--collect-only", *selected])
        lines = (self.logs / "collected.log").read_text().splitlines()
        for line in lines:
            if line.startswith("ERROR"):
                say(f"left out, as it cannot be collected: {line.removeprefix('ERROR').lstrip(': ')}")
        return [line for line in lines if "::" in line and not line.startswith("ERROR")]

    def _pytest(self, name: str, arguments: Sequence[str]) -> str:
        """Run pytest, take with it whatever it leaves running, and return its last line."""
        log = self.logs / f"{name}.log"
        options = ["-q", "-p", "no:cacheprovider", "-p", "celery.contrib.pytest", "-p", "reporting"]
        with log.open("w") as file:
            running = subprocess.Popen(
                [str(self._source.python), "-m", "pytest", *options, *arguments],
                cwd=self._source.tests,
                env=self._environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                running.wait()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(running.pid, signal.SIGKILL)
        # Finalizers may say something after pytest's last line.
        last: list[str] = re.findall(r"^.* in \d+\.\d+s.*$", log.read_text(), re.MULTILINE)
        return last[-1] if last else "pytest did not end"
