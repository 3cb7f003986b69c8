"""
Parts that went down with a primary of Redis, because no replica had got them, though their tasks have ended.

We test these aspects: who notices, and when it is over; that nothing is counted that was not counted once; that a chord
which cannot be looked at keeps nobody from the others.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from celery import chain, chord

from streamresults.celery.chord_layout import part_id
from streamresults.store.memory_parts import MemoryParts
from tests.celery_chords import LATER, Desk, at_desk
from tests.compacting import compacting
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery.app.task import Context


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Give a desk whose topic is folded."""
    with at_desk() as desk, compacting(desk.wiring):
        yield desk


def fail_over(desk: Desk, request: Context, *lost: Context) -> None:
    """Have the primary that counts a task's chord replaced by one that has not got some of its parts."""
    parts = desk.backend.connections.parts
    assert isinstance(parts, MemoryParts)
    parts.fail_over(request.group, [one.id for one in lost])


def sweep(desk: Desk) -> None:
    """Do what the main process of a worker does now and then, when everything is due."""
    desk.ahead_ms += LATER
    desk.backend._accounts.sweep()


def folded(desk: Desk, *requests: Context) -> None:
    """Wait until the view shows that tasks have ended."""
    for request in requests:
        desk.wiring.client().lookup(request.id, fresh=True)


def suspected(desk: Desk, request: Context) -> bool:
    return bool(desk.backend.connections.parts.suspect(request.group))


def test_a_worker_counts_what_was_lost_and_sends_the_body_once(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    _, requests = desk.begin(desk.chord(3))
    for number, request in enumerate(requests):
        if number < 2:
            desk.done(request, number)
    folded(desk, *requests[:2])
    fail_over(desk, requests[0], requests[0], requests[1])
    desk.another_process()
    desk.done(requests[2], 2)
    assert desk.bodies() == []
    caplog.set_level(logging.WARNING)

    sweep(desk)
    sweep(desk)
    desk.done(requests[0], 0)

    assert desk.bodies() == [[0, 1, 2]]
    assert caplog.text.count("2 parts were lost with a primary of Redis") == 1


def test_a_part_whose_task_stores_no_result_is_counted_from_its_own_record(desk: Desk) -> None:
    _, (one, two) = desk.begin(desk.chord(2, name="ignored"))
    desk.backend.mark_as_done(one.id, "ignored", one, store_result=False)
    desk.wiring.client().lookup(part_id(one.group, one.id), fresh=True)
    fail_over(desk, one, one)
    desk.backend.mark_as_done(two.id, "too", two, store_result=False)

    sweep(desk)

    assert desk.bodies() == [["ignored", "too"]]


def test_the_failure_of_a_chain_before_its_last_link_is_counted_too(desk: Desk) -> None:
    header = [chain(desk.task(), desk.task()), desk.task()]
    result, (first, other) = desk.begin(chord(header, desk.task("body")))
    desk.failed(first, "lost and found")
    last = first.chain[0]["options"]["task_id"]
    desk.wiring.client().lookup(last, fresh=True)
    parts = desk.backend.connections.parts
    assert isinstance(parts, MemoryParts)
    parts.fail_over(other.group, [last])
    desk.done(other, 1)

    sweep(desk)

    assert "lost and found" in str(desk.meta(result)["result"])


def test_nobody_looks_into_the_log_while_the_primary_is_the_same(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    _, requests = desk.begin(desk.chord(2))
    desk.done(requests[0], 0)
    monkeypatch.setattr(desk.backend.connections.client, "lookup_many", pytest.fail)

    sweep(desk)

    assert desk.bodies() == []


def test_it_is_over_once_the_view_shows_all_that_the_log_held_at_the_failover(desk: Desk) -> None:
    """It may have lost something itself, which the compactors bring back."""
    _, requests = desk.begin(desk.chord(2))
    fail_over(desk, requests[0])

    sweep(desk)
    assert suspected(desk, requests[0])

    def over() -> bool:
        desk.backend._accounts.sweep()
        desk.ahead_ms += 60_000
        return not suspected(desk, requests[0])

    eventually(over)
    fail_over(desk, requests[0])
    assert suspected(desk, requests[0])


def test_it_is_not_over_while_no_view_shows_it() -> None:
    with at_desk() as desk:
        _, requests = desk.begin(desk.chord(2))
        desk.done(requests[0], 0)
        fail_over(desk, requests[0], requests[0])
        for _ in range(3):
            sweep(desk)
        assert suspected(desk, requests[0])

        with compacting(desk.wiring):
            folded(desk, requests[0])
            sweep(desk)
            desk.done(requests[1], 1)

        assert desk.bodies() == [[0, 1]]


def test_an_end_that_was_never_counted_is_not_counted(desk: Desk) -> None:
    """A task that is revoked before any worker had it may run all the same, where it has begun already."""
    _, requests = desk.begin(desk.chord(2))
    desk.backend.mark_as_revoked(requests[1].id, "revoked")
    desk.done(requests[0], 0)
    folded(desk, *requests)
    fail_over(desk, requests[0], requests[0])

    sweep(desk)

    found = desk.parts(requests[0])
    assert found is not None
    assert list(found.parts) == [requests[0].id]
    desk.done(requests[1], 1)
    assert desk.bodies() == [[0, 1]]


def test_another_run_of_a_frozen_chord_does_not_count_the_ends_of_the_one_before(desk: Desk) -> None:
    canvas = desk.chord(2)
    canvas.freeze()
    _, requests = desk.begin(canvas)
    for request in requests:
        desk.done(request, 1)
    folded(desk, *requests)
    _, requests = desk.begin(canvas)
    fail_over(desk, requests[0])

    sweep(desk)

    assert desk.bodies() == []


def test_a_chord_whose_body_cannot_be_sent_keeps_nobody_from_the_others(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    chords = [desk.begin(desk.chord(2))[1] for _ in range(2)]
    for one, two in chords:
        desk.done(one, 0)
        folded(desk, one)
        fail_over(desk, one, one)
        desk.done(two, 1)
    accounts = desk.backend._accounts
    recount, bad = accounts._suspicion.recount, min(one.group for one, _ in chords)

    def recounted(group_id: str, put: object) -> bool:
        if group_id == bad:
            raise ValueError(group_id)
        return recount(group_id, put)  # type: ignore[arg-type]  # as given

    monkeypatch.setattr(accounts._suspicion, "recount", recounted)
    sweep(desk)

    assert desk.bodies() == [[0, 1]]
