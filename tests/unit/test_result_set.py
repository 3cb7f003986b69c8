"""
Many tasks as one thing.

We test these aspects: members; counting and joining in one round trip; order, nesting, duplicates and the empty set;
failures and broken members; one deadline.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from streamresults.client.picking import Values
from streamresults.client.waiter import Phase
from streamresults.errors import (
    ClientClosed,
    ContentTypeRefused,
    DeadLettered,
    TopicUnavailable,
    WaitRefused,
    WaitTimeout,
)
from streamresults.events.event import Event, Payload
from streamresults.events.running import begin_task, end_task
from streamresults.events.states import RANK_READY
from streamresults.store.base import Mark
from tests.unit.desk import SOON, Desk
from tests.unit.set_desk import Joins, Looks, fail, fold_without_value, succeed

# -- members --------------------------------------------------------------------------------------------------------


def test_members_are_tasks_and_sets_in_an_order(desk: Desk) -> None:
    """By id or by handle, as one likes."""
    client = desk.client
    nested = client.results(["c", "a"])
    found = client.results(["a", client.result("b"), nested, "a"])

    assert 4 == len(found)
    assert [client.result("a"), client.result("b"), nested, client.result("a")] == list(found)
    assert ["a", "b", "c"] == list(found.handles())
    assert "a" in found
    assert nested in found
    assert "c" not in found
    assert found == client.results(["a", "b", client.results(["c", "a"]), "a"])
    found.remove("a")
    found.discard("x")
    assert ["b", nested] == [found[0].task_id, found[1]]  # type: ignore[union-attr]
    with pytest.raises(KeyError):
        found.remove("a")
    found.clear()
    assert 0 == len(found)


# -- counting -------------------------------------------------------------------------------------------------------


def test_counting_takes_one_round_trip(desk: Desk) -> None:
    """Whatever the size; a task that stands twice counts once, and values that the log alone holds are not read."""
    succeed(desk, *(f"s{number}" for number in range(300)))
    fail(desk, "f")
    desk.publish("r", "REVOKED")
    desk.publish("w", "STARTED")
    desk.fold()
    fold_without_value(desk, "large", desk.publish("large", "SUCCESS"))
    desk.client._fetcher._open_reader = None  # type: ignore[misc]
    looks = Looks(desk)
    found = desk.client.results([*(f"s{number}" for number in range(300)), "f", "r", "w", "w", "never", "large"])

    assert (305, 303, 301, 1) == found.counts()
    assert (2, 303) == (found.counts().waiting, found.counts().completed)
    assert [305] * 3 == looks.sizes
    assert (False, False, True, True) == (found.ready, found.successful, found.failed, found.waiting)


def test_an_end_that_only_the_record_tells_is_read(desk: Desk) -> None:
    """Failed or revoked, the header does not say."""
    fold_without_value(desk, "f", desk.publish("f", "FAILURE"), RANK_READY)

    assert (1, 1, 0, 1) == desk.client.results(["f"]).counts()


def test_the_empty_set_is_done(desk: Desk) -> None:
    """And asks nobody."""
    desk.store.outage(down=True)
    empty = desk.client.results()

    assert (True, True, False, False) == (empty.ready, empty.successful, empty.failed, empty.waiting)
    assert ([], [], [], None) == (empty.join(), empty.all(), list(empty.as_completed()), empty.first_exception())
    for ask in (empty.first, empty.any):
        with pytest.raises(ValueError, match="the set has no tasks"):
            ask()
    assert [[], []] == desk.client.results([empty, empty]).join()


# -- joining --------------------------------------------------------------------------------------------------------


def test_a_finished_group_is_joined_in_one_read(desk: Desk) -> None:
    """In the order of its members, with lists for sets and each duplicate in its place."""
    succeed(desk, "c", "b", "a")
    desk.fold()
    looks = Looks(desk)
    found = desk.client.results(["a", desk.client.results(["b", "a"]), "c", "a"])

    assert ["A", ["B", "A"], "C", "A"] == found.join(SOON) == found.get(0)
    assert [3] == looks.sizes


@pytest.mark.parametrize("via", ["topic", "view", "auto"])
def test_what_ends_later_is_waited_for(desk: Desk, via: Any) -> None:
    """Whatever the order in which they end."""
    succeed(desk, "b")
    desk.fold()
    told: list[tuple[str, object]] = []
    joins = Joins(
        lambda: desk.client.results(["a", "b", "c", "a"]).join(
            SOON, via=via, callback=lambda task, value: told.append((task, value))
        )
    )
    desk.in_phase(Phase.ASLEEP, "a")
    desk.in_phase(Phase.ASLEEP, "c")
    succeed(desk, "c")
    desk.fold()
    succeed(desk, "a")
    desk.fold()

    assert ["A", "B", "C", "A"] == joins.result()
    assert {("a", "A"), ("b", "B"), ("c", "C")} == set(told)
    assert 3 == len(told)
    assert {} == desk.watch.waiters


def test_large_values_of_a_join_are_read_together(desk: Desk) -> None:
    """By one reader, as those of a lookup are."""
    for task in "abc":
        fold_without_value(desk, task, desk.publish(task, "SUCCESS"))
    opened: list[int] = []

    def open_reader() -> Any:
        opened.append(1)
        return desk.broker.reader("results")

    desk.client._fetcher._open_reader = open_reader  # type: ignore[misc]

    assert [None] * 3 == desk.client.results(list("abc")).join(SOON)
    assert [1] == opened


def test_a_failure_ends_a_join_at_once(desk: Desk) -> None:
    """Nobody waits for the others then; of several the first in order is raised."""
    desk.fold()
    joins = Joins(lambda: desk.client.results(["a", "b"]).join(None))
    desk.in_phase(Phase.ASLEEP, "a")
    desk.in_phase(Phase.ASLEEP, "b")
    fail(desk, "b")
    desk.fold()
    with pytest.raises(ValueError, match="b"):
        joins.result()

    assert {} == desk.watch.waiters
    fail(desk, "d", "c")
    desk.fold()
    with pytest.raises(ValueError, match="c"):
        desk.client.results(["c", "d"]).join(SOON)


def test_without_propagate_exceptions_stand_in_their_places(desk: Desk) -> None:
    """Also in nested sets."""
    succeed(desk, "a")
    fail(desk, "f")
    desk.fold()
    found = desk.client.results(["a", desk.client.results(["f"])])
    first, (second,) = found.join(SOON, propagate=False)

    assert "A" == first
    assert isinstance(second, ValueError)
    first, (second,) = found.all(SOON)
    assert ("SUCCESS", "FAILURE") == (first.state, second.state)


def test_a_broken_member_breaks_itself_alone(desk: Desk) -> None:
    """A dead letter, a body that cannot be read, and a value that retention took."""
    fold_without_value(desk, "gone", desk.publish("gone", "SUCCESS"))
    succeed(desk, "a")
    odd = Payload(content_type="text/odd", body=b"?")
    desk.append(b"broken", desk.codec.encode(Event(task_id="broken", state="SUCCESS", payload=odd)))
    desk.fold(marks=[("dead", Mark(offset=9, reason="odd", place="results.dlq[0]@1", keep_until_ms=2**52))])
    desk.broker.trim("results", 0, 1)
    good, dead, broken, gone = desk.client.results(["a", "dead", "broken", "gone"]).join(SOON, propagate=False)

    assert "A" == good
    assert isinstance(dead, DeadLettered)
    assert isinstance(broken, ContentTypeRefused)
    assert isinstance(gone, TopicUnavailable)


def test_one_deadline_holds_for_all(desk: Desk) -> None:
    """And nothing is left behind it."""
    succeed(desk, "a")
    desk.fold()
    began = time.monotonic()
    with pytest.raises(WaitTimeout, match=r"4 of 4 tasks have not ended after 0\.2 s: 'w0', 'w1', 'w2', \.\.\."):
        desk.client.results(["w0", "w1", "w2", "w3"]).join(0.2)
    with pytest.raises(WaitTimeout, match="1 of 2 tasks have not ended after 0 s"):
        desk.client.results(["a", "w"]).join(0)

    assert time.monotonic() - began < 2
    assert {} == desk.watch.waiters


def test_closing_ends_a_join(desk: Desk) -> None:
    """With ClientClosed."""
    desk.fold()
    joins = Joins(lambda: desk.client.results(["a", "b"]).join(None))
    desk.in_phase(Phase.ASLEEP, "b")
    desk.client.close()
    with pytest.raises(ClientClosed):
        joins.result()
    with pytest.raises(ClientClosed):
        desk.client.results(["a"]).counts()


def test_a_running_task_may_not_join(desk: Desk) -> None:
    """As it may not wait."""
    succeed(desk, "a")
    desk.fold()
    token = begin_task("outer")
    try:
        with pytest.raises(WaitRefused):
            desk.client.results(["a"]).join(SOON)
        assert ["A"] == desk.client.results(["a"]).join(0)
    finally:
        end_task(token)


def test_of_exceptions_that_come_together_the_first_member_s_is_raised(desk: Desk) -> None:
    """However they came; what stands before it in order has been read by then, and nothing behind it."""
    values = Values(desk.client.results(["a", "b", "c", "d"]), propagate=True)
    first, second = KeyError("b"), KeyError("d")
    succeed(desk, "a", "c")
    desk.fold()
    ended = {task: desk.client.lookup(task) for task in ("a", "c")}

    read = values.read([("d", second), ("c", ended["c"]), ("b", first), ("a", ended["a"])])

    assert (first, ["a"]) == (read.error, list(read.values))
