"""
Partitions are added under waits that stand: each hears of its task's end in whichever home it comes.

We test these aspects: waits and registrations from before the growth; events on the way; a failure that waits for its
proof, and one that is the answer at the deadline; what a wait that times out leaves behind.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, cast

import pytest

from streamresults.client.waiter import Phase
from streamresults.deadline import Deadline
from streamresults.errors import WaitTimeout
from tests.unit.growing_topic import FEW, MANY, SOON, Field
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.client import Registration


@pytest.fixture
def field() -> Iterator[Field]:
    """Give a topic of a few partitions that nobody folds yet."""
    with Field() as field:
        yield field


@pytest.mark.parametrize("count", [FEW, MANY])
@pytest.mark.parametrize("via", ["topic", "view"])
@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE"])
def test_a_wait_from_before_the_growth_is_answered_from_either_home(
    field: Field, via: str, count: int, state: str
) -> None:
    """Whether the worker knows of the new partitions or not."""
    field.compact()
    task = field.moved()
    wait = field.wait(task, via)
    eventually(lambda: field.sleeps(task), SOON, "it sleeps")
    field.grow()
    partition, _ = field.publish(task, state, count)
    found = wait.result()

    assert found.state == state
    assert found.position is not None
    assert found.position.partition == partition


def test_a_registration_from_before_the_growth_is_called(field: Field) -> None:
    """It costs no thread, so nobody but the engine can look into the new home for it."""
    field.compact()
    told: SimpleQueue[Registration] = SimpleQueue()
    task = field.moved()
    field.client.on_result(task, told.put, via="topic")
    field.grow()
    field.publish(task, "SUCCESS", MANY)

    assert told.get(timeout=SOON).result().state == "SUCCESS"


@pytest.mark.parametrize("interval", [0.02, 3600.0])
def test_events_in_partitions_that_are_added_are_told_to_who_waits(field: Field, interval: float) -> None:
    """Each as it comes where the wait looks often, and all of them before it ends however seldom it looks."""
    field.compact()
    task, told = field.moved(), list[str]()

    def wait() -> str:
        note = lambda event: told.append(event.state)  # noqa: E731
        return field.client.wait(task, SOON, via="topic", interval=interval, on_message=note).state

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait)
        field.publish(task, "STARTED", FEW)
        eventually(lambda: told == ["STARTED"], SOON, "the first event is told")
        field.grow()
        eventually(lambda: field.client._whereabouts.place.counts == (MANY, FEW), SOON)  # type: ignore[union-attr]
        field.publish(task, "PRINTING", MANY)
        if interval < 1:
            eventually(lambda: told == ["STARTED", "PRINTING"], SOON, "what comes in the new partition is told")
        field.publish(task, "SUCCESS", MANY)
        assert waiting.result(SOON) == "SUCCESS"

    assert told == ["STARTED", "PRINTING", "SUCCESS"]


def test_a_failure_waits_for_the_proof_that_no_other_home_holds_a_success(field: Field) -> None:
    """The success is in the log when the failure is seen, and not in the view yet."""
    task = field.moved()
    field.client._whereabouts.find(Deadline(SOON))
    field.grow()
    compactor = field.stepped()
    field.publish(task, "SUCCESS", MANY)
    eventually(lambda: cast("Any", field.client._whereabouts.place).counts == (MANY, FEW), SOON)
    wait = field.wait(task)
    old = field.broker.partition_of(task.encode(), FEW)
    eventually(lambda: field.part(task, old).phase is Phase.ASLEEP, SOON, "nothing was missed in the old home")
    field.publish(task, "FAILURE", FEW)
    eventually(lambda: field.part(task, old) is None, SOON, "the failure is seen")
    for _ in range(20):
        compactor._step(0.0)

    assert wait.result().state == "SUCCESS"
    compactor._finish()


def test_a_wait_in_several_homes_that_times_out_leaves_nothing_behind(field: Field) -> None:
    """Neither in the engine's lists nor among the waits that have several homes."""
    field.compact()
    task = field.moved()
    field.grow()
    field.publish(task, "STARTED", MANY)
    assert field.state(task) == "STARTED"

    with pytest.raises(WaitTimeout, match="it is STARTED"):
        field.client.wait(task, 0.3)

    engine = cast("Any", field.client._engine)
    assert ([], {}, {}) == (engine.waits.everybody(), engine.homes._split, engine.homes.unsettled)


def test_a_failure_is_the_answer_at_the_deadline_when_another_home_has_no_view(field: Field) -> None:
    """It is marked: something better may stand in the home that nobody could look into."""
    running, task = field.compact(), field.moved()
    field.publish(task, "FAILURE", FEW)
    assert field.state(task) == "FAILURE"
    running.stop.set()
    assert running.ended_by() is None
    field.grow()
    eventually(lambda: len(cast("Any", field.client._whereabouts.place).counts) == 2, SOON)

    found = field.client.wait(task, 0.5, via="topic")

    assert ("FAILURE", "partial") == (found.state, str(found.basis))
