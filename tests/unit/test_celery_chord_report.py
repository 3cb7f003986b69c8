"""What is said of a chord that somebody asks about: how it stands, and what it waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import chord

from streamresults.celery.chord_report import report_on
from streamresults.errors import NotYetCovered, UnknownTask
from streamresults.store.parts import Claim
from tests.celery_chords import Desk, at_desk
from tests.compacting import compacting
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.celery.chord_report import Report


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Give a desk whose topic is folded, and where nobody looks at a chord again by itself."""
    with at_desk(result_chord_retry_interval=3_600) as found, compacting(found.wiring):
        yield found


def of(desk: Desk, name: str) -> Report:
    return report_on(desk.backend.connections, name)


def test_a_chord_is_found_by_its_group_and_by_its_body(desk: Desk) -> None:
    result, _ = desk.begin(desk.chord(1))

    assert of(desk, result.id) == of(desk, result.parent.id)
    assert (of(desk, result.id).body_id, of(desk, result.id).body_task) == (result.id, "body")


def test_parts_that_have_come_and_those_that_have_not_are_told_with_the_states_of_their_tasks(desk: Desk) -> None:
    result, requests = desk.begin(desk.chord(3))
    desk.done(requests[2], 1)
    desk.backend.store_result(requests[0].id, {}, "STARTED")
    desk.backend.connections.flush()

    eventually(lambda: of(desk, result.id).members[0].state == "STARTED")
    found = of(desk, result.id)

    assert (found.status, found.come, found.expected, found.stuck) == ("counting", 1, 3, False)
    assert [(one.task_id, one.come) for one in found.members] == [
        (requests[0].id, False),
        (requests[1].id, False),
        (requests[2].id, True),
    ]
    assert found.members[1].state == "UNKNOWN"
    assert found.why == "it waits for the members whose parts have not come"


def test_a_member_that_has_ended_without_being_counted_makes_the_chord_stuck_and_can_be_counted(desk: Desk) -> None:
    """As with a task that is revoked before a worker has it, and whose message is lost."""
    result, (one, two) = desk.begin(desk.chord(2))
    desk.done(one, 1)
    desk.backend.mark_as_revoked(two.id, "revoked")

    eventually(lambda: of(desk, result.id).stuck)
    assert "1 of the missing parts" in of(desk, result.id).why
    desk.backend.finish_chord(one.group)

    assert "TaskRevokedError" in str(desk.meta(result)["result"])
    eventually(lambda: of(desk, one.group).status == "failed")
    assert not of(desk, one.group).stuck


def test_a_chord_whose_body_was_sent_is_told_so_also_when_redis_has_forgotten_it(desk: Desk) -> None:
    _, requests = desk.begin(desk.chord(2))
    for request in requests:
        desk.done(request, 1)
    assert of(desk, requests[0].group).status == "sent"
    desk.backend.connections.flush()

    desk.store.flush()

    eventually(lambda: _status(desk, requests[0].group) == "sent")
    assert [one.come for one in of(desk, requests[0].group).members] == [True, True]


def _status(desk: Desk, name: str) -> str:
    """Return how a chord stands, as soon as the view can tell."""
    try:
        return of(desk, name).status
    except (UnknownTask, NotYetCovered):
        return "unknown"


def test_a_chord_that_was_lost_is_stuck_until_a_member_returns(desk: Desk) -> None:
    _, (one, two) = desk.begin(desk.chord(2))
    desk.done(one, 1)
    desk.store.flush()
    eventually(lambda: _status(desk, one.group) == "lost")
    assert of(desk, one.group).stuck

    desk.backend.finish_chord(one.group)
    assert of(desk, one.group).come == 1
    desk.done(two, 2)

    assert desk.bodies() == [[1, 2]]


@pytest.mark.parametrize(("ahead_ms", "status", "stuck"), [(0, "claimed", False), (3_600_000, "complete", True)])
def test_a_claim_that_is_held_and_one_whose_holder_has_died_are_told_apart(
    desk: Desk,
    ahead_ms: int,
    status: str,
    stuck: bool,  # noqa: FBT001
) -> None:
    result, (request,) = desk.begin(desk.chord(1))
    parts = desk.backend.connections.parts
    event = desk.backend._making.event(
        request.id, 7, "SUCCESS", traceback=None, request=None, children=None, expires=0.0
    )
    data = desk.wiring.codec().encode(event)
    parts.put(request.group, request.id, data, Claim("dead", 60_000), final=True, keep_ms=0)
    desk.ahead_ms += ahead_ms

    found = of(desk, result.id)
    desk.backend.finish_chord(request.group)

    assert (found.status, found.stuck) == (status, stuck)
    assert desk.bodies() == ([[7]] if stuck else [])


def test_a_header_whose_generator_was_not_read_to_its_end_is_told_so(desk: Desk) -> None:
    seen: list[Report] = []

    def tasks() -> Iterator[Any]:
        yield desk.task("member", 0)
        yield desk.task("member", 1)
        group_id = desk.sent[-1][2].group
        desk.done(desk.sent[-1][2], 0)
        seen.append(of(desk, group_id))
        yield desk.task("member", 2)

    desk.begin(chord(tasks(), desk.task("body")))

    assert (seen[0].status, seen[0].come, seen[0].expected) == ("counting", 1, None)
    assert "has not said yet how many tasks there are" in seen[0].why


def test_nobody_knows_a_chord_that_there_is_not(desk: Desk) -> None:
    with pytest.raises(UnknownTask, match=r"result\.parent\.id"):
        of(desk, "nobody")
