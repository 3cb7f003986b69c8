"""
What the flows may expect of a view, of Redis and of the in-memory store alike.

We test these aspects: batches and looks are atomic per partition; another generation counts as absent; whoever left an
interest is told once and nobody else; values, marks and interests end when they should; descriptors and namespaces;
and, on a Redis of the test's own, what happens when it is flushed, full, away, or cuts connections.
"""

from __future__ import annotations

import os
from contextlib import suppress
from threading import Barrier, Event, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import pytest

from streamresults.errors import ConfigurationError, StoreOutOfMemory, StoreUnavailable, TopicMismatch
from streamresults.events.fold import NEVER, NONE, Best, Summary, event_summary, tombstone_summary
from streamresults.store.base import (
    BackfillBatch,
    Descriptor,
    Interest,
    LiveBatch,
    Looked,
    Mark,
    Store,
    Subscription,
    View,
)
from streamresults.store.coverage import BackfillClaim, LiveClaim, Outcome
from streamresults.store.keys import Keys, descriptor_key
from streamresults.store.memory import MemoryStore
from streamresults.store.redis import LOOK_MAX, RedisStore
from streamresults.store.value import pack_entry, unpack
from tests import services  # also puts the local services on the path

# isort: split
from processes import LocalServicesError
from redis_cluster import RedisCluster
from redis_replicated import RedisReplicated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis_server import RedisServer

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


def mark(offset: int = 1, keep: int = NEVER) -> Mark:
    """Return a dead-letter mark."""
    return Mark(offset=offset, reason="BadMagic: ü", place=f"results.dlq[0]@{offset}", keep_until_ms=keep)


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
    deadline = monotonic() + SOON
    while look(view).now_ms <= moment_ms + 1:
        assert monotonic() < deadline


@pytest.fixture
def namespace() -> str:
    """Name a part of the store that nobody else uses."""
    return f"contract-{uuid4().hex}"


def store_on(make: Callable[[], RedisReplicated | RedisCluster]) -> Iterator[RedisStore]:
    """Give a store on a topology of this module's own."""
    try:
        servers = make()
        servers.start()
    except LocalServicesError as exc:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(exc))
    store = RedisStore(servers.url)
    yield store
    store.close()
    servers.close()


@pytest.fixture(scope="module")
def sentinel_store() -> Iterator[RedisStore]:
    """Give a store on a primary that Sentinel names."""
    yield from store_on(RedisReplicated)


@pytest.fixture(scope="module")
def cluster_store() -> Iterator[RedisStore]:
    """Give a store on a Cluster of three primaries."""
    yield from store_on(RedisCluster)


@pytest.fixture(
    params=["memory", *(pytest.param(kind, marks=pytest.mark.redis) for kind in ("redis", "sentinel", "cluster"))]
)
def store(request: pytest.FixtureRequest, namespace: str) -> Iterator[Store]:
    """Return each kind of store in turn; what a test left on the server is removed."""
    if request.param == "memory":
        yield MemoryStore()
        return
    real: RedisStore = request.getfixturevalue(f"{request.param}_store")
    yield real
    for server in real._nodes.each():
        for key in server.scan_iter(match=f"*{namespace}*", count=5000):
            server.unlink(key)


@pytest.fixture
def view(store: Store, namespace: str) -> View:
    """Return an empty view."""
    return store.view(namespace, TOPIC)


@pytest.fixture
def listen(store: Store, namespace: str) -> Iterator[Listen]:
    """Return a function that subscribes; the subscriptions end with the test."""
    opened: list[Subscription] = []

    def subscribe(name: str) -> Subscription:
        opened.append(store.subscribe(f"{namespace}:{name}"))
        return opened[-1]

    yield subscribe
    for one in opened:
        one.close()


# Batches and looks


def test_a_view_that_was_never_written_covers_nothing(view: View) -> None:
    """Without a batch there is no coverage and no value."""
    looked = look(view, "a", "b")

    assert ([None, None], [None, None], None) == (list(looked.values), list(looked.marks), looked.coverage)


def test_an_applied_batch_can_be_looked_up(view: View) -> None:
    """The reply and the next look tell the same coverage, and the value is the entry behind its generation."""
    (reply,) = view.apply([batch(0, 5, {"a": entry(3)})])
    looked = look(view, "a")

    assert (Outcome.APPLIED, True, 5) == (reply.outcome, reply.began, reply.coverage.watermark)
    assert reply.coverage == looked.coverage
    assert [ONE + entry(3)] == list(looked.values)


def test_values_come_in_the_order_asked_for(view: View) -> None:
    """A miss is None in its place, and a task asked for twice is answered twice."""
    view.apply([batch(0, 3, {"a": entry(0), "b": entry(1)})])

    assert [1, None, 0, 1] == offsets(view, "b", "x", "a", "b")


def test_an_empty_look_reads_the_coverage_alone(view: View) -> None:
    """No tasks, no values."""
    view.apply([batch(0, 3)])
    looked = look(view)

    assert ([], [], 3) == (list(looked.values), list(looked.marks), watermark(view))


def test_looking_at_nothing_gives_nothing(view: View) -> None:
    """No partitions, no answers."""
    assert {} == view.look({})


def test_a_look_tells_the_store_s_time(view: View) -> None:
    """Coverage is as of the batch, on the same clock, whether or not the batch was applied."""
    moments = [look(view).now_ms]
    for end in (1, 9):
        (reply,) = view.apply([batch(0, end)])
        moments += [reply.coverage.as_of_ms, look(view).now_ms]

    assert sorted(moments) == moments


def test_batches_are_combined_with_what_is_there(view: View) -> None:
    """The view folds: a success stays, a tombstone forgets."""
    view.apply([batch(0, 2, {"a": entry(0, SUCCESS), "b": entry(1, SUCCESS), "c": entry(1, STARTED)})])
    view.apply([batch(2, 9, {"a": entry(4, FAILURE), "b": pack_entry(tombstone_summary(5, NEVER)), "c": entry(6, 3)})])

    assert [0, None, 6] == offsets(view, "a", "b", "c")


@pytest.mark.parametrize(("begin", "outcome"), [(6, Outcome.AHEAD), (4, Outcome.BEHIND)])
def test_a_batch_that_does_not_continue_the_view_leaves_nothing(view: View, begin: int, outcome: Outcome) -> None:
    """Values, marks and coverage move together or not at all."""
    view.apply([batch(0, 5, {"a": entry(3)})])
    (reply,) = view.apply([batch(begin, 9, {"a": entry(8), "b": entry(8)}, marks={"c": mark()})])
    looked = look(view, "a", "b", "c")

    assert (outcome, False, 5) == (reply.outcome, reply.began, reply.coverage.watermark)
    assert [ONE + entry(3), None, None] == list(looked.values)
    assert [None, None, None] == list(looked.marks)


def test_a_batch_sent_twice_is_applied_once(view: View) -> None:
    """A write whose reply was lost may be repeated."""
    view.apply([batch(0, 5, {"a": entry(3)})])
    (reply,) = view.apply([batch(0, 5, {"a": entry(3)})])

    assert (Outcome.BEHIND, 5) == (reply.outcome, reply.coverage.watermark)
    assert [3] == offsets(view, "a")


def test_partitions_do_not_touch_each_other(view: View) -> None:
    """A call carries batches of many partitions, each with an outcome of its own; equal ids are different tasks."""
    view.apply([batch(0, 5, {"a": entry(3)}, partition=1)])
    replies = view.apply([batch(p, 9, {"a": entry(8)}, partition=p) for p in range(4)])
    found = view.look({p: ["a"] for p in range(5)})

    assert [Outcome.APPLIED, Outcome.BEHIND, Outcome.APPLIED, Outcome.APPLIED] == [one.outcome for one in replies]
    assert [9, 5, 9, 9, None] == [one.coverage.watermark if one.coverage else None for one in found.values()]
    assert [8, 3, 8, 8, None] == [offsets(view, "a", partition=p)[0] for p in range(5)]


def test_batches_of_one_partition_follow_each_other(view: View) -> None:
    """Several batches in one call are applied in their order."""
    replies = view.apply([batch(n, n + 1, {"a": entry(n, FAILURE), f"t{n}": entry(n)}) for n in range(5)])

    assert [Outcome.APPLIED] * 5 == [one.outcome for one in replies]
    assert ([4, 0, 4], 5) == (offsets(view, "a", "t0", "t4"), watermark(view))


def test_behind_a_batch_that_is_not_applied_none_is(view: View) -> None:
    """Where the chain is broken it ends, and the replies say where to go on."""
    view.apply([batch(0, 5)])
    replies = view.apply([batch(3, 6, {"a": entry(3)}), batch(6, 9, {"a": entry(6)}), batch(9, 12, {"a": entry(9)})])

    assert [Outcome.BEHIND, Outcome.AHEAD, Outcome.AHEAD] == [one.outcome for one in replies]
    assert ([None], 5) == (offsets(view, "a"), watermark(view))


def test_no_batches_are_no_work(view: View) -> None:
    """Nothing applied, nothing said."""
    assert [] == view.apply([])


def test_another_generation_counts_as_absent(view: View) -> None:
    """When a generation begins, older values and marks are gone, and nothing is combined with them."""
    view.apply([batch(0, 5, {"a": entry(3), "b": entry(4)}, marks={"a": mark()})])
    (reply,) = view.apply([batch(20, 25, {"a": entry(22, STARTED)}, least=10, generation=TWO)])
    looked = look(view, "a", "b")

    assert (True, TWO) == (reply.began, reply.coverage.generation)
    assert [TWO + entry(22, STARTED), None] == list(looked.values)
    assert [None, None] == list(looked.marks)


def test_views_of_other_topics_and_namespaces_are_other_views(store: Store, view: View, namespace: str) -> None:
    """A view opened twice is one view; another topic id or namespace shares nothing with it."""
    view.apply([batch(0, 5, {"a": entry(3)})])

    assert [3] == offsets(store.view(namespace, TOPIC), "a")
    assert [None] == offsets(store.view(namespace, "other-id"), "a")
    assert [None] == offsets(store.view(f"{namespace}-2", TOPIC), "a")


@pytest.mark.parametrize("task", ["{a}", "}{", "a:b", " ", "\n", "ü", "日本", "x" * 1024, "group:g", "coverage"])
def test_any_task_id_names_its_own_value(view: View, task: str) -> None:
    """No id is mistaken for another one, or for a key of the view."""
    view.apply([batch(0, 5, {task: entry(3)}, marks={task: mark()})])
    looked = look(view, task, "other")

    assert [ONE + entry(3), None] == list(looked.values)
    assert [mark(), None] == list(looked.marks)


@pytest.mark.parametrize("value", [b"", bytes(range(256)), b"\r\n$-1\r\n", bytes(65_537), b"\xff" * 1_000_000, None])
def test_any_bytes_are_kept_verbatim(view: View, value: bytes | None) -> None:
    """Large, empty and binary values come back as they were."""
    view.apply([batch(0, 5, {"a": entry(3, STARTED, value=b"-")})])
    view.apply([batch(5, 6, {"a": entry(5, value=value)})])
    (found,) = look(view, "a").values

    assert found is not None
    best = unpack(found).summary.best
    assert best is not None
    assert value == best.value


@pytest.mark.parametrize("count", [LOOK_MAX, LOOK_MAX + 1, 2 * LOOK_MAX + 500])
def test_many_tasks_are_looked_up_in_one_call(view: View, count: int) -> None:
    """However many tasks are asked for, values and marks come in order."""
    tasks = [f"t{number}" for number in range(count)]
    view.apply([batch(0, count, {task: entry(n) for n, task in enumerate(tasks[::2])}, marks={tasks[-1]: mark(7)})])
    looked = look(view, *tasks)

    assert [n // 2 if n % 2 == 0 else None for n in range(count)] == offsets(view, *tasks)
    assert [*[None] * (count - 1), mark(7)] == list(looked.marks)


def test_a_look_never_sees_half_a_batch(view: View) -> None:
    """While batches are applied, two values of one batch and the coverage they are read with always agree."""
    view.apply([batch(0, 1, {"a": entry(0, STARTED), "b": entry(0, STARTED)})])
    enough = Event()

    def write() -> None:
        n = 1
        while not enough.is_set():
            view.apply([batch(n, n + 1, {"a": entry(n, STARTED), "b": entry(n, STARTED)})])
            n += 1

    writer = Thread(target=write)
    writer.start()
    seen = set()
    for _ in range(300):
        looked = look(view, "a", "b")
        first, second = (unpack(value).summary.last for value in looked.values if value is not None)
        assert looked.coverage is not None
        seen.add((first - second, looked.coverage.watermark - first))
    enough.set()
    writer.join()

    assert {(0, 1)} == seen


# Dead-letter marks


def test_a_mark_stands_beside_the_value(view: View) -> None:
    """A dead letter never changes the fold, and a value never hides the mark."""
    view.apply([batch(0, 5, {"a": entry(3)}, marks={"a": mark(4), "b": mark(2)})])
    view.apply([batch(5, 9, {"a": entry(6), "b": entry(7)})])
    looked = look(view, "a", "b", "c")

    assert [3, 7, None] == offsets(view, "a", "b", "c")
    assert [mark(4), mark(2), None] == list(looked.marks)


def test_a_later_mark_replaces_an_earlier_one(view: View) -> None:
    """One mark is kept of each task: the last."""
    view.apply([batch(0, 5, marks={"a": mark(1)})])
    view.apply([batch(5, 9, marks={"a": mark(6)})])

    assert [mark(6)] == list(look(view, "a").marks)


# Expiry


def test_a_value_is_gone_when_its_time_has_passed(view: View) -> None:
    """What need not be kept any more is not there; what is kept for ever stays."""
    soon = look(view).now_ms + 60
    view.apply([batch(0, 5, {"a": entry(1, keep=soon), "b": entry(2)})])
    pass_until(view, soon)

    assert [None, 2] == offsets(view, "a", "b")


def test_a_mark_is_gone_when_its_time_has_passed(view: View) -> None:
    """A mark has the expiry of what it stands for."""
    soon = look(view).now_ms + 60
    view.apply([batch(0, 5, marks={"a": mark(1, keep=soon), "b": mark(2)})])
    pass_until(view, soon)

    assert [None, mark(2)] == list(look(view, "a", "b").marks)


def test_what_is_past_already_is_not_kept(view: View) -> None:
    """A batch read late does not bring back what has expired."""
    view.apply([batch(0, 5, {"a": entry(1, keep=1)}, marks={"a": mark(1, keep=1)})])
    looked = look(view, "a")

    assert ([None], [None]) == (list(looked.values), list(looked.marks))


def test_the_longest_expiry_keeps_the_whole_summary(view: View) -> None:
    """A summary stays until nothing that it hides could come back."""
    soon = look(view).now_ms + 60
    view.apply([batch(0, 5, {"a": entry(1, SUCCESS, keep=soon)})])
    view.apply([batch(5, 6, {"a": entry(5, STARTED, keep=NEVER)})])
    pass_until(view, soon)

    assert [1] == offsets(view, "a")


# Interest


def test_whoever_left_an_interest_is_told_once(view: View, namespace: str, listen: Listen) -> None:
    """The task id arrives once on the channel of who asked, and on no other; a second result tells nobody."""
    asked, other = listen("asked"), listen("other")
    view.look({0: ["a", "b"]}, Interest(f"{namespace}:asked", 60))
    view.apply([batch(0, 1, {"a": entry(0), "z": entry(0)})])
    view.apply([batch(1, 2, {"a": entry(1)})])

    assert ["a"] == heard(asked, 1)
    assert [] == heard(other, 0)


def test_nobody_is_told_of_what_is_not_ready(view: View, namespace: str, listen: Listen) -> None:
    """A start, a retry and a tombstone leave the interest as it is; the result tells."""
    asked = listen("asked")
    view.look({0: ["a"]}, Interest(f"{namespace}:asked", 60))
    view.apply([batch(0, 1, {"a": entry(0, STARTED)})])
    view.apply([batch(1, 2, {"a": pack_entry(tombstone_summary(1, NEVER))})])

    assert [] == heard(asked, 0)

    view.apply([batch(2, 3, {"a": entry(2, FAILURE)})])

    assert ["a"] == heard(asked, 1)


def test_a_batch_that_is_not_applied_tells_nobody(view: View, namespace: str, listen: Listen) -> None:
    """Only what is in the view is announced."""
    asked = listen("asked")
    view.apply([batch(0, 5)])
    view.look({0: ["a", "b"]}, Interest(f"{namespace}:asked", 60))
    view.apply([batch(6, 7, {"a": entry(6)}, marks={"b": mark()})])

    assert [] == heard(asked, 0)


def test_everybody_who_left_an_interest_is_told(view: View, namespace: str, listen: Listen) -> None:
    """Two processes wait for one task, and one of them for another."""
    first, second = listen("1"), listen("2")
    view.look({0: ["a"]}, Interest(f"{namespace}:1", 60))
    view.look({0: ["a", "ü"]}, Interest(f"{namespace}:2", 60))
    view.apply([batch(0, 1, {"a": entry(0), "ü": entry(0)})])

    assert ["a"] == heard(first, 1)
    assert ["a", "ü"] == heard(second, 2)


def test_an_interest_belongs_to_its_partition(view: View, namespace: str, listen: Listen) -> None:
    """A task of the same id in another partition tells nobody."""
    asked = listen("asked")
    view.look({0: ["a"]}, Interest(f"{namespace}:asked", 60))
    view.apply([batch(0, 1, {"a": entry(0)}, partition=1)])

    assert [] == heard(asked, 0)


def test_a_mark_tells_too(view: View, namespace: str, listen: Listen) -> None:
    """A wait must not go on for a result that could not be read."""
    asked = listen("asked")
    view.look({0: ["a"]}, Interest(f"{namespace}:asked", 60))
    view.apply([batch(0, 1, marks={"a": mark()})])

    assert ["a"] == heard(asked, 1)


def test_what_is_ready_already_leaves_no_interest(view: View, namespace: str, listen: Listen) -> None:
    """Whoever has the result in hand is not told of it again."""
    asked = listen("asked")
    view.apply([batch(0, 1, {"a": entry(0, FAILURE), "b": entry(0, STARTED)})])
    view.look({0: ["a", "b"]}, Interest(f"{namespace}:asked", 60))
    view.apply([batch(1, 2, {"a": entry(1), "b": entry(1)})])

    assert ["b"] == heard(asked, 1)


def test_a_ready_value_of_another_generation_leaves_an_interest(view: View, namespace: str, listen: Listen) -> None:
    """What counts as absent is waited for."""
    asked = listen("asked")
    view.apply([batch(0, 1, {"a": entry(0)})])
    view.apply([batch(20, 21, least=10, generation=TWO)])
    view.look({0: ["a"]}, Interest(f"{namespace}:asked", 60))
    view.apply([batch(21, 22, {"a": entry(21)})])

    assert ["a"] == heard(asked, 1)


def test_a_ready_value_that_has_expired_leaves_an_interest(view: View, namespace: str, listen: Listen) -> None:
    """Readers hide what has expired, so they wait for what comes next."""
    asked = listen("asked")
    hidden = Summary(NONE, Best(FAILURE, 0, 1, 1, b"v"), 0, 0, NEVER)
    view.apply([batch(0, 1, {"a": pack_entry(hidden)})])
    view.look({0: ["a"]}, Interest(f"{namespace}:asked", 60))
    view.apply([batch(1, 2, {"a": entry(1)})])

    assert ["a"] == heard(asked, 1)


def test_an_interest_survives_a_new_generation(view: View, namespace: str, listen: Listen) -> None:
    """Whoever waits goes on waiting when the view begins afresh."""
    asked = listen("asked")
    view.apply([batch(0, 1)])
    view.look({0: ["a"]}, Interest(f"{namespace}:asked", 60))
    view.apply([batch(20, 21, {"a": entry(20)}, least=10, generation=TWO)])

    assert ["a"] == heard(asked, 1)


def test_an_interest_expires(view: View, namespace: str, listen: Listen) -> None:
    """A process that died is not told for ever."""
    asked = listen("asked")
    view.look({0: ["a"]}, Interest(f"{namespace}:asked", 0.05))
    pass_until(view, look(view).now_ms + 50)
    view.apply([batch(0, 1, {"a": entry(0)})])

    assert [] == heard(asked, 0)


def test_a_shorter_interest_does_not_shorten_another_one(view: View, namespace: str, listen: Listen) -> None:
    """Each process is told for as long as it asked, whoever asks after it."""
    patient = listen("patient")
    view.look({0: ["a"]}, Interest(f"{namespace}:patient", 60))
    view.look({0: ["a", "b"]}, Interest(f"{namespace}:hasty", 0.05))
    pass_until(view, look(view).now_ms + 50)
    view.apply([batch(0, 1, {"a": entry(0), "b": entry(0)})])

    assert ["a"] == heard(patient, 1)


def test_an_interest_left_again_lives_longer(view: View, namespace: str, listen: Listen) -> None:
    """Looking again prolongs it, and does not double it."""
    asked = listen("asked")
    view.look({0: ["a"]}, Interest(f"{namespace}:asked", 0.05))
    view.look({0: ["a"]}, Interest(f"{namespace}:asked", 60))
    pass_until(view, look(view).now_ms + 50)
    view.apply([batch(0, 1, {"a": entry(0)})])

    assert ["a"] == heard(asked, 1)


def test_an_interest_in_many_tasks_is_told_of_each(view: View, namespace: str, listen: Listen) -> None:
    """More tasks than one script takes are all remembered."""
    asked = listen("asked")
    tasks = [f"t{number}" for number in range(LOOK_MAX + 200)]
    view.look({0: tasks}, Interest(f"{namespace}:asked", 60))
    view.apply([batch(0, 1, {task: entry(0) for task in tasks})])

    assert sorted(tasks) == heard(asked, len(tasks))


# Subscriptions


def test_listening_in_vain_gives_nothing(listen: Listen) -> None:
    """A time-out is no message and no loss."""
    assert [] == listen("asked").get(0.01)


def test_closing_ends_a_get_in_another_thread(listen: Listen) -> None:
    """A thread that listens comes back as soon as the subscription is closed."""
    subscription = listen("asked")
    found: list[Any] = []
    listening = Event()

    def read() -> None:
        listening.set()
        found.append(subscription.get(SOON))

    reader = Thread(target=read)
    reader.start()
    listening.wait(SOON)
    began = monotonic()
    subscription.close()
    reader.join(SOON)

    assert [[]] == found
    assert monotonic() - began < SOON / 2


def test_a_closed_subscription_gives_nothing_at_once(listen: Listen) -> None:
    """After closing there is nothing to wait for, and closing twice is once."""
    subscription = listen("asked")
    subscription.close()
    subscription.close()
    began = monotonic()

    assert [] == subscription.get(SOON)
    assert monotonic() - began < SOON / 2


# Descriptors

#: Compactors that write a descriptor at the same time.
WRITERS: Final = 8


def descriptor(topic: str, **fields: Any) -> Descriptor:
    """Return a descriptor with every field set."""
    given: dict[str, Any] = {"cluster_id": "c", "topic_id": TOPIC, "partition_counts": (64, 12), "format": 1}
    return Descriptor(topic=topic, **given | fields)


@pytest.mark.parametrize("evicting", [False, True])
def test_a_descriptor_is_read_as_it_was_written(store: Store, namespace: str, evicting: bool) -> None:  # noqa: FBT001 - a parameter
    """Clients learn everything from it, the order of the partition counts too."""
    one = descriptor(f"results-{namespace}", evicting=evicting)
    store.write_descriptor(namespace, one)

    assert one == store.read_descriptor(namespace, one.topic)


def test_a_descriptor_that_is_not_there_is_none(store: Store, namespace: str) -> None:
    """Another topic and another namespace have descriptors of their own."""
    store.write_descriptor(namespace, descriptor(f"results-{namespace}"))

    assert store.read_descriptor(namespace, f"other-{namespace}") is None
    assert store.read_descriptor(f"{namespace}-2", f"results-{namespace}") is None


def test_a_descriptor_may_be_replaced(store: Store, namespace: str) -> None:
    """The last one written counts, when partitions were added for example."""
    store.write_descriptor(namespace, descriptor(f"results-{namespace}"))
    newer = descriptor(f"results-{namespace}", partition_counts=(128, 64, 12))
    store.write_descriptor(namespace, newer)

    assert newer == store.read_descriptor(namespace, newer.topic)


def test_no_change_of_a_descriptor_is_lost(store: Store, namespace: str) -> None:
    """Many compactors notice new partitions at the same time; each adds what it knows to what stands."""
    topic = f"results-{namespace}"
    together = Barrier(WRITERS)

    def add(count: int) -> None:
        together.wait(SOON)
        store.change_descriptor(
            namespace,
            topic,
            lambda known: descriptor(
                topic, partition_counts=(*(() if known is None else known.partition_counts), count)
            ),
        )

    threads = [Thread(target=add, args=(count,)) for count in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    found = store.read_descriptor(namespace, topic)

    assert found is not None
    assert list(range(WRITERS)) == sorted(found.partition_counts)
    assert [namespace] == store.namespaces(topic)


def test_a_descriptor_changes_from_what_stands(store: Store, namespace: str) -> None:
    """And is returned as it was written."""
    topic = f"results-{namespace}"
    first = store.change_descriptor(namespace, topic, lambda known: descriptor(topic, evicting=known is not None))
    second = store.change_descriptor(namespace, topic, lambda known: descriptor(topic, evicting=known == first))

    assert (False, True) == (first.evicting, second.evicting)
    assert second == store.read_descriptor(namespace, topic)


def test_the_namespaces_of_a_topic_are_listed_sorted(store: Store, namespace: str) -> None:
    """A client that knows the topic alone finds its views; each is listed once."""
    for name in ("b", "a", "b"):
        store.write_descriptor(f"{namespace}-{name}", descriptor(f"results-{namespace}"))

    assert [f"{namespace}-a", f"{namespace}-b"] == store.namespaces(f"results-{namespace}")
    assert [] == store.namespaces(f"other-{namespace}")


# The server itself


def test_a_store_says_what_it_is(store: Store) -> None:
    """Name and version, and what it does when it is full."""
    assert store.ping().split()[0] in ("memory", "redis", "valkey")
    assert isinstance(store.eviction_policy(), str)


# The in-memory store pretends what a server does


def test_the_memory_store_can_be_away_full_and_emptied(namespace: str) -> None:
    """Flows are tried out against a store that fails like a server, and recovers."""
    store = MemoryStore()
    view = store.view(namespace, TOPIC)
    view.apply([batch(0, 5, {"a": entry(3)})])

    store.outage(full=True)
    with pytest.raises(StoreOutOfMemory):
        view.apply([batch(5, 6)])

    assert [3] == offsets(view, "a")

    store.outage(down=True)
    with pytest.raises(StoreUnavailable):
        look(view)

    store.outage()

    assert 5 == watermark(view)

    store.flush()

    assert watermark(view) is None


# A Redis of the test's own


@pytest.fixture(scope="module")
def redis_process() -> Iterator[RedisServer]:
    """Start a Redis that is broken on purpose."""
    try:
        server = services.redis_server()
    except services.ServiceUnavailable as exc:
        pytest.skip(str(exc))
    yield server
    server.close()


@pytest.fixture
def server(redis_process: RedisServer) -> RedisServer:
    """Return the Redis of this module, running and empty."""
    if not redis_process.is_running():
        redis_process.start()
    redis_process.execute("FLUSHALL")
    return redis_process


@pytest.fixture
def own(server: RedisServer) -> Iterator[RedisStore]:
    """Return a store on it."""
    store = RedisStore(server.url)
    yield store
    store.close()


@pytest.mark.redis
def test_forgotten_scripts_are_loaded_again(server: RedisServer, own: RedisStore) -> None:
    """SCRIPT FLUSH, a restart or a failover costs a round trip, for one batch and for many."""
    view = own.view("ns", TOPIC)
    view.apply([batch(0, 1, {"a": entry(0)})])
    server.execute("SCRIPT", "FLUSH")
    replies = view.apply([batch(1, 2), batch(0, 9, partition=1)])
    server.execute("SCRIPT", "FLUSH")

    assert [Outcome.APPLIED, Outcome.APPLIED] == [one.outcome for one in replies]
    assert [0] == offsets(view, "a")


@pytest.mark.redis
def test_a_flushed_view_begins_a_generation(server: RedisServer, own: RedisStore) -> None:
    """After FLUSHALL the next batch begins at its own begin, and nothing of before is shown."""
    view = own.view("ns", TOPIC)
    view.apply([batch(0, 5, {"a": entry(3)})])
    server.execute("FLUSHALL")

    assert look(view, "a").coverage is None

    (reply,) = view.apply([batch(5, 6, {"b": entry(5)}, generation=TWO)])

    assert (True, 5, 6, TWO) == (
        reply.began, reply.coverage.start, reply.coverage.watermark, reply.coverage.generation,
    )  # fmt: skip
    assert [None, 5] == offsets(view, "a", "b")


@pytest.mark.redis
def test_a_restarted_server_is_used_again(server: RedisServer, own: RedisStore) -> None:
    """Connections and scripts are made again; no store has to be opened anew."""
    view = own.view("ns", TOPIC)
    view.apply([batch(0, 5)])
    server.restart_empty()
    with suppress(StoreUnavailable):
        look(view)  # the connection that was lost may be noticed only when it is used

    (reply,) = view.apply([batch(5, 6)])

    assert reply.began


@pytest.mark.redis
@pytest.mark.parametrize("count", [1, 3])
def test_out_of_memory_moves_nothing(server: RedisServer, own: RedisStore, count: int) -> None:
    """A full server refuses the batch as a whole, is still read, and takes the same batch when there is room."""
    view = own.view("ns", TOPIC)
    view.apply([batch(0, 5, {"a": entry(3, STARTED)}, partition=p) for p in range(count)])
    more = [batch(5, 6, {"a": entry(5), "b": entry(5)}, partition=p, marks={"c": mark()}) for p in range(count)]
    server.configure("maxmemory", "1")
    try:
        with pytest.raises(StoreOutOfMemory, match="maxmemory") as caught:
            view.apply(more)
        looked = look(view, "a", "b", "c")
    finally:
        server.configure("maxmemory", "0")

    assert "\n" not in str(caught.value)
    assert looked.coverage is not None
    assert 5 == looked.coverage.watermark
    assert [ONE + entry(3, STARTED), None, None] == list(looked.values)
    assert [None, None, None] == list(looked.marks)
    assert [Outcome.APPLIED] * count == [one.outcome for one in view.apply(more)]


@pytest.mark.redis
def test_a_server_that_is_away_is_named(server: RedisServer, own: RedisStore) -> None:
    """Every call raises StoreUnavailable with one line that names the address and says what to look at."""
    view = own.view("ns", TOPIC)
    server.kill()
    calls: list[Callable[[], Any]] = [
        lambda: view.apply([batch(0, 1)]),
        lambda: view.apply([batch(0, 1), batch(0, 1, partition=1)]),
        lambda: look(view, "a"),
        lambda: own.read_descriptor("ns", "t"),
        lambda: own.write_descriptor("ns", descriptor("t")),
        lambda: own.namespaces("t"),
        lambda: own.subscribe("c"),
        own.ping,
        own.eviction_policy,
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable, match=rf"{server.address}.*Is it running\?$") as caught:
            call()

        assert "\n" not in str(caught.value)


@pytest.mark.redis
def test_a_read_only_replica_is_no_store_to_write_to(server: RedisServer, own: RedisStore) -> None:
    """A replica refuses batches with StoreUnavailable."""
    server.execute("REPLICAOF", "127.0.0.1", "1")
    try:
        with pytest.raises(StoreUnavailable, match="replica"):
            own.view("ns", TOPIC).apply([batch(0, 1)])
    finally:
        server.execute("REPLICAOF", "NO", "ONE")


@pytest.mark.redis
def test_a_refused_login_says_so(server: RedisServer) -> None:
    """A wrong password is told apart from a server that is away."""
    store = RedisStore(server.url.replace("://", "://nobody:wrong@"))
    with pytest.raises(StoreUnavailable, match="refused the login"):
        store.ping()
    store.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://localhost",
        "redis://localhost:port",
        "redis://localhost?no_such_option=1",
        "rediss://localhost?ssl_ca_certs=/no/such/file",
        "redis://localhost?ssl_ca_certs=/no/such/file",
        "redis+sentinel://localhost:26379",
        "redis+sentinel://localhost:26379/mymaster?sentinel_pasword=x",
        "redis+sentinel://localhost:port/mymaster",
        "redis+cluster://localhost:1/3",
        "redis+cluster://localhost:1?db=3",
        "redis+cluster://localhost:1,,:2",
        "redis+nothing://localhost:1",
    ],
)
def test_an_address_that_is_none_is_a_configuration_error(url: str) -> None:
    """The mistake is told before anything connects."""
    with pytest.raises(ConfigurationError, match="Redis URL"):
        RedisStore(url)


@pytest.mark.redis
@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"cluster_id": 5}'])
def test_a_foreign_descriptor_is_a_mismatch(server: RedisServer, own: RedisStore, text: str) -> None:
    """What somebody else wrote to the key is named, not guessed at."""
    server.execute("SET", descriptor_key("ns", "results"), text)
    with pytest.raises(TopicMismatch, match="ns:1:descriptor:results"):
        own.read_descriptor("ns", "results")


@pytest.mark.redis
def test_a_lost_connection_is_told_and_made_again(server: RedisServer, own: RedisStore) -> None:
    """None says that messages may have been missed; what is published from then on arrives."""
    subscription = own.subscribe("c")
    server.execute("CLIENT", "KILL", "TYPE", "pubsub")

    assert subscription.get(SOON) is None

    server.execute("PUBLISH", "c", "a")

    assert ["a"] == heard(subscription, 1)

    subscription.close()


@pytest.mark.redis
def test_a_subscription_outlives_its_server(server: RedisServer, own: RedisStore) -> None:
    """While the server is away every get says so; when it is back the loss is told, and messages arrive."""
    subscription = own.subscribe("c")
    server.kill()
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match=server.address):
            subscription.get(SOON)
    server.start()

    assert subscription.get(SOON) is None

    server.execute("PUBLISH", "c", "a")

    assert ["a"] == heard(subscription, 1)

    subscription.close()


@pytest.mark.redis
def test_a_server_that_falls_silent_counts_as_lost(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen server closes no connection: it is asked, and a quiet one that answers is kept."""
    monkeypatch.setattr("streamresults.store.redis_subscription.SOCKET_TIMEOUT", 0.2)
    store = RedisStore(f"{server.url}?socket_timeout=0.2")
    subscription = store.subscribe("c")
    for _ in range(20):
        assert [] == subscription.get(0.05)

    def listen_on() -> None:
        for _ in range(200):
            assert [] == subscription.get(0.05)

    server.pause()
    with pytest.raises(StoreUnavailable, match=server.address):
        listen_on()
    server.resume()

    assert subscription.get(SOON) is None

    store.close()
    subscription.close()


@pytest.mark.redis
def test_a_closed_subscription_leaves_no_listener(server: RedisServer, own: RedisStore) -> None:
    """Its connection is given back and hears nothing any more, and the store goes on."""
    subscription = own.subscribe("c")
    reader = Thread(target=subscription.get, args=(SOON,))
    reader.start()
    subscription.close()
    reader.join(SOON)
    own.ping()

    assert server.execute("PUBLISH", "c", "a") == "0"


@pytest.mark.redis
def test_all_that_is_written_stands_under_the_namespace(server: RedisServer, own: RedisStore) -> None:
    """The keys of a view are those of keys.py, and its partition's hash tag is in each."""
    view = own.view("ns", TOPIC)
    view.look({3: ["b"]}, Interest("c", 60))
    view.apply([batch(0, 1, {"a": entry(0)}, partition=3, marks={"a": mark()})])
    keys = Keys("ns", TOPIC)
    expected = {keys.coverage(3), keys.interested(3), keys.marked(3), keys.value_prefix(3) + "a"}
    expected |= {keys.mark_prefix(3) + "a", keys.interest_prefix(3) + "b"}

    assert server.execute("DBSIZE") == str(len(expected))
    assert expected == {os.fsdecode(key) for key in own._nodes.each()[0].scan_iter()}


@pytest.mark.redis
def test_only_what_never_expires_is_kept_without_an_end(server: RedisServer, own: RedisStore) -> None:
    """Redis itself drops a value when its time has come; unlimited retention sets no time."""
    later = look(own.view("ns", TOPIC)).now_ms + 3_600_000
    own.view("ns", TOPIC).apply([batch(0, 1, {"a": entry(0, keep=later), "b": entry(0)})])
    prefix = Keys("ns", TOPIC).value_prefix(0)

    assert server.execute("PEXPIRETIME", prefix + "a") == str(later)
    assert server.execute("PEXPIRETIME", prefix + "b") == "-1"


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


def test_back_fill_goes_under_the_view(view: View) -> None:
    """A batch that ends where the view begins is folded in as the older range, and moves the start down alone."""
    view.apply([batch(10, 12, {"late": entry(10, STARTED), "done": entry(11)})])
    (reply,) = view.backfill([older(5, 10, {"late": entry(5, FAILURE), "done": entry(6), "old": entry(7)})])

    assert (True, 5, 12) == (reply.applied, reply.coverage and reply.coverage.start, watermark(view))
    assert [5, 6, 7] == offsets(view, "late", "done", "old")


def test_back_fill_brings_nothing_back_that_was_forgotten(view: View) -> None:
    """What lies below a tombstone stays hidden."""
    view.apply([batch(10, 11, {"a": pack_entry(tombstone_summary(10, NEVER))})])
    view.backfill([older(5, 10, {"a": entry(5)})])

    assert [None] == offsets(view, "a")


@pytest.mark.parametrize(
    ("end", "generation"),
    [pytest.param(9, ONE, id="another start"), pytest.param(10, TWO, id="another generation")],
)
def test_back_fill_of_another_view_is_refused(view: View, end: int, generation: bytes) -> None:
    """A batch that was folded for another start or generation changes nothing."""
    view.apply([batch(10, 11)])
    (reply,) = view.backfill([older(5, end, {"a": entry(5)}, generation=generation)])

    assert (False, 10) == (reply.applied, reply.coverage and reply.coverage.start)
    assert [None] == offsets(view, "a")


def test_back_fill_without_a_view_is_refused(view: View) -> None:
    """After a flush there is nothing to go under."""
    (reply,) = view.backfill([older(5, 10, {"a": entry(5)})])

    assert (False, None) == reply


def test_back_fill_of_a_complete_view_is_refused(view: View) -> None:
    """Below the target nothing is missing."""
    view.apply([batch(0, 3)])
    (reply,) = view.backfill([older(0, 0, {"a": entry(0)})])

    assert not reply.applied


def test_back_fill_batches_follow_each_other_downwards(view: View) -> None:
    """Several batches of one partition in one call; behind a refused one nothing is applied."""
    view.apply([batch(10, 11)])
    replies = view.backfill([older(8, 10, {"a": entry(8)}), older(4, 7, {"b": entry(4)}), older(2, 4)])

    assert [True, False, False] == [reply.applied for reply in replies]
    assert [8, None] == offsets(view, "a", "b")


def test_back_fill_tells_whoever_waits(view: View, namespace: str, listen: Listen) -> None:
    """A value that back-fill makes ready wakes its waiters."""
    asked = listen("asked")
    view.apply([batch(10, 11)])
    view.look({0: ["a"]}, Interest(f"{namespace}:asked", 60))
    view.backfill([older(5, 10, {"a": entry(5)})])

    assert ["a"] == heard(asked, 1)


def test_the_latest_mark_stays(view: View) -> None:
    """Back-fill restores marks, but not over a later record's."""
    view.apply([batch(10, 11, marks={"a": mark(10)})])
    view.backfill([older(5, 10, marks={"a": mark(5), "b": mark(6)})])

    assert [10, 6] == [one.offset if one else None for one in look(view, "a", "b").marks]
