"""A verification tells the truth while compactors, publishers and retention are at work, and the view is lost."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.errors import VerificationMismatch
from streamresults.replay import verify
from streamresults.replay.verify import Verification
from tests.compacting import compacting
from tests.integration.replay_desk import compact, flush, one_partition, produce, publish, stored, trim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.replay import Replay
    from streamresults.topic.records import Record
    from streamresults.wiring import Wiring


@pytest.fixture
def replay(wiring: Wiring) -> Iterator[Replay]:
    """Give a replay."""
    with wiring.replay() as opened:
        yield opened


def test_clean_while_everything_moves(wiring: Wiring, replay: Replay) -> None:
    """A busy system verifies clean: tasks that are folded further meanwhile are compared where they are."""
    stop = threading.Event()
    ids = [f"task-{number}" for number in range(60)]

    def busy() -> None:
        publisher = wiring.publisher()
        number = 0
        while not stop.is_set():
            number += 1
            state = ("STARTED", "FAILURE")[number % 2]
            pending = [publisher.send(publisher.event(task_id, state, result=number)) for task_id in ids]
            pending[-1].future().result(30)
        publisher.close()

    publish(wiring, ids, "STARTED")
    compact(wiring)
    with compacting(wiring):
        thread = threading.Thread(target=busy)
        thread.start()
        try:
            founds = [replay.verify() for _ in range(4)]
        finally:
            stop.set()
            thread.join(30)
    compact(wiring)

    assert [()] * 4 == [found.differences for found in founds]
    assert [(True, 60)] * 4 == [(found.clean, found.matched) for found in founds]
    assert replay.verify().clean


def test_a_task_that_moved_is_compared_further_on(
    wiring: Wiring, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between folding the log and reading the view, a task changes: it is compared at its new offset."""
    first, second, third = one_partition(wiring, 3)
    publish(wiring, [first, second, third], "STARTED")
    compact(wiring)
    look = Verification.look
    moved: list[str] = []

    def late(self: Verification, partition: int, ids: tuple[str, ...]) -> Any:
        if not moved:
            moved.append("once")
            publish(wiring, [first, second], "RETRY")
            publish(wiring, [first])
            compact(wiring)
            stored(wiring, second, lambda data: data[:-1] + bytes([data[-1] ^ 1]))
        return look(self, partition, ids)

    monkeypatch.setattr(Verification, "look", late)
    found = replay.verify()

    assert [second] == [difference.task_id for difference in found.differences]
    assert 2 == found.matched


def test_a_task_that_goes_on_moving_is_compared_where_it_was(
    wiring: Wiring, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes after the offset that a value names is not folded into what it is compared with."""
    first, second = one_partition(wiring, 2)
    publish(wiring, [first, second], "STARTED")
    compact(wiring)
    look = Verification.look

    def late(self: Verification, partition: int, ids: tuple[str, ...]) -> Any:
        publish(wiring, [first, second], "RETRY")
        compact(wiring)
        return look(self, partition, ids)

    monkeypatch.setattr(Verification, "look", late)
    monkeypatch.setattr(verify, "_LOOK", 1)
    found = replay.verify()

    assert (True, 2) == (found.clean, found.matched)


def test_retention_while_verifying(memory_wiring: Wiring, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was folded before a cut is no contiguous range with what is behind it, and is not compared."""
    first, second = one_partition(memory_wiring, 2)
    publish(memory_wiring, [first])
    publish(memory_wiring, [second] * 1400, "STARTED")
    produce(memory_wiring, first.encode(), None, 1)
    publish(memory_wiring, [second] * 1000, "STARTED")
    compact(memory_wiring)
    summarize = Verification.summarize

    def cut(self: Verification, record: Record) -> Any:
        if record.offset() == 0:
            trim(memory_wiring, 1, 2000)
        return summarize(self, record)

    monkeypatch.setattr(Verification, "summarize", cut)
    with memory_wiring.replay() as replay:
        found = replay.verify()

    assert (True, 1) == (found.clean, found.matched)
    assert 2000 == found.partitions[1].begin
    assert "retention took [1000, 2000)" in found.partitions[1].note


def test_a_generation_that_begins_meanwhile(wiring: Wiring, replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    """A view that is begun afresh is compared afresh; one that never stays is given up, and that is not clean."""
    publish(wiring, one_partition(wiring, 3))
    compact(wiring)
    look = Verification.look
    flushes = 1

    def flushed(self: Verification, partition: int, ids: tuple[str, ...]) -> Any:
        nonlocal flushes
        if flushes:
            flushes -= 1
            flush(wiring)
            compact(wiring)
        return look(self, partition, ids)

    monkeypatch.setattr(Verification, "look", flushed)
    once = replay.verify()
    flushes = 99
    never = replay.verify()

    assert (True, 3) == (once.clean, once.matched)
    assert (False, [1]) == (never.clean, [part.partition for part in never.partitions if not part.finished])
    with pytest.raises(VerificationMismatch, match="partition 1"):
        never.raise_if_unclean()
