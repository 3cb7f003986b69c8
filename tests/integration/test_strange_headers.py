"""
Headers whose names are no text, on real Kafka: Kafka takes any bytes, and the bindings make holes of them.

We test these aspects: reading them once and again; a record that is a dead letter, with and without signatures; the
records behind it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from streamresults.deadline import Deadline
from streamresults.topic.headers import read_headers
from streamresults.wiring import Wiring
from tests.integration.raw_record import append
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.topic.records import Record

NAMES = [[b"\xff\xfe"], [b"a", b"\xff", b"b"], [b"a", b"b", b"\xc3"], [b"\xed\xa0\x80", b""]]
SOON = 40.0

pytestmark = [pytest.mark.kafka, pytest.mark.redis]


@pytest.fixture(params=[{}, {"signing_key_id": "k1", "signing_keys": {"k1": "b7e1" * 16}}], ids=["plain", "signed"])
def configured(real_wiring: Wiring, request: pytest.FixtureRequest) -> Iterator[Wiring]:
    """Give a wiring that signs nothing, and one that demands signatures."""
    with Wiring(msgspec.structs.replace(real_wiring.settings, **request.param)) as wiring:
        yield wiring


def records(wiring: Wiring) -> list[Record]:
    """Read what stands in partition 0, unchecked."""
    reader = wiring._cluster().reader(wiring.settings.topic)
    reader.assign({0: 0})
    found: list[Record] = []

    def all_read() -> Any:
        polled = reader.poll(1.0)
        found.extend(polled.records)
        return polled.ends

    eventually(all_read, SOON)
    reader.close()
    return found


@pytest.mark.parametrize("names", NAMES)
def test_headers_that_cannot_be_read_are_said_to_be_so_every_time(real_wiring: Wiring, names: list[bytes]) -> None:
    """Asked again, the bindings return lists with holes instead of raising, and looking into those ends the process."""
    settings = real_wiring.settings
    append(settings.kafka_bootstrap, settings.topic, b"k", b"v", [(name, b"x") for name in names])
    append(settings.kafka_bootstrap, settings.topic, b"k", b"v", [(b"caf\xc3\xa9", b""), (b"", b"x")])
    strange, sound = records(real_wiring)

    assert [None] * 3 == [read_headers(strange) for _ in range(3)]
    assert [[("café", b""), ("", b"x")]] * 2 == [read_headers(sound) for _ in range(2)]


def test_a_compactor_goes_on_behind_them(configured: Wiring) -> None:
    """The record is a dead letter without its headers, twice too, and what is behind it is folded."""
    settings = configured.settings
    many = NAMES * 5  # once it is called often, Python's bytecode no longer looks for errors
    for names in many:
        append(settings.kafka_bootstrap, settings.topic, b"broken", b"v", [(name, b"x") for name in names])
    with configured.publisher() as publisher:
        publisher.succeeded("good", 1)
    for _ in range(2):
        configured.compactor(from_earliest=True).run_once(threading.Event(), SOON)
        configured.store().close()
    with configured.client() as client:
        assert client.get("good", SOON) == 1
        assert client.lookup("broken", fresh=True).state == "UNKNOWN"
    inspector = configured.broker().inspector(settings.dead_letter_topic)
    assert len(many) == inspector.watermarks([0], Deadline(SOON))[0].high
    inspector.close()
    with configured.replay() as replay:
        assert len(many) == sum(one.error is not None for one in replay.read())
