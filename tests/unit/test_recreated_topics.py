"""
A topic is deleted, or made again under the same name, under clients and compactors that run: it is another topic.

We test these aspects: waits, registrations, compactors and replays end with an error that says so; the new view is
clean, and nobody publishes the old one again; a shorter log is no loss.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, cast

import pytest

from streamresults.errors import TopicMismatch, TopicMissing, TopicRecreated
from tests.unit.growing_topic import FEW, MANY, NEVER, SOON, Field
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.client import Registration


@pytest.fixture
def field() -> Iterator[Field]:
    """Give a topic of a few partitions that nobody folds yet."""
    with Field() as field:
        yield field


@pytest.mark.parametrize("via", ["topic", "view"])
def test_waits_end_with_an_error_that_says_that_the_topic_was_made_again(field: Field, via: str) -> None:
    """So do registrations; what begins after it is answered from the new topic."""
    field.compact()
    told: SimpleQueue[Registration] = SimpleQueue()
    wait = field.wait("t", via, timeout=None)
    field.client.on_result("u", told.put, via=cast("Any", via))
    old = field.topic_id()
    field.make_again()

    for result in (wait.result, told.get(timeout=SOON).result):
        with pytest.raises(TopicRecreated, match="deleted and made again") as caught:
            result()
        assert (old, field.topic_id()) == (caught.value.old_id, caught.value.new_id)

    running = field.compact()
    field.publish("t", "SUCCESS", FEW)
    found = field.client.wait("t", SOON, via=cast("Any", via))
    assert found.position is not None
    assert ("SUCCESS", field.topic_id()) == (found.state, found.position.topic_id)
    assert running.error is None


def test_what_the_old_topic_held_is_not_in_the_new_view(field: Field) -> None:
    """A clean view begins under the new topic's id, with the new topic's partition count."""
    running = field.compact()
    field.grow()
    position_in_the_old = field.client.forget("x", SOON)
    field.publish("t", "SUCCESS", MANY)
    assert field.state("t") == "SUCCESS"
    eventually(lambda: field.counts() == (MANY, FEW), SOON)
    field.make_again()
    error = running.ended_by()

    assert isinstance(error, TopicRecreated)
    assert "Start the compactor again" in str(error)
    field.compact()
    assert field.state("t") == "UNKNOWN"
    assert (field.counts(), field.published_id()) == ((FEW,), field.topic_id())
    with pytest.raises(TopicMismatch, match="made again"):
        field.client.lookup("t", at_least=position_in_the_old)


def test_a_compactor_of_the_old_topic_does_not_publish_its_view_again(field: Field) -> None:
    """It may have been frozen while the topic was made again; it learns of it before it writes."""
    wiring = field.wired(NEVER)
    zombie = wiring.compactor(from_earliest=True)
    zombie._start(threading.Event())
    field.make_again()
    field.compact()
    eventually(lambda: field.published_id() == field.topic_id(), SOON)

    with pytest.raises(TopicRecreated):
        zombie._descriptor.refresh()
    with pytest.raises(TopicRecreated):
        zombie.on_assigned([0])
    zombie._finish()

    assert field.published_id() == field.topic_id()


def test_a_shorter_log_of_a_new_topic_is_no_loss(field: Field, caplog: pytest.LogCaptureFixture) -> None:
    """The alarm of lost records would be a false one, and the old view no place for the new records."""
    for number in range(50):
        field.publish(f"t{number}", "SUCCESS", FEW)
    compactor = field.stepped()
    for lane in compactor._live.lanes.values():
        lane.end_seen = 0
        lane.hurry()
    field.make_again()

    with pytest.raises(TopicRecreated):
        compactor._live.fold({}, {})
    with pytest.raises(TopicRecreated):
        compactor._step(0.0)
    compactor._finish()
    assert "log_lost_records" not in [getattr(record, "action", "") for record in caplog.records]


def test_a_topic_that_is_gone_ends_waits_and_compactors(field: Field) -> None:
    """Both say how to create it, and neither hangs."""
    running = field.compact()
    wait = field.wait("t", timeout=None)
    field.broker.delete_topic("results")

    with pytest.raises(TopicMissing, match="streamresults init"):
        wait.result()
    assert isinstance(running.ended_by(), TopicMissing)


def test_a_replay_does_not_pass_off_two_topics_as_one(field: Field) -> None:
    """Nor a view that is another topic's."""
    running = field.compact()
    for number in range(10):
        field.publish(f"t{number}", "SUCCESS", FEW)
    assert field.state("t1") == "SUCCESS"
    with field.wired(NEVER).replay() as replay:
        reading = replay.read()
        next(reading)
        field.make_again()

        with pytest.raises(TopicRecreated, match="while it was read"):
            list(reading)
        running.ended_by()
        with pytest.raises(TopicRecreated, match="begins a new view"):
            replay.verify()
