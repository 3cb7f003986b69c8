"""
How the parts of chords are counted: the body is sent once, with the header's order, whatever the members do.

We test these aspects: members that end in any order, again and again, and members of members; those whose results are
ignored, that are added later, that stand in a header twice; frozen chords; how long what was counted is kept.
"""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
from celery import chain, chord, group
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.celery_chords import LATER, Desk, at_desk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Give a desk with Celery's defaults."""
    with at_desk() as found:
        yield found


@pytest.fixture(scope="module")
def shared() -> Iterator[Desk]:
    """Give one that many chords go through."""
    with at_desk() as found:
        yield found


# -- once, and in order -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_body_gets_the_values_in_the_headers_order(shared: Desk, order: tuple[int, ...]) -> None:
    _, requests = shared.begin(shared.chord(3))

    for number in order:
        assert shared.bodies() == []
        shared.done(requests[number], number * 10)

    assert shared.bodies() == [[0, 10, 20]]


@pytest.mark.parametrize("ordered", [True, False])
def test_a_header_that_comes_out_of_a_generator_is_counted_too(ordered: bool) -> None:  # noqa: FBT001
    with at_desk(result_backend_transport_options={"result_chord_ordered": ordered}) as desk:
        _, requests = desk.begin(chord((desk.task("member", number) for number in range(3)), desk.task("body")))

        for number in (2, 0, 1):
            desk.done(requests[number], number)

        assert desk.bodies() == [[0, 1, 2]]


def test_groups_out_of_a_generator_come_in_the_order_of_celerys_numbers_and_then_as_they_ended(shared: Desk) -> None:
    """Celery numbers the members of each from 0, and their ids are not known before they are sent."""
    groups = (group(shared.task("member", letter, number) for number in range(2)) for letter in "ab")
    _, requests = shared.begin(chord(groups, shared.task("body")))
    assert [request.group_index for request in requests] == [0, 1, 0, 1]

    for name, request in reversed(list(zip(["a0", "a1", "b0", "b1"], requests, strict=True))):
        shared.done(request, name)

    assert shared.bodies() == [["b0", "a0", "b1", "a1"]]


def test_the_body_is_sent_under_the_id_that_its_result_was_given(desk: Desk) -> None:
    result, (request,) = desk.begin(desk.chord(1))

    desk.done(request, 1)

    assert [sent.id for _, _, sent in desk.sent] == [result.id]


#: What may be said of a member: retry, done, failed, revoked.
_said = st.sampled_from("tdfr")


@st.composite
def runs(draw: st.DrawFn) -> list[tuple[int, str]]:
    """Draw what is said of which member, in which order; everything may be said again and again."""
    count = draw(st.integers(1, 4))
    told = [(number, draw(st.sampled_from("ddddfr"))) for number in range(count)]
    told += draw(st.lists(st.tuples(st.integers(0, count - 1), _said), max_size=10))
    return draw(st.permutations(told))


def expected(run: list[tuple[int, str]]) -> list[Any] | int:
    """Return what the body is to be called with, or the first member by which the chord fails."""
    count = len({number for number, _ in run})
    ends: dict[int, tuple[str, int]] = {}
    for step, (number, said) in enumerate(run):
        if said != "t" and (number not in ends or (said == "d" and ends[number][0] != "d")):
            ends[number] = (said, step)
        if len(ends) == count:
            break
    values = [ends[number] for number in range(count)]
    bad = [number for number, (said, _) in enumerate(values) if said != "d"]
    return bad[0] if bad else [step for _, step in values]


@settings(max_examples=150, deadline=None)
@given(runs())
def test_whatever_is_said_of_the_members_the_body_ends_once(shared: Desk, run: list[tuple[int, str]]) -> None:
    result, requests = shared.begin(shared.chord(len({number for number, _ in run})))
    for step, (number, said) in enumerate(run):
        request = requests[number]
        if said == "t":
            shared.backend.mark_as_retry(request.id, ValueError("again"), "traceback", request)
        elif said == "d":
            shared.done(request, step)
        elif said == "f":
            shared.failed(request)
        else:
            shared.revoked(request)
    wanted = expected(run)
    bodies, meta = shared.bodies(), shared.meta(result)

    if isinstance(wanted, list):
        assert (bodies, meta["status"]) == ([wanted], "PENDING")
    else:
        assert (bodies, meta["status"]) == ([], "FAILURE")
        assert requests[wanted].id in str(meta["result"])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_members_of_members_keep_their_places(shared: Desk, data: st.DataObject) -> None:
    header = [
        shared.task("member"),
        chain(shared.task("member"), group(shared.task("member"), shared.task("member"))),
        chord([shared.task("member")], shared.task("member")),
    ]
    _, sent = shared.begin(chord(header, shared.task("body")))
    first, before_group, inner = sent
    _, group_members = shared.begin(shared.rest_of(before_group))
    shared.done(inner, 0)
    _, _, inner_body = shared.sent.pop()
    ends = [first, *group_members, inner_body]

    for number in data.draw(st.permutations(range(4))):
        shared.done(ends[number], number)

    assert shared.bodies() == [[0, [1, 2], 3]]


# -- members of other kinds -------------------------------------------------------------------------------------------


def test_members_whose_results_are_ignored_are_counted(desk: Desk) -> None:
    _, requests = desk.begin(desk.chord(2, name="ignored"))

    for number, request in enumerate(requests):
        desk.backend.mark_as_done(request.id, number, request, store_result=False)

    assert desk.bodies() == [[0, 1]]


def test_a_task_that_was_added_stands_behind_the_one_that_added_it(desk: Desk) -> None:
    _, (one, two) = desk.begin(desk.chord(2))
    added = [desk.task("member") for _ in range(2)]
    for signature in added:
        signature.options.update(group_id=one.group, group_index=one.group_index, chord=one.chord)
        desk.backend.add_to_chord(one.group, signature.freeze())
        signature.delay()
    late = [request for _, _, request in desk.sent]
    desk.done(late[1], "b")
    desk.done(two, 2)
    desk.done(one, 1)
    assert desk.bodies() == []

    desk.done(late[0], "a")

    assert desk.bodies() == [[1, "a", "b", 2]]


def generated(tasks: list[Any]) -> Iterator[Any]:
    """Give tasks as a generator does, of which Celery reads no more than it is about to send."""
    yield from tasks


@pytest.mark.parametrize("header", [list, generated, lambda tasks: group(generated(tasks))])
def test_a_frozen_task_that_stands_in_a_header_twice_counts_for_both(
    desk: Desk, header: Callable[[list[Any]], Any]
) -> None:
    task = desk.task("member")
    task.freeze()
    _, (one, other, two) = desk.begin(chord(header([task, desk.task("member"), task]), desk.task("body")))
    assert one.id == two.id

    desk.done(one, 5)
    assert desk.bodies() == []
    desk.done(other, 6)
    desk.done(two, 5)

    assert desk.bodies() == [[5, 6, 5]]


def test_a_frozen_chord_that_is_applied_again_is_another_run(desk: Desk) -> None:
    canvas = desk.chord(2)
    canvas.freeze()
    for run in range(2):
        _, requests = desk.begin(canvas)
        for request in requests:
            desk.done(request, run)
        assert desk.bodies() == [[run, run]]
        del desk.sent[:]


def test_an_empty_header_calls_its_body_at_once_and_counts_nothing(desk: Desk) -> None:
    chord([], desk.task("body")).apply_async()

    assert desk.bodies() == [[]]


# -- what is kept -----------------------------------------------------------------------------------------------------


def test_what_was_counted_is_dropped_with_the_body_and_a_late_copy_changes_nothing(desk: Desk) -> None:
    _, (request,) = desk.begin(desk.chord(1))
    desk.done(request, 1)

    found = desk.parts(request)
    desk.done(request, 1)

    assert found is not None
    assert (found.settled, dict(found.parts)) == (True, {})
    assert len(desk.bodies()) == 1


def test_nobody_is_to_look_at_a_chord_that_is_done(desk: Desk) -> None:
    _, (request,) = desk.begin(desk.chord(1))
    desk.ahead_ms += LATER
    assert desk.backend.connections.parts.due(9, 0) == [request.group]

    desk.done(request, 1)

    assert desk.backend.connections.parts.due(9, 0) == []


@pytest.mark.parametrize(("expires", "gone"), [(60, True), (0, False), (None, False)])
def test_a_chord_is_kept_as_long_as_results_are_and_for_ever_without_an_expiry(
    expires: int | None,
    gone: bool,  # noqa: FBT001
) -> None:
    with at_desk(result_expires=expires) as desk:
        _, (one, two) = desk.begin(desk.chord(2))
        desk.done(one, 1)
        desk.ahead_ms += 61_000

        assert (desk.parts(two) is None) is gone
        if not gone:
            desk.done(two, 2)
            assert desk.bodies() == [[1, 2]]


def test_each_part_keeps_its_chord_for_as_long_again() -> None:
    with at_desk(result_expires=60) as desk:
        _, requests = desk.begin(desk.chord(4))
        for request in requests:
            desk.done(request, 1)
            desk.ahead_ms += 40_000

        assert len(desk.bodies()) == 1
