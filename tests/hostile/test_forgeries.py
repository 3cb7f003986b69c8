"""
Every forged record, in front of everything that reads records, where signatures are demanded. We test these aspects.

* each is refused for the reason that the file says, by the compactor, a reader of the topic, replay and the CLI
* none ends a wait, through the topic or the view; the true record behind it does
* none changes or erases a result that stands, and none is a dead letter of its task
* where the compactor does not check, a client that does still refuses what it reads from the log, for that task alone
"""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest
from click.testing import CliRunner

from streamresults import wiring as wiring_module
from streamresults.cli.program import program
from streamresults.deadline import Deadline
from streamresults.errors import SignatureRefused
from streamresults.events.event import Event, Payload
from streamresults.settings import Settings
from streamresults.store.memory import MemoryStore
from streamresults.topic.memory import MemoryBroker
from streamresults.wiring import Wiring
from tests.conftest import create_topics
from tests.hostile.forging import SECRETS, Forgery, forgeries
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.client import Client, Registration

FORGERIES: Final = forgeries()
SOON: Final = 50.0
TRUE: Final = "true"
FORGED: Final = "forged"


class Court:
    """A topic of three partitions where everybody checks; ``lax`` opens what does not."""

    def __init__(self) -> None:
        self.broker, self.store = MemoryBroker(), MemoryStore()
        self.lax = Wiring(Settings(), broker=self.broker, store=self.store)
        self.settings = Settings(
            signing_key_id="k1",
            signing_keys=SECRETS,
            signing_retired={"k0": datetime.now(UTC) - timedelta(days=1)},
        )
        self.wiring = Wiring(self.settings, broker=self.broker, store=self.store)
        create_topics(self.wiring, 3)
        self.publisher = self.wiring.publisher()

    def tell_the_truth(self, prefix: str) -> None:
        """Publish the true result of one task for each forgery."""
        self.publisher.publish_many(
            [self.publisher.event(f"{prefix}-{n}", "SUCCESS", result=TRUE) for n in range(len(FORGERIES))]
        )

    def forge(self, prefix: str, *, size: int = 0) -> None:
        """Append every forgery, each to a task of its own."""
        self.tell_the_truth("other")
        other = [record for part in self.parts("results") for record in part.records if record.key_ == b"other-0"]
        writer, codec = self.broker.writer("results"), self.wiring.codec()
        payload = Payload(content_type="application/json", body=f'"{FORGED}{" " * size}"'.encode())
        for number, forgery in enumerate(FORGERIES):
            task = f"{prefix}-{number}"
            value = codec.encode(Event(task_id=task, state=forgery.state, payload=payload))
            made = forgery.record(task, value, ("other-0", other[-1].value_ or b""))
            writer.produce(made.key, made.value, None, headers=made.headers)
        writer.close(Deadline(SOON))

    def parts(self, topic: str) -> Any:
        """Return the partitions of a topic."""
        return self.broker._cluster.topics[topic].partitions

    def compact(self, wiring: Wiring | None = None) -> None:
        """Fold all that there is."""
        (wiring or self.wiring).compactor(from_earliest=True).run_once(threading.Event(), SOON)

    def close(self) -> None:
        """Give everything back."""
        self.publisher.close()
        self.wiring.close()
        self.lax.close()


@pytest.fixture
def court() -> Iterator[Court]:
    made = Court()
    yield made
    made.close()


def reasons() -> Counter[str]:
    return Counter(forgery.why for forgery in FORGERIES)


def refusals(court: Court) -> dict[str, int]:
    assert court.wiring.refusals is not None
    return court.wiring.refusals.counts


def test_no_two_forgeries_are_one() -> None:
    """Each sentence stands once, and every reason has a forgery."""
    assert len(FORGERIES) == len({forgery.attack for forgery in FORGERIES})
    assert {"unsigned", "malformed", "unknown_key", "wrong", "retired_key", "out_of_window"} == set(reasons())


def test_what_stands_stands(court: Court) -> None:
    """No forgery changes or erases a result, whoever looks and however; each is a dead letter of nobody."""
    court.tell_the_truth("t")
    court.forge("t")
    court.compact()
    tasks = [f"t-{number}" for number in range(len(FORGERIES))]

    with court.wiring.client() as client:
        found = client.lookup_many(tasks)
        fresh = [client.lookup(task, fresh=True) for task in tasks]

    assert [(f.attack, TRUE) for f in FORGERIES] == [
        (f.attack, r.result) for f, r in zip(FORGERIES, found, strict=True)
    ]
    assert [TRUE] * len(tasks) == [one.result for one in fresh]
    assert [None] * len(tasks) == [one.mark for one in (*found,)]
    letters = [record for part in court.parts("results.dlq") for record in part.records]
    assert len(FORGERIES) == len(letters)
    assert {b"SignatureRefused"} == {dict(letter.headers_)["sr.dlq.error"] for letter in letters}
    assert reasons() == refusals(court)


@pytest.mark.parametrize("via", ["topic", "view"])
def test_no_forgery_ends_a_wait_and_the_true_record_does(court: Court, via: Any) -> None:
    """Waits that stand before anything was written are told the truth, however much was forged before it."""
    ends: dict[str, Registration] = {}
    with court.wiring.client() as client:
        for number in range(len(FORGERIES)):
            client.on_result(f"w-{number}", lambda end: ends.update({end.task_id: end}), via=via)
        if via == "topic":
            eventually(lambda: _reads(client, 3), SOON, "every partition is read")
        court.forge("w")
        court.compact()
        client.on_result("last", lambda end: ends.update({end.task_id: end}), via=via)
        court.publisher.succeeded("last", TRUE)
        court.compact()
        eventually(lambda: "last" in ends, SOON, "the true record behind all forgeries has ended its wait")
        assert {"last"} == set(ends)
        court.tell_the_truth("w")
        court.compact()
        eventually(lambda: len(ends) == len(FORGERIES) + 1, SOON, f"{len(ends)} waits have ended")

    assert {TRUE} == {end.result().value() for end in ends.values()}


def _reads(client: Client, partitions: int) -> bool:
    engine = client._engine
    return engine is not None and sum(watch.is_read for watch in list(engine.waits.watches.values())) == partitions


def test_replay_hands_each_out_as_nobodys_and_verifies(court: Court) -> None:
    """It counts them, tells them apart from what else is unreadable, and the view agrees with what is left."""
    court.tell_the_truth("t")
    court.forge("t")
    court.compact()
    with court.wiring.replay() as replay:
        read = list(replay.read())
        refused = [one for one in read if one.error is not None]
        covered = replay.ranges
        mine = [one.error for one in replay.read(task_id="t-0")]
        verified = replay.verify()

    assert reasons() == Counter(one.error.why for one in refused if isinstance(one.error, SignatureRefused))
    assert {(None, None)} == {(one.task_id, one.event) for one in refused}
    assert len(FORGERIES) == sum(part.refused for part in covered) == sum(part.unreadable for part in covered)
    assert [None, "unsigned"] == [getattr(error, "why", None) for error in mine]
    assert verified.clean
    assert (len(FORGERIES), 0) == (verified.refused, sum(part.unreadable for part in verified.partitions))
    with court.lax.replay() as replay:
        assert not replay.verify().clean  # who does not check reads what was forged
        assert [] == [one for one in replay.read() if isinstance(one.error, SignatureRefused)]


def test_the_command_line_says_why(court: Court, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for each on stderr, and no forged result on stdout."""
    court.tell_the_truth("t")
    court.forge("t")
    opened = partial(wiring_module.Wiring, broker=court.broker, store=court.store)
    monkeypatch.setattr(wiring_module, "Wiring", opened)
    monkeypatch.setenv("STREAMRESULTS_SIGNING_KEYS", ",".join("=".join(pair) for pair in SECRETS.items()))
    retired = court.settings.signing_retired["k0"].isoformat()
    monkeypatch.setenv("STREAMRESULTS_SIGNING_RETIRED", f"k0={retired}")
    for command in (("tail", "--from", "earliest", "--exit"), ("replay",), ("replay", "-o", "jsonl")):
        done = CliRunner().invoke(program, list(command), standalone_mode=False)
        assert done.exception is None, done
        assert FORGED not in done.output
        assert len(FORGERIES) == done.output.count("SignatureRefused: "), command
        assert "\u001b" not in done.output


def test_a_client_that_checks_refuses_what_a_lax_compactor_has_folded(court: Court) -> None:
    """As far as it reads the log: a value that is too large for the view is refused for its task alone."""
    court.forge("t", size=200_000)
    court.publisher.succeeded("good", TRUE + " " * 200_000)
    court.compact(court.lax)
    with court.wiring.client() as client:
        found = client.lookup_many(["good", *(f"t-{number}" for number in range(len(FORGERIES)))])

    assert TRUE == str(found[0].result).strip()
    shown = [f for f, one in zip(FORGERIES, found[1:], strict=True) if not f.tombstone and one.found]
    assert shown
    for forgery, one in zip(FORGERIES, found[1:], strict=True):
        if forgery in shown and forgery.line.get("copied") != "value":
            with pytest.raises(SignatureRefused) as refused:
                one.value()
            assert forgery.why == refused.value.why


def test_who_does_not_check_reads_signed_records(court: Court) -> None:
    """A signature is a header more: a compactor and a client without keys work as before."""
    court.tell_the_truth("t")
    court.compact(court.lax)
    with court.lax.client() as client:
        for number, via in enumerate(("auto", "topic", "view")):
            assert client.get(f"t-{number}", SOON, via=via) == TRUE  # type: ignore[arg-type]


def test_the_forger_of_the_tests_signs_as_workers_do(court: Court) -> None:
    """With the right key its record counts: what is refused above is refused for what the file says."""
    honest = Forgery("", "", "SUCCESS", tombstone=False, line={})
    value = court.wiring.codec().encode(
        Event(task_id="h", state="SUCCESS", payload=Payload(content_type="application/json", body=b"1"))
    )
    made = honest.record("h", value, ("", b""))
    writer = court.broker.writer("results")
    writer.produce(made.key, made.value, None, headers=made.headers)
    writer.close(Deadline(SOON))
    court.compact()
    with court.wiring.client() as client:
        assert client.get("h", SOON) == 1
