"""
The protocol of the view and of the wait, explored: every interleaving within bounds, run through our own decisions.

We test these aspects: that what the view shows is the fold of what its coverage says, whatever happens to compactors,
Redis and the log, and that it gets complete again; that no wait is lost and no answer wrong, however the view moves;
that the search itself finds what it must; and that it finds every fault that is planted on purpose, while the same
bounds hold without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.model.explore import Step, explore
from tests.model.planted import PLANTED, Planted
from tests.model.runs import SHORT, Run, described, told

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize("run", SHORT, ids=lambda run: run.name)
def test_the_promises_hold(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing wrong is reachable, and from everywhere the goal can be reached without another fault."""
    found = explore(run.model())

    with capsys.disabled():
        print(f"\n{told(described(run), found)}", end=" ")  # noqa: T201 -- states and bounds are part of the result
    assert found.finding is None, str(found.finding)
    assert found.exhaustive


@pytest.mark.parametrize("fault", PLANTED, ids=lambda fault: fault.name)
def test_a_planted_fault_is_found(fault: Planted) -> None:
    """Without one clause of the protocol something is wrong; with it, within the same bounds, nothing is."""
    found, sound = explore(fault.faulty), explore(fault.sound)

    assert found.finding is not None
    assert found.finding.trace
    assert sound.finding is None, str(sound.finding)
    assert sound.exhaustive


class Counter:
    """Counts up by one or two, and never back; 4 is wrong, or a dead end."""

    def __init__(self, *, wrong: int = -1, goal: int = 9, faults: bool = False) -> None:
        self._wrong = wrong
        self._goal = goal
        self._faults = faults

    def initial(self) -> Iterator[int]:
        yield 0

    def steps(self, state: int) -> Iterator[Step[int]]:
        for more in (1, 2):
            if state + more < 10:
                yield Step(f"+{more}", state + more, fault=self._faults and more == 1)

    def wrong(self, state: int) -> str:
        return "four" if state == self._wrong else ""

    def good(self, state: int) -> bool:
        return state == self._goal


def test_everything_is_searched() -> None:
    """States are counted once, however many ways lead there."""
    found = explore(Counter())

    assert found.finding is None
    assert (10, 17, True) == (found.states, found.edges, found.exhaustive)


def test_the_shortest_way_is_told() -> None:
    """What is wrong comes with the shortest trace."""
    found = explore(Counter(wrong=4)).finding

    assert found is not None
    assert ("safety", "four", ["+2", "+2"]) == (found.kind, found.message, found.trace)


def test_a_goal_behind_a_fault_does_not_count() -> None:
    """Steps of two alone never reach nine from an even number: only a fault leads there."""
    found = explore(Counter(faults=True)).finding

    assert found is not None
    assert ("liveness", []) == (found.kind, found.trace)


def test_a_goal_that_was_passed_is_missed() -> None:
    """The nearest state from which the goal is out of reach is the one that is told."""
    found = explore(Counter(goal=3)).finding

    assert found is not None
    assert ("liveness", ["+2", "+2"]) == (found.kind, found.trace)


def test_the_cap_is_told() -> None:
    """A search that was ended early says so, and does not judge what needs all of it."""
    found = explore(Counter(goal=3), cap=5)

    assert not found.exhaustive
    assert found.finding is None
