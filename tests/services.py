"""
Find a Kafka and a Redis to test against: named ones, else Docker's, else the local ones.

What cannot be had raises `ServiceUnavailable`; the fixtures decide whether that skips or fails.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

# Appended, not prepended: a module of ours must never hide one that is installed.
sys.path.append(str(Path(__file__).resolve().parents[1] / "deploy" / "local"))

from kafka_protocol import cluster_members
from kafka_server import KafkaCluster
from ports import free_ports
from processes import LocalServicesError, wait_until
from redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KAFKA_IMAGE = "apache/kafka:4.4.0"
REDIS_IMAGE = "redis:7"

# One attempt to reach a service somebody named. Longer: a wrong name holds up the whole run.
_CONNECT_SECONDS = 5.0

# A container's start, after its image is there. Shorter: a busy CI machine fails for no reason.
_CONTAINER_SECONDS = 90.0


class ServiceUnavailable(Exception):
    """Say why there is no Kafka or no Redis to test against."""


@dataclass(frozen=True)
class Service:
    """A running service: where it is, and how to give it back."""

    address: str
    close: Callable[[], None] = field(default=lambda: None)


def kafka() -> Service:
    """
    Return a running Kafka of one broker; its address is the bootstrap.servers.

    Blocks until it answers; the first time that includes a download. Raise `ServiceUnavailable` when there is none.
    """
    named = os.environ.get("STREAMRESULTS_TEST_KAFKA")
    if named:
        return _reachable(named, [_host_and_port(address, 9092) for address in named.split(",")])
    if _docker_answers():
        return _kafka_container()
    cluster = kafka_cluster()
    return Service(cluster.bootstrap, cluster.close)


def redis() -> Service:
    """
    Return a running Redis, empty unless it is a named one; its address is a URL.

    Blocks until it answers. Raise `ServiceUnavailable` when there is none.
    """
    named = os.environ.get("STREAMRESULTS_TEST_REDIS")
    if named:
        return _reachable(named, [_host_and_port(named, 6379)])
    if _docker_answers():
        return _redis_container()
    server = redis_server()
    return Service(server.url, server.close)


def kafka_cluster(brokers: int = 1, settings: Mapping[str, str] | None = None) -> KafkaCluster:
    """
    Return running brokers of the test's own, to be killed, paused and restarted; the caller closes them.

    `settings` are lines of server.properties above the defaults. Always local: a container offers no such control.
    Blocks and raises like `kafka`.
    """
    try:
        cluster = KafkaCluster(brokers, settings=settings)
        cluster.start()
    except LocalServicesError as error:
        raise ServiceUnavailable(str(error)) from error
    return cluster


def redis_server() -> RedisServer:
    """
    Return a running Redis of the test's own, to be killed, paused and restarted; the caller closes it.

    Always local: a container offers no such control. Blocks and raises like `redis`.
    """
    try:
        server = RedisServer()
        server.start()
    except LocalServicesError as error:
        raise ServiceUnavailable(str(error)) from error
    return server


def _reachable(named: str, places: list[tuple[str, int]]) -> Service:
    for place in places:
        with contextlib.suppress(OSError), socket.create_connection(place, timeout=_CONNECT_SECONDS):
            return Service(named)
    # The name may hold a password, so only the places are told.
    tried = ", ".join(f"{host}:{port}" for host, port in places)
    message = f"the service named in the environment does not answer at {tried}"
    raise ServiceUnavailable(message)


def _host_and_port(address: str, default: int) -> tuple[str, int]:
    parts = urlsplit(address if "://" in address else f"//{address.strip()}")
    try:
        return parts.hostname or "localhost", parts.port or default
    except ValueError as error:
        message = f"a service named in the environment has no valid port: {error}"
        raise ServiceUnavailable(message) from error


def _docker_answers() -> bool:
    if not _docker_is_there():
        return False
    try:
        client = importlib.import_module("testcontainers.core.docker_client").DockerClient().client
    except Exception:  # noqa: BLE001 - not installed, no engine, no permission: all mean no
        return False
    try:
        return bool(client.ping())
    except Exception:  # noqa: BLE001 - as above
        return False
    finally:
        client.close()


def _docker_is_there() -> bool:
    # Asked first, because the client leaves a socket open where there is no engine, which fails a run under -W error.
    if os.environ.get("DOCKER_HOST"):
        return True
    folders = (Path("/var/run"), Path.home() / ".docker" / "run", Path(os.environ.get("XDG_RUNTIME_DIR", "/nowhere")))
    return any((folder / "docker.sock").is_socket() for folder in folders)


def _kafka_container() -> Service:
    # Not testcontainers' own KafkaContainer: it runs another distribution, whose version is not the one promised.
    # A broker tells its clients where to connect, so the port must be known before it starts.
    port = free_ports(1)[0]
    container = _container(KAFKA_IMAGE).with_bind_ports(9092, port)
    host = container.get_docker_client().host()
    settings = {
        "NODE_ID": "1",
        "PROCESS_ROLES": "broker,controller",
        "LISTENERS": "HOST://:9092,INTERNAL://:19092,CONTROLLER://:9093",
        "ADVERTISED_LISTENERS": f"HOST://{host}:{port},INTERNAL://localhost:19092",
        "LISTENER_SECURITY_PROTOCOL_MAP": "HOST:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "INTER_BROKER_LISTENER_NAME": "INTERNAL",
        "CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "AUTO_CREATE_TOPICS_ENABLE": "false",
        "OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "OFFSETS_TOPIC_NUM_PARTITIONS": "1",
        "TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "1",
        "SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR": "1",
        "GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
    }
    for name, value in settings.items():
        container.with_env(f"KAFKA_{name}", value)
    return _started(container, f"{host}:{port}", lambda: bool(cluster_members(host, port)))


def _redis_container() -> Service:
    port = free_ports(1)[0]
    container = (
        _container(REDIS_IMAGE).with_bind_ports(6379, port).with_command("redis-server --save '' --appendonly no")
    )
    host = container.get_docker_client().host()
    return _started(container, f"redis://{host}:{port}/0", lambda: _pongs(host, port))


def _container(image: str) -> Any:
    try:
        return importlib.import_module("testcontainers.core.container").DockerContainer(image)
    except Exception as error:
        message = f"Docker answers but takes no container: {error}"
        raise ServiceUnavailable(message) from error


def _started(container: Any, address: str, is_ready: Callable[[], bool]) -> Service:
    def answers() -> bool:
        try:
            return is_ready()
        except OSError:
            return False

    try:
        container.start()
    except Exception as error:
        message = f"Docker answers but cannot start {container.image}: {error}"
        raise ServiceUnavailable(message) from error
    if not wait_until(answers, _CONTAINER_SECONDS):
        _, errors = container.get_logs()
        container.stop()
        message = f"{container.image} was not ready within {_CONTAINER_SECONDS:.0f} s: {errors[-2000:]!r}"
        raise ServiceUnavailable(message)
    return Service(address, container.stop)


def _pongs(host: str, port: int) -> bool:
    with socket.create_connection((host, port), timeout=1) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(7) == b"+PONG\r\n"
