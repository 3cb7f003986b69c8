"""
A spool on real brokers and with real processes.

We test these aspects: brokers that are away for a while, a process that is killed, and an object store that speaks S3.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from streamresults.deadline import Deadline
from streamresults.publisher.segments import left_over
from streamresults.settings import Settings
from streamresults.wiring import Wiring
from tests.conftest import create_topics
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.kafka

SOON = 30.0

#: Publishes to a port where nobody listens, and says how far it is on each line, until it is killed.
PROGRAM = """
import itertools, sys, streamresults
publisher = streamresults.open_publisher(publish_timeout=1.0)
for number in itertools.count():
    assert publisher.succeeded(f"t{number}", number) is None
    print(number, flush=True)
"""


@pytest.fixture
def kafka(kafka_bootstrap: str, tmp_path: Path) -> Iterator[Wiring]:
    """Give a wiring with a spool."""
    settings = Settings(kafka_bootstrap=kafka_bootstrap, topic=f"s-{secrets.token_hex(5)}", spool=str(tmp_path / "s"))
    with Wiring(settings) as wiring:
        create_topics(wiring, 1)
        yield wiring


def results(wiring: Wiring, count: int) -> list[str]:
    """Return the tasks in the topic, in order, once each."""
    codec, reader = wiring.codec(), wiring.broker().reader(wiring.settings.topic)
    found: list[str] = []
    deadline = Deadline(SOON)
    try:
        reader.assign({0: 0})
        while len(set(found)) < count and not deadline.passed():
            for record in reader.poll(deadline.remaining(0.5)).records:
                value = record.value()
                assert isinstance(value, bytes)
                found.append(codec.decode_prefix(value).task_id)
    finally:
        reader.close()
    return list(dict.fromkeys(found))


def nobody() -> str:
    """Return an address where nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


def test_what_a_killed_process_was_told_is_published_by_the_next(kafka: Wiring) -> None:
    """Killed at any moment: every event whose call had returned arrives, in order."""
    settings = kafka.settings
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "STREAMRESULTS_KAFKA_BOOTSTRAP": nobody(),
            "STREAMRESULTS_TOPIC": settings.topic,
            "STREAMRESULTS_SPOOL": settings.spool,
        },
    )
    with process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(200)]
        process.send_signal(signal.SIGKILL)
        told += [int(line) for line in process.stdout]
    with kafka.publisher() as publisher:
        publisher.warm()
        directory = settings.spool
        eventually(lambda: not any(path.name.endswith(".spool") for path in _files(directory)), SOON)

        assert [f"t{number}" for number in told] == results(kafka, len(told))[: len(told)]
        position = publisher.succeeded("after")
        assert position is not None


def _files(directory: str) -> list[Path]:
    from pathlib import Path  # noqa: PLC0415 -- the type alone is known above

    return left_over(Path(directory))


def test_kafka_that_comes_back_gets_everything_in_order(kafka: Wiring) -> None:
    """A publisher that was opened while its brokers were away goes on by itself when they are there."""
    address = nobody()
    settings = Settings(
        kafka_bootstrap=address, topic=kafka.settings.topic, spool=kafka.settings.spool, publish_timeout=1.0
    )
    with Wiring(settings) as away, away.publisher() as publisher:
        assert [None] * 50 == [publisher.succeeded(f"t{number}", number) for number in range(50)]
        assert 50 == publisher.spooled
        publisher.close(0)
    with kafka.publisher() as publisher:
        publisher.warm()

        assert [f"t{number}" for number in range(50)] == results(kafka, 50)
