"""
What Kafka does not take rests on disk until it does, and nothing is dropped in silence.

We test these aspects: what is kept and what its callers are told, order, the way back, left-over spools, limits and
disks in trouble, damaged files, and that closing and forking lose nothing.
"""

from __future__ import annotations

import logging
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamresults.deadline import Deadline
from streamresults.errors import ConfigurationError, PublisherClosed, PublishFailed, RecordTooLarge, Spooled
from streamresults.publisher import spool_files
from streamresults.publisher.segments import SET_ASIDE, Header, Segment, SpooledRecord, left_over, packed, unpacked
from streamresults.settings import Settings
from streamresults.wiring import Wiring
from tests.unit.publisher_desk import SOON, Desk, in_thread, publisher_desks
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

open_desk = pytest.fixture(publisher_desks)

HEADER = Header(topic="results.schemas", fingerprint="00" * 8, definition="{}")


@pytest.fixture
def spooling(open_desk: Callable[..., Desk], tmp_path: Path) -> Callable[..., Desk]:
    """Give a function that opens a desk with a spool, short pauses and a warm publisher."""

    def opened(**settings: Any) -> Desk:
        desk = open_desk(**{"spool": str(tmp_path / "spool"), "retry_max_sleep_ms": 5, **settings})
        desk.publisher.warm()
        return desk

    return opened


def files(desk: Desk) -> list[str]:
    """Return what stands in the spool directory."""
    return sorted(path.name for path in Path(desk.wiring.settings.spool).glob("*"))


def test_an_outage_keeps_events_and_publishes_them_in_order(spooling: Callable[..., Desk]) -> None:
    """Callers go on at once, and what they were told is true: it is on the disk, and then it is in the log."""
    desk = spooling()
    desk.broker.fail("away")
    told = [desk.publisher.succeeded(f"t{number}", number) for number in range(20)]

    assert [None] * 20 == told
    assert [] == desk.events()
    assert 20 == desk.publisher.spooled

    desk.broker.fail(None)

    assert (0, 0) == desk.publisher.flush(SOON)
    assert [f"t{number}" for number in range(20)] == list(dict.fromkeys(event.task_id for event in desk.events()))
    assert [] == files(desk)


def test_after_an_outage_events_go_directly_again(spooling: Callable[..., Desk]) -> None:
    """With a position, as before."""
    desk = spooling()
    desk.broker.fail("away")
    desk.publisher.succeeded("a")
    desk.broker.fail(None)
    desk.publisher.flush(SOON)
    eventually(lambda: desk.publisher._spool is not None and not desk.publisher._spool.active, SOON)

    assert desk.publisher.succeeded("b") is not None
    assert ["a", "b"] == list(dict.fromkeys(event.task_id for event in desk.events()))


def test_what_is_not_acknowledged_in_time_is_kept_as_well(spooling: Callable[..., Desk]) -> None:
    """Should the brokers have it after all, they get the same event twice: its id says so."""
    desk = spooling()
    desk.broker.hold()
    event = desk.publisher.event("t", "SUCCESS")

    assert desk.publisher.publish(event, timeout=0.02) is None

    desk.broker.release()
    desk.publisher.flush(SOON)

    assert {event.event_id} == {found.event_id for found in desk.events()}
    assert 0 == desk.publisher.flush(0).failed


def test_events_that_do_not_end_a_task_are_kept_too(spooling: Callable[..., Desk]) -> None:
    """Nobody waits for them; they are neither lost nor counted as failed."""
    desk = spooling()
    desk.broker.fail("away")
    desk.publisher.started("t")
    desk.publisher.progress("t", 1)
    desk.publisher.succeeded("t")
    desk.broker.fail(None)

    assert (0, 0) == desk.publisher.flush(SOON)
    assert [("t", "STARTED"), ("t", "PROGRESS"), ("t", "SUCCESS")] == list(dict.fromkeys(desk.told()))


def test_who_asks_for_a_position_is_told_that_there_is_none_yet(spooling: Callable[..., Desk]) -> None:
    """By an error of its own, through every way of asking."""
    desk = spooling()
    desk.broker.fail("away")
    pending = desk.publisher.send(desk.publisher.event("t", "SUCCESS"))
    with pytest.raises(Spooled, match=r"kept in .*until Kafka is back.*away"):
        pending.position(SOON)

    assert isinstance(pending.future().exception(SOON), Spooled)
    assert [None, None] == desk.publisher.publish_many([desk.publisher.event(task, "SUCCESS") for task in "ab"])


def test_kafka_may_be_away_when_the_publisher_is_opened(open_desk: Callable[..., Desk], tmp_path: Path) -> None:
    """Its schema goes first, when it is back."""
    desk = open_desk(spool=str(tmp_path), retry_max_sleep_ms=5, publish_timeout=0.05)
    desk.broker.fail("away")

    assert desk.publisher.succeeded("t") is None

    desk.broker.fail(None)
    desk.publisher.flush(SOON)

    assert [("t", "SUCCESS")] == desk.told()
    assert [desk.wiring.codec().fingerprint] == desk.schemas()[:1]


def test_what_a_dead_process_has_left_is_published_by_the_next(spooling: Callable[..., Desk]) -> None:
    """Closing lets go of it as a crash does; the same event ids arrive."""
    desk = spooling()
    desk.broker.fail("away")
    events = [desk.publisher.event(f"t{number}", "SUCCESS") for number in range(5)]
    for event in events:
        desk.publisher.publish(event)
    desk.publisher.close(0)
    desk.broker.fail(None)

    assert files(desk)

    with desk.open() as second:
        second.warm()
        eventually(lambda: not files(desk), SOON)

    assert [event.event_id for event in events] == [found.event_id for found in desk.events()]


def test_a_living_process_keeps_its_spool(spooling: Callable[..., Desk]) -> None:
    """Only its owner publishes from it: else every event would arrive twice, and out of order."""
    desk = spooling()
    desk.broker.fail("away")
    desk.publisher.succeeded("t")

    assert [None] * len(files(desk)) == [Segment.claim(path) for path in left_over(Path(desk.wiring.settings.spool))]
    assert files(desk)


def test_what_is_in_the_queue_when_it_is_closed_is_kept(spooling: Callable[..., Desk]) -> None:
    """The brokers do not answer, and the process ends."""
    desk = spooling()
    desk.broker.hold()
    for number in range(10):
        desk.publisher.started(f"t{number}")
    desk.publisher.close(0)
    claimed = [Segment.claim(path) for path in left_over(Path(desk.wiring.settings.spool))]
    kept = [record.key for segment in claimed if segment is not None for record in segment.read().records]
    for segment in claimed:
        if segment is not None:
            segment.release()

    assert [b"t%d" % number for number in range(10)] == kept


def test_a_closed_publisher_says_so_with_a_spool_too(spooling: Callable[..., Desk]) -> None:
    """It does not fill the disk behind nobody's back."""
    desk = spooling()
    desk.broker.fail("away")
    desk.publisher.succeeded("t")
    desk.publisher.close(0)
    with pytest.raises(PublisherClosed):
        desk.publisher.succeeded("t")


def test_a_full_spool_fails_the_publish(spooling: Callable[..., Desk]) -> None:
    """The caller learns it, it is counted, and what was kept before stays."""
    desk = spooling(spool_bytes=40_000)
    desk.broker.fail("away")
    desk.publisher.succeeded("a")
    with pytest.raises(PublishFailed, match=r"not in the log.*it is full, with spool_bytes at 40000") as caught:
        desk.publisher.succeeded("b", "x" * 50_000)

    assert ("b", False) == (caught.value.task_id, caught.value.written)
    assert (1, 1) == (desk.publisher.spooled, desk.publisher.flush(0).failed)

    desk.broker.fail(None)
    desk.publisher.flush(SOON)

    assert ["a"] == list(dict.fromkeys(event.task_id for event in desk.events()))


def test_a_disk_that_refuses_fails_the_publish(open_desk: Callable[..., Desk], tmp_path: Path) -> None:
    """Here the directory has become a file."""
    desk = open_desk(spool=str(tmp_path / "spool"), retry_max_sleep_ms=5)
    desk.publisher.warm()
    (tmp_path / "spool").rmdir()
    (tmp_path / "spool").write_text("")
    desk.broker.fail("away")
    with pytest.raises(PublishFailed, match=r"did not take it: .*Not a directory"):
        desk.publisher.succeeded("t")


@pytest.mark.parametrize("made", ["", "file/spool"])
def test_a_spool_that_could_keep_nothing_is_refused_before_the_outage(
    memory_wiring: Wiring, tmp_path: Path, made: str
) -> None:
    """Where it is a file, or would be in one; the error names the setting."""
    (tmp_path / "file").write_text("")
    where = str(tmp_path / (made or "file"))
    wiring = Wiring(Settings(spool=where), broker=memory_wiring.broker())
    with pytest.raises(ConfigurationError, match=f"spool names '{where}', where nothing can be kept: "):
        wiring.publisher()


def test_a_record_that_is_too_large_is_not_kept(spooling: Callable[..., Desk]) -> None:
    """No outage ends that would help."""
    desk = spooling(record_bytes=20_000)
    with pytest.raises(RecordTooLarge):
        desk.publisher.succeeded("t", "x" * 30_000)

    assert [] == files(desk)


def test_segments_of_another_topic_are_left_alone(
    spooling: Callable[..., Desk], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They would become results of a topic that they do not belong to."""
    header = Header(topic="others.schemas", fingerprint="00" * 8, definition="{}")
    stranger = Segment.create(tmp_path / "spool", header)
    stranger.append([packed(b"k", b"v")])
    stranger.release()
    desk = spooling()
    eventually(lambda: "holds events of another topic" in caplog.text, SOON)

    assert [stranger.path.name] == files(desk)
    assert [] == desk.events()


def test_a_schema_of_another_release_goes_before_its_events(spooling: Callable[..., Desk], tmp_path: Path) -> None:
    """That release may never have reached Kafka; without its schema its events would be dead letters."""
    left = Segment.create(tmp_path / "spool", HEADER)
    left.append([packed(b"k", b"v")])
    left.release()
    desk = spooling()
    eventually(lambda: not files(desk), SOON)

    assert bytes(8) in desk.schemas()


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_an_end_torn_by_a_crash_is_set_aside(
    spooling: Callable[..., Desk], tmp_path: Path, caplog: pytest.LogCaptureFixture, cut: int
) -> None:
    """What is sound is published; what is not is kept for people, and said."""
    codec = spooling().wiring.codec()
    desk = spooling()
    event = desk.publisher.event("t", "SUCCESS")
    record = packed(b"t", codec.encode(event))
    left = Segment.create(tmp_path / "spool", HEADER)
    left.append([record, record])
    left.release()
    os.truncate(left.path, left.size - cut)
    with caplog.at_level(logging.ERROR), desk.open() as second:
        second.warm()
        eventually(lambda: files(desk) == [left.path.name + SET_ASIDE], SOON)

    assert [event.event_id] == [found.event_id for found in desk.events()]
    assert f"{len(record) - cut} bytes cannot be read" in caplog.text


def test_several_segments_are_published_in_order(
    spooling: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events do not overtake each other where a file is full."""
    monkeypatch.setattr(spool_files, "SEGMENT_BYTES", 4000)
    desk = spooling()
    desk.broker.fail("away")
    for number in range(50):
        desk.publisher.succeeded(f"t{number}", "x" * 500)

    assert len(files(desk)) > 3

    desk.broker.fail(None)
    desk.publisher.flush(SOON)

    assert [f"t{number}" for number in range(50)] == list(dict.fromkeys(event.task_id for event in desk.events()))


def test_many_threads_meet_an_outage(spooling: Callable[..., Desk]) -> None:
    """Each task's events keep their order, whoever publishes when Kafka goes and comes."""
    desk = spooling()
    states = ["STARTED", "PROGRESS", "RETRY", "SUCCESS"]

    def work(task: str) -> None:
        for state in states:
            desk.publisher.publish(desk.publisher.event(task, state), timeout=SOON)

    desk.broker.fail("away")
    threads = [in_thread(lambda task=f"t{n}": work(task))[0] for n in range(20)]  # type: ignore[misc]
    eventually(lambda: desk.publisher.spooled > 20, SOON)
    desk.broker.fail(None)
    for thread in threads:
        thread.join(SOON)

    assert (0, 0) == desk.publisher.flush(SOON)
    found = list(dict.fromkeys(desk.told()))
    assert {f"t{n}": set(states) for n in range(20)} == {
        task: {state for name, state in found if name == task} for task, _ in found
    }


@given(st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=200)), max_size=12), st.data())
def test_whatever_a_crash_leaves_is_a_beginning(records: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    """A file that ends anywhere yields the records before its end, whole and in order, and says what is unread."""
    told = msgspec.json.encode(HEADER)
    head = b"SRSPOOL1" + struct.pack("<I", len(told)) + told
    pieces = [packed(key, value) for key, value in records]
    whole = head + b"".join(pieces)
    end = data.draw(st.integers(0, len(whole)))
    contents = unpacked(whole[:end])
    sound = 0
    while sound < len(pieces) and len(head) + sum(map(len, pieces[: sound + 1])) <= end:
        sound += 1

    assert [SpooledRecord(*record) for record in records[: sound if end >= len(head) else 0]] == contents.records
    assert end == contents.unread + (len(head) + sum(map(len, pieces[:sound])) if end >= len(head) else 0)


@given(st.binary(max_size=300), st.integers(0, 10_000))
def test_damage_is_never_taken_for_a_record(noise: bytes, at: int) -> None:
    """A flipped byte in a record, or any noise at all, never raises and never yields what was not written."""
    record = packed(b"key", b"value" * 10)
    place = at % len(record)
    flipped = record[:place] + bytes([record[place] ^ 0xFF]) + record[place + 1 :]
    told = msgspec.json.encode(HEADER)
    contents = unpacked(b"SRSPOOL1" + struct.pack("<I", len(told)) + told + record + flipped)

    assert [SpooledRecord(b"key", b"value" * 10)] == contents.records
    assert len(flipped) == contents.unread
    assert len(noise) == unpacked(noise).unread


def test_a_batch_that_half_fits_on_the_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what is written behind half a record could not be read."""
    segment = Segment.create(tmp_path, HEADER)
    segment.append([packed(b"a", b"1")])
    write = os.write

    def half(handle: int, data: memoryview) -> int:
        write(handle, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space"):
        segment.append([packed(b"b", b"2" * 100)])
    monkeypatch.undo()
    segment.append([packed(b"c", b"3")])

    assert ([b"a", b"c"], 0) == ([key for key, _ in segment.read().records], segment.read().unread)
    segment.release()


def test_a_forked_child_leaves_the_spool_to_its_parent(spooling: Callable[..., Desk]) -> None:
    """It neither publishes nor unlocks what the parent keeps."""
    desk = spooling()
    desk.broker.fail("away")
    desk.publisher.succeeded("t")
    (path,) = left_over(Path(desk.wiring.settings.spool))
    spool = desk.publisher._spool
    assert spool is not None
    child = os.fork()
    if not child:  # no threads came along, and nothing of pytest may run here
        os._exit(0 if (spool.kept, spool.active, Segment.claim(path)) == (0, False, None) else 1)
    _, status = os.waitpid(child, 0)

    assert 0 == status
    assert Segment.claim(path) is None
    assert 1 == spool.wait_until_published(Deadline(0))
