"""
Partitions are added under clients and compactors that run: what is read, replayed and forgotten is in every home.

We test these aspects: lookups in every home of a task, and which of them stands; positions in any home; clients that
have not heard of the growth, or have no Kafka; replays of one task; forgetting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from msgspec.structs import replace

from streamresults.deadline import Deadline
from streamresults.errors import NotYetCovered
from streamresults.events.event import Position
from streamresults.settings import Settings
from streamresults.wiring import Wiring
from tests.unit.desk import Wait
from tests.unit.growing_topic import FEW, MANY, NEVER, OFTEN, SOON, Field
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def field() -> Iterator[Field]:
    """Give a topic of a few partitions that nobody folds yet."""
    with Field() as field:
        yield field


# -- lookups ----------------------------------------------------------------------------------------------------------


def test_a_result_is_found_in_every_home(field: Field) -> None:
    """From before the growth, from after it, and from a worker that has not heard of it."""
    field.compact()
    before, after, late = field.moved(0), field.moved(1), field.moved(2)
    field.publish(before, "SUCCESS", FEW)
    field.grow()
    field.publish(after, "SUCCESS", MANY)
    field.publish(late, "SUCCESS", FEW)

    assert ["SUCCESS"] * 3 == [field.state(task) for task in (before, after, late)]
    assert ["SUCCESS"] * 3 == [found.state for found in field.client.lookup_many([before, after, late])]


@pytest.mark.parametrize(
    ("old", "new", "stands"),
    [
        ("SUCCESS", "FAILURE", "SUCCESS"),
        ("FAILURE", "SUCCESS", "SUCCESS"),
        ("FAILURE", "STARTED", "FAILURE"),
        ("FAILURE", "REVOKED", "REVOKED"),
        ("STARTED", "RETRY", "RETRY"),
    ],
)
def test_of_several_homes_the_higher_rank_stands_then_the_newer_home(
    field: Field, old: str, new: str, stands: str
) -> None:
    """A lookup and a wait say the same, whichever was published last."""
    field.compact()
    task = field.moved()
    field.grow()
    field.publish(task, new, MANY)
    partition, offset = field.publish(task, old, FEW)

    found = field.client.lookup(task, fresh=True, timeout=SOON)

    assert stands == found.state
    assert found.position is not None
    if stands == old:
        assert (partition, offset) == (found.position.partition, found.position.offset)
    if found.ready:
        for via in ("topic", "view"):
            assert stands == field.client.wait(task, SOON, via=cast("Any", via)).state


def test_a_fresh_lookup_asks_how_many_partitions_there_are(field: Field) -> None:
    """It need not wait until the client looks again; an ordinary one trails by as much."""
    field.compact()
    client, task = field.open(NEVER), field.moved()
    assert field.state(task, client) == "UNKNOWN"
    field.grow()
    field.publish(task, "SUCCESS", MANY)

    assert field.state(task, client) == "SUCCESS"


def test_a_position_in_a_new_partition_is_waited_for_there(field: Field) -> None:
    """The client may not have heard of that partition."""
    field.compact()
    client, task = field.open(NEVER), field.moved()
    assert field.state(task, client) == "UNKNOWN"
    field.grow()
    with field.wiring.publisher() as publisher:
        position = publisher.succeeded(task, None)

    assert client.lookup(task, at_least=position, timeout=SOON).state == "SUCCESS"


def test_a_position_in_an_older_home_is_waited_for_in_that_home(field: Field) -> None:
    """The newest home may be far ahead of it."""
    task, client = field.moved(), field.open(OFTEN)
    client._whereabouts.find(Deadline(SOON))
    field.grow()
    for _ in range(5):
        field.publish(task, "STARTED", MANY)
    field.stepped()
    eventually(lambda: cast("Any", client._whereabouts.place).counts == (MANY, FEW), SOON)
    position = Position(field.topic_id(), *field.publish(task, "SUCCESS", FEW))

    with pytest.raises(NotYetCovered, match=f"partition {position.partition}, not {position.offset + 1}"):
        client.lookup(task, at_least=position, timeout=0.1)


def test_a_partition_that_nobody_folds_yet_is_not_covered(field: Field) -> None:
    """A miss there must not pass for UNKNOWN."""
    running, task = field.compact(), field.moved()
    assert field.state(task) == "UNKNOWN"
    running.stop.set()
    assert running.ended_by() is None
    field.grow()
    eventually(lambda: len(cast("Any", field.client._whereabouts.place).counts) == 2, SOON)

    with pytest.raises(NotYetCovered, match="no view of partition"):
        field.client.lookup(task)


@pytest.mark.parametrize("named", [True, False])
def test_a_client_without_kafka_learns_of_new_partitions_from_the_view(field: Field, *, named: bool) -> None:
    """The compactors enter them into the descriptor."""
    field.compact()
    task = field.moved()
    eventually(lambda: field.counts() == (FEW,), SOON)
    settings = Settings(kafka={"topic.metadata.refresh.interval.ms": OFTEN}, namespace=field.namespace)
    if not named:
        settings = replace(settings, namespace="")
    with Wiring(settings, store=field.store) as wiring, wiring.client() as client:
        eventually(lambda: client.lookup_many([task])[0].basis == "full", SOON)
        found = field.store.read_descriptor(field.namespace, "results")
        assert found is not None
        field.store.write_descriptor("another", found)  # a client that has found its view does not ask again which
        wait = Wait(client, task, SOON, "view")
        field.grow()
        field.publish(task, "SUCCESS", MANY)

        assert wait.told == ("SUCCESS", "full")
        assert client.lookup(task).state == "SUCCESS"


def test_a_fresh_lookup_finds_what_was_written_under_a_count_that_nobody_has_seen_yet(field: Field) -> None:
    """Two growths in a row look like one until the records are folded; UNKNOWN would be a lie meanwhile."""
    field.compact()
    place, client = field.broker.partition_of, field.open(NEVER)
    assert field.state("x", client) == "UNKNOWN"
    field.grow(MANY)
    field.grow(MANY + 1)
    homes = {n: {place(b"t%d" % n, count) for count in (FEW, MANY + 1)} for n in range(1000)}
    task = next(f"t{n}" for n, known in homes.items() if place(b"t%d" % n, MANY) not in known)
    field.publish(task, "SUCCESS", MANY)

    assert field.state(task, client) == "SUCCESS"


# -- forgetting -------------------------------------------------------------------------------------------------------


def test_forget_reaches_every_home(field: Field) -> None:
    """A client that has not heard of the growth asks for the newest count first."""
    field.compact()
    client, task = field.open(NEVER), field.moved()
    field.publish(task, "FAILURE", FEW)
    assert field.state(task, client) == "FAILURE"
    field.grow()
    field.publish(task, "FAILURE", MANY)

    position = client.forget(task, SOON)

    assert client.lookup(task, at_least=position, timeout=SOON).state == "UNKNOWN"
    assert field.state(task) == "UNKNOWN"
    with field.wiring.replay() as replay:
        forgotten = {one.partition for one in replay.read(task_id=task) if one.value is None}
    assert forgotten == {field.broker.partition_of(task.encode(), count) for count in (FEW, MANY)}


# -- replay -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folded", [True, False])
def test_a_replay_of_one_task_reads_every_home(field: Field, *, folded: bool) -> None:
    """The view says how many partitions there were; without it every partition is read that it could be in."""
    task = field.moved()
    if folded:
        field.compact()
    field.publish(task, "STARTED", FEW)
    field.grow()
    field.publish(task, "SUCCESS", MANY)
    field.publish(task, "STARTED", FEW)
    if folded:
        eventually(lambda: field.counts() == (MANY, FEW), SOON)

    with field.wiring.replay() as replay:
        found = sorted((one.partition, one.event.state) for one in replay.read(task_id=task) if one.event)
        partitions = {covered.partition for covered in replay.ranges}

    old, new = (field.broker.partition_of(task.encode(), count) for count in (FEW, MANY))
    assert sorted([(old, "STARTED"), (new, "SUCCESS"), (old, "STARTED")]) == found
    assert partitions == {old, new} if folded else partitions > {old, new}
