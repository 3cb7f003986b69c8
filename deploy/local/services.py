"""
Start and stop a real Kafka and a real Redis on this machine, without Docker.

    eval "$(python deploy/local/services.py start)"
    python deploy/local/services.py stop

Standard output carries only what a shell can evaluate; progress and errors go to standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Next to this file; named explicitly so that importing it from elsewhere works as running it does.
if str(Path(__file__).resolve().parent) not in sys.path:
    sys.path.append(str(Path(__file__).resolve().parent))

from typing import TYPE_CHECKING

import programs
from kafka_server import KafkaBroker, KafkaCluster
from processes import LocalServicesError, ProcessId, ended_by_signals, locked, write_whole
from programs import cache_folder
from redis_cluster import RedisCluster
from redis_replicated import RedisReplicated
from redis_secured import RedisSecured
from redis_server import RedisServer
from server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "KafkaBroker",
    "KafkaCluster",
    "LocalServicesError",
    "RedisCluster",
    "RedisReplicated",
    "RedisSecured",
    "RedisServer",
    "ServerProcess",
    "main",
]

_Redis = RedisServer | RedisReplicated | RedisCluster

# How each kind of Redis is made in a folder.
_KINDS: dict[str, Callable[[Path], _Redis]] = {
    "single": lambda folder: RedisServer(folder / "redis"),
    "sentinel": RedisReplicated,
    "cluster": lambda folder: RedisCluster(1, folder),
    "tls": lambda folder: RedisSecured(folder / "redis"),
}

_log = logging.getLogger("streamresults.local")

# What `status` exits with when not everything runs, as service scripts do by convention.
_NOT_RUNNING = 3

# How soon --foreground notices that its services were stopped from another shell.
_STAY_SECONDS = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except LocalServicesError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def start(options: argparse.Namespace) -> int:
    """Start what is asked for and print the environment to export; with --foreground, stay until a signal."""
    _find_programs(options)
    temporary = options.folder is None
    folder = Path(tempfile.mkdtemp(prefix="streamresults-")) if temporary else options.folder.expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with ended_by_signals():
        with locked(folder / "lock"):
            _refuse_second_start(folder)
            if temporary:
                (folder / "temporary").touch()
            try:
                cluster, redis = _start(options, folder)
            except KeyboardInterrupt:
                _stop(folder)
                raise
            text = _exports(folder, cluster, redis)
            write_whole(folder / "environment", text)
            write_whole(_last_started(), f"{folder}\n")
        print(text, end="", flush=True)
        if options.foreground:
            _stay(folder)
            _stop(folder)
    for service in (cluster, redis):
        if service is not None:
            service.detach()
    return 0


def stop(options: argparse.Namespace) -> int:
    """End what runs in the folder, with SIGKILL when SIGTERM does not do, and block until it is gone."""
    _stop(_folder(options.folder))
    return 0


def status(options: argparse.Namespace) -> int:
    """Print one line per server; exit with 3 when one is not running."""
    folder = _folder(options.folder)
    processes = _processes(folder)
    states = {"T": "paused", None: "not running"}
    print(folder)
    for name, process in processes.items():
        print(f"{name}\t{process.pid}\t{states.get(process.state(), 'running')}")
    if not processes:
        print("nothing was started")
    return 0 if processes and all(process.is_running() for process in processes.values()) else _NOT_RUNNING


def env(options: argparse.Namespace) -> int:
    """Print the environment to export, as `start` did."""
    folder = _folder(options.folder)
    if not any(process.is_running() for process in _processes(folder).values()):
        message = f"nothing is running in {folder}"
        raise LocalServicesError(message)
    try:
        print((folder / "environment").read_text(), end="")
    except FileNotFoundError:
        message = f"the services in {folder} are still starting"
        raise LocalServicesError(message) from None
    return 0


def _stay(folder: Path) -> None:
    """Block until a signal comes, or until nothing is left to wait for."""
    _log.info("running; Ctrl-C stops them")
    with contextlib.suppress(KeyboardInterrupt):
        while any(process.is_running() for process in _processes(folder).values()):
            time.sleep(_STAY_SECONDS)


def _find_programs(options: argparse.Namespace) -> None:
    """Find, install or download what is needed before anything is made that would be left behind."""
    if options.redis:
        programs.redis_server()
    if options.kafka:
        programs.java()
        programs.kafka_jars()


def _refuse_second_start(folder: Path) -> None:
    running = [name for name, process in _processes(folder).items() if process.is_running()]
    if running:
        message = f"running already in {folder}: {', '.join(running)}. `env` prints its environment, `stop` ends it"
        raise LocalServicesError(message)


def _start(options: argparse.Namespace, folder: Path) -> tuple[KafkaCluster | None, _Redis | None]:
    redis = None
    if options.redis:
        redis = _KINDS[options.redis](folder)
        redis.start()
        _log.info("redis (%s) is ready", options.redis)
    cluster = None
    if options.kafka:
        cluster = KafkaCluster(options.brokers, folder, "bench" if options.bench else "test")
        _log.info("starting %d Kafka broker%s in %s", options.brokers, "s" if options.brokers > 1 else "", folder)
        cluster.start()
        _log.info("kafka is ready on %s", cluster.bootstrap)
    return cluster, redis


def _exports(folder: Path, cluster: KafkaCluster | None, redis: _Redis | None) -> str:
    values = {
        "STREAMRESULTS_KAFKA_BOOTSTRAP": cluster.bootstrap if cluster else None,
        "STREAMRESULTS_REDIS_URL": redis.url if redis else None,
        "STREAMRESULTS_LOCAL": str(folder),
    }
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items() if value)


def _stop(folder: Path) -> None:
    processes = {name: process for name, process in _processes(folder).items() if process.is_running()}
    if processes:
        _log.info("stopping %s in %s", ", ".join(processes), folder)
        # All at once: brokers hand over to each other, and the last of three could not do that alone.
        with ThreadPoolExecutor(len(processes)) as pool:
            list(pool.map(ProcessId.end, processes.values()))
    else:
        _log.info("nothing is running in %s", folder)
    for file in [*folder.glob("*/pid"), folder / "environment"]:
        file.unlink(missing_ok=True)
    if (folder / "temporary").exists():
        shutil.rmtree(folder, ignore_errors=True)


def _processes(folder: Path) -> dict[str, ProcessId]:
    found = {file.parent.name: ProcessId.read(file) for file in sorted(folder.glob("*/pid"))}
    return {name: process for name, process in found.items() if process is not None}


def _folder(named: Path | None) -> Path:
    """Return the folder a command is about: the named one, else the shell's, else the last started one."""
    try:
        folder = named or Path(os.environ.get("STREAMRESULTS_LOCAL") or _last_started().read_text().strip())
    except FileNotFoundError:
        raise LocalServicesError("nothing was started here; name its folder with --folder") from None
    folder = folder.expanduser().resolve()
    if not folder.is_dir():
        message = f"there is no folder {folder}; its services were stopped, or never started"
        raise LocalServicesError(message)
    return folder


def _last_started() -> Path:
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "last-started"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="services.py", description="A real Kafka and Redis here, without Docker.")
    commands = parser.add_subparsers(required=True, metavar="start|stop|status|env")
    for run in (start, stop, status, env):
        command = commands.add_parser(run.__name__, help=(run.__doc__ or "").splitlines()[0])
        command.set_defaults(run=run)
        command.add_argument("--folder", type=Path, help="where data, logs and pids are kept")
        if run is start:
            command.add_argument("--brokers", type=int, choices=(1, 3), default=1, help="Kafka brokers (default 1)")
            command.add_argument("--no-kafka", dest="kafka", action="store_false", help="only Redis")
            command.add_argument(
                "--redis", choices=_KINDS, default="single", help="which kind of Redis (default single)"
            )
            command.add_argument("--no-redis", dest="redis", action="store_const", const=None, help="only Kafka")
            command.add_argument("--bench", action="store_true", help="a JVM for measuring instead of for fast starts")
            command.add_argument("--foreground", action="store_true", help="stay, and stop all on Ctrl-C")
    return parser


if __name__ == "__main__":
    sys.exit(main())
