"""
Values too large for the view are read from the log, together, and one that is missing harms its own result alone.

We test these aspects: that a lookup of many reads them in one go; far and near ones of one partition; one that
retention took; one that is late; closing meanwhile.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from streamresults.client.fetching import Fetcher
from streamresults.deadline import Deadline
from streamresults.errors import ClientClosed, TopicUnavailable
from streamresults.events.states import RANK_READY
from tests.unit.desk import SOON, Desk
from tests.unit.set_desk import fold_without_value
from tests.waiting import eventually

if TYPE_CHECKING:
    from typing import Any


class Counted:
    """Opens readers, and counts how often they are told where to read."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.readers = 0
        self.assigned: list[dict[int, int]] = []

    def __call__(self) -> Any:
        self.readers += 1
        reader = self._desk.broker.reader("results")
        assign = reader.assign

        def counted(offsets: Any) -> None:
            self.assigned.append(dict(offsets))
            assign(offsets)

        reader.assign = counted  # type: ignore[method-assign]
        return reader


def test_many_large_values_are_read_together(desk: Desk) -> None:
    """One reader and one assignment, however many stand in a row: asking anew for each costs 50 ms each time."""
    offsets = [desk.publish(f"t{number}", "SUCCESS") for number in range(50)]
    for number, offset in enumerate(offsets):
        fold_without_value(desk, f"t{number}", offset)
    counted = Counted(desk)
    desk.client._fetcher._open_reader = counted  # type: ignore[misc]
    found = desk.client.lookup_many([f"t{number}" for number in range(50)])

    assert ["SUCCESS"] * 50 == [result.state for result in found]
    assert [f"t{number}" for number in range(50)] == [result.event.task_id for result in found]
    assert (1, [{0: 0}]) == (counted.readers, counted.assigned)


def test_what_stands_far_away_is_asked_for_and_not_read_over(desk: Desk) -> None:
    """Otherwise a whole partition might be read for two values."""
    for _ in range(1500):
        desk.publish("other", "STARTED")
    desk.publish("t", "SUCCESS")
    counted = Counted(desk)
    fetcher = Fetcher(counted)
    found = fetcher.fetch_many([(0, 1500), (0, 3), (0, 5)], Deadline(SOON))
    fetcher.close()

    assert [{0: 3}, {0: 1500}] == counted.assigned
    assert all(isinstance(value, bytes) for value in found.values())


def test_one_that_retention_took_harms_nobody_else(desk: Desk) -> None:
    """Its result says that the task has ended, and raises when its value is read; the others are whole."""
    for number in range(3):
        fold_without_value(desk, f"t{number}", desk.publish(f"t{number}", "SUCCESS"))
    fold_without_value(desk, "f", desk.publish("f", "FAILURE"), RANK_READY)
    desk.broker.trim("results", 0, 1)
    gone, *others = desk.client.lookup_many(["t0", "t1", "t2", "f"])

    assert ["SUCCESS", "SUCCESS", "FAILURE"] == [result.state for result in others]
    assert ("SUCCESS", True, True) == (gone.state, gone.ready, gone.found)
    for read in (gone.value, lambda: gone.event, lambda: gone.result, lambda: gone.prefix):
        with pytest.raises(TopicUnavailable, match="offset 0 any more: retention has taken it"):
            read()
    assert "not read" in repr(gone)


def test_one_that_does_not_come_in_time_harms_nobody_else(desk: Desk) -> None:
    """The timeout is one for all of them; which end it was nobody can say without the record."""
    fold_without_value(desk, "t", desk.publish("t", "SUCCESS"))
    fold_without_value(desk, "late", 1, RANK_READY)
    began = time.monotonic()
    whole, late = desk.client.lookup_many(["t", "late"], timeout=0.2)

    assert time.monotonic() - began < 1
    assert ("SUCCESS", True) == (whole.state, late.ready)
    with pytest.raises(TopicUnavailable, match=r"offset 1 was not read from the log in 0\.[12]\d* s"):
        _ = late.state


def test_a_value_in_the_log_alone_says_what_a_process_without_kafka_lacks() -> None:
    """For its own result alone, once more."""
    found = Fetcher(None).fetch_many([(0, 1), (1, 2)], Deadline(SOON))

    assert {(0, 1), (1, 2)} == set(found)
    assert all("set kafka_bootstrap" in str(error) for error in found.values())


def test_closing_ends_a_fetch(desk: Desk) -> None:
    """At once, and with ClientClosed: who closes waits for nobody's deadline."""
    desk.publish("other", "STARTED")
    fetcher = Fetcher(lambda: desk.broker.reader("results"))
    ended: list[object] = []
    fetching = threading.Thread(target=lambda: ended.extend(fetcher.fetch_many([(0, 1)], Deadline(SOON)).values()))
    fetching.start()
    eventually(fetcher._lock.locked, SOON)
    fetcher.close()
    fetching.join(SOON)

    assert [ClientClosed] == [type(error) for error in ended]
