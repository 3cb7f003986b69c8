"""
What was counted of a chord is lost with Redis, and counted again from the log.

We test these aspects: members that ended, failed or were added before the loss, with results and without; nested
headers; bodies that have been sent; frozen chords that run again; chords that nobody knows.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from celery import chain, chord, group

from streamresults.celery.chord_layout import record_id
from tests.celery_chords import Desk, at_desk
from tests.compacting import compacting
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def folded() -> Iterator[Desk]:
    """Give a desk whose topic is folded, and where looks are made again at once."""
    with at_desk(result_chord_retry_interval=0.01) as desk, compacting(desk.wiring):
        yield desk


def test_parts_that_were_lost_are_counted_again_from_the_log(folded: Desk) -> None:
    _, requests = folded.begin(folded.chord(4))
    folded.done(requests[2], 2)
    folded.done(requests[0], 0)
    folded.store.flush()
    folded.another_process()

    folded.done(requests[1], 1)
    folded.done(requests[3], 3)

    eventually(lambda: folded.bodies() == [[0, 1, 2, 3]])


def test_members_that_failed_before_the_loss_fail_the_chord_after_it(folded: Desk) -> None:
    result, requests = folded.begin(folded.chord(2))
    folded.failed(requests[0], "lost and found")
    folded.store.flush()

    folded.done(requests[1], 1)

    eventually(lambda: "lost and found" in str(folded.meta(result)["result"]))


def test_members_whose_results_are_ignored_are_found_in_the_log_too(folded: Desk) -> None:
    _, requests = folded.begin(folded.chord(2, name="ignored"))
    folded.backend.mark_as_done(requests[0].id, "ignored", requests[0], store_result=False)
    folded.store.flush()

    folded.backend.mark_as_done(requests[1].id, "too", requests[1], store_result=False)

    eventually(lambda: folded.bodies() == [["ignored", "too"]])


def test_the_nesting_of_a_header_survives_the_loss(folded: Desk) -> None:
    header = [chain(folded.task("member"), group(folded.task("member"), folded.task("member"))), folded.task("member")]
    _, (first, last) = folded.begin(chord(header, folded.task("body")))
    _, inner = folded.begin(folded.rest_of(first))
    folded.done(inner[1], "b")
    folded.store.flush()

    folded.done(last, "c")
    folded.done(inner[0], "a")

    eventually(lambda: folded.bodies() == [[["a", "b"], "c"]])


def test_the_places_of_a_frozen_task_out_of_a_generator_survive_the_loss(folded: Desk) -> None:
    task = folded.task("member")
    task.freeze()
    header = [task, folded.task("member"), task]
    _, (one, other, two) = folded.begin(chord((given for given in header), folded.task("body")))
    folded.store.flush()

    for request, value in ((one, 5), (two, 5), (other, 6)):
        folded.done(request, value)

    eventually(lambda: folded.bodies() == [[5, 6, 5]])


def test_added_tasks_are_waited_for_after_the_loss(folded: Desk) -> None:
    _, (one, two) = folded.begin(folded.chord(2))
    added = folded.task("member")
    added.options.update(group_id=one.group, group_index=one.group_index, chord=one.chord)
    folded.backend.add_to_chord(one.group, added.freeze())
    added.delay()
    (late,) = [request for _, _, request in folded.sent]
    folded.store.flush()

    folded.done(one, 1)
    folded.done(two, 2)
    eventually(lambda: len(getattr(folded.parts(one), "added", ())) == 1)
    assert folded.bodies() == []
    folded.done(late, "late")

    eventually(lambda: folded.bodies() == [[1, "late", 2]])


def test_a_body_that_was_sent_before_the_loss_is_not_sent_again(folded: Desk) -> None:
    _, (request,) = folded.begin(folded.chord(1))
    folded.done(request, 1)
    folded.backend.connections.flush()
    folded.store.flush()
    folded.another_process()

    folded.done(request, 1)

    eventually(lambda: getattr(folded.parts(request), "settled", False))
    assert len(folded.bodies()) == 1


def test_another_run_of_a_frozen_chord_is_counted_again_too(folded: Desk) -> None:
    canvas = folded.chord(2)
    canvas.freeze()
    _, requests = folded.begin(canvas)
    for request in requests:
        folded.done(request, 1)
    _, requests = folded.begin(canvas)
    folded.store.flush()

    for request in requests:
        folded.done(request, 1)

    eventually(lambda: folded.bodies() == [[1, 1]])


def test_a_chord_that_nobody_knows_is_told_once_and_left_alone(folded: Desk, caplog: pytest.LogCaptureFixture) -> None:
    _, (request, _) = folded.begin(folded.chord(2))
    folded.backend.connections.forget(record_id(request.group))
    folded.store.flush()
    caplog.set_level(logging.WARNING)

    folded.done(request, 1)
    eventually(lambda: getattr(folded.parts(request), "settled", False))
    folded.done(request, 1)

    assert caplog.text.count("neither Redis nor the log knows it") == 1
