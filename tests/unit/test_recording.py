"""
What is said of tasks and recorded around functions.

We test these aspects: every method's event, expiry by call and by task, extended metadata, saved groups, batches, and
the decorator and the context manager around sync and async functions.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from streamresults import current_run
from streamresults.deadline import Deadline
from streamresults.errors import BatchFailed, ConfigurationError, PayloadNotEncodable, PublishFailed, WaitRefused
from streamresults.events.event import Event
from streamresults.events.running import check_waiting_allowed
from streamresults.settings import Settings, load
from tests.unit.publisher_desk import SOON, Desk, publisher_desks

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.publisher import Publisher

open_desk = pytest.fixture(publisher_desks)


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    """Give a desk."""
    return open_desk()


@pytest.mark.parametrize(
    ("say", "state", "exception", "label"),
    [
        (lambda p: p.retrying("t", ValueError("later"), retries=1), "RETRY", "builtins:ValueError", None),
        (lambda p: p.revoked("t", "not needed"), "REVOKED", "streamresults.errors:TaskRevoked", None),
        (lambda p: p.revoked("t", KeyError("k")), "REVOKED", "builtins:KeyError", None),
        (lambda p: p.rejected("t", "no such card"), "REJECTED", None, "no such card"),
        (lambda p: p.ignored("t", "duplicate", labels={"a": "b"}), "IGNORED", None, "duplicate"),
        (lambda p: p.ignored("t"), "IGNORED", None, None),
    ],
)
def test_every_end_and_retry_has_its_method(
    desk: Desk, say: Callable[[Publisher], object], state: str, exception: str | None, label: str | None
) -> None:
    """With an exception where the state carries one, and a reason where there will be no result."""
    say(desk.publisher)
    desk.publisher.flush(SOON)
    (event,) = desk.events()

    assert (state, exception) == (event.state, event.exception[0].type_name if event.exception else None)
    assert label == event.labels.get("reason")
    assert event.payload.body is None


def test_expiry_is_stated_by_call_then_by_task_then_by_default(open_desk: Callable[..., Desk]) -> None:
    """The nearest one holds."""
    desk = open_desk(task_expires={"shop.report": 60.0}, result_expires=10.0)
    desk.publisher.succeeded("call", name="shop.report", expires=5)
    desk.publisher.succeeded("task", name="shop.report")
    desk.publisher.succeeded("default", name="shop.charge")

    assert [5000, 60_000, 10_000] == [event.expires_after_ms for event in desk.events()]


def test_expiry_by_task_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and seconds; one that the topic does not keep is refused."""
    monkeypatch.setenv("STREAMRESULTS_TASK_EXPIRES", "shop.report=60, shop.charge = 1.5")

    assert {"shop.report": 60.0, "shop.charge": 1.5} == load().task_expires

    monkeypatch.setenv("STREAMRESULTS_TASK_EXPIRES", "shop.report=99999999")
    with pytest.raises(ConfigurationError, match=r"task_expires of 'shop\.report'"):
        load()


def test_extended_metadata_can_be_left_out(open_desk: Callable[..., Desk]) -> None:
    """Of every event, also of one that was made elsewhere; what else it says stays."""
    desk = open_desk(extended_metadata=False, task_expires={"n": 60.0})
    everything: dict[str, Any] = {"name": "n", "worker": "w", "queue": "q", "retries": 3}
    desk.publisher.succeeded("a", 1, args=[threading.Lock], parent_id="p", **everything)
    desk.publisher.publish(Event(task_id="b", state="SUCCESS", args=b"1", stamps=b"2", **everything))
    first, second = desk.events()

    assert ("", "", "", -1, b"", b"", "") == (
        first.name,
        first.worker,
        first.queue,
        first.retries,
        first.args,
        second.stamps,
        second.name,
    )
    assert ("p", b"1", 60_000) == (first.parent_id, first.payload.body, first.expires_after_ms)


def test_a_group_is_saved_under_a_key_of_its_own(desk: Desk) -> None:
    """Its members keep their order; it is no task, and no task can take its place."""
    assert desk.publisher.save_group("g", ["b", "a", "group:inner", "a"]) is not None
    (event,) = desk.events()

    assert ("group", "group:g", "SAVED", True) == (event.kind, event.task_id, event.state, event.terminal)
    assert (("b", "a", "group:inner", "a"), "g") == (event.children, event.group_id)


@pytest.mark.parametrize("task_id", ["g", "group:", ""])
def test_a_group_without_its_key_is_refused(desk: Desk, task_id: str) -> None:
    """It would stand where a task of that name stands."""
    with pytest.raises(PublishFailed) as caught:
        desk.publisher.publish(Event(task_id=task_id, state="SAVED", kind="group", terminal=True))

    assert caught.value.written is False


def test_a_batch_returns_every_position_in_order(desk: Desk) -> None:
    """Whatever the states, inside one deadline."""
    events = [desk.publisher.event(f"t{n}", "STARTED" if n % 2 else "SUCCESS") for n in range(10)]
    positions = desk.publisher.publish_many(events)

    assert list(range(10)) == [position.offset for position in positions if position is not None]
    assert [] == desk.publisher.publish_many([])


def test_a_batch_says_what_failed_and_where_the_others_stand(open_desk: Callable[..., Desk]) -> None:
    """One bad event harms no other one."""
    desk = open_desk(record_bytes=20_000)
    events = [desk.publisher.event(task, "SUCCESS", result=value) for task, value in [("a", 1), ("b", "x" * 30_000)]]
    with pytest.raises(BatchFailed, match=r"2 of 4 .* number 1: .*30\d\d\d bytes") as caught:
        desk.publisher.publish_many([*events, Event(task_id="", state="SUCCESS"), Event(task_id="c", state="SUCCESS")])

    assert {1, 2} == set(caught.value.failures)
    assert [True, False, False, True] == [position is not None for position in caught.value.positions]
    assert [("a", "SUCCESS"), ("c", "SUCCESS")] == desk.told()


def test_a_batch_ends_at_its_deadline(desk: Desk) -> None:
    """All that is not acknowledged by then has an unknown outcome."""
    desk.publisher.warm()
    desk.broker.hold()
    with pytest.raises(BatchFailed) as caught:
        desk.publisher.publish_many([desk.publisher.event(f"t{n}", "SUCCESS") for n in range(3)], timeout=0.02)

    assert [None] * 3 == [getattr(error, "written", 0) for error in caught.value.failures.values()]


def test_a_function_is_recorded(desk: Desk) -> None:
    """It returns what it returned; name, arguments and timing travel."""

    @desk.publisher.record(task_id=lambda order, **_: f"charge-{order}", record_call=True, queue="q")
    def charge(order: int, *, card: str) -> dict[str, Any]:
        """Take money."""
        run = current_run()
        assert run is not None
        run.progress({"card": card})
        return {"paid": order}

    assert {"paid": 7} == charge(7, card="c")
    assert ("charge", "Take money.") == (charge.__name__, charge.__doc__)
    assert current_run() is None
    started, progress, success = desk.events()

    assert ["STARTED", "PROGRESS", "SUCCESS"] == [started.state, progress.state, success.state]
    assert {"charge-7"} == {event.task_id for event in desk.events()}
    assert (b"[7]", b'{"card":"c"}', "q") == (success.args, success.kwargs, success.queue)
    assert success.name.endswith("test_a_function_is_recorded.<locals>.charge")
    assert success.started_at_us == started.started_at_us > 0
    assert success.runtime >= 0


def test_a_function_that_fails_is_recorded_and_still_fails(desk: Desk) -> None:
    """Each call is a task with an id of its own."""

    @desk.publisher.record("shop.charge")
    def charge() -> None:
        raise ValueError("declined")

    for _ in range(2):
        with pytest.raises(ValueError, match="declined"):
            charge()

    assert ["STARTED", "FAILURE"] * 2 == [event.state for event in desk.events()]
    assert 2 == len({event.task_id for event in desk.events()})


def test_a_coroutine_function_is_recorded(desk: Desk) -> None:
    """Two at once do not mix up, and the loop goes on while the brokers are asked."""

    @desk.publisher.record("later", task_id=lambda n: f"t{n}")
    async def later(n: int) -> str:  # noqa: ARG001 -- its id is made of it
        await asyncio.sleep(0)
        run = current_run()
        assert run is not None
        return run.task_id

    async def both() -> list[str]:
        return list(await asyncio.gather(later(1), later(2)))

    assert ["t1", "t2"] == asyncio.run(both())
    assert {("t1", "SUCCESS"), ("t2", "SUCCESS"), ("t1", "STARTED"), ("t2", "STARTED")} == set(desk.told())


def test_an_event_loop_is_not_held_up_while_the_brokers_are_silent(desk: Desk) -> None:
    """Another coroutine lets them answer."""
    desk.publisher.warm()
    desk.broker.hold()

    async def recorded() -> None:
        async with desk.publisher.run("t") as run:
            run.result = 1

    async def both() -> None:
        task = asyncio.create_task(recorded())
        while desk.publisher._connection.flush(Deadline(0)) < 2:  # noqa: ASYNC110 -- nobody announces it
            await asyncio.sleep(0)
        desk.broker.release()
        await task

    asyncio.run(both())

    assert [("t", "STARTED"), ("t", "SUCCESS")] == desk.told()


def test_a_cancelled_coroutine_is_revoked(desk: Desk) -> None:
    """It has not failed: somebody stopped it."""

    async def recorded(entered: asyncio.Event) -> None:
        async with desk.publisher.run("t"):
            entered.set()
            await asyncio.Event().wait()

    async def cancelled() -> None:
        entered = asyncio.Event()
        task = asyncio.create_task(recorded(entered))
        await entered.wait()
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())

    assert [("t", "STARTED"), ("t", "REVOKED")] == desk.told()


def test_a_coroutine_whose_result_cannot_be_published_has_failed(desk: Desk) -> None:
    """As in a thread."""

    @desk.publisher.record(task_id=lambda: "t")
    async def locks() -> object:
        return threading.Lock()

    with pytest.raises(PayloadNotEncodable):
        asyncio.run(locks())

    assert [("t", "STARTED"), ("t", "FAILURE")] == desk.told()


def test_a_generator_cannot_be_recorded(desk: Desk) -> None:
    """Its call returns before it has run: that is said where it is decorated."""
    with pytest.raises(TypeError, match="is a generator function"):

        @desk.publisher.record()
        def numbers() -> Any:
            yield 1


def test_settings_that_cannot_hold_are_refused() -> None:
    """At the start, with their names."""
    for name, value in [("spool_bytes", 0), ("payload_ratio", 0), ("progress_interval", -1)]:
        with pytest.raises(ConfigurationError, match=name):
            load({name: value})

    assert 0.5 == Settings().progress_interval


def test_waiting_is_refused_inside_a_recorded_run_alone(desk: Desk) -> None:
    """In its own context, for as long as it runs, and not in another thread."""
    elsewhere: list[bool] = []
    check_waiting_allowed("inner")
    with desk.publisher.run("outer"):
        with pytest.raises(WaitRefused, match="'outer'"):
            check_waiting_allowed("inner")

        def wait_elsewhere() -> None:
            check_waiting_allowed("inner")
            elsewhere.append(True)

        other = threading.Thread(target=wait_elsewhere)
        other.start()
        other.join()
    check_waiting_allowed("inner")

    assert [True] == elsewhere
