"""Redis of every topology, to be broken; started once for all tests of faults, and mended before each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

import pytest

from tests import services  # noqa: F401 -- puts the local services on the path

# isort: split
from processes import LocalServicesError
from redis_cluster import RedisCluster
from redis_replicated import RedisReplicated
from redis_secured import RedisSecured

if TYPE_CHECKING:
    from collections.abc import Iterator

Servers = TypeVar("Servers", RedisReplicated, RedisCluster, RedisSecured)


def started(servers: Servers) -> Servers:
    """Start servers; what is missing for them is a skip at a desk and a failure in CI."""
    try:
        servers.start()
    except LocalServicesError as exc:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(exc))
    return servers


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
