"""Redis of every topology, to be broken; started once for all tests of faults, and mended before each."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.starting import started  # also puts the local services on the path

# isort: split
from redis_cluster import RedisCluster
from redis_replicated import RedisReplicated
from redis_secured import RedisSecured

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis_server import RedisServer


@pytest.fixture
def namespace() -> str:
    """Name a part of the store that nobody else uses."""
    return f"faults-{uuid4().hex}"


@pytest.fixture(scope="session")
def replicated() -> Iterator[RedisReplicated]:
    """Give a primary, its replica and three sentinels."""
    servers = started(RedisReplicated())
    yield servers
    servers.close()


@pytest.fixture(scope="session")
def cluster_servers() -> Iterator[RedisCluster]:
    """Give three primaries with a replica each."""
    servers = started(RedisCluster(replicas=1))
    yield servers
    servers.close()


@pytest.fixture(scope="session")
def secured() -> Iterator[RedisSecured]:
    """Give a server behind TLS whose user may use the namespace 'ours' alone."""
    servers = started(RedisSecured(namespace="ours"))
    yield servers
    servers.close()


def revive(servers: list[RedisServer]) -> None:
    """Start what a test that failed left behind."""
    for server in servers:
        if not server.is_running():
            server.start()
        server.resume()
