"""
Records of a schema version that nobody has seen: folded, joined, looked up and replayed by releases of today.

We test these aspects, with the kept release and with these sources: every flow, where the schema stands in the schemas
topic; a reader that cannot read that topic yet, or finds nothing in it: it knows the state, says what is wrong with
the rest by its type, and knows the rest as soon as the schema is there; a compactor that waits for it meanwhile.
"""

from __future__ import annotations

import json
import signal
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from streamresults.deadline import Deadline
from streamresults.errors import TopicMissing, UnknownFingerprint
from streamresults.events.event import Event, Payload
from streamresults.topic.contract import least_retention, wanted_topics
from streamresults.wiring import Wiring
from tests.acceptance.conftest import PATIENCE, logged
from tests.conftest import create_topics
from tests.upgrade.future import FINGERPRINT, SCHEMA_JSON, FutureCodec, future_wiring
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.publisher import Publisher
    from streamresults.settings import Settings
    from streamresults.topic.records import Acknowledgement
    from tests.upgrade.conftest import Release

LARGE = 100_000

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.timeout(120)]
every_release = pytest.mark.parametrize("name", ["previous", "current"])


@pytest.fixture
def settings(current: Release) -> Settings:
    """Give the settings that all releases share."""
    return current.cli.wiring.settings


@pytest.fixture
def publisher(settings: Settings) -> Iterator[Publisher]:
    """Give a publisher of the release to come."""
    with future_wiring(settings) as wiring, wiring.publisher() as found:
        yield found


def publish_every_kind(publisher: Publisher) -> dict[str, dict[str, Any]]:
    """Publish one task of each kind, and return what is to be read of it."""
    publisher.succeeded("plain", {"paid": [1, None]}, name="shop.pay", labels={"team": "a"})
    publisher.succeeded("large", "x" * LARGE)
    publisher.failed_with("twice", LookupError("not yet"))
    publisher.succeeded("twice", 2)
    publisher.failed_with("failed", ValueError("no such order"))
    publisher.publish(publisher.event("going", "PROGRESS", result=0.5))
    publisher.publish(Event(task_id="stopped", state="ABORTED", terminal=True))
    publisher.flush()
    return {
        "plain": {"state": "SUCCESS", "result": {"paid": [1, None]}, "name": "shop.pay"},
        "large": {"state": "SUCCESS", "result": "x" * LARGE},
        "twice": {"state": "SUCCESS", "result": 2},
        "failed": {"state": "FAILURE", "error": {"type": "builtins:ValueError", "message": "no such order"}},
        "going": {"state": "PROGRESS", "result": 0.5},
        "stopped": {"state": "ABORTED", "result": None},
    }


@every_release
def test_records_of_a_newer_version_are_folded_looked_up_and_replayed(
    releases: dict[str, Release], publisher: Publisher, name: str
) -> None:
    """By the prefix, and the body by the schemas topic: nothing is a dead letter, and nothing is left out."""
    release = releases[name]
    wanted = publish_every_kind(publisher)

    release.compact()
    looked = {task: release.cli("get", task, "-o", "jsonl") for task in wanted}
    replayed = release.cli("replay", "-q", "-o", "jsonl").rows
    release.verify()

    facts = {task: json.loads(ran.out) for task, ran in looked.items()}
    for found in facts.values():
        (found.get("error") or {}).pop("revived", None)
    assert wanted == {task: {key: facts[task][key] for key in wanted[task]} for task in wanted}
    assert [None] * len(wanted) == [found["dead_letter"] for found in facts.values()]
    assert len(wanted) + 1 == len(replayed)
    assert [] == [row for row in replayed if "unreadable" in row]
    assert {task: one["state"] for task, one in wanted.items()} == {row["task_id"]: row["state"] for row in replayed}


@every_release
def test_a_record_of_a_newer_version_ends_a_wait(releases: dict[str, Release], publisher: Publisher, name: str) -> None:
    """Through the topic and through the view; a process that has not met the version yet may leave it to the view."""
    waits = ("topic", "view")
    with ExitStack() as stack:
        logged(stack.enter_context(releases[name].cli.started("compactor", "run")), "partitions assigned")
        started = [
            stack.enter_context(
                releases[name].cli.started("wait", "joined", "--via", via, "--timeout", "30", "-o", "jsonl")
            )
            for via in waits
        ]
        publisher.succeeded("joined", [7])
        for wait in started:
            out, err = wait.communicate(timeout=PATIENCE)
            found = json.loads(out or "{}")
            assert (0, "", "SUCCESS", [7]) == (wait.returncode, err, found.get("state"), found.get("result"))


def test_a_record_of_a_newer_version_ends_a_wait_without_a_compactor(settings: Settings, publisher: Publisher) -> None:
    """The waiting process looks for the schema by itself; nothing but the topic can tell it."""
    with Wiring(settings) as wiring, wiring.client() as client:
        ended: list[object] = []
        wait = threading.Thread(target=lambda: ended.append(client.get("alone", PATIENCE, via="topic")))
        wait.start()
        eventually(
            lambda: client._engine is not None and any(w.is_read for w in client._engine.waits.watches.values()),
            PATIENCE,
            "the partition is read",
        )
        publisher.succeeded("alone", [8])
        wait.join()

    assert [[8]] == ended


class Early:
    """A topic whose records came before their schema, and even before the topic that it belongs into."""

    def __init__(self, releases: dict[str, Release]) -> None:
        settings = releases["current"].cli.wiring.settings
        self.settings = msgspec.structs.replace(settings, topic=f"{settings.topic}-early")
        self.releases = {name: one.configured(topic=self.settings.topic) for name, one in releases.items()}
        self.wiring = Wiring(self.settings)
        wanted = wanted_topics(self.settings, 1, partitions=3, replication=1, retention=least_retention(self.settings))
        del wanted[self.settings.schemas_topic]
        self.wiring.broker().create_topics(wanted, Deadline(PATIENCE))
        self._append("results", b"early", FutureCodec().encode(event_of_early()))

    def _append(self, what: str, key: bytes, value: bytes) -> None:
        """Write one record, acknowledged."""
        answers: list[Acknowledgement] = []
        writer = self.wiring.broker().writer(self.settings.topic)
        topic = self.settings.topic if what == "results" else self.settings.schemas_topic
        writer.produce(key, value, answers.append, topic=topic)
        eventually(lambda: answers, PATIENCE, "the record is acknowledged")
        assert answers[0].error is None
        writer.close(Deadline(PATIENCE))

    def fold(self) -> None:
        """Fold the record with the release to come, which needs no schemas topic for it."""
        with future_wiring(self.settings) as wiring:
            wiring.compactor(from_earliest=True).run_once(threading.Event(), PATIENCE)

    def schemas_topic_arrives(self) -> None:
        """Create the topic; it is empty."""
        create_topics(self.wiring)

    def schema_arrives(self) -> None:
        """Register the schema as its publisher does."""
        self._append("schemas", FINGERPRINT, SCHEMA_JSON)

    def dead_letters(self) -> int:
        """Return how many records were given up."""
        inspector = self.wiring.broker().inspector(self.settings.dead_letter_topic)
        ends = inspector.ends([0], Deadline(PATIENCE))
        inspector.close()
        return ends[0]


def event_of_early() -> Event:
    """Return an event with a result."""
    payload = Payload(content_type="application/json", body=b"[7]")
    return Event(task_id="early", state="SUCCESS", payload=payload)


@pytest.fixture
def early(releases: dict[str, Release]) -> Iterator[Early]:
    """Give a topic without schemas."""
    found = Early(releases)
    yield found
    found.wiring.close()


def test_the_state_is_known_while_the_schema_is_not(early: Early) -> None:
    """The body is a typed error, of the topic's or of the schema's absence; the same result knows it afterwards."""
    early.fold()
    with early.wiring.client() as client:
        found = client.lookup("early")

        assert ("SUCCESS", True, None) == (found.state, found.ready, found.mark)
        with pytest.raises(TopicMissing, match=early.settings.schemas_topic):
            found.value()
        early.schemas_topic_arrives()
        with pytest.raises(UnknownFingerprint, match=FINGERPRINT.hex()):
            found.value()
        early.schema_arrives()
        assert [7] == found.value()


@every_release
def test_a_release_says_what_it_cannot_read_and_reads_it_later(early: Early, name: str) -> None:
    """On the command line: the state, and the error's name beside it; then the result. Verifying needs no body."""
    release = early.releases[name]
    early.fold()
    early.schemas_topic_arrives()

    blind = json.loads(release.cli("get", "early", "-o", "jsonl").out)
    release.verify()
    early.schema_arrives()
    seeing = json.loads(release.cli("get", "early", "-o", "jsonl").out)
    (replayed,) = release.cli("replay", "-q", "-o", "jsonl").rows

    assert "UnknownFingerprint" in blind["unreadable"]
    assert ("SUCCESS", [7]) == (seeing["state"], seeing["result"]) == (replayed["state"], replayed["result"])


@every_release
def test_a_compactor_waits_for_a_schemas_topic_that_it_cannot_read(early: Early, name: str) -> None:
    """Nothing is given up meanwhile, and nothing is left out afterwards."""
    release = early.releases[name]
    with release.cli.started("compactor", "run", "--from", "earliest") as compactor:
        logged(compactor, early.settings.schemas_topic)
        before = early.dead_letters()
        compactor.send_signal(signal.SIGSTOP)  # a topic that is there and empty would say that the schema is nowhere
        early.schemas_topic_arrives()
        early.schema_arrives()
        compactor.send_signal(signal.SIGCONT)
        with early.wiring.client() as client:
            eventually(lambda: client.lookup_many(["early"])[0].ready, PATIENCE, "the record is folded")
            assert [7] == client.lookup("early").value()
        compactor.terminate()
        assert 0 == compactor.wait(PATIENCE)

    assert (0, 0) == (before, early.dead_letters())
