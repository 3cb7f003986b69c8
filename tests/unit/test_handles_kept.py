"""What a client keeps for all handles of a task: only ends, only where that is wanted, bounded, until a tombstone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from streamresults.client.result_cache import ResultCache
from streamresults.client.waiter import Phase
from streamresults.store.base import Mark
from tests.unit.desk import SOON, Desk

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_success_is_kept_for_all_handles_where_that_is_wanted(open_desk: Callable[..., Desk]) -> None:
    """Nobody is asked again; by default, and for anything else, the view is."""
    desk = open_desk(result_cache_max=2)
    for task, state in (("s", "SUCCESS"), ("f", "FAILURE"), ("u", "STARTED")):
        desk.publish(task, state)
    desk.fold()
    states = [desk.client.result(task).state for task in "sfu"]
    desk.store.outage(down=True)

    assert ["SUCCESS", "FAILURE", "STARTED"] == states
    assert "SUCCESS" == desk.client.result("s").state
    for task in "fu":
        with pytest.raises(ConnectionError):
            _ = desk.client.result(task).state


def test_nothing_is_kept_by_default(desk: Desk) -> None:
    """As a task that is forgotten elsewhere is not noticed where nobody asks."""
    desk.publish("s", "SUCCESS")
    desk.fold()
    assert desk.client.result("s").successful

    assert 0 == len(desk.client._cache)


def _forget(desk: Desk) -> None:
    desk.client.forget("s")


def _tombstone_in_a_read_partition(desk: Desk) -> None:
    desk.wait("other")
    desk.in_phase(Phase.ASLEEP, "other")
    desk.publish("s", None)
    desk.publish("other", "SUCCESS")
    assert desk.waits[-1].told


def _lookup_of_what_was_forgotten(desk: Desk) -> None:
    desk.publish("s", None)
    desk.fold()
    desk.client.lookup("s")


def _lookup_of_many(desk: Desk) -> None:
    desk.publish("s", None)
    desk.fold()
    desk.client.lookup_many(["s"])


@pytest.mark.parametrize(
    "forget", [_forget, _tombstone_in_a_read_partition, _lookup_of_what_was_forgotten, _lookup_of_many]
)
def test_a_tombstone_evicts(open_desk: Callable[..., Desk], forget: Callable[[Desk], None]) -> None:
    """One's own, one that the reader passes, and one that a lookup shows."""
    desk = open_desk(result_cache_max=0)
    desk.publish("s", "SUCCESS")
    desk.fold()
    assert desk.client.result("s").successful
    assert 1 == len(desk.client._cache)
    forget(desk)
    desk.fold()

    assert (0, "UNKNOWN") == (len(desk.client._cache), desk.client.result("s").state)


@pytest.mark.parametrize(("limit", "kept"), [(2, ["b", "c"]), (0, ["a", "b", "c"]), (None, ["a", "b", "c"]), (-1, [])])
def test_the_cache_is_bounded(desk: Desk, limit: int | None, kept: list[str]) -> None:
    """What was used last stays."""
    cache = ResultCache(limit)
    for task in "abc":
        desk.publish(task, "SUCCESS")
    desk.fold()
    for result in desk.client.lookup_many(list("bac")):
        cache.keep([result])
        cache.get("b")

    assert kept == sorted(cache._kept)


def test_a_mark_alone_is_no_end_to_be_kept(desk: Desk) -> None:
    """A set has seen a record of the task that nobody can read; what its worker says later still shows."""
    desk.fold(marks=[("t", Mark(offset=0, reason="odd", place="results.dlq[0]@1", keep_until_ms=2**52))])
    handle = desk.client.result("t")
    (seen,) = desk.client.results([handle]).all(SOON)
    desk.publish("t", "SUCCESS")
    desk.fold()

    assert (False, True) == (seen.ready, handle.ready)
