"""
A chord fails once all its members have ended and one of them has failed; no body is sent, and no wait hangs.

We test these aspects: the error and its cause; members that are revoked; errbacks of bodies and of headers; chords and
chains inside a header; parts and bodies that cannot be encoded or sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from celery import VERSION, chain, chord, group
from celery.exceptions import ChordError
from kombu.exceptions import EncodeError

from tests.celery_chords import Desk, at_desk

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Give a desk with Celery's defaults."""
    with at_desk() as found:
        yield found


def test_a_chord_fails_when_all_members_have_ended_and_its_error_has_the_members_as_its_cause(desk: Desk) -> None:
    result, (one, two, three) = desk.begin(desk.chord(3))
    desk.failed(three, "third")
    desk.failed(two, "second")
    assert desk.meta(result)["status"] == "PENDING"

    desk.done(one, 1)

    error = desk.meta(result)["result"]
    assert type(error) is ChordError
    assert str(error) == f"Dependency {two.id} raised ValueError('second')"
    assert type(error.__cause__) is ValueError


def test_a_member_that_was_revoked_fails_its_chord(desk: Desk) -> None:
    result, (request,) = desk.begin(desk.chord(1))

    desk.revoked(request)

    assert "TaskRevokedError" in str(desk.meta(result)["result"])


@pytest.mark.parametrize(
    "kind",
    ["task", "chain", pytest.param("group", marks=pytest.mark.skipif(VERSION < (5, 7), reason="Celery calls none"))],
)
def test_errbacks_of_the_body_are_called_when_its_header_fails(desk: Desk, kind: str) -> None:
    task = desk.task("body")
    bodies = {"task": task, "group": group(task, desk.task("after")), "chain": chain(task, desk.task("after"))}
    bodies[kind].link_error(desk.task("errback"))
    _, (request,) = desk.begin(desk.chord(1, bodies[kind]))

    desk.failed(request)

    assert desk.bodies() == []
    assert [name for name, _, _ in desk.sent].count("errback") >= 1


def test_errbacks_of_a_chord_stand_at_its_header_too_where_that_is_allowed() -> None:
    with at_desk(task_allow_error_cb_on_chord_header=True) as desk:
        canvas = desk.chord(2)
        canvas.link_error(desk.task("errback"))
        _, requests = desk.begin(canvas)

        for request in requests:
            desk.failed(request)

        assert [name for name, _, _ in desk.sent] == ["errback"] * 3


@pytest.mark.parametrize("inner_body", ["task", "group", "chain", "chord"])
def test_a_chord_in_a_header_that_fails_fails_the_one_around_it(desk: Desk, inner_body: str) -> None:
    """Celery's own Redis backend waits for ever here."""
    task = desk.task("after")
    bodies = {
        "task": task,
        "group": group(task, task),
        "chain": chain(task, task),
        "chord": chord([task, task], task),
    }
    result, (outer, inner) = desk.begin(
        chord([desk.task("member"), desk.chord(1, bodies[inner_body])], desk.task("body"))
    )
    desk.done(outer, 1)

    desk.failed(inner)

    assert desk.meta(result)["status"] == "FAILURE"
    assert desk.bodies() == []


def test_a_chain_in_a_header_that_fails_before_its_group_fails_the_chord(desk: Desk) -> None:
    """Celery's own Redis backend waits for ever here."""
    inner = group(desk.task("after"), desk.task("after"))
    result, (request, other) = desk.begin(
        chord([chain(desk.task("member"), inner), desk.task("member")], desk.task("body"))
    )
    desk.done(other, 1)

    desk.failed(request)

    assert desk.meta(result)["status"] == "FAILURE"
    leaves = [leaf for member in result.parent.results for leaf in getattr(member, "results", [])]
    assert [desk.meta(leaf)["status"] for leaf in leaves] == ["FAILURE", "FAILURE"]


def test_a_member_whose_part_cannot_be_encoded_says_so(desk: Desk) -> None:
    _, (request,) = desk.begin(desk.chord(1, name="ignored"))

    with pytest.raises(EncodeError):
        desk.done(request, object())


def test_a_body_that_cannot_be_sent_fails() -> None:
    with at_desk(task_create_missing_queues=False) as desk:
        result, (request,) = desk.begin(desk.chord(1, desk.task("body").set(queue="nowhere")))

        desk.done(request, 1)

        assert str(desk.meta(result)["result"]).startswith("Callback error:")
