"""The local services that are several servers: they start together, and nothing of them is left."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import tests.services  # noqa: F401 -- makes deploy/local importable

if TYPE_CHECKING:
    from collections.abc import Callable

    from server_group import ServerGroup


def _replicated() -> ServerGroup:
    from redis_replicated import RedisReplicated  # noqa: PLC0415 -- of deploy/local

    return RedisReplicated()


def _cluster() -> ServerGroup:
    from redis_cluster import RedisCluster  # noqa: PLC0415 -- of deploy/local

    return RedisCluster()


def _kafka() -> ServerGroup:
    from kafka_server import KafkaCluster  # noqa: PLC0415 -- of deploy/local

    return KafkaCluster()


@pytest.mark.redis
@pytest.mark.kafka
@pytest.mark.parametrize("make", [_replicated, _cluster, _kafka])
def test_group_leaves_nothing_behind(make: Callable[[], ServerGroup]) -> None:
    """Neither a process nor a temporary folder, and closing twice is harmless."""
    from processes import LocalServicesError  # noqa: PLC0415 -- of deploy/local

    try:
        with make() as group:
            running = [process.is_running() for process in group.processes]
    except LocalServicesError as exc:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(exc))
    group.close()

    assert len(running) > 0
    assert all(running)
    assert not any(process.is_running() for process in group.processes)
    assert not group.folder.exists()
