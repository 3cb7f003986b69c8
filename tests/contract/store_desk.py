"""Batches for a view, looks at it and ears for what it tells, in the tests of every kind of store."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from streamresults.events.fold import NEVER, Best, event_summary
from streamresults.store.base import BackfillBatch, Descriptor, LiveBatch, Looked, Mark
from streamresults.store.coverage import BackfillClaim, LiveClaim
from streamresults.store.value import pack_entry, unpack
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.store.base import Subscription, View
    from streamresults.store.redis import RedisStore

    Listen = Callable[[str], Subscription]

ONE: Final = b"genera-1"
TWO: Final = b"genera-2"
TOPIC: Final = "topic-id"
STARTED, FAILURE, SUCCESS = 2, 3, 4
#: How long a test waits for what must happen. Larger: a failure is told late. Smaller: a busy machine fails.
SOON: Final = 10.0
#: How long a test listens for what must not happen; it is a round trip away if it does.
QUIET: Final = 0.05


def entry(offset: int, rank: int = SUCCESS, *, value: bytes | None = b"v", keep: int = NEVER) -> bytes:
    """Return the entry of one event."""
    return pack_entry(event_summary(Best(rank, offset, 1, keep, value)))


def batch(
    begin: int,
    end: int,
    entries: dict[str, bytes] | None = None,
    *,
    partition: int = 0,
    marks: dict[str, Mark] | None = None,
    least: int = 0,
    generation: bytes = ONE,
) -> LiveBatch:
    """Return a live batch."""
    claim = LiveClaim(begin, end, least, begin, 0, generation)
    return LiveBatch(partition, claim, list((entries or {}).items()), list((marks or {}).items()))


def older(
    begin: int,
    end: int,
    entries: dict[str, bytes] | None = None,
    *,
    marks: dict[str, Mark] | None = None,
    generation: bytes = ONE,
) -> BackfillBatch:
    """Return a back-fill batch."""
    claim = BackfillClaim(begin, end, generation)
    return BackfillBatch(0, claim, list((entries or {}).items()), list((marks or {}).items()))


def mark(offset: int = 1, keep: int = NEVER) -> Mark:
    """Return a dead-letter mark."""
    return Mark(offset=offset, reason="BadMagic: ü", place=f"results.dlq[0]@{offset}", keep_until_ms=keep)


def descriptor(topic: str, **fields: Any) -> Descriptor:
    """Return a descriptor with every field set."""
    given: dict[str, Any] = {"cluster_id": "c", "topic_id": TOPIC, "partition_counts": (64, 12), "format": 1}
    return Descriptor(topic=topic, **given | fields)


def look(view: View, *tasks: str, partition: int = 0) -> Looked:
    """Look at tasks of one partition."""
    return view.look({partition: tasks})[partition]


def offsets(view: View, *tasks: str, partition: int = 0) -> list[int | None]:
    """Return which event stands for each task, None for a miss."""
    found = []
    for value in look(view, *tasks, partition=partition).values:
        best = unpack(value).summary.best if value is not None else None
        found.append(best.offset if best else None)
    return found


def watermark(view: View, partition: int = 0) -> int | None:
    """Return how far a view is."""
    coverage = look(view, partition=partition).coverage
    return coverage.watermark if coverage else None


def heard(subscription: Subscription, count: int) -> list[str]:
    """Wait for as many messages, and then a moment for one too many; return them sorted."""
    found: list[str] = []
    deadline = monotonic() + SOON
    while len(found) < count and monotonic() < deadline:
        found += subscription.get(0.2) or []
    return sorted(found + (subscription.get(QUIET) or []))


def pass_until(view: View, moment_ms: int) -> None:
    """Ask the store what time it is until the moment has passed."""
    eventually(lambda: look(view).now_ms > moment_ms + 1, SOON)


def remove(store: RedisStore, namespace: str) -> None:
    """Remove what a test left on the servers."""
    for server in store._nodes.each():
        for key in server.scan_iter(match=f"*{namespace}*", count=5000):
            server.unlink(key)  # one by one: those of a Cluster lie in different slots
