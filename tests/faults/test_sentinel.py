"""
The view behind Sentinel, while its primary is killed, frozen and replaced.

The load goes on by itself, and the view ends equal to a fold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from streamresults.store.redis import RedisStore
from tests.faults.conftest import revive
from tests.faults.view_load import SOON, TOPIC, Load, restored, wakes
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis_replicated import RedisReplicated

pytestmark = pytest.mark.redis


@pytest.fixture
def on_sentinel(replicated: RedisReplicated) -> Iterator[RedisStore]:
    """Give a store on the primary that Sentinel names."""
    revive(replicated.servers)
    replicated.wait_ready()
    store = RedisStore(replicated.url)
    yield store
    store.close()


def test_a_killed_primary_is_replaced_through_sentinel(
    replicated: RedisReplicated, on_sentinel: RedisStore, namespace: str
) -> None:
    """The load goes on with the replica, goes back to what that has, and nothing is missing in the end."""
    view, subscription = on_sentinel.view(namespace, TOPIC), on_sentinel.subscribe(f"{namespace}:wake")
    with Load(view) as load:
        old = replicated.primary
        old.kill()
        replicated.wait_for_another(old)
        load.goes_on()
        eventually(lambda: restored(subscription), SOON, "the loss is told")
        wakes(on_sentinel, namespace, f"{namespace}:wake", subscription)
        old.start()
        replicated.wait_ready()
        load.goes_on()
    subscription.close()

    load.check()
    assert load.outages > 0
    assert "mymaster" in load.error


def test_a_primary_that_becomes_a_replica_is_left(
    replicated: RedisReplicated, on_sentinel: RedisStore, namespace: str
) -> None:
    """A failover in good order: no write goes to the old primary, which answers READONLY now."""
    view = on_sentinel.view(namespace, TOPIC)
    with Load(view) as load:
        for _ in range(2):
            replicated.fail_over()
            load.goes_on()
            replicated.wait_ready()
            load.goes_on()

    load.check()


def test_a_frozen_primary_is_replaced(replicated: RedisReplicated, on_sentinel: RedisStore, namespace: str) -> None:
    """A server that says nothing costs one socket timeout; awake again it is a replica."""
    view = on_sentinel.view(namespace, TOPIC)
    with Load(view) as load:
        old = replicated.primary
        old.pause()
        replicated.wait_for_another(old)
        load.goes_on()
        old.resume()
        replicated.wait_ready()
        load.goes_on()

    load.check()
