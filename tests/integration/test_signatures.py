"""
Signed topics, in memory and on real Kafka and Redis alike.

We test these aspects: everything that is written is signed, whoever writes it and however; what is forged meanwhile
ends no wait and erases nothing; keys that rotate, retire and begin; an old record that is written again; who has no
key, or the wrong one; what is not configured costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from streamresults.aio import AsyncPublisher
from streamresults.deadline import Deadline
from streamresults.errors import ConfigurationError, SignatureRefused
from streamresults.events.event import Event
from streamresults.events.signatures import SIGNATURE, key_id_of
from streamresults.settings import Settings
from streamresults.store.memory import MemoryStore
from streamresults.topic.memory import MemoryBroker
from streamresults.topic.schemas import SchemaTopic
from streamresults.wiring import Wiring
from tests.compacting import compacting
from tests.conftest import create_topics
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streamresults.client import Client
    from streamresults.topic.records import Record

SOON = 40.0
SECRETS = {"k1": "b7e1" * 16, "k2": "c0de" * 16, "k3": "f00d" * 16}
ONE = {"signing_key_id": "k1", "signing_keys": {"k1": SECRETS["k1"]}}


class World:
    """One topic and one view, and as many configurations of them as a test wants."""

    def __init__(self, lax: Wiring) -> None:
        #: Neither signs nor checks.
        self.lax = lax
        self._opened: list[Wiring] = []
        self.wiring = self.configured(**ONE)

    def configured(self, **settings: Any) -> Wiring:
        """Return a wiring with other settings."""
        changed = msgspec.structs.replace(self.lax.settings, **settings)
        self._opened.append(Wiring(changed, broker=self.lax._broker, store=self.lax._store))
        return self._opened[-1]

    def records(self, topic: str = "") -> list[Record]:
        """Return what stands in the topic, unchecked."""
        topic = topic or self.lax.settings.topic
        inspector = self.lax.broker().inspector(topic)
        partitions = list(range(inspector.describe(Deadline(SOON)).partitions))
        marks = inspector.watermarks(partitions, Deadline(SOON))
        inspector.close()
        left = {p: mark.high for p, mark in marks.items() if mark.high > mark.low}
        found: list[Record] = []
        reader = self.lax.broker().reader(topic)
        reader.assign({p: marks[p].low for p in left})
        while left:
            polled = reader.poll(1.0)
            found += polled.records
            left = {p: high for p, high in left.items() if polled.ends.get(p, -1) < high}
        reader.close()
        return found

    def append(self, key: bytes, value: bytes | None, headers: Any = None, topic: str | None = None) -> None:
        """Write any record, as who may write to the topic can."""
        writer = self.lax.broker().writer(self.lax.settings.topic)
        writer.produce(key, value, None, headers=headers, topic=topic)
        assert writer.close(Deadline(SOON)) == 0

    def again(self, record: Record) -> None:
        """Write a record once more, as it stands."""
        key, value = record.key(), record.value()
        assert isinstance(key, bytes)
        assert value is None or isinstance(value, bytes)
        self.append(key, value, record.headers())

    def forge(self, task: str, state: str | None = "SUCCESS") -> None:
        """Write an unsigned event of a task, or an unsigned tombstone."""
        self.append(task.encode(), None if state is None else self.lax.codec().encode(Event(task_id=task, state=state)))

    def compact(self, wiring: Wiring | None = None) -> None:
        """Fold all that there is."""
        (wiring or self.wiring).compactor(from_earliest=True).run_once(threading.Event(), SOON)

    def signed_with(self, topic: str = "") -> dict[str, set[str]]:
        """Return the key ids that the records of each task are signed with, ``""`` for none."""
        found: dict[str, set[str]] = {}
        for record in self.records(topic):
            key, headers = record.key(), dict(record.headers() or [])
            assert isinstance(key, bytes)
            found.setdefault(key.decode("latin-1"), set()).add(key_id_of(headers.get(SIGNATURE)))
        return found

    def close(self) -> None:
        """Give everything back."""
        for wiring in self._opened:
            wiring.close()


@pytest.fixture
def world(wiring: Wiring) -> Iterator[World]:
    """Give a topic that the wirings of a test sign."""
    made = World(wiring)
    yield made
    made.close()


def publish(wiring: Wiring, *tasks: str) -> None:
    """Publish a result of each."""
    with wiring.publisher() as publisher:
        publisher.publish_many([publisher.event(task, "SUCCESS", result=task) for task in tasks])


def seen(wiring: Wiring, *tasks: str) -> list[str]:
    """Return the state of each, by a fresh lookup."""
    with wiring.client() as client:
        return [client.lookup(task, fresh=True).state for task in tasks]


def test_everything_that_is_written_is_signed(world: World, tmp_path: Path) -> None:
    """Events one by one and in batches, retries, progress, coroutines, tombstones, saved groups, schemas."""
    with world.wiring.publisher() as publisher:
        publisher.started("one")
        publisher.succeeded("one", 1)
        publisher.failed_with("failed", ValueError("no"))
        publisher.publish_many([publisher.event(f"many-{n}", "SUCCESS") for n in range(3)])
        with publisher.run("block") as run:
            run.progress({"done": 1})

    async def by_coroutine() -> None:
        async with AsyncPublisher(world.wiring.publisher()) as publisher:
            await publisher.succeeded("coroutine", 3)

    asyncio.run(by_coroutine())
    with world.configured(**ONE, spool=str(tmp_path / "spool")).publisher() as publisher:
        publisher.succeeded("spool", 4)
    with compacting(world.wiring), world.wiring.client() as client:
        client.group("g", ["one", "failed"]).save()
        client.forget("many-0")

    tasks = {"one", "failed", "many-0", "many-1", "many-2", "block", "coroutine", "spool", "group:g"}
    assert {task: {"k1"} for task in tasks} == world.signed_with()
    assert {"k1"} == set().union(*world.signed_with(world.lax.settings.schemas_topic).values())
    world.compact()
    assert ["SUCCESS", "FAILURE", "UNKNOWN"] == seen(world.wiring, "one", "failed", "many-0")
    assert {} == (world.wiring.refusals.counts if world.wiring.refusals else None)


@pytest.mark.parametrize("via", ["topic", "view"])
def test_a_wait_goes_on_through_what_is_forged(world: World, via: Any) -> None:
    """Forged ends of the awaited task come before the true one; the caller is told the true one."""
    with compacting(world.wiring), world.configured(**ONE).client() as client:
        ends: dict[str, Any] = {}
        for task in ("a", "b"):
            client.on_result(task, lambda end: ends.update({end.task_id: end.result().value()}), via=via)
        if via == "topic":
            eventually(lambda: _reads(client, {"a", "b"}, world), SOON)
        for state in ("SUCCESS", "FAILURE", "REVOKED", None):
            world.forge("a", state)
        publish(world.wiring, "b")
        eventually(lambda: "b" in ends, SOON)
        assert ["UNKNOWN"] == seen(world.wiring, "a")
        assert {"b": "b"} == ends
        if via == "topic":
            assert {"unsigned": 4} == client.refused
        publish(world.wiring, "a")
        eventually(lambda: "a" in ends, SOON)
        assert {"a": "a", "b": "b"} == ends


def _reads(client: Client, tasks: set[str], world: World) -> bool:
    broker, engine = world.lax.broker(), client._engine
    homes = {broker.partition_of(task.encode(), 4) for task in tasks}
    return engine is not None and all((w := engine.waits.watches.get(p)) is not None and w.is_read for p in homes)


def test_a_forged_tombstone_erases_nothing_and_a_true_one_does(world: World) -> None:
    """Nor does it take anything out of the task's history."""
    publish(world.wiring, "kept", "gone")
    world.forge("kept", None)
    world.compact()
    with world.wiring.client() as client:
        client.forget("gone")
        assert ["SUCCESS"] == [event.state for event in client.result("kept").events(SOON)]
        assert client.lookup("kept").result == "kept"
    world.compact()

    assert ["SUCCESS", "UNKNOWN"] == seen(world.wiring, "kept", "gone")


def test_back_fill_refuses_too(world: World) -> None:
    """A compactor that begins at the log's end and completes the view downwards finds the same."""
    publish(world.wiring, "a")
    world.forge("a", None)
    world.forge("b")
    world.wiring.compactor().run_once(threading.Event(), SOON)

    assert ["SUCCESS", "UNKNOWN"] == seen(world.wiring, "a", "b")


def test_keys_rotate_while_results_flow(world: World) -> None:
    """Everybody learns the new key, workers go over to it one by one, then the old one goes with its last record."""
    both = {"k1": SECRETS["k1"], "k2": SECRETS["k2"]}
    readers = world.configured(signing_keys=both)
    publish(world.wiring, "old-1")
    publish(world.configured(signing_keys=both, signing_key_id="k2"), "new-1")
    publish(world.configured(signing_keys=both, signing_key_id="k1"), "old-2")
    publish(world.configured(signing_keys={"k2": SECRETS["k2"]}, signing_key_id="k2"), "new-2")
    world.compact(readers)

    assert ["SUCCESS"] * 4 == seen(readers, "old-1", "old-2", "new-1", "new-2")
    assert [{"k1"}, {"k2"}] == [world.signed_with()[task] for task in ("old-2", "new-2")]


def test_a_key_that_leaked_is_retired_and_its_old_records_stay(world: World) -> None:
    """What was appended before is read, also by a view that is built anew; what is appended after it is not."""
    publish(world.wiring, "before")
    eventually(lambda: time.time() * 1000 > max(record.timestamp()[1] for record in world.records()) + 1)
    now = datetime.now(UTC)
    publish(world.wiring, "after")
    rules = {"signing_keys": SECRETS, "signing_key_id": "k2", "signing_retired": {"k1": now}}
    readers = world.configured(**rules)
    world.compact(readers)

    assert ["SUCCESS", "UNKNOWN"] == seen(readers, "before", "after")
    assert readers.refusals is not None
    assert {"retired_key": 1} == readers.refusals.counts


def test_a_topic_begins_to_be_signed(world: World) -> None:
    """What stood there before counts without a signature, and nothing that is appended after that does."""
    publish(world.lax, "before")
    eventually(lambda: time.time() * 1000 > max(record.timestamp()[1] for record in world.records()) + 1)
    readers = world.configured(**ONE, unsigned_before=datetime.now(UTC))
    publish(world.lax, "unsigned")
    publish(readers, "signed")
    world.compact(readers)

    assert ["SUCCESS", "UNKNOWN", "SUCCESS"] == seen(readers, "before", "unsigned", "signed")


def test_an_old_record_written_again_is_refused(world: World) -> None:
    """A result that was forgotten does not come back, and an old tombstone erases nothing; see docs/signatures.md."""
    publish(world.wiring, "gone", "kept")
    world.compact()
    with world.wiring.client() as client:
        client.forget("gone")
        client.forget("kept")
    (result,) = (record for record in world.records() if record.key() == b"gone" and record.value() is not None)
    (tombstone,) = (record for record in world.records() if record.key() == b"kept" and record.value() is None)
    publish(world.wiring, "kept")
    short = world.configured(**ONE, signature_window=0.2)
    eventually(lambda: time.time() * 1000 > tombstone.timestamp()[1] + 400)
    world.again(result)
    world.again(tombstone)
    world.compact(short)

    assert ["UNKNOWN", "SUCCESS"] == seen(short, "gone", "kept")
    assert short.refusals is not None
    assert {"out_of_window": 2} == short.refusals.counts


def test_what_is_written_again_inside_the_window_is_what_the_page_says(world: World) -> None:
    """The fold makes repeated results harmless; a repeated tombstone, and a result behind its tombstone, are not."""
    publish(world.wiring, "once", "back")
    with world.wiring.publisher() as publisher:
        publisher.failed_with("once", ValueError("later"))
        publisher.started("done")
        publisher.succeeded("done")
    records = world.records()
    world.compact()
    with world.wiring.client() as client:
        client.forget("back")
    for record in records:
        world.again(record)
    world.compact()

    assert ["SUCCESS", "SUCCESS", "SUCCESS"] == seen(world.wiring, "once", "done", "back")


def test_a_forged_schema_is_not_believed(world: World) -> None:
    """A definition under a fingerprint that nobody knows yet decides what the fields of a record mean."""
    schemas = world.lax.settings.schemas_topic
    publish(world.wiring, "t")
    fingerprint = b"\x01" * 8
    world.append(fingerprint, b'{"type": "string"}', topic=schemas)
    checking, believing = SchemaTopic(world.wiring.broker(), schemas), SchemaTopic(world.lax.broker(), schemas)

    assert (None, '{"type": "string"}') == (checking.find(fingerprint), believing.find(fingerprint))
    assert checking.find(world.lax.codec().fingerprint) is not None
    checking.close()
    believing.close()


def test_who_cannot_sign_is_told_at_once(world: World) -> None:
    """A process with keys to check alone neither publishes nor forgets: everybody would refuse it."""
    checking = world.configured(signing_keys=ONE["signing_keys"])
    publish(world.wiring, "t")
    world.compact(checking)

    with pytest.raises(ConfigurationError, match="Set signing_key_id to one of: k1"):
        checking.publisher()
    with checking.client() as client:
        assert client.get("t", SOON) == "t"
        with pytest.raises(ConfigurationError, match="Set signing_key_id to one of: k1"):
            client.forget("t")
    assert ["SUCCESS"] == seen(checking, "t")


def test_a_window_shorter_than_the_queue_is_refused(world: World) -> None:
    """Records that the brokers take late would be refused by everybody; only who publishes has to care."""
    short = world.configured(**ONE, signature_window=29.0)

    with pytest.raises(ConfigurationError, match=r"signature_window 29 s is shorter than .*, 30 s by publish_timeout"):
        short.publisher()
    kafka = {**world.lax.settings.kafka, "message.timeout.ms": "0"}
    with pytest.raises(ConfigurationError, match="inf s by publish_timeout"):
        world.configured(**ONE, kafka=kafka).publisher()
    world.configured(**ONE, signature_window=30.0).publisher().close()
    world.configured(**ONE, signature_window=0.0).publisher().close()
    short.client().close()


def test_a_worker_without_a_key_is_seen(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Its records are dead letters with a reason, counted, and logged once for ten times as many."""
    publish(world.lax, *(f"t{number}" for number in range(12)))
    with caplog.at_level(logging.WARNING, "streamresults.signatures"):
        world.compact()

    assert world.wiring.refusals is not None
    assert {"unsigned": 12} == world.wiring.refusals.counts
    told = [record.getMessage() for record in caplog.records if record.name == "streamresults.signatures"]
    assert 2 == len(told)
    assert "the record is not signed; 10 so far" in told[1]
    letters = world.records(world.lax.settings.dead_letter_topic)
    headers = [dict(letter.headers() or []) for letter in letters]
    assert {b"SignatureRefused"} == {one["sr.dlq.error"] for one in headers}
    assert {b"the record is not signed"} == {one["sr.dlq.message"] for one in headers}
    assert {f"t{number}".encode() for number in range(12)} == {letter.key() for letter in letters}


def test_a_large_forged_value_is_refused_where_it_is_read(world: World) -> None:
    """A compactor without keys folds it; the client that checks fetches it from the log, and refuses it alone."""
    with world.lax.publisher() as publisher:
        publisher.succeeded("forged", "x" * 100_000)
    with world.wiring.publisher() as publisher:
        publisher.succeeded("true", "y" * 100_000)
    world.compact(world.lax)
    with world.wiring.client() as client:
        forged, true = client.lookup_many(["forged", "true"])
        with pytest.raises(SignatureRefused, match="not signed"):
            _ = forged.result
        assert "y" * 100_000 == true.result


def test_without_keys_nothing_stands_around_the_broker() -> None:
    """No object, no call and no branch more than without signatures."""
    broker = MemoryBroker()
    with Wiring(Settings(), broker=broker) as wiring:
        assert broker is wiring.broker()
        assert wiring.refusals is None


def test_the_window_counts_from_sending_not_from_spooling(tmp_path: Path) -> None:
    """What rested in the spool for longer than the window is signed when it is sent."""
    now = [time.time()]
    broker = MemoryBroker(clock=lambda: now[0])
    lax = Wiring(Settings(), broker=broker, store=MemoryStore())
    create_topics(lax)
    world = World(lax)
    wiring = world.configured(
        **ONE, spool=str(tmp_path / "spool"), retry_max_sleep_ms=5, signature_window=1.0, publish_timeout=1.0
    )
    with wiring.publisher() as publisher:
        publisher.warm()
        broker.fail("away")
        publisher.succeeded("t", 1)
        eventually(lambda: time.time() > now[0] + 1.2, SOON)
        now[0] = time.time()
        broker.fail(None)
        assert (0, 0) == publisher.flush(SOON)
    world.compact(wiring)

    assert ["SUCCESS"] == seen(wiring, "t")
    world.close()
    lax.close()
