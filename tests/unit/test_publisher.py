"""
A worker's events reach the log, or its caller learns that they did not.

We test these aspects: what blocks and until when, the bounded queue, what flush and close tell, what is refused before
anything is sent, order, and the context manager around a task.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.deadline import Deadline
from streamresults.errors import PayloadNotEncodable, PublisherClosed, PublishFailed, RecordTooLarge
from streamresults.events.event import GROUP_PREFIX, Event
from tests.unit.publisher_desk import SOON, Desk, in_thread, publisher_desks
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.publisher import Publisher

open_desk = pytest.fixture(publisher_desks)


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    """Give a desk."""
    return open_desk()


def test_a_ready_event_blocks_until_it_is_acknowledged(desk: Desk) -> None:
    """A result that is reported as published is in the log."""
    desk.publisher.warm()
    desk.broker.hold()
    thread, outcome = in_thread(lambda: desk.publisher.succeeded("t", 1))
    eventually(lambda: desk.publisher.flush(0).unacknowledged == 1)

    assert [] == outcome

    desk.broker.release()
    thread.join(SOON)

    assert [(0, 0)] == [(p.partition, p.offset) for p in outcome]  # type: ignore[attr-defined]


def test_an_unready_event_is_only_queued(desk: Desk) -> None:
    """Progress does not wait for the brokers."""
    desk.publisher.warm()
    desk.broker.hold()
    desk.publisher.started("t")

    assert desk.publisher.flush(0).unacknowledged == 1


def test_a_full_queue_holds_its_callers_up_to_the_deadline(open_desk: Callable[..., Desk]) -> None:
    """What is given up raises, is counted, and is certainly not written."""
    desk = open_desk(queue=2)
    desk.publisher.warm()
    desk.broker.hold()
    desk.publisher.started("a")
    desk.publisher.started("b")
    waited = Deadline(None)
    with pytest.raises(PublishFailed, match="queue was full") as caught:
        desk.publisher.publish(Event(task_id="c", state="STARTED"), timeout=0.05)

    assert waited.elapsed() >= 0.05
    assert caught.value.written is False
    assert (2, 1) == desk.publisher.flush(0)


def test_no_timeout_waits_for_ever_and_an_unstated_one_does_not(open_desk: Callable[..., Desk]) -> None:
    """The same as everywhere: None is for ever; only what was left out takes the setting, here one look."""
    desk = open_desk(publish_timeout=0.0)
    desk.publisher.warm(None)
    desk.broker.hold()
    with pytest.raises(PublishFailed, match="outcome unknown"):
        desk.publisher.publish(Event(task_id="a", state="SUCCESS"))
    thread, outcome = in_thread(lambda: desk.publisher.publish(Event(task_id="b", state="SUCCESS"), timeout=None))
    eventually(lambda: outcome or desk.publisher.flush(0).unacknowledged == 2)

    assert [] == outcome

    desk.broker.release()
    thread.join(SOON)

    assert [(0, 1)] == [(p.partition, p.offset) for p in outcome]  # type: ignore[attr-defined]


def test_failure_needs_an_exception_and_not_its_text(desk: Desk) -> None:
    """A text would be recorded as an exception of type str, which nobody can catch."""
    with pytest.raises(TypeError, match="not with str: 'declined'"):
        desk.publisher.failed_with("t", "declined")  # type: ignore[arg-type]

    assert [] == desk.events()


@pytest.mark.parametrize("expires", [float("nan"), float("inf"), -1.0])
def test_expiry_that_is_no_duration_is_refused(desk: Desk, expires: float) -> None:
    """Through every door: as seconds, and as the milliseconds of an event."""
    with pytest.raises(ValueError, match="an expiry is a number of seconds from 0 up"):
        desk.publisher.succeeded("t", expires=expires)
    event = Event(task_id="t", state="SUCCESS", expires_after_ms=expires)  # type: ignore[arg-type]
    with pytest.raises(PublishFailed, match="expires") as caught:
        desk.publisher.publish(event)

    assert caught.value.written is False


@pytest.mark.parametrize("name", ["send", "publish"])
def test_negative_timeout_is_refused_before_anything_is_queued(desk: Desk, name: str) -> None:
    """As everywhere, and named; whether or not there is anything to wait for."""
    desk.publisher.warm()
    with pytest.raises(ValueError, match="-1"):
        getattr(desk.publisher, name)(Event(task_id="t", state="STARTED"), timeout=-1)

    assert [] == desk.events()


def test_room_in_the_queue_lets_a_caller_go_on(open_desk: Callable[..., Desk]) -> None:
    """Back-pressure ends as soon as the brokers keep up again, and drops nothing."""
    desk = open_desk(queue=1)
    desk.publisher.warm()
    desk.broker.hold()
    desk.publisher.started("a")
    thread, outcome = in_thread(lambda: desk.publisher.started("b"))
    desk.broker.release()
    thread.join(SOON)

    assert [None] == outcome
    assert (0, 0) == desk.publisher.flush(SOON)
    assert ["a", "b"] == [event.task_id for event in desk.events()]


def test_an_acknowledgement_that_does_not_come_is_an_unknown_outcome(desk: Desk) -> None:
    """Nobody knows whether it is written; publishing it again keeps its id, and it is counted once."""
    desk.publisher.warm()
    desk.broker.hold()
    event = desk.publisher.event("t", "SUCCESS", result=1)
    with pytest.raises(PublishFailed, match="outcome unknown") as caught:
        desk.publisher.publish(event, timeout=0.02)

    assert (None, event.event_id.hex()) == (caught.value.written, caught.value.event_id)

    desk.broker.release()
    desk.publisher.publish(event)

    assert [event.event_id] * 2 == [found.event_id for found in desk.events()]
    assert (0, 1) == desk.publisher.flush(SOON)


def test_close_says_what_was_not_acknowledged(desk: Desk) -> None:
    """What is left over fails, through its own pending too, and is counted."""
    desk.publisher.warm()
    desk.broker.hold()
    pending = [desk.publisher.send(Event(task_id=str(number), state="SUCCESS")) for number in range(3)]

    assert (3, 3) == desk.publisher.close(0.02)
    for one in pending:
        with pytest.raises(PublishFailed) as caught:
            one.position(SOON)
        assert caught.value.written is False


def test_a_closed_publisher_says_so(desk: Desk) -> None:
    """Closing twice is harmless, publishing after it is not silent."""
    desk.publisher.warm()
    desk.publisher.close()

    assert (0, 0) == desk.publisher.close()
    with pytest.raises(PublisherClosed):
        desk.publisher.started("t")


def test_a_pending_answers_every_way_it_is_asked(desk: Desk) -> None:
    """Position, futures made before and after the acknowledgement, and a timeout."""
    desk.publisher.warm()
    desk.broker.hold()
    pending = desk.publisher.send(Event(task_id="t", state="SUCCESS"))
    before = pending.future()
    with pytest.raises(TimeoutError):
        pending.position(0)
    desk.broker.release()
    position = pending.position(SOON)

    assert [position] * 2 == [before.result(SOON), pending.future().result(SOON)]
    assert pending.done


def test_who_asks_a_pending_again_and_again_leaves_nothing_in_it(desk: Desk) -> None:
    """Somebody may look every second for as long as the brokers are away."""
    desk.publisher.warm()
    desk.broker.hold()
    pending = desk.publisher.send(Event(task_id="t", state="SUCCESS"))
    for _ in range(3):
        with pytest.raises(TimeoutError):
            pending.position(0.001)

    assert not pending._callbacks

    desk.broker.release()


def test_a_signals_handler_may_wait_where_it_interrupts_one_that_begins_to(desk: Desk) -> None:
    """The lock that the thread holds at that moment is none for the handler, which runs on it."""
    desk.publisher.warm()

    def interrupted() -> None:
        with desk.publisher._outcomes.lock:
            desk.publisher.succeeded("t", 1)

    thread, _ = in_thread(interrupted)
    thread.join(SOON)

    assert not thread.is_alive()


def test_a_pending_that_failed_fails_its_future(desk: Desk) -> None:
    """The same error, by whatever way it is asked for."""
    desk.publisher.warm()
    desk.broker.fail("away")
    pending = desk.publisher.send(Event(task_id="t", state="SUCCESS"))
    future = pending.future()

    assert isinstance(future.exception(SOON), PublishFailed)
    with pytest.raises(PublishFailed):
        pending.position(SOON)


def test_many_who_ask_one_pending_are_all_told(desk: Desk) -> None:
    """Threads that begin to wait at the same moment do not lose each other."""
    desk.publisher.warm()
    for _ in range(50):
        desk.broker.hold()
        pending = desk.publisher.send(Event(task_id="t", state="SUCCESS"))
        futures: list[Any] = []
        asked = [in_thread(lambda: pending.position(SOON)) for _ in range(4)]  # noqa: B023 -- joined below
        asked += [in_thread(lambda: futures.append(pending.future())) for _ in range(4)]  # noqa: B023
        desk.broker.release()
        for thread, _ in asked:
            thread.join(SOON)

        assert 4 == len({id(future) for future in futures if future.result(SOON)})


def test_a_record_that_is_too_large_is_its_own_error(open_desk: Callable[..., Desk]) -> None:
    """The error carries size, limit and what to do; nothing was sent."""
    desk = open_desk(record_bytes=20_000)
    with pytest.raises(
        RecordTooLarge, match=r"more than the 20000 bytes that a publisher sends.*raise message\.max"
    ) as caught:
        desk.publisher.succeeded("t", "x" * 30_000)

    assert caught.value.size > 30_000
    assert ("t", 20_000, False) == (caught.value.task_id, caught.value.limit, caught.value.written)
    assert [] == desk.events()
    assert desk.publisher.flush(0).failed == 1


def test_what_cannot_be_encoded_names_its_path_and_sends_nothing(desk: Desk) -> None:
    """Not even a connection is opened for it."""
    with pytest.raises(PayloadNotEncodable) as caught:
        desk.publisher.succeeded("t", {"a": [1, 2, 3, threading.Lock()]})

    assert caught.value.path == "result['a'][3]"
    assert ([], []) == (desk.events(), desk.schemas())


@pytest.mark.parametrize(
    ("task_id", "match"),
    [
        ("", "at least one character"),
        (7, "at least one character"),
        ("k" * 1025, "at most 1024 bytes"),
        ("é" * 513, "at most 1024 bytes"),
        (f"{GROUP_PREFIX}g", "reserved"),
        ("a\ud800", "UTF-8"),
    ],
    ids=["empty", "number", "long", "long in bytes", "group", "surrogate"],
)
def test_a_bad_task_id_is_refused(desk: Desk, task_id: Any, match: str) -> None:
    """No reader could make sense of it; nothing is sent."""
    with pytest.raises(PublishFailed, match=match) as caught:
        desk.publisher.succeeded(task_id)

    assert caught.value.written is False
    assert [] == desk.schemas()


def test_the_longest_task_id_is_taken(desk: Desk) -> None:
    """The limit is in bytes of UTF-8."""
    desk.publisher.succeeded("é" * 512)

    assert ["é" * 512] == [event.task_id for event in desk.events()]


def test_an_expiry_beyond_the_longest_is_refused(open_desk: Callable[..., Desk]) -> None:
    """The topic's retention would break the promise."""
    desk = open_desk(longest_expiry=3600.0)
    with pytest.raises(PublishFailed, match="longest_expiry"):
        desk.publisher.succeeded("t", expires=3601)
    with pytest.raises(ValueError, match="from 0 up"):
        desk.publisher.succeeded("t", expires=-1)


@pytest.mark.parametrize(("expires", "milliseconds"), [(0.0001, 1), (0.3, 300), (0, 0), (2, 2000)])
def test_a_very_short_expiry_is_not_none_at_all(desk: Desk, expires: float, milliseconds: int) -> None:
    """0 says "until retention takes it", so nothing else is rounded to it."""
    desk.publisher.succeeded("t", expires=expires)

    assert [milliseconds] == [event.expires_after_ms for event in desk.events()]


def test_redaction_sees_an_event_before_it_is_encoded(desk: Desk) -> None:
    """What it returns is published in its place."""

    def redact(event: Event) -> Event:
        return Event(task_id=event.task_id, state=event.state, name="hidden")

    with desk.wiring.publisher(redact=redact) as publisher:
        publisher.succeeded("t", "secret")

    assert [("hidden", None)] == [(event.name, event.payload.body) for event in desk.events()]


def test_the_schema_stands_before_the_first_event(desk: Desk) -> None:
    """A reader who meets the fingerprint can find it, whatever happens next."""
    desk.publisher.warm()

    assert ([desk.wiring.codec().fingerprint], []) == (desk.schemas(), desk.events())


def test_a_schema_that_is_not_acknowledged_keeps_the_event_back(desk: Desk) -> None:
    """The event was certainly not written."""
    desk.broker.hold()
    with pytest.raises(PublishFailed, match="schema") as caught:
        desk.publisher.publish(Event(task_id="t", state="SUCCESS"), timeout=0.02)

    assert caught.value.written is False


def test_threads_that_wait_for_one_opening_keep_their_own_deadlines(desk: Desk) -> None:
    """While Kafka is away nobody waits behind somebody else's budget."""
    desk.broker.hold()
    slow, _ = in_thread(lambda: desk.publisher.publish(Event(task_id="slow", state="SUCCESS"), timeout=SOON))
    eventually(desk.publisher._connection.lock.locked)
    waited = Deadline(None)
    with pytest.raises(PublishFailed, match="not written"):
        desk.publisher.publish(Event(task_id="quick", state="SUCCESS"), timeout=0.05)

    assert waited.elapsed() < SOON / 2
    desk.broker.release()
    slow.join(SOON)


def test_a_refusal_at_produce_is_not_written(desk: Desk) -> None:
    """A writer that is gone is a failed publish, not an error of another kind."""
    desk.publisher.warm()
    writer = desk.publisher._connection.writer
    assert writer is not None
    writer.close(Deadline(SOON))
    with pytest.raises(PublishFailed) as caught:
        desk.publisher.succeeded("t")

    assert caught.value.written is False
    assert desk.publisher.flush(0).failed == 1


def test_events_of_one_task_keep_their_order_among_many_threads(desk: Desk) -> None:
    """Fifty threads share one publisher; each task is published by one of them."""
    states = ["STARTED", "PROGRESS", "RETRY", "STARTED", "SUCCESS"]

    def work(task: str, publisher: Publisher) -> None:
        for state in states:
            publisher.publish(Event(task_id=task, state=state))

    threads = [in_thread(lambda task=f"t{n}": work(task, desk.publisher))[0] for n in range(50)]  # type: ignore[misc]
    for thread in threads:
        thread.join(SOON)
    found: dict[str, list[str]] = {}
    for event in desk.events():
        found.setdefault(event.task_id, []).append(event.state)

    assert {f"t{number}": states for number in range(50)} == found


def test_a_run_records_started_and_success(desk: Desk) -> None:
    """With the result, the timing and the worker."""
    with desk.publisher.run("t", name="shop.charge") as run:
        run.result = {"paid": True}
    started, success = desk.events()

    assert ("STARTED", "SUCCESS") == (started.state, success.state)
    assert started.started_at_us == success.started_at_us > 0
    assert success.runtime >= 0
    assert ("shop.charge", "w-1") == (success.name, success.worker)
    assert run.position is not None
    assert run.position.offset == 1


def test_a_run_records_failure_and_lets_it_through(desk: Desk) -> None:
    """The exception travels as data and is raised here all the same."""
    with pytest.raises(ValueError, match="declined"), desk.publisher.run("t"):
        raise ValueError("declined", 7)
    _, failure = desk.events()

    assert ("FAILURE", "builtins:ValueError") == (failure.state, failure.exception[0].type_name)
    assert "declined" in failure.traceback


def test_a_run_whose_result_cannot_be_published_has_failed(desk: Desk) -> None:
    """The task has ended: whoever waits must not wait for ever for a result that will never come."""
    with pytest.raises(PayloadNotEncodable), desk.publisher.run("t") as run:
        run.result = threading.Lock()

    assert ["STARTED", "FAILURE"] == [event.state for event in desk.events()]
