"""How back-fill is told to people: how much is left, how fast it goes, and how long it will take."""

from __future__ import annotations

import pytest

from streamresults.cli.coverage import PartitionLag
from streamresults.cli.filling import FillWatch
from streamresults.store.coverage import Coverage
from streamresults.topic.records import Watermarks

GENERATION = b"generat1"


def lag(start: int, *, low: int = 0, generation: bytes = GENERATION, partition: int = 0) -> PartitionLag:
    """Return a partition whose view begins at an offset; the log holds [low, 1000)."""
    coverage = Coverage(generation=generation, start=start, watermark=1000, target=0, as_of_ms=0)
    return PartitionLag(partition, Watermarks(low, 1000), coverage, 0)


def test_first_reading_says_what_is_left_and_no_rate() -> None:
    """One reading has nothing to compare with."""
    filling = FillWatch().read([lag(600), lag(200, partition=1)], at=0.0)

    assert (800, 0.6, None, None) == (filling.left, filling.covered, filling.rate, filling.seconds)
    assert "800 offsets to back-fill, 60 % of the log covered" == str(filling)


def test_second_reading_gives_rate_and_time() -> None:
    """A hundred offsets in two seconds, so four hundred take eight."""
    watch = FillWatch()
    watch.read([lag(500)], at=10.0)

    filling = watch.read([lag(400)], at=12.0)

    assert (50.0, 8.0) == (filling.rate, filling.seconds)
    assert "400 offsets to back-fill, 60 % of the log covered, 50/s, about 8 s to go" == str(filling)


def test_flush_in_between_is_no_step_back() -> None:
    """A new generation begins anew; what it lacks is not taken off what was filled before."""
    watch = FillWatch()
    watch.read([lag(500)], at=0.0)
    watch.read([lag(400)], at=1.0)

    filling = watch.read([lag(1000, generation=b"generat2")], at=2.0)

    assert (1000, 50.0) == (filling.left, filling.rate)


def test_generation_that_lacks_less_was_not_filled() -> None:
    """What another one lacked is nothing to compare with, also when it was more."""
    watch = FillWatch()
    watch.read([lag(500)], at=0.0)

    assert 0.0 == watch.read([lag(100, generation=b"generat2")], at=1.0).rate


def test_back_fill_that_stands_still_has_no_end() -> None:
    """Nobody fills: there is no time to tell."""
    watch = FillWatch()
    watch.read([lag(500)], at=0.0)

    filling = watch.read([lag(500)], at=1.0)

    assert filling.seconds is None
    assert "standing still" in str(filling)


def test_what_retention_has_taken_need_not_be_filled() -> None:
    """The view begins at 500 and the log at 450."""
    filling = FillWatch().read([lag(500, low=450)], at=0.0)

    assert 50 == filling.left
    assert pytest.approx(500 / 550) == filling.covered


def test_nothing_is_said_to_be_covered_before_it_is() -> None:
    """The last offset of a thousand makes no 100 %."""
    assert "99 % of the log" in str(FillWatch().read([lag(1)], at=0.0))


def test_partition_without_a_view_is_not_covered() -> None:
    """Nor is it back-fill that will bring it: the live lane has to begin first."""
    filling = FillWatch().read([PartitionLag(0, Watermarks(0, 10), None, 0)], at=0.0)

    assert (0, 0.0) == (filling.left, filling.covered)
