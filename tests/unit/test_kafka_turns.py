"""
One thread at a time serves a producer's acknowledgements, and the serving thread comes when it is needed.

We test these aspects: turns exclude each other, and end by themselves; the serving thread waits for the end of a turn,
and keeps away from bursts and from those that serve for themselves, unless it is asked for.
"""

from __future__ import annotations

from threading import Thread

import pytest

from streamresults.topic import kafka_turns
from streamresults.topic.kafka_turns import Turns
from tests.waiting import eventually

#: Seconds in which anything here happens on a loaded machine.
SOON = 15.0


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    """Return turns of a process where nobody keeps away for a short time only."""
    monkeypatch.setattr(kafka_turns, "BURST_SLICE", SOON)
    monkeypatch.setattr(kafka_turns, "ATTENDED_SLICE", SOON)
    return Turns()


def test_turns_exclude_each_other(turns: Turns) -> None:
    """Whoever comes second has none, and the next one has."""
    assert turns.take(SOON)
    assert not turns.take(SOON)
    assert not turns.take_to_wait(SOON)

    turns.leave()

    assert turns.take_to_wait(SOON)


def test_a_turn_that_nobody_ends_is_over_in_time(turns: Turns) -> None:
    """Who was interrupted in the middle of one holds up nobody for good."""
    assert turns.take(0.01)

    eventually(lambda: turns.take(0.01), SOON)


def test_the_serving_thread_waits_for_the_end_of_a_turn(turns: Turns) -> None:
    """It is woken by it, and then has its own."""
    assert turns.take(SOON)
    taken = list[bool]()
    serving = Thread(target=lambda: taken.extend([turns.next(SOON, idle=False), turns.next(SOON, idle=False)]))
    serving.start()
    eventually(lambda: turns._wanted, SOON)
    turns.leave()
    serving.join(SOON)

    assert [False, True] == taken
    assert not turns.take(SOON)


def test_the_serving_thread_keeps_away_from_a_burst_until_it_is_asked_for(turns: Turns) -> None:
    """Also where it was asked for just before the burst goes on: for one turn."""
    turns.burst()
    resting = _begun(turns, idle=False)
    turns.urge()
    turns.burst()
    resting.join(SOON)

    assert turns.next(SOON, idle=False)

    turns.leave()

    _begun(turns, idle=False)
    turns.urge()


def test_the_serving_thread_keeps_away_from_those_that_wait_while_nothing_is_under_way(turns: Turns) -> None:
    """What is under way when they have gone is its business."""
    assert turns.take_to_wait(SOON)
    turns.leave()

    _begun(turns, idle=True)

    assert turns.next(SOON, idle=False)

    turns.urge()


def test_who_finds_a_burst_and_another_at_its_turn_asks_for_the_serving_thread(turns: Turns) -> None:
    """A thread that produces serves once, and not until somebody else is told."""
    turns.burst()
    resting = _begun(turns, idle=False)
    assert turns.take(SOON)
    assert not turns.take_to_wait(SOON)
    resting.join(SOON)

    assert not resting.is_alive()


def test_whoever_waits_for_room_or_for_all_has_the_serving_thread(turns: Turns) -> None:
    """They are told by it alone."""
    turns.burst()
    with turns.changed:
        turns.waiting += 1

    assert turns.next(SOON, idle=True)


def _begun(turns: Turns, *, idle: bool) -> Thread:
    """Return a thread that asks for the next turn of the serving thread, once it rests."""
    thread = Thread(target=lambda: turns.next(SOON, idle=idle), daemon=True)
    thread.start()
    eventually(lambda: bool(turns.changed._waiters), SOON)  # type: ignore[attr-defined]  # nobody else can tell
    return thread
