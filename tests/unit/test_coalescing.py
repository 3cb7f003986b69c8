"""
Polls of a busy topic are kept apart, and those of a quiet one are not.

We test these aspects: the distance by itself, at any moments; that the reader keeps it while many wait, and never while
few do; that the compactor keeps it.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamresults.client.reading import _APART_FOR_MANY
from streamresults.client.waits import _MANY
from streamresults.compactor.compactor import _APART
from streamresults.topic.coalescing import Coalescing
from tests.unit.desk import SOON, Desk
from tests.unit.test_compactor import Bench
from tests.waiting import eventually

if TYPE_CHECKING:
    from streamresults.topic.records import Polled

#: Records that come one by one, each when the one before it was handled.
RECORDS = 20


@given(st.lists(st.floats(0, 10), max_size=50), st.floats(0.001, 5))
def test_ends_of_rests_are_apart_and_no_rest_is_longer(gaps: list[float], apart: float) -> None:
    coalescing, now, ended = Coalescing(apart), 1000.0, 0.0
    for number, gap in enumerate(gaps):
        now += gap
        left = coalescing.left(now)
        assert 0 <= left <= apart * (1 + 1e-9)
        assert now + left - ended >= apart - 1e-9, number
        now = ended = now + left


def test_who_comes_after_a_silence_is_not_held_up() -> None:
    coalescing = Coalescing(1.0)

    assert [coalescing.left(at) for at in (1000.0, 1001.0, 1001.5, 1010.0)] == [0.0, 0.0, 0.5, 0.0]


@pytest.mark.parametrize("waits", [_MANY + RECORDS, _MANY - 1])
def test_the_reader_rests_while_many_wait(desk: Desk, monkeypatch: pytest.MonkeyPatch, waits: int) -> None:
    rests: list[float] = []
    rest = Coalescing.rest

    def rest_and_tell(coalescing: Coalescing) -> None:
        rest(coalescing)
        rests.append(time.monotonic())

    monkeypatch.setattr(Coalescing, "rest", rest_and_tell)
    desk.fold()
    ended = {f"t{number}": threading.Event() for number in range(waits)}
    for task in ended:
        desk.client.on_result(task, lambda result: ended[result.task_id].set())
    eventually(lambda: {one.phase.value for one in desk.everybody()} == {"asleep"}, SOON)
    assert len(desk.everybody()) == waits

    began = time.monotonic()
    for task in list(ended)[:RECORDS]:
        desk.publish(task, "SUCCESS")
        assert ended[task].wait(SOON)

    if waits < _MANY:
        assert not rests
    else:
        eventually(lambda: len(rests) == RECORDS, SOON, "each of them was followed by a rest")
        # From before the first one: whatever holds this thread up makes it longer.
        assert rests[-1] - began >= (RECORDS - 1) * _APART_FOR_MANY


def test_the_compactor_rests_between_records_that_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    came: list[float] = []
    poll = bench.compactor._group.poll

    def poll_and_tell(timeout: float) -> Polled:
        polled = poll(timeout)
        if polled.records:
            came.append(time.monotonic())
        return polled

    patched: Any = bench.compactor._group
    monkeypatch.setattr(patched, "poll", poll_and_tell)
    for number in range(RECORDS):
        bench.publish(f"t{number}")
        bench.steps(1)

    assert len(came) == RECORDS
    # Nothing had come before the first one, and it is the second that the first rest follows.
    assert came[-1] - came[0] >= (RECORDS - 2) * _APART
