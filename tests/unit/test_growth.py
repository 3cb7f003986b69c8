"""
Partitions are added, and topics are made again, under clients and compactors that run; all in memory.

We test these aspects: results in every home of a task, found by lookups, waits and replays, and forgotten; what the
descriptor says, whoever writes it and whatever is lost; a topic that is deleted, and one that is made again.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self, cast

import pytest
from msgspec.structs import replace

from streamresults.client.waiter import Phase
from streamresults.deadline import Deadline
from streamresults.errors import NotYetCovered, TopicMismatch, TopicMissing, TopicRecreated, WaitTimeout
from streamresults.events.event import Event, Position
from streamresults.settings import Settings
from streamresults.store.memory import MemoryStore
from streamresults.topic.memory import MemoryBroker
from streamresults.wiring import Wiring
from tests.conftest import create_topics
from tests.unit.desk import Wait
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.client import Client, Registration

SOON = 20.0
FEW, MANY = 3, 6
#: How often everybody looks which topic there is, in milliseconds.
OFTEN, NEVER = "20", "3600000"


class Running:
    """A compactor in a thread."""

    def __init__(self, wiring: Wiring) -> None:
        self.compactor = wiring.compactor(from_earliest=True)
        self.stop = threading.Event()
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.compactor.run(self.stop)
        except Exception as exc:  # noqa: BLE001 -- kept for the test's own thread
            self.error = exc

    def ended_by(self) -> Exception | None:
        self.thread.join(SOON)
        assert not self.thread.is_alive()
        return self.error


class Field:
    """A topic of a few partitions in memory, and who uses it."""

    def __init__(self) -> None:
        self.broker, self.store = MemoryBroker(), MemoryStore()
        self.wiring = self.wired(OFTEN)
        create_topics(self.wiring, FEW)
        self.client = self.open(OFTEN)
        self.running: list[Running] = []
        self.waits: list[Wait] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for running in self.running:
            running.stop.set()
        for running in self.running:
            running.thread.join(SOON)
        for client in self.clients:
            client.close()
        self.wiring.close()
        for wait in self.waits:
            wait._thread.join(SOON)

    clients: list[Client]

    def wired(self, often: str, broker: MemoryBroker | None = None) -> Wiring:
        settings = Settings(kafka={"topic.metadata.refresh.interval.ms": often})
        return Wiring(settings, broker=broker or self.broker, store=self.store)

    def open(self, often: str) -> Client:
        client = self.wired(often).client()
        self.clients = [*getattr(self, "clients", ()), client]
        return client

    def compact(self) -> Running:
        self.running.append(Running(self.wiring))
        return self.running[-1]

    def grow(self, partitions: int = MANY) -> None:
        self.broker.add_partitions("results", partitions)

    def make_again(self) -> None:
        self.broker.delete_topic("results")
        create_topics(self.wiring, FEW)

    def publish(self, task: str, state: str | None, count: int) -> tuple[int, int]:
        """Publish as a worker does that knows of so many partitions; return where it stands."""
        writer = self.broker.writer("results")
        value = None if state is None else self.wiring.codec().encode(Event(task_id=task, state=state))
        acks: list[Any] = []
        writer.produce(task.encode(), value, acks.append, partition=self.broker.partition_of(task.encode(), count))
        writer.close(Deadline(SOON))
        assert acks[0].error is None
        return acks[0].partition, acks[0].offset

    def moved(self, number: int = 0) -> str:
        """Return a task whose home is another one after the growth."""
        place = self.broker.partition_of
        tasks = (f"t{n}" for n in range(1000))
        moved = [task for task in tasks if place(task.encode(), FEW) != place(task.encode(), MANY)]
        return moved[number]

    def state(self, task: str, client: Client | None = None) -> str:
        return (client or self.client).lookup(task, fresh=True, timeout=SOON).state

    def counts(self) -> tuple[int, ...]:
        found = self.store.read_descriptor(self.namespace, "results")
        return found.partition_counts if found else ()

    def published_id(self) -> str:
        found = self.store.read_descriptor(self.namespace, "results")
        return found.topic_id if found else ""

    def topic_id(self) -> str:
        return self.broker.inspector("results").describe(Deadline(SOON)).topic_id

    @property
    def namespace(self) -> str:
        return self.broker.inspector("results").describe(Deadline(SOON)).cluster_id

    def wait(self, task: str, via: str = "topic", timeout: float | None = SOON) -> Wait:
        """Begin a wait and return once it stands."""
        self.waits.append(Wait(self.client, task, timeout, via))
        eventually(lambda: self.waiter(task) is not None, SOON, "the wait stands")
        return self.waits[-1]

    def waiter(self, task: str) -> Any:
        engine = self.client._engine
        if engine is None:
            return None
        with engine.waits.lock:
            return next((one for one in engine.waits.everybody() if one.task_id == task), None)

    def part(self, task: str, partition: int) -> Any:
        """Return the part of a wait in one home, ``None`` once that has ended."""
        engine = cast("Any", self.client._engine)
        with engine.waits.lock:
            watch = engine.waits.watches.get(partition)
            return next(iter(watch.waiters.get(task.encode(), ())), None) if watch else None

    def stepped(self) -> Any:
        """Open a compactor that takes a step when the test says so, and has folded everything."""
        compactor = self.wired(NEVER).compactor(from_earliest=True)
        compactor._start(threading.Event())
        for _ in range(20):
            compactor._step(0.0)
        return compactor

    def sleeps(self, task: str) -> bool:
        waiter = self.waiter(task)
        return waiter is not None and waiter.phase is Phase.ASLEEP


@pytest.fixture
def field() -> Iterator[Field]:
    """Give a topic of a few partitions that nobody folds yet."""
    with Field() as field:
        yield field


# -- lookups --------------------------------------------------------------------------------------------------------


def test_a_result_is_found_in_every_home(field: Field) -> None:
    """From before the growth, from after it, and from a worker that has not heard of it."""
    field.compact()
    before, after, late = field.moved(0), field.moved(1), field.moved(2)
    field.publish(before, "SUCCESS", FEW)
    field.grow()
    field.publish(after, "SUCCESS", MANY)
    field.publish(late, "SUCCESS", FEW)

    assert ["SUCCESS"] * 3 == [field.state(task) for task in (before, after, late)]
    assert ["SUCCESS"] * 3 == [found.state for found in field.client.lookup_many([before, after, late])]


@pytest.mark.parametrize(
    ("old", "new", "stands"),
    [
        ("SUCCESS", "FAILURE", "SUCCESS"),
        ("FAILURE", "SUCCESS", "SUCCESS"),
        ("FAILURE", "STARTED", "FAILURE"),
        ("FAILURE", "REVOKED", "REVOKED"),
        ("STARTED", "RETRY", "RETRY"),
    ],
)
def test_of_several_homes_the_higher_rank_stands_then_the_newer_home(
    field: Field, old: str, new: str, stands: str
) -> None:
    """A lookup and a wait say the same, whichever was published last."""
    field.compact()
    task = field.moved()
    field.grow()
    field.publish(task, new, MANY)
    partition, offset = field.publish(task, old, FEW)

    found = field.client.lookup(task, fresh=True, timeout=SOON)

    assert stands == found.state
    assert found.position is not None
    if stands == old:
        assert (partition, offset) == (found.position.partition, found.position.offset)
    if found.ready:
        for via in ("topic", "view"):
            assert stands == field.client.wait(task, SOON, via=cast("Any", via)).state


def test_a_fresh_lookup_asks_how_many_partitions_there_are(field: Field) -> None:
    """It need not wait until the client looks again; an ordinary one trails by as much."""
    field.compact()
    client, task = field.open(NEVER), field.moved()
    assert field.state(task, client) == "UNKNOWN"
    field.grow()
    field.publish(task, "SUCCESS", MANY)

    assert field.state(task, client) == "SUCCESS"


def test_a_position_in_a_new_partition_is_waited_for_there(field: Field) -> None:
    """The client may not have heard of that partition."""
    field.compact()
    client, task = field.open(NEVER), field.moved()
    assert field.state(task, client) == "UNKNOWN"
    field.grow()
    with field.wiring.publisher() as publisher:
        position = publisher.succeeded(task, None)

    assert client.lookup(task, at_least=position, timeout=SOON).state == "SUCCESS"


def test_a_position_in_an_older_home_is_waited_for_in_that_home(field: Field) -> None:
    """The newest home may be far ahead of it."""
    task, client = field.moved(), field.open(OFTEN)
    client._whereabouts.find(Deadline(SOON))
    field.grow()
    for _ in range(5):
        field.publish(task, "STARTED", MANY)
    field.stepped()
    eventually(lambda: cast("Any", client._whereabouts.place).counts == (MANY, FEW), SOON)
    position = Position(field.topic_id(), *field.publish(task, "SUCCESS", FEW))

    with pytest.raises(NotYetCovered, match=f"partition {position.partition}, not {position.offset + 1}"):
        client.lookup(task, at_least=position, timeout=0.1)


def test_a_partition_that_nobody_folds_yet_is_not_covered(field: Field) -> None:
    """A miss there must not pass for UNKNOWN."""
    running, task = field.compact(), field.moved()
    assert field.state(task) == "UNKNOWN"
    running.stop.set()
    assert running.ended_by() is None
    field.grow()
    eventually(lambda: len(cast("Any", field.client._whereabouts.place).counts) == 2, SOON)

    with pytest.raises(NotYetCovered, match="no view of partition"):
        field.client.lookup(task)


@pytest.mark.parametrize("named", [True, False])
def test_a_client_without_kafka_learns_of_new_partitions_from_the_view(field: Field, *, named: bool) -> None:
    """The compactors enter them into the descriptor."""
    field.compact()
    task = field.moved()
    eventually(lambda: field.counts() == (FEW,), SOON)
    settings = Settings(kafka={"topic.metadata.refresh.interval.ms": OFTEN}, namespace=field.namespace)
    if not named:
        settings = replace(settings, namespace="")
    with Wiring(settings, store=field.store) as wiring, wiring.client() as client:
        eventually(lambda: client.lookup_many([task])[0].basis == "full", SOON)
        found = field.store.read_descriptor(field.namespace, "results")
        assert found is not None
        field.store.write_descriptor("another", found)  # a client that has found its view does not ask again which
        wait = Wait(client, task, SOON, "view")
        field.grow()
        field.publish(task, "SUCCESS", MANY)

        assert wait.told == ("SUCCESS", "full")
        assert client.lookup(task).state == "SUCCESS"


# -- waits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [FEW, MANY])
@pytest.mark.parametrize("via", ["topic", "view"])
@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE"])
def test_a_wait_from_before_the_growth_is_answered_from_either_home(
    field: Field, via: str, count: int, state: str
) -> None:
    """Whether the worker knows of the new partitions or not."""
    field.compact()
    task = field.moved()
    wait = field.wait(task, via)
    eventually(lambda: field.sleeps(task), SOON, "it sleeps")
    field.grow()
    partition, _ = field.publish(task, state, count)
    found = wait.result()

    assert found.state == state
    assert found.position is not None
    assert found.position.partition == partition


def test_a_registration_from_before_the_growth_is_called(field: Field) -> None:
    """It costs no thread, so nobody but the engine can look into the new home for it."""
    field.compact()
    told: SimpleQueue[Registration] = SimpleQueue()
    task = field.moved()
    field.client.on_result(task, told.put, via="topic")
    field.grow()
    field.publish(task, "SUCCESS", MANY)

    assert told.get(timeout=SOON).result().state == "SUCCESS"


@pytest.mark.parametrize("interval", [0.02, 3600.0])
def test_events_in_partitions_that_are_added_are_told_to_who_waits(field: Field, interval: float) -> None:
    """Each as it comes where the wait looks often, and all of them before it ends however seldom it looks."""
    field.compact()
    task, told = field.moved(), list[str]()

    def wait() -> str:
        note = lambda event: told.append(event.state)  # noqa: E731
        return field.client.wait(task, SOON, via="topic", interval=interval, on_message=note).state

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait)
        field.publish(task, "STARTED", FEW)
        eventually(lambda: told == ["STARTED"], SOON, "the first event is told")
        field.grow()
        eventually(lambda: field.client._whereabouts.place.counts == (MANY, FEW), SOON)  # type: ignore[union-attr]
        field.publish(task, "PRINTING", MANY)
        if interval < 1:
            eventually(lambda: told == ["STARTED", "PRINTING"], SOON, "what comes in the new partition is told")
        field.publish(task, "SUCCESS", MANY)
        assert waiting.result(SOON) == "SUCCESS"

    assert told == ["STARTED", "PRINTING", "SUCCESS"]


def test_a_failure_waits_for_the_proof_that_no_other_home_holds_a_success(field: Field) -> None:
    """The success is in the log when the failure is seen, and not in the view yet."""
    task = field.moved()
    field.client._whereabouts.find(Deadline(SOON))
    field.grow()
    compactor = field.stepped()
    field.publish(task, "SUCCESS", MANY)
    eventually(lambda: cast("Any", field.client._whereabouts.place).counts == (MANY, FEW), SOON)
    wait = field.wait(task)
    old = field.broker.partition_of(task.encode(), FEW)
    eventually(lambda: field.part(task, old).phase is Phase.ASLEEP, SOON, "nothing was missed in the old home")
    field.publish(task, "FAILURE", FEW)
    eventually(lambda: field.part(task, old) is None, SOON, "the failure is seen")
    for _ in range(20):
        compactor._step(0.0)

    assert wait.result().state == "SUCCESS"
    compactor._finish()


def test_a_wait_in_several_homes_that_times_out_leaves_nothing_behind(field: Field) -> None:
    """Neither in the engine's lists nor among the waits that have several homes."""
    field.compact()
    task = field.moved()
    field.grow()
    field.publish(task, "STARTED", MANY)
    assert field.state(task) == "STARTED"

    with pytest.raises(WaitTimeout, match="it is STARTED"):
        field.client.wait(task, 0.3)

    engine = cast("Any", field.client._engine)
    assert ([], {}, {}) == (engine.waits.everybody(), engine.homes._split, engine.homes.unsettled)


def test_a_failure_is_the_answer_at_the_deadline_when_another_home_has_no_view(field: Field) -> None:
    """It is marked: something better may stand in the home that nobody could look into."""
    running, task = field.compact(), field.moved()
    field.publish(task, "FAILURE", FEW)
    assert field.state(task) == "FAILURE"
    running.stop.set()
    assert running.ended_by() is None
    field.grow()
    eventually(lambda: len(cast("Any", field.client._whereabouts.place).counts) == 2, SOON)

    found = field.client.wait(task, 0.5, via="topic")

    assert ("FAILURE", "partial") == (found.state, str(found.basis))


# -- forgetting -----------------------------------------------------------------------------------------------------


def test_forget_reaches_every_home(field: Field) -> None:
    """A client that has not heard of the growth asks for the newest count first."""
    field.compact()
    client, task = field.open(NEVER), field.moved()
    field.publish(task, "FAILURE", FEW)
    assert field.state(task, client) == "FAILURE"
    field.grow()
    field.publish(task, "FAILURE", MANY)

    position = client.forget(task, SOON)

    assert client.lookup(task, at_least=position, timeout=SOON).state == "UNKNOWN"
    assert field.state(task) == "UNKNOWN"
    with field.wiring.replay() as replay:
        forgotten = {one.partition for one in replay.read(task_id=task) if one.value is None}
    assert forgotten == {field.broker.partition_of(task.encode(), count) for count in (FEW, MANY)}


# -- the descriptor -------------------------------------------------------------------------------------------------


def test_counts_survive_a_flush_and_a_restart(field: Field) -> None:
    """What is lost with Redis is in the compactor's memory; what is lost with the compactor is in Redis."""
    running = field.compact()
    eventually(lambda: field.counts() == (FEW,), SOON)
    field.grow()
    eventually(lambda: field.counts() == (MANY, FEW), SOON)
    field.store.flush()
    eventually(lambda: field.counts() == (MANY, FEW), SOON, "the descriptor is written again")
    running.stop.set()
    assert running.ended_by() is None
    field.compact()
    field.grow(MANY + 1)

    eventually(lambda: field.counts() == (MANY + 1, MANY, FEW), SOON)


def test_new_partitions_are_published_as_soon_as_the_store_is_back(field: Field) -> None:
    """A compactor that could not write them tries again."""
    field.compact()
    eventually(lambda: field.counts() == (FEW,), SOON)
    field.store.outage(down=True)
    field.grow()
    task = field.moved()
    field.publish(task, "SUCCESS", MANY)
    field.store.outage()

    eventually(lambda: field.counts() == (MANY, FEW), SOON)
    assert field.state(task) == "SUCCESS"


def test_counts_that_nobody_saw_are_found(field: Field) -> None:
    """Partitions were added twice before any compactor ran: the records give it away."""
    tasks = {count: [f"{count}-{n}" for n in range(40)] for count in (FEW, MANY, MANY + 1)}
    for count, those in tasks.items():
        if count != FEW:
            field.grow(count)
        for task in those:
            field.publish(task, "SUCCESS", count)
    field.compact()

    eventually(lambda: field.counts() == (MANY + 1, MANY, FEW), SOON)
    asked = [task for those in tasks.values() for task in those]
    eventually(lambda: all(one.found for one in field.client.lookup_many(asked)), SOON, "every result is found")


def test_a_fresh_lookup_finds_what_was_written_under_a_count_that_nobody_has_seen_yet(field: Field) -> None:
    """Two growths in a row look like one until the records are folded; UNKNOWN would be a lie meanwhile."""
    field.compact()
    place, client = field.broker.partition_of, field.open(NEVER)
    assert field.state("x", client) == "UNKNOWN"
    field.grow(MANY)
    field.grow(MANY + 1)
    homes = {n: {place(b"t%d" % n, count) for count in (FEW, MANY + 1)} for n in range(1000)}
    task = next(f"t{n}" for n, known in homes.items() if place(b"t%d" % n, MANY) not in known)
    field.publish(task, "SUCCESS", MANY)

    assert field.state(task, client) == "SUCCESS"


def test_a_client_that_came_while_redis_was_away_learns_of_older_counts(field: Field) -> None:
    """The brokers know only how many partitions there are now."""
    field.compact()
    eventually(lambda: field.counts() == (FEW,), SOON)
    field.grow()
    eventually(lambda: field.counts() == (MANY, FEW), SOON)
    field.store.outage(down=True)
    client = field.open(OFTEN)
    assert client._whereabouts.find(Deadline(SOON)).counts == (MANY,)
    field.store.outage()

    eventually(lambda: cast("Any", client._whereabouts.place).counts == (MANY, FEW), SOON)


# -- replay ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folded", [True, False])
def test_a_replay_of_one_task_reads_every_home(field: Field, *, folded: bool) -> None:
    """The view says how many partitions there were; without it every partition is read that it could be in."""
    task = field.moved()
    if folded:
        field.compact()
    field.publish(task, "STARTED", FEW)
    field.grow()
    field.publish(task, "SUCCESS", MANY)
    field.publish(task, "STARTED", FEW)
    if folded:
        eventually(lambda: field.counts() == (MANY, FEW), SOON)

    with field.wiring.replay() as replay:
        found = sorted((one.partition, one.event.state) for one in replay.read(task_id=task) if one.event)
        partitions = {covered.partition for covered in replay.ranges}

    old, new = (field.broker.partition_of(task.encode(), count) for count in (FEW, MANY))
    assert sorted([(old, "STARTED"), (new, "SUCCESS"), (old, "STARTED")]) == found
    assert partitions == {old, new} if folded else partitions > {old, new}


# -- a topic that is made again -------------------------------------------------------------------------------------


@pytest.mark.parametrize("via", ["topic", "view"])
def test_waits_end_with_an_error_that_says_that_the_topic_was_made_again(field: Field, via: str) -> None:
    """So do registrations; what begins after it is answered from the new topic."""
    field.compact()
    told: SimpleQueue[Registration] = SimpleQueue()
    wait = field.wait("t", via, timeout=None)
    field.client.on_result("u", told.put, via=cast("Any", via))
    old = field.topic_id()
    field.make_again()

    for result in (wait.result, told.get(timeout=SOON).result):
        with pytest.raises(TopicRecreated, match="deleted and made again") as caught:
            result()
        assert (old, field.topic_id()) == (caught.value.old_id, caught.value.new_id)

    running = field.compact()
    field.publish("t", "SUCCESS", FEW)
    found = field.client.wait("t", SOON, via=cast("Any", via))
    assert found.position is not None
    assert ("SUCCESS", field.topic_id()) == (found.state, found.position.topic_id)
    assert running.error is None


def test_what_the_old_topic_held_is_not_in_the_new_view(field: Field) -> None:
    """A clean view begins under the new topic's id, with the new topic's partition count."""
    running = field.compact()
    field.grow()
    position_in_the_old = field.client.forget("x", SOON)
    field.publish("t", "SUCCESS", MANY)
    assert field.state("t") == "SUCCESS"
    eventually(lambda: field.counts() == (MANY, FEW), SOON)
    field.make_again()
    error = running.ended_by()

    assert isinstance(error, TopicRecreated)
    assert "Start the compactor again" in str(error)
    field.compact()
    assert field.state("t") == "UNKNOWN"
    assert (field.counts(), field.published_id()) == ((FEW,), field.topic_id())
    with pytest.raises(TopicMismatch, match="made again"):
        field.client.lookup("t", at_least=position_in_the_old)


def test_a_compactor_of_the_old_topic_does_not_publish_its_view_again(field: Field) -> None:
    """It may have been frozen while the topic was made again; it learns of it before it writes."""
    wiring = field.wired(NEVER)
    zombie = wiring.compactor(from_earliest=True)
    zombie._start(threading.Event())
    field.make_again()
    field.compact()
    eventually(lambda: field.published_id() == field.topic_id(), SOON)

    with pytest.raises(TopicRecreated):
        zombie._descriptor.refresh()
    with pytest.raises(TopicRecreated):
        zombie.on_assigned([0])
    zombie._finish()

    assert field.published_id() == field.topic_id()


def test_a_shorter_log_of_a_new_topic_is_no_loss(field: Field, caplog: pytest.LogCaptureFixture) -> None:
    """The alarm of lost records would be a false one, and the old view no place for the new records."""
    for number in range(50):
        field.publish(f"t{number}", "SUCCESS", FEW)
    compactor = field.stepped()
    for lane in compactor._live.lanes.values():
        lane.end_seen = 0
        lane.hurry()
    field.make_again()

    with pytest.raises(TopicRecreated):
        compactor._live.fold({}, {})
    with pytest.raises(TopicRecreated):
        compactor._step(0.0)
    compactor._finish()
    assert "log_lost_records" not in [getattr(record, "action", "") for record in caplog.records]


def test_a_topic_that_is_gone_ends_waits_and_compactors(field: Field) -> None:
    """Both say how to create it, and neither hangs."""
    running = field.compact()
    wait = field.wait("t", timeout=None)
    field.broker.delete_topic("results")

    with pytest.raises(TopicMissing, match="streamresults init"):
        wait.result()
    assert isinstance(running.ended_by(), TopicMissing)


def test_a_replay_does_not_pass_off_two_topics_as_one(field: Field) -> None:
    """Nor a view that is another topic's."""
    running = field.compact()
    for number in range(10):
        field.publish(f"t{number}", "SUCCESS", FEW)
    assert field.state("t1") == "SUCCESS"
    with field.wired(NEVER).replay() as replay:
        reading = replay.read()
        next(reading)
        field.make_again()

        with pytest.raises(TopicRecreated, match="while it was read"):
            list(reading)
        running.ended_by()
        with pytest.raises(TopicRecreated, match="begins a new view"):
            replay.verify()
