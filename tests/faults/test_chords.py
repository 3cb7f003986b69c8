"""Chords whose parts are counted behind Sentinel, while the primary is replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from celery.signals import worker_ready

from streamresults.store.redis import RedisStore
from tests.celery_chords import Desk, at_desk
from tests.compacting import compacting
from tests.faults.conftest import revive
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from celery.app.task import Context
    from redis_replicated import RedisReplicated

pytestmark = pytest.mark.redis

#: How long a test waits for what must happen on a busy machine.
SOON = 30.0


@pytest.fixture
def desk(replicated: RedisReplicated) -> Iterator[Desk]:
    """Give a desk that counts on the primary that Sentinel names."""
    revive(replicated.servers)
    replicated.wait_ready()
    store = RedisStore(replicated.url)
    with at_desk(counting_on=store, result_chord_retry_interval=0.05) as found:
        yield found
    store.close()
    replicated.wait_ready()


def replicate(replicated: RedisReplicated) -> None:
    """Have the replica hold what was written: what it has not got is lost with its primary."""

    def has_all() -> bool:
        return len({server.about("replication")["master_repl_offset"] for server in replicated.servers}) == 1

    eventually(has_all, SOON)


def counted(desk: Desk, request: Context) -> Mapping[str, bytes]:
    """Return the parts of a task's chord that have come; none of one that is settled."""
    found = desk.parts(request)
    return {} if found is None else found.parts


def test_a_part_that_comes_while_the_primary_is_dead_is_counted_on_the_next_one(
    desk: Desk, replicated: RedisReplicated
) -> None:
    _, requests = desk.begin(desk.chord(3))
    desk.done(requests[0], 0)
    old = replicated.primary
    replicate(replicated)
    old.kill()

    desk.done(requests[1], 1)  # fails no task: it is tried again
    replicated.wait_for_another(old)
    desk.done(requests[2], 2)

    eventually(lambda: desk.bodies() == [[0, 1, 2]], SOON)
    old.start()


def test_a_chord_goes_on_where_primary_and_replica_are_swapped(desk: Desk, replicated: RedisReplicated) -> None:
    """No part goes to the old primary, which still runs."""
    _, requests = desk.begin(desk.chord(3))
    for number in range(2):
        desk.done(requests[number], number)
        replicate(replicated)
        replicated.fail_over()
        replicated.wait_ready()

    desk.done(requests[2], 2)

    eventually(lambda: desk.bodies() == [[0, 1, 2]], SOON)


def test_a_part_that_went_down_with_the_primary_is_counted_from_the_log(
    desk: Desk, replicated: RedisReplicated
) -> None:
    """Nobody returns any more: a worker notices that another primary holds the chord, and sends the body once."""
    with compacting(desk.wiring):
        _, requests = desk.begin(desk.chord(3))
        desk.done(requests[0], 0)
        old = replicated.primary
        (replica,) = [server for server in replicated.servers if server is not old]
        replicate(replicated)
        replica.pause()
        old.execute("CLIENT", "KILL", "TYPE", "replica")  # else what is on its way arrives behind the pause
        desk.done(requests[1], 1)
        old.kill()
        replica.resume()
        replicated.wait_for_another(old)
        desk.done(requests[2], 2)
        eventually(lambda: set(counted(desk, requests[0])) == {requests[0].id, requests[2].id}, SOON)
        desk.another_process()

        worker_ready.send(type("Consumer", (), {"app": desk.app})())

        eventually(lambda: desk.bodies() == [[0, 1, 2]], SOON)
        assert counted(desk, requests[0]) == {}
    old.start()
