"""A wait through the view ends when it must, with what it must say; so does one for which a service is away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamresults.client.waiter import Phase
from streamresults.deadline import Deadline
from streamresults.errors import StreamResultsError
from tests.unit.desk import SOON, Desk

if TYPE_CHECKING:
    from collections.abc import Callable


# -- through the view -------------------------------------------------------------------------------------------------


def test_a_wait_through_the_view_is_woken_by_a_message(desk: Desk) -> None:
    """No re-read helps; the fold tells who has left word."""
    desk.fold()
    wait = desk.wait(via="view")
    desk.in_phase(Phase.ASLEEP)
    desk.publish("t", "FAILURE")
    desk.fold()

    assert ("FAILURE", "full") == wait.told
    assert desk.engine.reader.connection is None


def test_word_can_be_left_before_there_is_a_view(desk: Desk) -> None:
    """The generation that begins tells those who waited for it."""
    wait = desk.wait(via="view")
    desk.in_phase(Phase.ASLEEP)
    desk.publish("t", "SUCCESS")
    desk.fold()

    assert ("SUCCESS", "full") == wait.told


def test_a_lost_subscription_is_a_reason_to_look(desk: Desk) -> None:
    """Messages may have been missed: everybody who sleeps looks again."""
    desk.fold()
    wait = desk.wait(via="view")
    desk.in_phase(Phase.ASLEEP)
    desk.view.partitions[0].interests.clear()
    desk.publish("t", "SUCCESS")
    desk.fold()
    desk.engine.listener.hear(None)

    assert ("SUCCESS", "full") == wait.told


def test_safety_rereads_cover_a_lost_message(open_desk: Callable[..., Desk]) -> None:
    """The polling interval finds what no message told."""
    desk = open_desk(safety_rereads=True, wait_interval=0.05)
    desk.fold()
    wait = desk.wait(via="view")
    desk.in_phase(Phase.ASLEEP)
    desk.store._listeners.clear()
    desk.publish("t", "SUCCESS")
    desk.fold()

    assert ("SUCCESS", "full") == wait.told


def test_many_waits_without_a_reader_are_looked_at_together(desk: Desk) -> None:
    """One pass over the values of a partition serves everybody, not one wait a second."""
    desk.fold()
    desk.broker.fail("away")
    waits = [desk.wait(f"t{number}", timeout=SOON) for number in range(20)]
    for number in range(20):
        desk.in_phase(Phase.UNPROVEN, f"t{number}")
    desk.store._listeners.clear()
    desk.broker._cluster.outage = None
    desk.engine.assigner.inspector.ends = _away  # type: ignore[method-assign, union-attr]
    for number in range(20):
        desk.publish(f"t{number}", "FAILURE")
    desk.fold()
    begun = Deadline(None)

    assert {"FAILURE"} == {wait.told[0] for wait in waits}
    assert begun.elapsed() < 5


# -- services that are away -------------------------------------------------------------------------------------------


def test_without_redis_the_topic_still_answers(desk: Desk) -> None:
    """A view that does not answer holds nobody up."""
    desk.fold()
    desk.client._whereabouts.find(Deadline(SOON))
    desk.store.outage(down=True)
    wait = desk.wait()
    desk.in_phase(Phase.UNPROVEN)
    desk.publish("t", "SUCCESS")

    assert ("SUCCESS", "topic") == wait.told


def test_without_kafka_waits_go_through_the_view(desk: Desk) -> None:
    """Who cannot be served by the topic leaves word with the fold."""
    desk.fold()
    desk.client._whereabouts.find(Deadline(SOON))
    desk.broker.fail("away")
    wait = desk.wait()
    desk.in_phase(Phase.UNPROVEN)
    desk.broker._cluster.outage = None
    desk.engine.assigner.inspector.ends = _away  # type: ignore[method-assign, union-attr]
    desk.publish("t", "FAILURE")
    desk.fold()

    assert ("FAILURE", "full") == wait.told


def _away(*_: object) -> dict[int, int]:
    raise StreamResultsError("away")


def test_a_view_that_comes_back_ends_the_waits_through_it(desk: Desk) -> None:
    """With safety re-reads off, a look that failed is repeated all the same."""
    desk.fold()
    desk.client._whereabouts.find(Deadline(SOON))
    desk.store.outage(down=True)
    wait = desk.wait(via="view")
    desk.in_phase(Phase.ASLEEP)
    desk.store.outage()
    desk.publish("t", "SUCCESS")
    desk.fold()

    assert ("SUCCESS", "full") == wait.told
