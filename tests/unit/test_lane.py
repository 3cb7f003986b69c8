"""How late one partition's results are: told by ends that the log had, as a log that is written to never rests."""

from __future__ import annotations

import pytest

from streamresults.compactor.lane import Lane

#: A moment that is over at once, and one that never is, in seconds.
NOW, LATER = -1.0, 3600.0


@pytest.fixture
def lane() -> Lane:
    """Give a lane at the beginning of a log that has ten records by now."""
    made = Lane(0, 0, 0, from_low=False)
    made.saw(reached=None, end=10)
    return made


def test_what_is_waiting_makes_a_lane_late_after_a_while(lane: Lane) -> None:
    """Not at once: back-fill would stop at every record."""
    assert lane.lagging(NOW)
    assert not lane.lagging(LATER)


def test_a_log_that_grows_all_the_time_leaves_a_lane_in_time(lane: Lane) -> None:
    """It folds up to an end that the log had a moment ago, and never to the one that it has."""
    lane.saw(reached=None, end=20)
    lane.position = 10

    assert not lane.lagging(NOW)

    lane.saw(reached=None, end=30)

    assert lane.lagging(NOW)


def test_a_log_that_became_shorter_leaves_no_lane_late_for_ever(lane: Lane) -> None:
    """What was lost will not be folded."""
    lane.saw(reached=None, end=0)

    assert not lane.lagging(NOW)


def test_an_end_that_is_not_known_says_nothing(lane: Lane) -> None:
    """Nothing was fetched yet, or nothing new."""
    lane.saw(reached=None, end=None)

    assert lane.lagging(NOW)
