"""A real Celery worker with a real broker, in front of one of two backends: Celery's own on Redis, and ours."""

from __future__ import annotations

import gc
import importlib
import json
import os
import re
import secrets
import subprocess
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kombu.pools
from celery import Celery
from redis import Redis

from streamresults.celery.process import close_all
from streamresults.settings import Settings
from streamresults.wiring import Wiring
from tests.compacting import compacting
from tests.conftest import create_topics
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from celery.result import AsyncResult


ROOT = Path(__file__).resolve().parents[2]
PROJECT = "tests.acceptance.celery_project"
#: What two applications need to agree on.
_SHARED = ("broker_url", "result_backend", "result_backend_transport_options", "task_default_queue")
#: Seconds within which anything here happens on a loaded machine.
SOON = 40.0


class World:
    """One application with its worker, as a client sees it."""

    def __init__(self, kind: str, project: Any, worker: Worker, backends: Mapping[str, Mapping[str, Any]]) -> None:
        self.kind = kind
        self.tasks = project
        self.app = project.app
        self.worker = worker
        #: Settings that select ``celery``, Celery's own backend; ``streamresults``; and ``both``, ours with the other
        #: one to fall back on.
        self.backends = backends

    @property
    def ours(self) -> bool:
        """Whether the backend is ours."""
        return self.kind != "celery"

    def client(self, **conf: Any) -> Celery:
        """Return another application with the same backend and settings of its own, as another process would have."""
        app = Celery(f"other-{secrets.token_hex(3)}", set_as_current=False)
        known = {name: self.app.conf[name] for name in _SHARED}
        app.conf.update(known | conf)
        return app

    def work_with(self, kind: str) -> None:
        """Have another worker take the place of the one there is, with another of the backends."""
        self.worker.stop()
        backend = self.backends[kind]
        told = {"backend": backend["result_backend"], "options": backend["result_backend_transport_options"]}
        self.worker = self.worker.another(**told)
        self.worker.wait_until_ready()

    def wait_until_run(self, result: AsyncResult, times: int = 1) -> None:
        """Return when the worker has run a task, whatever it has stored of it."""
        ends = re.compile(rf"\[{result.id}\] (succeeded|ignored|rejected|raised)")
        eventually(lambda: len(ends.findall(self.worker.log.read_text())) >= times, SOON, f"{result.id} has run")

    def unacknowledged(self) -> set[str]:
        """Return the tasks that the broker would deliver again if the worker were gone."""
        with Redis.from_url(self.app.conf.broker_url) as broker:
            kept = [json.loads(message) for message in broker.hvals("unacked")]
        queue = self.app.conf.task_default_queue
        return {message["headers"]["id"] for message, _, routing_key in kept if routing_key == queue}

    def command(self, *arguments: str) -> str:
        """Return what a command of Celery's prints; it must succeed."""
        ran = self.worker.command(*arguments)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def says(self, *, celery: Any, ours: Any) -> Any:
        """Return what the backend does where the two differ; docs/celery.md says why, line by line."""
        return ours if self.ours else celery


class Worker:
    """A worker in a process of its own."""

    def __init__(self, scenario: dict[str, Any], log: Path, *arguments: str) -> None:
        self.name = f"w-{secrets.token_hex(4)}@localhost"
        self.log = log
        self._scenario, self._arguments = scenario, arguments
        self._environment = {**os.environ, "SCENARIO": json.dumps(scenario), "PYTHONPATH": str(ROOT)}
        options = ["--without-mingle", "--without-gossip", "--without-heartbeat", "-l", "info", "-n", self.name]
        with log.open("w") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", PROJECT, "worker", *options, *arguments],
                cwd=ROOT,
                env=self._environment,
                stdout=subprocess.DEVNULL,
                stderr=file,
            )

    def wait_until_ready(self) -> None:
        """Return when it takes tasks."""
        eventually(lambda: f"{self.name} ready." in self.log.read_text() or self._ended(), SOON, "the worker is ready")

    def _ended(self) -> bool:
        assert self._process.poll() is None, self.log.read_text()[-3000:]
        return False

    def another(self, **told: Any) -> Worker:
        """Return a worker of the same application that is told something else."""
        return Worker({**self._scenario, **told}, self.log.with_name(f"{secrets.token_hex(4)}.log"), *self._arguments)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Celery's on the application of this worker."""
        return subprocess.run(
            [sys.executable, "-m", "celery", "-A", PROJECT, *arguments],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            check=False,
            text=True,
            timeout=SOON,
        )

    @contextmanager
    def serving(self, *arguments: str, **environment: str) -> Iterator[None]:
        """Run a command of Celery's on the application of this worker until it is needed no more."""
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", PROJECT, *arguments],
            cwd=ROOT,
            env={**self._environment, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            process.kill()
            process.wait()

    def stop(self) -> None:
        """End it as its operator does, and wait for it."""
        self._process.terminate()
        try:
            self._process.wait(SOON)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise


@contextmanager
def world_on(kind: str, kafka: str, redis: str, folder: Path, *arguments: str, **conf: Any) -> Iterator[World]:
    """Give an application with its worker, on a topic and a view of its own; see :func:`world`."""
    name = f"c-{secrets.token_hex(5)}"
    settings = Settings(kafka_bootstrap=kafka, redis_url=redis, topic=name, namespace=name)
    with Wiring(settings) as wiring:
        create_topics(wiring)
        with world(kind, wiring, redis, folder, *arguments, **conf) as found:
            yield found


@contextmanager
def world(kind: str, wiring: Wiring, redis_url: str, folder: Path, *arguments: str, **conf: Any) -> Iterator[World]:
    """
    Give an application with its worker.

    Args:
        kind: ``celery`` for Celery's own backend on Redis, ``streamresults`` for ours, ``both`` for ours with the other
            one to fall back on.
        wiring: A topic and a view of its own, for ours.
        arguments: Of the worker.
        conf: Settings of Celery.
    """
    settings = wiring.settings
    server = redis_url.rpartition("/")[0] if redis_url.count("/") > 2 else redis_url
    queue = f"q-{secrets.token_hex(4)}"
    ours = (
        f"streamresults://{settings.kafka_bootstrap}/{settings.topic}"
        f"?redis={settings.redis_url}&namespace={settings.namespace}"
    )
    # The database of Celery's own backend is shared: what is one test's stands under a prefix.
    prefix = {"global_keyprefix": queue}
    backends: dict[str, dict[str, Any]] = {
        "celery": {"result_backend": f"{server}/2", "result_backend_transport_options": prefix},
        "streamresults": {"result_backend": ours, "result_backend_transport_options": {}},
    }
    both = {**prefix, "fallback_backend": f"{server}/2"}
    backends["both"] = {**backends["streamresults"], "result_backend_transport_options": both}
    scenario = {
        "broker": f"{server}/1",
        "backend": backends[kind]["result_backend"],
        "options": backends[kind]["result_backend_transport_options"],
        "queue": queue,
        "conf": conf,
    }
    worker = Worker(scenario, folder / "worker.log", *arguments)
    try:
        with compacting(wiring):
            project = _imported(scenario)
            worker.wait_until_ready()
            found = World(kind, project, worker, backends)
            try:
                yield found
            finally:
                found.worker.stop()
                project.app.close()
                close_all()
    finally:
        worker.stop()
        _collect()


def _collect() -> None:
    """Have what Celery's clients leave unclosed collected here, and not in the middle of another test."""
    kombu.pools.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def _imported(scenario: dict[str, Any]) -> Any:
    """Import the application anew, as a client in this process."""
    os.environ["SCENARIO"] = json.dumps(scenario)
    try:
        sys.modules.pop(PROJECT, None)
        return importlib.import_module(PROJECT)
    finally:
        del os.environ["SCENARIO"]
