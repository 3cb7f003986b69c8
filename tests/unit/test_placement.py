"""
Partition counts that nobody saw are found by the records that were written under them.

We test these aspects: what strays give away, and what they do not; what it costs a topic that never grew.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from streamresults.compactor.placement import Placement
from streamresults.topic.memory_log import murmur2

if TYPE_CHECKING:
    from collections.abc import Sequence


def written_under(count: int, partition: int, tasks: int = 300) -> list[tuple[str, bytes]]:
    """Return the entries of one partition's batch, written by workers that know this many partitions."""
    return [(f"t{n}", b"") for n in range(tasks) if murmur2(b"t%d" % n, count) == partition]


def checked(counts: Sequence[int], *, under: int, tasks: int = 300) -> tuple[int, ...]:
    placement = Placement(murmur2, counts, lambda: counts[0])
    for partition in range(under):
        placement.check(partition, written_under(under, partition, tasks))
    return placement.counts


@pytest.mark.parametrize(("known", "under"), [((7, 3), 6), ((7,), 6), ((7,), 3), ((24, 12), 18), ((200, 64), 128)])
def test_a_count_that_nobody_saw_is_found(known: tuple[int, ...], under: int) -> None:
    """Exactly that one: others would cost every lookup."""
    assert tuple(sorted((*known, under), reverse=True)) == checked(known, under=under)


@pytest.mark.parametrize("count", [1, 7, 64])
def test_nothing_is_found_where_nothing_was_missed(count: int) -> None:
    assert (count,) == checked((count,), under=count)


def test_several_counts_are_found_one_after_the_other() -> None:
    """Of one batch that holds records of both."""
    placement = Placement(murmur2, (12,), lambda: 12)
    placement.check(1, [entry for count in (5, 8) for entry in written_under(count, 1)])
    for partition in (0, 2, 3):
        placement.check(partition, [entry for count in (5, 8) for entry in written_under(count, partition)])

    assert {12, 8, 5} <= {*placement.counts}


def test_a_topic_that_never_grew_pays_for_a_few_tasks_of_a_batch() -> None:
    """However many there are in it."""
    calls = []

    def counted(key: bytes, count: int) -> int:
        calls.append(key)
        return murmur2(key, count)

    Placement(counted, (7,), lambda: 7).check(2, written_under(7, 2, 10_000))

    assert len(calls) == 16


def test_records_of_another_partitioner_are_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """No count explains them, so that none is added."""
    placement = Placement(murmur2, (12,), lambda: 12)
    with caplog.at_level(logging.WARNING):
        for number in range(20):
            placement.check(3, [(f"x{number}-{n}", b"") for n in range(200)])

    assert (12,) == placement.counts
    assert ["strange_partitioner"] == [getattr(record, "action", "") for record in caplog.records]


def test_a_newer_count_than_the_newest_known_explains_first() -> None:
    """Records that were written under it may arrive before it was noticed."""
    placement = Placement(murmur2, (6, 3), lambda: 7)
    placement.check(2, written_under(7, 2))

    assert (7, 6, 3) == placement.counts


def test_a_batch_of_a_partition_that_was_added_just_now_says_nothing() -> None:
    """Its count is not known yet."""
    placement = Placement(murmur2, (3,), lambda: 3)
    placement.check(4, written_under(6, 4))

    assert (3,) == placement.counts


def test_what_was_found_meanwhile_outlives_what_others_know() -> None:
    """A count that left goes; one that was found while that was written stays."""
    placement = Placement(murmur2, (12, 6), lambda: 12)
    before = placement.counts
    placement.know((8,))
    placement.replace(before, (12,))

    assert (12, 8) == placement.counts
