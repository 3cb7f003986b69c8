"""
Large results rest outside of the log, and whoever reads one gets exactly what was published, or a typed error.

We test these aspects: both kinds of store alike, what goes where, order of redaction, a reader's checks, and what is
missing, damaged, hostile or not configured.
"""

from __future__ import annotations

import hashlib
import os
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from streamresults.client.provenance import Basis, Provenance
from streamresults.client.result import Result
from streamresults.errors import (
    ConfigurationError,
    ContentTypeRefused,
    PayloadMissing,
    PayloadNotDecodable,
    PayloadStoreUnavailable,
    PayloadTooLarge,
    RecordTooLarge,
)
from streamresults.events.compression import compress
from streamresults.events.event import Event, Payload, Reference
from streamresults.events.fold import NEVER, Best
from streamresults.events.states import rank
from streamresults.payload_store.base import keep
from tests.unit.publisher_desk import SOON, Desk, publisher_desks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from streamresults.payload_store.base import PayloadStore

open_desk = pytest.fixture(publisher_desks)
#: Larger than what a store is asked to keep here.
LARGE = "0123456789" * 2000


@pytest.fixture(params=["directory", "fsspec"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give where payloads rest, of every kind."""
    if request.param == "directory":
        yield str(tmp_path / "payloads")
        return
    MemoryFileSystem.store.clear()
    yield "memory://results"
    MemoryFileSystem.store.clear()


@pytest.fixture
def storing(open_desk: Callable[..., Desk], place: str) -> Callable[..., Desk]:
    """Give a function that opens a desk with a payload store of either kind."""

    def opened(**settings: Any) -> Desk:
        return open_desk(**{"payload_store": place, "payload_store_above": 10_000, **settings})

    return opened


def store_of(desk: Desk) -> PayloadStore:
    found = desk.wiring.payload_store()
    assert found is not None
    return found


def result_of(desk: Desk, event: Event) -> Result:
    """Return what a client makes of an event."""
    value = desk.wiring.codec().encode(event)
    best = Best(rank(event.state, terminal=event.terminal), 0, 0, NEVER, value)
    return Result(event.task_id, Provenance(desk.wiring.decoding(), Basis.FULL, "", 0), best)


def test_a_large_result_goes_to_the_store_and_comes_back(storing: Callable[..., Desk]) -> None:
    """The event carries its place, its size and its SHA-256; a small one stays in the log."""
    desk = storing()
    desk.publisher.succeeded("large", LARGE)
    desk.publisher.succeeded("small", "x")
    large, small = desk.events()
    reference = large.payload.reference
    body = b'"%b"' % LARGE.encode()

    assert large.payload.body is None
    assert reference is not None
    assert (hashlib.sha256(body).digest(), len(body)) == (reference.sha256, reference.size)
    assert reference.sha256.hex() in reference.uri
    assert [LARGE, "x"] == [result_of(desk, event).value() for event in (large, small)]
    assert small.payload.reference is None


@pytest.mark.parametrize("encoding", ["zstd", "gzip"])
def test_compression_comes_first(storing: Callable[..., Desk], encoding: str) -> None:
    """What is small enough once compressed stays in the log; what is not is kept compressed."""
    desk = storing(compression=encoding, compress_above=100)
    hard = os.urandom(20_000).hex()
    desk.publisher.succeeded("easy", LARGE)
    desk.publisher.succeeded("hard", hard)
    desk.publisher.succeeded("short", "x" * 50)
    easy, difficult, short = (event.payload for event in desk.events())

    assert (encoding, None) == (easy.content_encoding, easy.reference)
    assert easy.body is not None
    assert len(easy.body) < 1000
    assert (encoding, None) == (difficult.content_encoding, difficult.body)
    assert "" == short.content_encoding
    assert [LARGE, hard, "x" * 50] == [result_of(desk, event).value() for event in desk.events()]


def test_what_no_reader_would_take_is_not_published(storing: Callable[..., Desk]) -> None:
    """Too large even for the store; and nothing so repetitive is compressed that readers would call it a bomb."""
    desk = storing(compression="zstd", payload_max=3_000_000, payload_ratio=10)
    with pytest.raises(PayloadTooLarge, match="payload_max"):
        desk.publisher.succeeded("t", "x" * 3_000_000)
    desk.publisher.succeeded("t", "x" * 2_000_000)
    (event,) = desk.events()

    assert "" == event.payload.content_encoding
    assert "x" * 2_000_000 == result_of(desk, event).value()


def test_redaction_comes_before_anything_is_kept(storing: Callable[..., Desk], place: str, tmp_path: Path) -> None:
    """What it takes out is in no store either."""
    desk = storing()

    def redact(event: Event) -> Event:
        body = event.payload.body
        assert body is not None
        return msgspec.structs.replace(event, payload=Payload(content_type="application/json", body=b'"hidden"'))

    with desk.open(redact=redact) as publisher:
        publisher.succeeded("t", LARGE)

    assert [b'"hidden"'] == [event.payload.body for event in desk.events()]
    assert [] == [path for path in (tmp_path / "payloads").rglob("*") if path.is_file()]
    assert place


def test_a_record_that_is_too_large_goes_outside_whatever_its_payload(storing: Callable[..., Desk]) -> None:
    """Payload and arguments together are too large for the topic; the payload alone would not be."""
    desk = storing(record_bytes=20_000, payload_store_above=15_000)
    desk.publisher.succeeded("t", "x" * 12_000, args=["y" * 12_000])
    (event,) = desk.events()

    assert event.payload.reference is not None
    assert "x" * 12_000 == result_of(desk, event).value()
    with pytest.raises(RecordTooLarge):
        desk.publisher.started("t", args=["y" * 30_000])


def test_storing_twice_is_storing_once(storing: Callable[..., Desk]) -> None:
    """The same bytes have the same name, and a second put makes them no younger reader's problem."""
    desk = storing()
    first, second = keep(store_of(desk), b"body"), keep(store_of(desk), b"body")

    assert first == second
    assert b"body" == store_of(desk).get(second)


def test_a_missing_object_is_its_own_error(storing: Callable[..., Desk]) -> None:
    """For that task alone, with the place to look at; its state is known all the same."""
    desk = storing()
    reference = Reference(uri="s3://old/place", sha256=bytes(32), size=5)
    gone = result_of(desk, Event(task_id="t", state="SUCCESS", payload=json_payload(reference=reference)))
    with pytest.raises(PayloadMissing, match=r"not in the payload store.*s3://old/place") as caught:
        gone.value()

    assert ("s3://old/place", "SUCCESS") == (caught.value.uri, gone.state)
    assert isinstance(caught.value, LookupError)


def json_payload(**fields: Any) -> Payload:
    return Payload(content_type="application/json", **fields)


@pytest.mark.parametrize("body", [b"", b'"tpek"', b'"kept" and more'])
def test_other_bytes_than_were_kept_are_refused(open_desk: Callable[..., Desk], tmp_path: Path, body: bytes) -> None:
    """Torn, replaced or longer: the reader says so instead of returning them."""
    desk = open_desk(payload_store=str(tmp_path), payload_store_above=1)
    reference = keep(store_of(desk), b'"kept"')
    (path,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    path.write_bytes(body)
    with pytest.raises(PayloadNotDecodable, match="damaged or was replaced"):
        result_of(desk, Event(task_id="t", state="SUCCESS", payload=json_payload(reference=reference))).value()


def test_a_reader_never_opens_what_a_record_names(open_desk: Callable[..., Desk], tmp_path: Path) -> None:
    """A hostile record names a file: it is looked for in the reader's own store alone, by its hash."""
    secret = tmp_path / "secret"
    secret.write_bytes(b'"secret"')
    desk = open_desk(payload_store=str(tmp_path / "payloads"))
    sha256 = hashlib.sha256(b'"secret"').digest()
    reference = Reference(uri=secret.as_uri(), sha256=sha256, size=8)
    with pytest.raises(PayloadMissing):
        result_of(desk, Event(task_id="t", state="SUCCESS", payload=json_payload(reference=reference))).value()


@pytest.mark.parametrize(
    ("reference", "error"),
    [
        (Reference(uri="x", sha256=b"short", size=5), PayloadNotDecodable),
        (Reference(uri="x", sha256=bytes(32), size=-1), PayloadNotDecodable),
        (Reference(uri="x", sha256=bytes(32), size=1 << 50), PayloadTooLarge),
    ],
)
def test_an_impossible_reference_asks_the_store_nothing(
    open_desk: Callable[..., Desk], tmp_path: Path, reference: Reference, error: type[Exception]
) -> None:
    """Too large, or none at all."""
    desk = open_desk(payload_store=str(tmp_path))
    with pytest.raises(error):
        result_of(desk, Event(task_id="t", state="SUCCESS", payload=json_payload(reference=reference))).value()


def test_a_content_type_is_accepted_before_anything_is_fetched_or_decompressed(open_desk: Callable[..., Desk]) -> None:
    """No bytes are touched for what would be refused: here they are neither there nor sound."""
    desk = open_desk()
    reference = Reference(uri="x", sha256=bytes(32), size=5)
    for payload in (
        Payload(content_type="application/x-python-serialize", reference=reference),
        Payload(content_type="application/x-python-serialize", content_encoding="zstd", body=b"noise"),
    ):
        with pytest.raises(ContentTypeRefused):
            result_of(desk, Event(task_id="t", state="SUCCESS", payload=payload)).value()


def test_a_reader_without_a_store_says_what_to_set(open_desk: Callable[..., Desk]) -> None:
    """And where the result rests."""
    desk = open_desk()
    reference = Reference(uri="s3://bucket/x", sha256=bytes(32), size=5)
    with pytest.raises(ConfigurationError, match=r"s3://bucket/x.*STREAMRESULTS_PAYLOAD_STORE"):
        result_of(desk, Event(task_id="t", state="SUCCESS", payload=json_payload(reference=reference))).value()


def test_a_compressed_result_is_read_without_any_setting(open_desk: Callable[..., Desk]) -> None:
    """Readers know both ways of compressing, whatever they publish with."""
    desk = open_desk()
    for encoding in ("gzip", "zstd"):
        body = compress(encoding, b'"%b"' % LARGE.encode())
        event = Event(task_id="t", state="SUCCESS", payload=json_payload(content_encoding=encoding, body=body))

        assert LARGE == result_of(desk, event).value()


def test_a_store_that_is_away_fails_the_publish_before_anything_is_sent(
    open_desk: Callable[..., Desk], tmp_path: Path
) -> None:
    """A reference to nothing never reaches the log."""
    (tmp_path / "file").write_text("")
    desk = open_desk(payload_store=str(tmp_path / "file" / "payloads"), payload_store_above=10)
    with pytest.raises(PayloadStoreUnavailable, match="could not be kept"):
        desk.publisher.succeeded("t", LARGE)

    assert [] == desk.events()


def test_an_unknown_kind_of_store_is_a_configuration_error(open_desk: Callable[..., Desk]) -> None:
    """When the publisher is opened, not at its first large result."""
    with pytest.raises(ConfigurationError, match="carrierpigeon"):
        open_desk(payload_store="carrierpigeon://roof")
    with pytest.raises(ConfigurationError, match="no compression is named 'lz'"):
        open_desk(compression="lz")


def test_many_threads_keep_the_same_object(open_desk: Callable[..., Desk], tmp_path: Path) -> None:
    """Nobody ever reads half of it, and nothing is left beside it."""
    desk = open_desk(payload_store=str(tmp_path))
    store, body = store_of(desk), b"x" * 100_000
    reference = keep(store, body)
    wrong: list[int] = []

    def work() -> None:
        for _ in range(20):
            keep(store, body)
            wrong.extend([1] if store.get(reference) != body else [])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)

    assert [] == wrong
    assert 1 == len([path for path in tmp_path.rglob("*") if path.is_file()])
