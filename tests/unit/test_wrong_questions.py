"""Questions that cannot be meant: the position of another task, and a namespace in which there is no view."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING

import pytest

from streamresults.cli.text import as_json
from streamresults.errors import NotYetCovered, StoreUnavailable
from streamresults.settings import Settings
from streamresults.wiring import Wiring

if TYPE_CHECKING:
    from streamresults.events.event import Position


@pytest.fixture
def published(memory_wiring: Wiring) -> dict[str, Position]:
    """Give where the results of some tasks stand, in partitions of which the first task's is only one."""
    with memory_wiring.publisher() as publisher:
        published = {str(number): publisher.succeeded(str(number)) for number in range(20)}
    positions = {task: position for task, position in published.items() if position is not None}
    memory_wiring.compactor(from_earliest=True).run_once(Event(), 30)
    return positions


def test_position_of_another_task_is_refused(memory_wiring: Wiring, published: dict[str, Position]) -> None:
    """Waiting for another partition says nothing of this task; the one of a task in the same partition does."""
    own = published["0"]
    other = next(position for position in published.values() if position.partition != own.partition)
    with memory_wiring.client() as client:
        with pytest.raises(ValueError, match=f"position in partition {other.partition}, and task '0' is in partition"):
            client.lookup("0", at_least=other)

        assert client.lookup("0", at_least=own).successful


def test_namespace_without_a_view_is_named(memory_wiring: Wiring, published: dict[str, Position]) -> None:
    """With Kafka it is the partition that has none."""
    assert published
    settings = Settings(namespace="wrong")
    with (
        Wiring(settings, broker=memory_wiring.broker(), store=memory_wiring.store()) as wiring,
        wiring.client() as client,
        pytest.raises(NotYetCovered, match="in namespace 'wrong'"),
    ):
        client.lookup("0")


def test_namespaces_that_hold_views_are_said(memory_wiring: Wiring, published: dict[str, Position]) -> None:
    """Without Kafka, and by a verification: which namespaces there are is what one has to know."""
    assert published
    settings, store = Settings(namespace="wrong"), memory_wiring.store()
    right = store.namespaces("results")
    with Wiring(settings, store=store) as wiring, wiring.client() as client:
        with pytest.raises(
            StoreUnavailable, match="in namespace 'wrong': this Redis has views of that topic in"
        ) as told:
            client.lookup("0")
        assert str(right) in str(told.value)
    with Wiring(settings, broker=memory_wiring.broker(), store=store) as wiring, wiring.replay() as replay:
        with pytest.raises(StoreUnavailable, match="is the setting namespace wrong") as told:
            replay.verify("earliest")
        assert str(right) in str(told.value)


def test_number_that_json_has_not_is_shown_by_its_name() -> None:
    """It would become null, which is another result."""
    assert '{"a":["nan",1.5,"-inf"]}' == as_json({"a": [float("nan"), 1.5, float("-inf")]})
