"""
Somebody else sends a chord's body, once, when a process dies over it or its store is away.

We test these aspects: claims of the dead, and who takes over; workers that sweep; bodies that have been sent or have
ended; a dispatcher that is too slow; a store that is away when a chord begins, when a part comes and when it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import signals
from celery.exceptions import BackendStoreError
from celery.signals import worker_ready

from streamresults.celery.chord_body import Part
from streamresults.celery.chord_finishing import Completed
from streamresults.celery.chord_layout import Layout
from streamresults.celery.chord_sending import Sending
from streamresults.celery.encoding import encode
from streamresults.events.event import Event
from streamresults.store.parts import Claim
from tests.celery_chords import LATER, Desk, at_desk
from tests.compacting import compacting
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Give a desk with Celery's defaults."""
    with at_desk() as found:
        yield found


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


# -- when the store is away -------------------------------------------------------------------------------------------


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


def test_a_chord_is_begun_when_the_store_is_back_where_that_is_to_be_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with at_desk(result_backend_always_retry=True, result_backend_base_sleep_between_retries_ms=1) as desk:
        again = desk.backend.exception_safe_to_retry

        def back_after_one_try(error: Exception) -> Any:
            desk.store.outage()
            return again(error)

        monkeypatch.setattr(desk.backend, "exception_safe_to_retry", back_after_one_try)
        desk.store.outage(down=True)

        _, (request,) = desk.begin(desk.chord(1))
        desk.done(request, 1)

        assert desk.bodies() == [[1]]


def test_a_chord_is_not_begun_while_the_store_is_away(desk: Desk) -> None:
    desk.store.outage(down=True)

    with pytest.raises(BackendStoreError, match="pretends to be away"):
        desk.begin(desk.chord(2))
    assert desk.sent == []
