"""
Turns of the threads that look something up by Celery's result objects.

We test these aspects: one has its turn at a time; and who waits for one that does not end, or for too many, does
without.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event
from typing import TYPE_CHECKING

import pytest

from streamresults.celery import taking_turns
from streamresults.celery.taking_turns import TakingTurns
from streamresults.deadline import Deadline
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds within which anything here happens on a loaded machine.
SOON = 30.0


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def test_one_has_its_turn_at_a_time(monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor) -> None:
    monkeypatch.setattr(taking_turns, "_SLICE", SOON)
    turns, inside, most = TakingTurns(), [0], [0]

    def work() -> None:
        for _ in range(100):
            with turns.turn():
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0)  # so that another one may run
                inside[0] -= 1

    for future in [pool.submit(work) for _ in range(8)]:
        future.result(SOON)

    assert most == [1]


def test_who_waits_for_a_turn_that_does_not_end_does_without(pool: ThreadPoolExecutor) -> None:
    """And takes nobody's turn away by that."""
    turns, done, had, waited = TakingTurns(), Event(), Event(), Event()

    def hold() -> None:
        with turns.turn():
            had.set()
            done.wait(SOON)

    def go() -> None:
        with turns.turn():
            waited.set()

    held = pool.submit(hold)
    assert had.wait(SOON)
    pool.submit(go).result(SOON)

    assert waited.is_set()
    assert not held.done()
    assert turns._turn.locked()
    done.set()
    held.result(SOON)
    eventually(lambda: not turns._turn.locked(), SOON)


def test_nobody_waits_for_ever_for_turns_that_go_on(monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor) -> None:
    """Others always come first here, as they may where many threads ask."""
    monkeypatch.setattr(taking_turns, "_LONGEST", 0.3)
    turns = TakingTurns()

    def go() -> None:
        with turns.turn():
            pass

    with turns.turn():
        waits, until = pool.submit(go), Deadline(SOON)
        while not until.passed() and wait([waits], 0.01).not_done:
            turns._ended += 1

        assert waits.done()
        assert turns._turn.locked()


def test_a_turn_ends_with_an_error_too() -> None:
    turns = TakingTurns()

    with pytest.raises(KeyError), turns.turn():
        raise KeyError

    assert not turns._turn.locked()
