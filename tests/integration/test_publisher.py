"""
What a publisher promises on real brokers, which memory cannot show.

We test these aspects: warm start, positions, acknowledgements of a burst, the topic's own limit, brokers that are away,
and a forked child.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from streamresults.deadline import Deadline
from streamresults.errors import PublishFailed, RecordTooLarge
from streamresults.events.event import Event
from streamresults.settings import Settings
from streamresults.topic import kafka_turns, kafka_writer
from streamresults.topic.kafka_writer import KafkaWriter
from streamresults.topic.records import TopicSettings
from streamresults.topic.sent import send
from streamresults.wiring import Wiring
from tests.conftest import create_topics
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamresults.publisher import Publisher
    from streamresults.publisher.pending import Pending
    from streamresults.topic.records import Record

pytestmark = pytest.mark.kafka

#: Seconds in which anything here happens on a loaded machine.
SOON = 30.0


def _kafka_only(bootstrap: str, **settings: object) -> Wiring:
    return Wiring(Settings(kafka_bootstrap=bootstrap, topic=f"p-{secrets.token_hex(5)}", **settings))  # type: ignore[arg-type]


@pytest.fixture
def kafka(kafka_bootstrap: str) -> Iterator[Wiring]:
    """Give a wiring without Redis: publishing does not need it."""
    with _kafka_only(kafka_bootstrap) as wiring:
        create_topics(wiring, 1)
        yield wiring


def _records(wiring: Wiring, count: int) -> list[Record]:
    reader = wiring.broker().reader(wiring.settings.topic)
    found: list[Record] = []
    deadline = Deadline(SOON)
    try:
        reader.assign({0: 0})
        while len(found) < count and not deadline.passed():
            found += reader.poll(deadline.remaining(0.5)).records
    finally:
        reader.close()
    return found


def test_a_position_is_where_a_reader_finds_the_event(kafka: Wiring) -> None:
    """The same triple never names two events."""
    codec = kafka.codec()
    with kafka.publisher() as publisher:
        positions = {f"t{n}": publisher.succeeded(f"t{n}", n) for n in range(20)}
    inspector = kafka.inspector()
    topic_id = inspector.describe(Deadline(SOON)).topic_id
    inspector.close()
    found = {(topic_id, r.partition(), r.offset()): r.value() for r in _records(kafka, 20)}

    assert {task: tuple(position or ()) for task, position in positions.items()} == {
        codec.decode_prefix(value).task_id: place for place, value in found.items() if isinstance(value, bytes)
    }


def test_a_warm_publisher_takes_its_first_event_at_once(kafka: Wiring) -> None:
    """What is slow about a first acknowledgement is behind it when a worker has started."""
    with kafka.publisher() as publisher:
        publisher.warm()
        began = time.perf_counter()
        publisher.succeeded("t", 1)
        took = time.perf_counter() - began

    assert took < 0.2


def _burst(publisher: Publisher) -> list[Pending]:
    """Queue so much that the producing thread has served acknowledgements more than once."""
    return [publisher.send(Event(task_id=f"b{n}", state="SUCCESS")) for n in range(3 * kafka_writer.SERVE_EVERY)]


def _one_record(publisher: Publisher, _: Pending) -> object:
    writer = publisher._connection.writer
    assert writer is not None
    return send(writer, b"k", None, Deadline(SOON)).wait(Deadline(SOON))


#: Every way to wait for what is under way.
CONFIRMED: dict[str, Callable[[Publisher, Pending], object]] = {
    "position": lambda _, pending: pending.position(SOON),
    "future": lambda _, pending: pending.future().result(SOON),
    "flush": lambda publisher, _: publisher.flush(SOON),
    "one record": _one_record,
}


@pytest.mark.parametrize("confirmed", CONFIRMED.values(), ids=CONFIRMED)
def test_who_waits_does_not_wait_for_the_end_of_a_burst(
    kafka: Wiring, monkeypatch: pytest.MonkeyPatch, confirmed: Callable[[Publisher, Pending], object]
) -> None:
    """The thread that serves keeps away from a burst only while nobody waits."""
    monkeypatch.setattr(kafka_turns, "BURST_SLICE", 3600.0)
    with kafka.publisher() as publisher:
        publisher.warm()
        confirmed(publisher, _burst(publisher)[-1])


def test_a_burst_that_nobody_waits_for_is_acknowledged(kafka: Wiring) -> None:
    """Also what comes after the last time that the producing thread served."""
    with kafka.publisher() as publisher:
        publisher.warm()
        burst = _burst(publisher)

        eventually(lambda: all(pending.acknowledged for pending in burst))


def test_a_topic_that_takes_less_than_the_writer_is_a_typed_error(kafka_bootstrap: str) -> None:
    """The brokers' refusal is as definite as our own."""
    with _kafka_only(kafka_bootstrap) as wiring:
        wiring.broker().create_topics(
            {
                wiring.settings.topic: TopicSettings(partitions=1, config={"max.message.bytes": "2000"}),
                wiring.settings.schemas_topic: TopicSettings(partitions=1),
            },
            Deadline(SOON),
        )
        with wiring.publisher() as publisher:
            with pytest.raises(
                RecordTooLarge, match=r"more than the topic takes.*raise max\.message\.bytes of"
            ) as caught:
                publisher.succeeded("t", os.urandom(3000).hex())

            assert ("t", False) == (caught.value.task_id, caught.value.written)
            assert len(caught.value.event_id) == 32
            small = publisher.succeeded("t", "small")
            assert small is not None
            assert small.offset == 0


def test_brokers_that_are_away_fail_within_the_deadline() -> None:
    """One clear message; what never left is certainly not written."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with _kafka_only(address, publish_timeout=1.0) as wiring, wiring.publisher() as publisher:
            began = time.monotonic()
            with pytest.raises(PublishFailed, match="Kafka did not acknowledge") as caught:
                publisher.succeeded("t", 1)

            assert caught.value.written is False
            assert time.monotonic() - began < 2.5
            assert "\n" not in str(caught.value)


_FORKING = """
import os, sys, threading
from streamresults.events.event import Event
from streamresults.settings import Settings
from streamresults.wiring import Wiring

wiring = Wiring(Settings(kafka_bootstrap=sys.argv[1], topic=sys.argv[2]))
publisher = wiring.publisher()
publisher.succeeded("parent-before", 1)
children = []
held = threading.Event()
def hold():
    with publisher._connection.lock, publisher._outcomes.lock:
        held.set()
        release.wait()
release = threading.Event()
threading.Thread(target=hold).start()
held.wait()  # a lock that another thread of the parent holds when it forks must not be held in the child
for number in range(3):
    child = os.fork()
    if child == 0:
        publisher.succeeded(f"child-{number}", 1)
        left = publisher.close(20)
        os._exit(0 if left == (0, 0) else 3)
    children.append(child)
release.set()
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
publisher.succeeded("parent-after", 1)
print(codes, publisher.close(20))
wiring.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_publishes_over_its_own_connection(kafka: Wiring, kafka_bootstrap: str) -> None:
    """The parent's goes on working; nobody hangs, whatever was held at the fork."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _FORKING, kafka_bootstrap, kafka.settings.topic],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert ("[0, 0, 0] Flushed(unacknowledged=0, failed=0)\n", 0) == (done.stdout, done.returncode), done.stderr
    assert {b"parent-before", b"child-0", b"child-1", b"child-2", b"parent-after"} == {
        record.key() for record in _records(kafka, 5)
    }


def test_an_event_that_is_published_again_keeps_its_id(kafka: Wiring) -> None:
    """A retry is recognisable as one."""
    codec = kafka.codec()
    event = Event(task_id="t", state="SUCCESS")
    with kafka.publisher() as publisher:
        publisher.publish(event)
        publisher.publish(event)

    assert [event.event_id] * 2 == [codec.decode_prefix(bytes(r.value() or b"")).event_id for r in _records(kafka, 2)]  # type: ignore[arg-type]


def test_who_waits_serves_by_itself_when_the_thread_that_would_tell_it_is_held_up(kafka: Wiring) -> None:
    """As by what a signal's handler has interrupted, which waits itself."""
    with kafka.publisher() as publisher:
        publisher.warm()
        publisher.started("t")
        writer = publisher._connection.writer
        assert isinstance(writer, KafkaWriter)
        with writer._turns.changed:  # the serving thread comes no further, and the turn is somebody else's at first
            eventually(lambda: writer._turns.take(0.02), SOON)
            publisher.succeeded("t", 1)
