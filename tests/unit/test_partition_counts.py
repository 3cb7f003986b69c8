"""
Which partition counts a view remembers, whoever adds to them, and in which order.

We test these aspects: the homes of a key; merging what several compactors know; counts that leave; a topic that is
another one.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streamresults.events.fold import NEVER
from streamresults.store.base import Descriptor
from streamresults.store.partition_counts import STALE_WRITERS_MS, homes, merged
from streamresults.topic.memory_log import murmur2

NOW = 1_900_000_000_000
RETENTION = 1000


def descriptor(*counts: int, superseded_ms: tuple[int, ...] = (), **fields: Any) -> Descriptor:
    """Return what one compactor knows."""
    given: dict[str, Any] = {"cluster_id": "c", "topic": "t", "topic_id": "i", "format": 1}
    return Descriptor(partition_counts=counts, superseded_ms=superseded_ms, **given | fields)


def test_a_task_has_a_home_for_each_count_and_each_partition_once() -> None:
    """The newest count's comes first."""
    for number in range(500):
        key = b"%d" % number
        found = homes(key, (7, 6, 3), murmur2)

        assert found[0] == murmur2(key, 7)
        assert set(found) == {murmur2(key, count) for count in (7, 6, 3)}
        assert len(found) == len(set(found))


def test_what_was_never_published_is_published_as_it_is() -> None:
    assert descriptor(3) == merged(None, descriptor(3), NOW, RETENTION)


def test_a_newer_count_comes_before_the_older_one_which_is_dated() -> None:
    """From then on the older count's time runs."""
    assert descriptor(6, 3, superseded_ms=(NOW,)) == merged(descriptor(3), descriptor(6), NOW, RETENTION)


def test_a_compactor_with_old_knowledge_takes_nothing_back() -> None:
    """It may still write when another one has seen new partitions."""
    grown = descriptor(6, 3, superseded_ms=(NOW - 5,))

    assert grown == merged(grown, descriptor(3), NOW, RETENTION)


@given(counts=st.lists(st.integers(1, 200), min_size=1, max_size=4))
def test_the_order_in_which_compactors_write_does_not_matter(counts: list[int]) -> None:
    """All of them write at about the same time when partitions were added."""
    found = set()
    for order in permutations(counts):
        known = None
        for count in order:
            known = merged(known, descriptor(count), NOW, RETENTION)
        assert known is not None
        found.add(known.partition_counts)

    assert {tuple(sorted(set(counts), reverse=True))} == found


def test_a_count_leaves_when_nothing_written_under_it_can_be_read() -> None:
    """Writers that had not heard of the newer count are given a day on top of the retention."""
    last = NOW + RETENTION + STALE_WRITERS_MS - 1
    grown = descriptor(6, 3, superseded_ms=(NOW,))

    assert grown == merged(grown, descriptor(6), last, RETENTION)
    assert descriptor(6) == merged(grown, descriptor(6), last + 1, RETENTION)
    assert grown == merged(grown, descriptor(6), last + 1, NEVER)


def test_counts_that_an_earlier_release_published_are_dated_now() -> None:
    """It wrote no times, and none of its counts leaves too early."""
    found = merged(descriptor(6, 3), descriptor(6), NOW, RETENTION)

    assert descriptor(6, 3, superseded_ms=(NOW,)) == found


def test_the_counts_of_a_topic_that_is_gone_are_not_taken_over() -> None:
    """A topic of another id is another topic."""
    assert descriptor(3) == merged(descriptor(6, 4, topic_id="other"), descriptor(3), NOW, RETENTION)


def test_fewer_partitions_tell_another_topic_where_no_id_does() -> None:
    """The embedded broker has no ids; partitions never become fewer."""
    assert descriptor(3) == merged(descriptor(6), descriptor(3), NOW, RETENTION, told_apart=False)
    assert (6, 3) == merged(descriptor(3), descriptor(6), NOW, RETENTION, told_apart=False).partition_counts
