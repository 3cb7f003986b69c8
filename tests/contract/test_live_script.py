"""
``live.lua`` and ``backfill.lua`` make the same decisions as the Python functions.

We test these aspects: random pairs of a stored view and a batch leave equal values and give equal replies, for every
case of the coverage decision, for tombstones, ties and marks, forwards and backwards; every case does occur often; and
whole runs that shrink to the shortest one when they differ.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamresults.events.fold import NEVER, Best, Summary, combine, event_summary, tombstone_summary
from streamresults.store.base import BackfillBatch, LiveBatch, Mark
from streamresults.store.coverage import BackfillClaim, LiveClaim, Outcome
from streamresults.store.memory import MemoryStore
from streamresults.store.value import pack_entry
from tests.contract.store_desk import remove

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.store.base import View
    from streamresults.store.coverage import Coverage
    from streamresults.store.redis import RedisStore

TASKS: Final = ("a", "b", "ü")
FAR: Final = 4_000_000_000_000
KEEPS: Final = (FAR, FAR, FAR + 7, FAR - 7, NEVER, 1)
GENERATIONS: Final = (b"genera-1", b"genera-2", b"genera-3")
VALUES: Final = (b"", b"value", b"\x00\xff" * 9, None)
PARTITIONS: Final = 50
STEPS: Final = 40
SEEDS: Final = 20


def summary(random: Random) -> Summary:
    """Make the summary of a few events of one task."""
    offset = random.randint(0, 40)
    folded: Summary | None = None
    for _ in range(random.randint(1, 3)):
        keep = random.choice(KEEPS)
        best = Best(random.randint(0, 4), offset, 1_700_000_000_000 + offset, keep, random.choice(VALUES))
        one = tombstone_summary(offset, keep) if random.random() < 0.25 else event_summary(best)
        folded = one if folded is None else combine(folded, one)
        offset += random.randint(1, 3)
    assert folded is not None
    return folded


def batch(random: Random, partition: int, watermark: int) -> LiveBatch:
    """Make a live batch that continues the view as often as not, and meets every other case often."""
    begin = watermark if random.random() < 0.6 else max(0, watermark + random.randint(-3, 3))
    claim = LiveClaim(
        begin=begin,
        end=begin + random.randint(0, 6),
        least=random.choice((0, 0, 0, watermark, max(0, watermark + random.randint(-3, 3)))),
        fresh_start=random.choice((begin, begin, 0, begin + 2)),
        target=random.randint(0, 3),
        fresh_generation=random.choice(GENERATIONS),
        lost_generation=random.choice((b"", b"", b"", *GENERATIONS)),
        log_end=max(0, watermark + random.randint(-3, 3)),
    )
    entries = [(task, pack_entry(summary(random))) for task in random.sample(TASKS, random.randint(0, 3))]
    marked = random.sample(TASKS, random.choice((0, 0, 1, 2)))
    marks = [
        (task, Mark(offset=random.randint(0, 9), reason="r", place="p", keep_until_ms=random.choice(KEEPS)))
        for task in marked
    ]
    return LiveBatch(partition, claim, entries, marks)


def older_batch(random: Random, partition: int, coverage: Coverage) -> BackfillBatch:
    """Make a back-fill batch that fits the view more often than not."""
    end = coverage.start if random.random() < 0.8 else max(0, coverage.start + random.randint(-2, 2))
    generation = coverage.generation if random.random() < 0.9 else random.choice(GENERATIONS)
    claim = BackfillClaim(begin=max(0, end - random.randint(0, 3)), end=end, generation=generation)
    live = batch(random, partition, coverage.watermark)
    return BackfillBatch(partition, claim, live.entries, live.marks)


@pytest.fixture
def namespace(redis_store: RedisStore, namespace: str) -> Iterator[str]:
    """Name a part of the server that is emptied afterwards."""
    yield namespace
    remove(redis_store, namespace)


def seen(view: View, partitions: int) -> dict[int, tuple[list[Any], list[Any]]]:
    """Return the values and marks of every task."""
    looked = view.look(dict.fromkeys(range(partitions), TASKS))
    return {partition: (list(one.values), list(one.marks)) for partition, one in looked.items()}


def timeless(replies: list[Any]) -> list[tuple[Any, ...]]:
    """Return replies without the time in them."""
    return [
        (*one[:-1], coverage.generation, coverage.start, coverage.watermark, coverage.target)
        for one in replies
        for coverage in one[-1:]
    ]


@pytest.mark.redis
@pytest.mark.parametrize("seed", range(SEEDS))
def test_lua_and_python_agree_on_random_pairs(redis_store: RedisStore, namespace: str, seed: int) -> None:
    """Equal views and equal batches give equal replies and equal views: 40 000 pairs over all seeds."""
    random = Random(seed)
    real = redis_store.view(namespace, "topic")
    memory = MemoryStore().view(namespace, "topic")
    watermarks = [0] * PARTITIONS
    met: Counter[tuple[Outcome, bool]] = Counter()
    filled: Counter[bool] = Counter()
    for _ in range(STEPS):
        batches = [batch(random, partition, watermarks[partition]) for partition in range(PARTITIONS)]
        expected, actual = memory.apply(batches), real.apply(batches)

        assert timeless(expected) == timeless(actual)
        assert seen(memory, PARTITIONS) == seen(real, PARTITIONS)

        watermarks = [reply.coverage.watermark for reply in expected]
        met.update((reply.outcome, reply.began) for reply in expected)
        older = [older_batch(random, reply_at, reply.coverage) for reply_at, reply in enumerate(expected)]
        under, under_real = memory.backfill(older), real.backfill(older)

        assert timeless(under) == timeless(under_real)
        assert seen(memory, PARTITIONS) == seen(real, PARTITIONS)

        filled.update(reply.applied for reply in under)

    assert all(met[outcome, began] >= 5 for outcome in Outcome for began in (True, False))
    assert all(filled[applied] >= 5 for applied in (True, False))


@pytest.mark.redis
@given(random=st.randoms(use_true_random=False), steps=st.integers(1, 6))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lua_and_python_agree_on_whole_runs(
    redis_store: RedisStore, namespace: str, random: Random, steps: int
) -> None:
    """A run of batches on one partition leaves the same behind, batch by batch; a run that does not is shortened."""
    topic = uuid4().hex
    real = redis_store.view(namespace, topic)
    memory = MemoryStore().view(namespace, topic)
    watermark = 0
    for _ in range(steps):
        one = batch(random, 0, watermark)
        expected, actual = memory.apply([one]), real.apply([one])

        assert timeless(expected) == timeless(actual)
        assert seen(memory, 1) == seen(real, 1)

        watermark = expected[0].coverage.watermark
