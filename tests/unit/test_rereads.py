"""
Safety re-reads of waits through the view: each wait is read again and again, and all together no faster than a bound.

We test these aspects: how many at once and how often, who comes first, one entry each, how long word is left with the
fold, and that a result whose message was lost is found all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from streamresults.client.waiter import Phase, Waiter
from streamresults.client.waits import REREADS_A_SECOND, REREADS_AT_ONCE, Waits
from tests.unit.desk import SOON, Desk, desks
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

MANY = 100_000


class Clock:
    """A clock that moves when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("streamresults.client.waits.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give a clock to the table of waits."""
    return Clock(monkeypatch)


def _asleep(waits: Waits, count: int, interval: float = 1.0) -> list[Waiter]:
    sleepers = [Waiter(f"t{number}", 0, lambda: None, through_topic=False) for number in range(count)]
    for waiter in sleepers:
        waiter.phase = Phase.ASLEEP
        waits.want_later(waiter, interval)
    return sleepers


def _taken(waits: Waits) -> int:
    """Take what is wanted, as the looker does, and have it sleep again."""
    waits.want_due_rereads()
    wanted = list(waits.wanted)
    waits.wanted.clear()
    for waiter in wanted:
        waiter.phase = Phase.ASLEEP
        waits.want_later(waiter, 1.0)
    return len(wanted)


def test_few_are_read_again_each_interval(clock: Clock) -> None:
    """Not before it, and all of them together."""
    waits = Waits()
    with waits.lock:
        _asleep(waits, 100)
        assert (0, 1.0) == (_taken(waits), waits.until_due())
        clock.now += 1.0
        assert (100, 0) == (_taken(waits), _taken(waits))
        assert 1.0 == waits.until_due()


def test_very_many_are_read_again_no_faster_than_the_bound(clock: Clock) -> None:
    """Spread over the time; each comes in its turn, so that none is left out."""
    waits = Waits()
    with waits.lock:
        sleepers = _asleep(waits, MANY)
        clock.now += 1.0
        began, looks, sizes = clock.now, 0, set[int]()
        seen: set[Waiter] = set()
        while len(seen) < MANY:
            due = waits.until_due()
            assert due is not None
            clock.now += due
            waits.want_due_rereads()
            sizes.add(len(waits.wanted))
            looks += 1
            seen.update(waits.wanted)
            for waiter in list(waits.wanted):
                waiter.phase = Phase.ASLEEP
                waits.want_later(waiter, 1.0)
            waits.wanted.clear()

    assert set(sleepers) == seen
    assert {REREADS_AT_ONCE} == sizes
    assert MANY / REREADS_AT_ONCE == looks, "nobody came twice before all others had their turn"
    assert MANY / REREADS_A_SECOND == pytest.approx(clock.now - began, rel=0.01)


def test_a_wait_stands_once_however_often_it_is_looked_at() -> None:
    """As after messages that made everybody look; what is over is let go of."""
    waits = Waits()
    with waits.lock:
        (waiter,) = _asleep(waits, 1)
        for _ in range(10):
            waits.want_later(waiter, 1.0)
        assert [waiter] == list(waits.rereads)
        waits.strike_out(waiter)
        assert [] == list(waits.rereads)


def test_word_is_left_with_the_fold_for_longer_than_it_takes_to_come_round() -> None:
    """Else nobody would be told of those whose turn is far away."""
    waits = Waits()
    with waits.lock:
        assert 1.0 == waits.reread_every(1.0)
        _asleep(waits, MANY)
        assert MANY / REREADS_A_SECOND == waits.reread_every(1.0) == 20.0


def test_the_looker_leaves_word_for_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five turns, and never under 10 s."""
    desk = next(opening := desks())()
    desk.fold()
    lasted: list[float] = []
    look = desk.view.look

    def noted(wanted: Any, interest: Any = None) -> Any:
        if interest is not None:
            lasted.append(interest.seconds)
        return look(wanted, interest)

    desk.view.look = noted  # type: ignore[method-assign]
    desk.wait("a", via="view")
    desk.in_phase(Phase.ASLEEP, "a")
    monkeypatch.setattr(desk.engine.waits, "reread_every", lambda _: 20.0)
    desk.wait("b", via="view")
    desk.in_phase(Phase.ASLEEP, "b")

    assert [10.0, 100.0] == lasted
    next(opening, None)


@pytest.fixture
def lossy() -> Iterator[Desk]:
    """Give a desk whose safety re-reads are on, and often."""
    opening = desks()
    desk = next(opening)(safety_rereads=True, wait_interval=0.05)
    desk.fold()
    yield desk
    next(opening, None)


def test_a_result_whose_message_was_lost_is_found(lossy: Desk) -> None:
    """By the next re-read."""
    wait = lossy.wait(via="view")
    lossy.in_phase(Phase.ASLEEP)
    eventually(lambda: lossy.engine.listener._subscription is not None, SOON)
    lossy.engine.listener.hear = lambda told: None  # type: ignore[method-assign] # noqa: ARG005
    lossy.publish("t", "SUCCESS")
    lossy.fold()

    assert ("SUCCESS", "full") == wait.told
