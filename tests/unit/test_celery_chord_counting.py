"""How the parts of chords are counted: the body is sent once, with the header's order, whatever the members do."""

from __future__ import annotations

import logging
from itertools import permutations
from threading import Timer
from typing import TYPE_CHECKING, Any

import pytest
from celery import VERSION, chain, chord, group, signals
from celery.exceptions import BackendStoreError, ChordError
from celery.signals import worker_ready
from hypothesis import given, settings
from hypothesis import strategies as st
from kombu.exceptions import EncodeError

from streamresults.celery.chord_body import Part
from streamresults.celery.chord_finishing import Completed
from streamresults.celery.chord_layout import Layout, record_id
from streamresults.celery.chord_sending import Sending
from streamresults.celery.encoding import encode
from streamresults.events.event import Event
from streamresults.store.parts import Claim
from tests.celery_chords import Desk, at_desk
from tests.celery_desk import compacting
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Longer than any lease of a claim.
LATER = 3_600_000


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
    _, group_members = shared.begin(_rest_of(shared, before_group))
    shared.done(inner, 0)
    _, _, inner_body = shared.sent.pop()
    ends = [first, *group_members, inner_body]

    for number in data.draw(st.permutations(range(4))):
        shared.done(ends[number], number)

    assert shared.bodies() == [[0, [1, 2], 3]]


def _rest_of(desk: Desk, request: Any) -> Any:
    """Return what a worker sends when a task of a chain has succeeded."""
    return desk.app.signature(request.chain.pop())


# -- members that fail ------------------------------------------------------------------------------------------------


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


def test_a_frozen_task_that_stands_in_a_header_twice_counts_for_both(desk: Desk) -> None:
    task = desk.task("member")
    task.freeze()
    _, (one, two) = desk.begin(chord([task, task], desk.task("body")))
    assert one.id == two.id

    desk.done(one, 5)
    desk.done(two, 5)

    assert desk.bodies() == [[5, 5]]


def test_a_frozen_chord_that_is_applied_again_is_another_run(desk: Desk) -> None:
    canvas = desk.chord(2)
    canvas.freeze()
    for run in range(2):
        result, requests = desk.begin(canvas)
        del result
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


# -- when somebody dies -----------------------------------------------------------------------------------------------


def claimed_by_the_dead(desk: Desk) -> tuple[Any, Any]:
    """Have a chord's last part come to a process that dies between its claim and the message."""
    result, (request,) = desk.begin(desk.chord(1))
    parts = desk.backend.connections.parts
    event = desk.backend._making.event(
        request.id, 7, "SUCCESS", traceback=None, request=None, children=None, expires=0.0
    )
    data = desk.wiring.codec().encode(event)
    parts.put(request.group, request.id, data, Claim("dead", 10_000), final=True, keep_ms=0)
    return result, request


def test_whoever_returns_behind_the_lease_takes_over_from_a_dispatcher_that_died(desk: Desk) -> None:
    _, request = claimed_by_the_dead(desk)
    desk.ahead_ms += LATER

    desk.done(request, 7)

    assert desk.bodies() == [[7]]


def test_whoever_returns_while_the_claim_is_held_looks_again_behind_it(desk: Desk) -> None:
    _, request = claimed_by_the_dead(desk)
    desk.done(request, 7)
    assert desk.bodies() == []
    assert desk.backend._accounts._watch.names == [request.group]
    desk.ahead_ms += LATER

    desk.backend._accounts._watch.add(request.group, 0)

    eventually(lambda: desk.bodies() == [[7]])


def test_a_worker_sends_the_body_of_a_dispatcher_that_died_when_nobody_returns(desk: Desk) -> None:
    claimed_by_the_dead(desk)
    desk.another_process()
    desk.backend._accounts.sweep()
    assert desk.bodies() == []
    desk.ahead_ms += LATER

    desk.backend._accounts.sweep()
    desk.backend._accounts.sweep()

    assert desk.bodies() == [[7]]


def test_a_worker_sweeps_from_when_it_is_ready(desk: Desk) -> None:
    worker_ready.send(type("Consumer", (), {"app": desk.app})())

    assert desk.backend._accounts._watch.names == [""]


@pytest.mark.parametrize("how", ["done", "expired", "waiting"])
def test_a_sweep_leaves_chords_alone_that_need_nothing(how: str) -> None:
    with at_desk(result_expires=3_000) as desk:
        _, (one, two) = desk.begin(desk.chord(2))
        desk.done(one, 1)
        if how == "done":
            desk.done(two, 2)
        desk.ahead_ms += LATER if how == "expired" else 60_000

        desk.backend._accounts.sweep()

        assert len(desk.bodies()) == (how == "done")
        desk.ahead_ms += LATER
        assert desk.backend.connections.parts.due(9, 0) == ([one.group] if how == "waiting" else [])


def test_a_body_that_has_ended_is_not_sent_again_by_who_takes_over(desk: Desk) -> None:
    with compacting(desk.wiring):
        result, request = claimed_by_the_dead(desk)
        desk.backend.store_result(result.id, "done", "SUCCESS")
        desk.wiring.client().lookup(result.id, fresh=True)
        desk.ahead_ms += LATER

        desk.done(request, 7)

    assert desk.bodies() == []
    found = desk.parts(request)
    assert found is not None
    assert found.settled


def test_a_store_that_is_away_fails_no_task_and_the_part_is_counted_when_it_is_back(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    _, (one, two) = desk.begin(desk.chord(2))
    desk.done(one, 1)
    desk.store.outage(down=True)

    desk.done(two, 2)
    assert f"streamresults celery chord {two.group} --dispatch" in caplog.text
    desk.store.outage()

    eventually(lambda: desk.bodies() == [[1, 2]])


@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE"])
def test_a_dispatcher_that_was_too_slow_leaves_the_body_to_who_took_over(desk: Desk, state: str) -> None:
    result, (request,) = desk.begin(desk.chord(1))
    event = Event(task_id=request.id, state=state, payload=encode(None, "json"))
    layout = Layout(request.group, [request.id], 1, result.id, "body")
    asked: list[int] = []

    def gone(ms: int) -> bool:
        asked.append(ms)
        return False

    codec = desk.wiring.codec()
    part = Part(codec.encode(event), codec)
    sending = Sending(desk.app, desk.backend.chord_error_from_stack, lambda part: part.state)
    done = sending(Completed(layout, {request.id: part}, (), request.chord), gone)

    assert (done, desk.bodies(), desk.meta(result)["status"]) == ("", [], "PENDING")
    assert asked[0] >= 5_000


def test_a_body_that_was_sent_while_the_store_goes_away_is_not_sent_again(desk: Desk) -> None:
    def outage(sender: str, **_: Any) -> None:
        desk.store.outage(down=sender == "body")

    _, (request,) = desk.begin(desk.chord(1))
    signals.after_task_publish.connect(outage)
    try:
        desk.done(request, 1)
    finally:
        signals.after_task_publish.disconnect(outage)
    assert desk.bodies() == [[1]]
    desk.store.outage()
    desk.ahead_ms += LATER

    desk.backend._accounts._watch.add(request.group, 0)

    eventually(lambda: getattr(desk.parts(request), "settled", False))
    assert desk.bodies() == [[1]]


def test_a_chord_is_begun_when_the_store_is_back_where_that_is_to_be_tried_again() -> None:
    with at_desk(result_backend_always_retry=True, result_backend_base_sleep_between_retries_ms=1) as desk:
        desk.store.outage(down=True)
        Timer(0.05, desk.store.outage).start()

        _, (request,) = desk.begin(desk.chord(1))
        desk.done(request, 1)

        assert desk.bodies() == [[1]]


def test_a_chord_is_not_begun_while_the_store_is_away(desk: Desk) -> None:
    desk.store.outage(down=True)

    with pytest.raises(BackendStoreError, match="pretends to be away"):
        desk.begin(desk.chord(2))
    assert desk.sent == []


# -- when what was counted is lost ------------------------------------------------------------------------------------


@pytest.fixture
def folded() -> Iterator[Desk]:
    """Give a desk whose topic is folded, and where looks are made again at once."""
    with at_desk(result_chord_retry_interval=0.01) as desk, compacting(desk.wiring):
        yield desk


def test_parts_that_were_lost_are_counted_again_from_the_log(folded: Desk) -> None:
    result, requests = folded.begin(folded.chord(4))
    folded.done(requests[2], 2)
    folded.done(requests[0], 0)
    folded.store.flush()
    folded.another_process()

    folded.done(requests[1], 1)
    folded.done(requests[3], 3)

    eventually(lambda: folded.bodies() == [[0, 1, 2, 3]])
    del result


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
    _, inner = folded.begin(_rest_of(folded, first))
    folded.done(inner[1], "b")
    folded.store.flush()

    folded.done(last, "c")
    folded.done(inner[0], "a")

    eventually(lambda: folded.bodies() == [[["a", "b"], "c"]])


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
    eventually(lambda: "neither Redis nor the log knows it" in caplog.text)
    folded.done(request, 1)

    assert caplog.text.count("neither Redis nor the log knows it") == 1
