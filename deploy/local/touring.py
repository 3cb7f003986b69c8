"""
The tour: results are published and folded, Redis loses everything, and a person sees how it comes back.

It ends by itself, stops what it started, and exits with 0 when the view equals the log in the end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from kafka_server import KafkaCluster
from processes import LocalServicesError, ended_by_signals
from redis_server import RedisServer

from streamresults.errors import NotYetCovered, StreamResultsError
from streamresults.settings import Settings
from streamresults.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from streamresults.client import Client
    from streamresults.publisher import Publisher

_PARTITIONS = 4
# What keeps back-fill busy for some ten seconds on two cores. Fewer and there is little to see, more and one waits.
_RESULTS = 500_000
# Seconds for publishing them: a slow machine gets fewer results instead of a longer tour.
_PUBLISHING = 20.0
# Seconds between two results of the load that goes on meanwhile.
_LOAD_EVERY = 0.005
# Seconds for one result, one command, or for the view to be whole again: more than that is a failure, and is said.
_PATIENCE = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Give the tour; return 0 when all was shown, 1 when something failed."""
    parser = argparse.ArgumentParser(
        prog="tour", description="See Redis being lost and coming back; under two minutes."
    )
    parser.add_argument("--results", type=int, default=_RESULTS, metavar="N", help=f"[default: {_RESULTS}]")
    options = parser.parse_args(arguments)
    # No link: on some systems the temporary folder is one.
    folder = Path(tempfile.mkdtemp(prefix="streamresults-tour-")).resolve()
    try:
        with ended_by_signals(), Stage(folder) as stage:
            _give(stage, options.results)
    except (LocalServicesError, StreamResultsError, TourError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\nEverything that was started has been stopped.")
    return 0


class TourError(Exception):
    """Say what did not come about."""


class Stage:
    """Kafka, Redis and a compactor; leaving stops them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self.redis = RedisServer(folder / "redis")
        self.kafka = KafkaCluster(folder=folder)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:  # what was started is stopped when the rest cannot be
            stack.callback(self.redis.close)
            self.redis.start()
            stack.enter_context(self.kafka)
            self._stack = stack.pop_all()
        _say(f"redis      pid {self.redis.pid}")
        _say(f"kafka      pid {self.kafka.brokers[0].pid}")
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()

    @property
    def settings(self) -> Settings:
        """What this process opens."""
        return Settings(kafka_bootstrap=self.kafka.bootstrap, redis_url=self.redis.url)

    def run(self, *command: str) -> None:
        """Show a command and what it says. Raise `TourError` when it does not exit with 0."""
        _say(f"\n$ streamresults {' '.join(command)}")
        with self.started(*command) as process:
            assert process.stdout is not None
            for line in process.stdout:
                _say(f"  {line}".rstrip())
            code = process.wait(_PATIENCE)
        if code != 0:
            message = f"streamresults {command[0]} exited with {code}"
            raise TourError(message)

    @contextlib.contextmanager
    def started(self, *command: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command; leaving interrupts it where it has not ended."""
        clean = {name: text for name, text in os.environ.items() if not name.startswith("STREAMRESULTS_")}
        clean["STREAMRESULTS_KAFKA_BOOTSTRAP"] = self.kafka.bootstrap
        clean["STREAMRESULTS_REDIS_URL"] = self.redis.url
        with subprocess.Popen(
            [sys.executable, "-m", "streamresults", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self._folder,
            env=clean,
            # Ctrl-C in the shell is this process's business.
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
                    _drain(process)

    def start_compactor(self) -> None:
        """Start a compactor, which stays until the end."""
        process = self._stack.enter_context(self.started("compactor", "run"))
        Thread(target=_drain, args=(process,), daemon=True).start()
        _say(f"compactor  pid {process.pid}")


def _give(stage: Stage, results: int) -> None:
    stage.run("init", "--partitions", str(_PARTITIONS))
    _say("")
    stage.start_compactor()
    with Wiring(stage.settings) as wiring, wiring.client() as client, wiring.publisher(worker="tour") as publisher:
        first = _publish(publisher, results)
        newcomers = Newcomers(publisher, client)
        _until_complete(stage, newcomers)
        stage.run("lag")
        with _load(publisher):
            _say("\n$ redis-cli FLUSHALL      # while results go on arriving")
            stage.redis.execute("FLUSHALL")
            _say("  everything that Redis knew is gone; the log has it all")
            newcomers.show()
            _show_old(client, first)
            stage.run("lag")
            _say("\n$ streamresults lag --watch      # in short; beside it, a new result each second")
            _until_complete(stage, newcomers)
            _show_old(client, first)
        publisher.flush(_PATIENCE)
        client.lookup(newcomers.last, fresh=True, timeout=_PATIENCE)
    stage.run("lag")
    stage.run("replay", "--verify")


def _publish(publisher: Publisher, results: int) -> str:
    """Publish results as fast as the brokers take them; return the first one's id."""
    publisher.warm()
    began = time.monotonic()
    for number in range(results):
        publisher.send(publisher.event(f"task-{number}", "SUCCESS", result={"number": number}))
        if time.monotonic() - began > _PUBLISHING:
            break
    publisher.flush(_PATIENCE)
    took = time.monotonic() - began
    _say(f"\npublished  {number + 1} results in {took:.1f} s, each acknowledged by Kafka")
    return "task-0"


@contextlib.contextmanager
def _load(publisher: Publisher) -> Iterator[None]:
    """Publish one result after the other, slowly, until left."""
    enough = Event()

    def work() -> None:
        number = 0
        while not enough.wait(_LOAD_EVERY):
            publisher.send(publisher.event(f"load-{number}", "SUCCESS", result=number))
            number += 1

    thread = Thread(target=work, name="tour-load")
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


class Newcomers:
    """New results, each waited for through Redis as a caller would."""

    def __init__(self, publisher: Publisher, client: Client) -> None:
        self._publisher = publisher
        self._client = client
        self._count = 0
        self.last = ""

    def arrive(self) -> str:
        """Publish one and wait for it; return how long that took. Raise `WaitTimeout` when it does not arrive."""
        self._count += 1
        self.last = f"new-{self._count}"
        began = time.perf_counter()
        self._publisher.succeeded(self.last, {"number": self._count})
        self._client.wait(self.last, _PATIENCE, via="view")
        return f"{self.last} published and waited for in {(time.perf_counter() - began) * 1000:.0f} ms"

    def show(self) -> None:
        """Say it on a line of its own."""
        _say(f"  {self.arrive()}")


def _show_old(client: Client, task_id: str) -> None:
    """Look up what was published long ago."""
    try:
        _say(f"  {task_id}, published first of all: {client.lookup(task_id).state}")
    except NotYetCovered:
        _say(f"  {task_id}, published first of all: NotYetCovered. Nobody is told that it does not exist")


class _Look(NamedTuple):
    """One look of ``lag --watch``."""

    total: dict[str, Any]

    @property
    def complete(self) -> bool:
        return bool(self.total["complete"]) and self.total["lag"] < _PARTITIONS * 1000

    def __str__(self) -> str:
        total = self.total
        said = f"lag {total['lag']:>6}   to fill {total['to_fill']:>7}   covered {total['covered']:>4.0%}"
        if not total["fill_rate"] or not total["to_fill"]:
            return said
        return f"{said}   {total['fill_rate']:>6.0f}/s   about {total['fill_seconds']:>2.0f} s to go"


def _until_complete(stage: Stage, newcomers: Newcomers) -> None:
    """Watch until the view covers the log, one line a second. Raise `TourError` when it does not in time."""
    began = time.monotonic()
    with stage.started("lag", "--watch", "-o", "json") as watching:
        assert watching.stdout is not None
        for line in watching.stdout:
            try:
                look = _Look(json.loads(line)["total"])
            except (ValueError, KeyError):
                raise TourError(line.strip()) from None
            _say(f"  {look}  {newcomers.arrive()}")
            if look.complete:
                return
            if time.monotonic() - began > _PATIENCE:
                break
    message = f"the view was not complete after {_PATIENCE:.0f} s"
    raise TourError(message)


def _drain(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    with contextlib.suppress(ValueError):  # closed meanwhile
        for _ in process.stdout:
            pass


def _say(text: str) -> None:
    print(text, flush=True)
