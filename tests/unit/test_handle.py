"""A handle is one task by its id: what it says, at one moment, and whether the task exists."""

from __future__ import annotations

import threading
from datetime import UTC
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.deadline import Deadline
from streamresults.errors import ConfigurationError, NotAuthoritative, NotYetCovered
from streamresults.settings import Settings
from streamresults.wiring import Wiring
from tests.unit.desk import SOON, Desk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def make(desk: Desk) -> Iterator[Callable[..., Any]]:
    """Give a publisher's way to make events."""
    with desk.wiring.publisher(worker="w-7") as publisher:
        yield publisher.event


def test_a_handle_says_all_that_is_known(desk: Desk, make: Callable[..., Any]) -> None:
    """From one event, whose every field has a property."""
    event = make(
        "t",
        "SUCCESS",
        result={"paid": True},
        name="shop.charge",
        args=(1, "two"),
        kwargs={"three": 3},
        queue="fast",
        retries=2,
        labels={"shop": "berlin"},
        parent_id="p",
        root_id="r",
        group_id="g",
        children=("c", "d"),
    )
    desk.append_event(event)
    desk.fold()
    handle = desk.client.result("t")

    assert ("SUCCESS", True, True, False) == (handle.state, handle.ready, handle.successful, handle.failed)
    assert ({"paid": True}, None, "") == (handle.result, handle.exception, handle.traceback)
    assert ("shop.charge", (1, "two"), {"three": 3}) == (handle.name, handle.args, handle.kwargs)
    assert ("w-7", "fast", 2, {"shop": "berlin"}) == (handle.worker, handle.queue, handle.retries, handle.labels)
    assert ("p", "r", "g") == (handle.parent.task_id, handle.root.task_id, handle.group)  # type: ignore[union-attr]
    assert ["c", "d"] == [child.task_id for child in handle.children]
    assert handle.date_done == event.occurred_at
    assert UTC is handle.date_done.tzinfo
    assert (0, 0) == handle.position[1:]  # type: ignore[index]
    assert {"paid": True} == handle.get(0)


def test_nothing_is_known_of_an_unknown_task(desk: Desk) -> None:
    """Every property is absent in its own way; none raises."""
    desk.fold()
    handle = desk.client.result("t")

    assert ("UNKNOWN", False, False, False) == (handle.state, handle.ready, handle.successful, handle.failed)
    assert (None, "", None, None) == (handle.date_done, handle.name, handle.args, handle.kwargs)
    assert ("", "", None, {}) == (handle.worker, handle.queue, handle.retries, handle.labels)
    assert (None, None, "", []) == (handle.parent, handle.root, handle.group, handle.children)
    assert handle.position is None


def test_a_view_that_cannot_tell_is_no_unknown(desk: Desk) -> None:
    """Not ready is true all the same; the state is nobody's guess."""
    handle = desk.client.result("t")

    assert (False, False, False) == (handle.ready, handle.successful, handle.failed)
    with pytest.raises(NotYetCovered):
        _ = handle.state


@pytest.mark.parametrize("bad", ["", "x" * 1025, None, 7, b"t", "\ud800"])
def test_what_is_no_id_is_refused_at_the_call(desk: Desk, bad: Any) -> None:
    """Not at the first use, far away."""
    with pytest.raises(ValueError, match="a task id is a string of 1 to 1024 bytes"):
        desk.client.result(bad)


def test_handles_of_one_id_are_one(desk: Desk) -> None:
    """In sets and as keys."""
    one, two, other = (desk.client.result(task) for task in ("t", "t", "u"))

    assert one == two != other
    assert 2 == len({one, two, other})
    assert "'t'" in repr(one)


def test_a_snapshot_is_one_moment(desk: Desk) -> None:
    """Whatever happens meanwhile, its properties belong together."""
    desk.publish("t", "STARTED")
    desk.fold()
    handle = desk.client.result("t")
    snapshot = handle.snapshot()
    desk.publish("t", "SUCCESS")
    desk.fold()

    assert ("STARTED", False, None) == (snapshot.state, snapshot.ready, snapshot.date_done)
    assert "SUCCESS" == handle.state


def test_a_handle_keeps_the_end_that_it_has_seen(desk: Desk) -> None:
    """A failure too, for itself alone: another handle sees what was made of it since."""
    desk.publish("t", "FAILURE")
    desk.fold()
    kept = desk.client.result("t")
    assert kept.wait(SOON).state == "FAILURE"
    desk.publish("t", None)
    desk.fold()

    assert ("FAILURE", "FAILURE") == (kept.state, kept.wait(0).state)
    assert ("UNKNOWN", "UNKNOWN") == (desk.client.result("t").state, kept.snapshot(fresh=True).state)


# -- existence ------------------------------------------------------------------------------------------------------


def test_exists_concludes_from_the_log_alone(desk: Desk) -> None:
    """Waits until the view has folded it; what the view holds is proof without that."""
    desk.publish("t", "PENDING")
    desk.fold()
    desk.publish("later", "PENDING")
    folding = threading.Timer(0.05, desk.fold)
    folding.start()

    assert [True, True, False] == [desk.client.result(task).exists(SOON) for task in ("t", "later", "never")]
    folding.join()


def test_without_kafka_nobody_guesses(desk: Desk) -> None:
    """What is there exists; what is not there may not have been folded yet."""
    desk.publish("t", "PENDING")
    desk.fold()
    place = desk.client._whereabouts.find(Deadline(SOON))
    settings = Settings(namespace=place.namespace)
    _describe_view(desk)
    with Wiring(settings, store=desk.store) as wiring, wiring.client() as client:
        assert client.result("t").exists()
        with pytest.raises(NotAuthoritative, match="set kafka_bootstrap"):
            client.result("never").exists()


def _describe_view(desk: Desk) -> None:
    """Publish the descriptor, as a compactor does, for who has no Kafka."""
    from streamresults.store.base import Descriptor  # noqa: PLC0415 -- for this alone
    from streamresults.store.coverage import FORMAT  # noqa: PLC0415

    place = desk.client._whereabouts.find(Deadline(SOON))
    desk.store.write_descriptor(
        place.namespace,
        Descriptor(
            cluster_id=place.namespace,
            topic="results",
            topic_id=place.topic_id,
            partition_counts=place.counts,
            format=FORMAT,
        ),
    )


# -- inside a running task ------------------------------------------------------------------------------------------


def test_events_need_kafka(desk: Desk) -> None:
    """They stand in the log alone."""
    desk.fold()
    _describe_view(desk)
    place = desk.client._whereabouts.find(Deadline(SOON))
    with Wiring(Settings(namespace=place.namespace), store=desk.store) as wiring, wiring.client() as client:
        with pytest.raises(ConfigurationError, match="set kafka_bootstrap"):
            list(client.events("t"))
        with pytest.raises(ConfigurationError, match="set kafka_bootstrap"):
            client.wait("t", 1, on_message=print)
