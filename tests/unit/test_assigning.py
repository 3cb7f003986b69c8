"""
Where a partition is read from when nobody reads it yet.

We test these aspects: a view of which nothing is heard, or nothing any more, so that it cannot show what came since the
wait began; a clock of this process's that is ahead of the brokers'.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from streamresults.client.assigning import CLOCK_AHEAD
from streamresults.client.waiter import Phase
from tests.unit.desk import SOON, Desk

if TYPE_CHECKING:
    import pytest


def _publish_before_it_is_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the result of the task come once its wait has begun, and before its partition is read."""
    read, published = desk.engine.assigner._read, list[int]()

    def late(unread: Any) -> None:
        if unread and not published:
            published.append(desk.publish("t", "SUCCESS"))
        read(unread)

    monkeypatch.setattr(desk.engine.assigner, "_read", late)


def test_a_clock_that_is_ahead_of_the_brokers_misses_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the brokers' clock, which dates the records, the result came before the wait began."""
    desk.broker._cluster.clock = lambda: time.time() - 0.9 * CLOCK_AHEAD
    _publish_before_it_is_read(desk, monkeypatch)

    assert ("SUCCESS", "topic") == desk.wait().told


def test_a_view_that_is_not_heard_of_any_more_shows_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compactor that died long ago folds as little as one that never ran: the wait began before the log's end."""
    desk.fold()
    desk.wait("first")
    desk.in_phase(Phase.ASLEEP, "first")
    desk.publish("first", "SUCCESS")
    assert "SUCCESS" == desk.waits[0].told[0]
    now_ms = desk.store.now_ms
    monkeypatch.setattr(desk.store, "now_ms", lambda: now_ms() + 60_000)
    with desk.engine.waits.lock:
        desk.watch.next_offset, desk.watch.heard_at = -1, time.monotonic() - 60  # idle for long, then
    _publish_before_it_is_read(desk, monkeypatch)

    assert ("SUCCESS", "topic") == desk.wait(timeout=SOON).told
