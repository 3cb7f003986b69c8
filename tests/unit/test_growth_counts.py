"""
The descriptor says how many partitions there have been, whoever writes it and whatever is lost.

We test these aspects: a flush, a restart, a store that is away; counts that nobody saw; a client that came while Redis
was away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from streamresults.deadline import Deadline
from tests.unit.growing_topic import FEW, MANY, OFTEN, SOON, Field
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def field() -> Iterator[Field]:
    """Give a topic of a few partitions that nobody folds yet."""
    with Field() as field:
        yield field


def test_counts_survive_a_flush_and_a_restart(field: Field) -> None:
    """What is lost with Redis is in the compactor's memory; what is lost with the compactor is in Redis."""
    running = field.compact()
    eventually(lambda: field.counts() == (FEW,), SOON)
    field.grow()
    eventually(lambda: field.counts() == (MANY, FEW), SOON)
    field.store.flush()
    eventually(lambda: field.counts() == (MANY, FEW), SOON, "the descriptor is written again")
    running.stop.set()
    assert running.ended_by() is None
    field.compact()
    field.grow(MANY + 1)

    eventually(lambda: field.counts() == (MANY + 1, MANY, FEW), SOON)


def test_new_partitions_are_published_as_soon_as_the_store_is_back(field: Field) -> None:
    """A compactor that could not write them tries again."""
    field.compact()
    eventually(lambda: field.counts() == (FEW,), SOON)
    field.store.outage(down=True)
    field.grow()
    task = field.moved()
    field.publish(task, "SUCCESS", MANY)
    field.store.outage()

    eventually(lambda: field.counts() == (MANY, FEW), SOON)
    assert field.state(task) == "SUCCESS"


def test_counts_that_could_not_be_written_are_written_at_the_next_look(
    field: Field, caplog: pytest.LogCaptureFixture
) -> None:
    """Also by a compactor to which none of the new partitions comes."""
    compactor = field.stepped(OFTEN)
    field.store.outage(down=True)
    field.grow()

    def looked_in_vain() -> bool:
        compactor._descriptor.notice_counts()
        return "counts_late" in [getattr(record, "action", "") for record in caplog.records]

    eventually(looked_in_vain, SOON, "the growth is noticed")
    field.store.outage()
    assert field.counts() == (FEW,)

    compactor._descriptor.notice_counts()

    assert field.counts() == (MANY, FEW)
    compactor._finish()


def test_counts_that_nobody_saw_are_found(field: Field) -> None:
    """Partitions were added twice before any compactor ran: the records give it away."""
    tasks = {count: [f"{count}-{n}" for n in range(40)] for count in (FEW, MANY, MANY + 1)}
    for count, those in tasks.items():
        if count != FEW:
            field.grow(count)
        for task in those:
            field.publish(task, "SUCCESS", count)
    field.compact()

    eventually(lambda: field.counts() == (MANY + 1, MANY, FEW), SOON)
    asked = [task for those in tasks.values() for task in those]
    eventually(lambda: all(one.found for one in field.client.lookup_many(asked)), SOON, "every result is found")


def test_a_client_that_came_while_redis_was_away_learns_of_older_counts(field: Field) -> None:
    """The brokers know only how many partitions there are now."""
    field.compact()
    eventually(lambda: field.counts() == (FEW,), SOON)
    field.grow()
    eventually(lambda: field.counts() == (MANY, FEW), SOON)
    field.store.outage(down=True)
    client = field.open(OFTEN)
    assert client._whereabouts.find(Deadline(SOON)).counts == (MANY,)
    field.store.outage()

    eventually(lambda: cast("Any", client._whereabouts.place).counts == (MANY, FEW), SOON)
