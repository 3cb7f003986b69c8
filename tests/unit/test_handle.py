"""
A handle is one task by its id: what it says, what it keeps, and what its client keeps for all handles.

We test these aspects: every property; one moment; what is kept, evicted and bounded; whether a task exists; the options
of a wait; waiting inside a running task.
"""

from __future__ import annotations

import threading
from datetime import UTC
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.client.result_cache import ResultCache
from streamresults.client.waiter import Phase
from streamresults.deadline import Deadline
from streamresults.errors import (
    ConfigurationError,
    NotAuthoritative,
    NotYetCovered,
    RemoteTaskError,
    WaitRefused,
    WaitTimeout,
)
from streamresults.events.running import allow_waiting, begin_task, end_task
from streamresults.settings import Settings
from streamresults.wiring import Wiring
from tests.unit.desk import SOON, Desk, desks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamresults import Client


@pytest.fixture
def open_desk() -> Iterator[Callable[..., Desk]]:
    """Give a function that opens desks."""
    yield from desks()


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    """Give a desk."""
    return open_desk()


def publish(desk: Desk, event: Any) -> int:
    """Append what a publisher makes."""
    return desk.append(event.task_id.encode(), desk.codec.encode(event))


@pytest.fixture
def make(desk: Desk) -> Iterator[Callable[..., Any]]:
    """Give a publisher's way to make events."""
    with desk.wiring.publisher(worker="w-7") as publisher:
        yield publisher.event


def test_a_handle_says_all_that_is_known(desk: Desk, make: Callable[..., Any]) -> None:
    """From one event, whose every field has a property."""
    event = make(
        "t",
        "SUCCESS",
        result={"paid": True},
        name="shop.charge",
        args=(1, "two"),
        kwargs={"three": 3},
        queue="fast",
        retries=2,
        labels={"shop": "berlin"},
        parent_id="p",
        root_id="r",
        group_id="g",
        children=("c", "d"),
    )
    publish(desk, event)
    desk.fold()
    handle = desk.client.result("t")

    assert ("SUCCESS", True, True, False) == (handle.state, handle.ready, handle.successful, handle.failed)
    assert ({"paid": True}, None, "") == (handle.result, handle.exception, handle.traceback)
    assert ("shop.charge", (1, "two"), {"three": 3}) == (handle.name, handle.args, handle.kwargs)
    assert ("w-7", "fast", 2, {"shop": "berlin"}) == (handle.worker, handle.queue, handle.retries, handle.labels)
    assert ("p", "r", "g") == (handle.parent.task_id, handle.root.task_id, handle.group)  # type: ignore[union-attr]
    assert ["c", "d"] == [child.task_id for child in handle.children]
    assert handle.date_done == event.occurred_at
    assert UTC is handle.date_done.tzinfo
    assert (0, 0) == handle.position[1:]  # type: ignore[index]
    assert {"paid": True} == handle.get(0)


def test_nothing_is_known_of_an_unknown_task(desk: Desk) -> None:
    """Every property is absent in its own way; none raises."""
    desk.fold()
    handle = desk.client.result("t")

    assert ("UNKNOWN", False, False, False) == (handle.state, handle.ready, handle.successful, handle.failed)
    assert (None, "", None, None) == (handle.date_done, handle.name, handle.args, handle.kwargs)
    assert ("", "", None, {}) == (handle.worker, handle.queue, handle.retries, handle.labels)
    assert (None, None, "", []) == (handle.parent, handle.root, handle.group, handle.children)
    assert handle.position is None


def test_a_view_that_cannot_tell_is_no_unknown(desk: Desk) -> None:
    """Not ready is true all the same; the state is nobody's guess."""
    handle = desk.client.result("t")

    assert (False, False, False) == (handle.ready, handle.successful, handle.failed)
    with pytest.raises(NotYetCovered):
        _ = handle.state


@pytest.mark.parametrize("bad", ["", "x" * 1025, None, 7, b"t", "\ud800"])
def test_what_is_no_id_is_refused_at_the_call(desk: Desk, bad: Any) -> None:
    """Not at the first use, far away."""
    with pytest.raises(ValueError, match="a task id is a string of 1 to 1024 bytes"):
        desk.client.result(bad)


def test_handles_of_one_id_are_one(desk: Desk) -> None:
    """In sets and as keys."""
    one, two, other = (desk.client.result(task) for task in ("t", "t", "u"))

    assert one == two != other
    assert 2 == len({one, two, other})
    assert "'t'" in repr(one)


def test_a_snapshot_is_one_moment(desk: Desk) -> None:
    """Whatever happens meanwhile, its properties belong together."""
    desk.publish("t", "STARTED")
    desk.fold()
    handle = desk.client.result("t")
    snapshot = handle.snapshot()
    desk.publish("t", "SUCCESS")
    desk.fold()

    assert ("STARTED", False, None) == (snapshot.state, snapshot.ready, snapshot.date_done)
    assert "SUCCESS" == handle.state


def test_a_handle_keeps_the_end_that_it_has_seen(desk: Desk) -> None:
    """A failure too, for itself alone: another handle sees what was made of it since."""
    desk.publish("t", "FAILURE")
    desk.fold()
    kept = desk.client.result("t")
    assert kept.wait(SOON).state == "FAILURE"
    desk.publish("t", None)
    desk.fold()

    assert ("FAILURE", "FAILURE") == (kept.state, kept.wait(0).state)
    assert ("UNKNOWN", "UNKNOWN") == (desk.client.result("t").state, kept.snapshot(fresh=True).state)


# -- kept for all handles -------------------------------------------------------------------------------------------


def test_a_success_is_kept_for_all_handles_where_that_is_wanted(open_desk: Callable[..., Desk]) -> None:
    """Nobody is asked again; by default, and for anything else, the view is."""
    desk = open_desk(result_cache_max=2)
    for task, state in (("s", "SUCCESS"), ("f", "FAILURE"), ("u", "STARTED")):
        desk.publish(task, state)
    desk.fold()
    states = [desk.client.result(task).state for task in "sfu"]
    desk.store.outage(down=True)

    assert ["SUCCESS", "FAILURE", "STARTED"] == states
    assert "SUCCESS" == desk.client.result("s").state
    for task in "fu":
        with pytest.raises(ConnectionError):
            _ = desk.client.result(task).state


def test_nothing_is_kept_by_default(desk: Desk) -> None:
    """As a task that is forgotten elsewhere is not noticed where nobody asks."""
    desk.publish("s", "SUCCESS")
    desk.fold()
    assert desk.client.result("s").successful

    assert 0 == len(desk.client._cache)


def _forget(desk: Desk) -> None:
    desk.client.forget("s")


def _tombstone_in_a_read_partition(desk: Desk) -> None:
    desk.wait("other")
    desk.in_phase(Phase.ASLEEP, "other")
    desk.publish("s", None)
    desk.publish("other", "SUCCESS")
    assert desk.waits[-1].told


def _lookup_of_what_was_forgotten(desk: Desk) -> None:
    desk.publish("s", None)
    desk.fold()
    desk.client.lookup("s")


def _lookup_of_many(desk: Desk) -> None:
    desk.publish("s", None)
    desk.fold()
    desk.client.lookup_many(["s"])


@pytest.mark.parametrize(
    "forget", [_forget, _tombstone_in_a_read_partition, _lookup_of_what_was_forgotten, _lookup_of_many]
)
def test_a_tombstone_evicts(open_desk: Callable[..., Desk], forget: Callable[[Desk], None]) -> None:
    """One's own, one that the reader passes, and one that a lookup shows."""
    desk = open_desk(result_cache_max=0)
    desk.publish("s", "SUCCESS")
    desk.fold()
    assert desk.client.result("s").successful
    assert 1 == len(desk.client._cache)
    forget(desk)
    desk.fold()

    assert (0, "UNKNOWN") == (len(desk.client._cache), desk.client.result("s").state)


@pytest.mark.parametrize(("limit", "kept"), [(2, ["b", "c"]), (0, ["a", "b", "c"]), (None, ["a", "b", "c"]), (-1, [])])
def test_the_cache_is_bounded(desk: Desk, limit: int | None, kept: list[str]) -> None:
    """What was used last stays."""
    cache = ResultCache(limit)
    for task in "abc":
        desk.publish(task, "SUCCESS")
    desk.fold()
    for result in desk.client.lookup_many("bac"):
        cache.keep(result)
        cache.get("b")

    assert kept == sorted(cache._kept)


# -- existence ------------------------------------------------------------------------------------------------------


def test_exists_concludes_from_the_log_alone(desk: Desk) -> None:
    """Waits until the view has folded it; what the view holds is proof without that."""
    desk.publish("t", "PENDING")
    desk.fold()
    desk.publish("later", "PENDING")
    folding = threading.Timer(0.05, desk.fold)
    folding.start()

    assert [True, True, False] == [desk.client.result(task).exists(SOON) for task in ("t", "later", "never")]
    folding.join()


def test_without_kafka_nobody_guesses(desk: Desk) -> None:
    """What is there exists; what is not there may not have been folded yet."""
    desk.publish("t", "PENDING")
    desk.fold()
    place = desk.client._whereabouts.find(Deadline(SOON))
    settings = Settings(namespace=place.namespace)
    _describe_view(desk)
    with Wiring(settings, store=desk.store) as wiring, wiring.client() as client:
        assert client.result("t").exists()
        with pytest.raises(NotAuthoritative, match="set kafka_bootstrap"):
            client.result("never").exists()


def _describe_view(desk: Desk) -> None:
    """Publish the descriptor, as a compactor does, for who has no Kafka."""
    from streamresults.store.base import Descriptor  # noqa: PLC0415 -- for this alone
    from streamresults.store.coverage import FORMAT  # noqa: PLC0415

    place = desk.client._whereabouts.find(Deadline(SOON))
    desk.store.write_descriptor(
        place.namespace,
        Descriptor(
            cluster_id=place.namespace,
            topic="results",
            topic_id=place.topic_id,
            partition_counts=place.counts,
            format=FORMAT,
        ),
    )


# -- options of a wait ----------------------------------------------------------------------------------------------


def test_propagate_and_callback(desk: Desk, make: Callable[..., Any]) -> None:
    """Off: the exception is returned; the callback is given what is returned, by handles that have it already too."""
    with desk.wiring.publisher() as publisher:
        publisher.failed_with("f", ValueError("declined"))
    publish(desk, make("s", "SUCCESS", result=7))
    desk.fold()
    told: list[Any] = []

    def note(task: str, value: object) -> None:
        told.append((task, str(value)))

    handle = desk.client.result("f")
    for _ in range(2):
        assert isinstance(handle.get(0, propagate=False, callback=note), ValueError)
    with pytest.raises(ValueError, match="declined"):
        handle.get(0, callback=note)
    assert 7 == desk.client.get("s", 0, callback=note)

    assert [("f", "declined"), ("f", "declined"), ("s", "7")] == told


def _in_a_thread(call: Callable[[], object]) -> Callable[[], object]:
    """Begin a call in a thread; return what gives its result, or raises its error."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append((call(), None))
        except Exception as exc:  # noqa: BLE001 -- raised where the test asks
            found.append((None, exc))

    thread = threading.Thread(target=run)
    thread.start()

    def result() -> object:
        thread.join(SOON)
        assert found, "it does not end"
        value, error = found[0]
        if error is not None:
            raise error
        return value

    return result


@pytest.mark.parametrize("via", ["topic", "view"])
def test_on_message_is_given_every_event(desk: Desk, make: Callable[..., Any], via: Any) -> None:
    """From the first one that the log holds to the end, in their order, whoever brings the end."""
    publish(desk, make("t", "STARTED"))
    desk.fold()
    heard: list[tuple[str, object]] = []
    twice = threading.Event()

    def hear(event: Any) -> None:
        heard.append((event.state, event.result))
        if len(heard) == 2:
            twice.set()

    value = _in_a_thread(lambda: desk.client.get("t", SOON, via=via, on_message=hear))
    desk.in_phase(Phase.ASLEEP)
    publish(desk, make("t", "PROGRESS", result=0.5))
    assert twice.wait(SOON)
    publish(desk, make("t", "SUCCESS", result="done"))
    desk.fold()

    assert "done" == value()
    assert [("STARTED", None), ("PROGRESS", 0.5), ("SUCCESS", "done")] == heard


def test_on_message_hears_of_a_task_that_has_ended_already(desk: Desk) -> None:
    """Waiting later is no way to hear less."""
    for state in ("STARTED", "SUCCESS"):
        desk.publish("t", state)
    desk.fold()
    heard: list[str] = []
    desk.client.wait("t", SOON, on_message=lambda event: heard.append(event.state))

    assert ["STARTED", "SUCCESS"] == heard


def test_on_interval_is_called_while_the_wait_lasts(desk: Desk) -> None:
    """As often as was asked for, by the thread that waits; it may end the wait by what it raises."""
    desk.fold()
    calls: list[int] = []

    class Enough(Exception):
        pass

    def tick() -> None:
        calls.append(threading.get_ident())
        if len(calls) == 5:
            raise Enough

    with pytest.raises(Enough):
        desk.client.wait("t", SOON, interval=0.01, on_interval=tick)

    assert {threading.get_ident()} == set(calls)
    assert {} == desk.watch.waiters


def test_an_interval_reads_the_view_again(desk: Desk) -> None:
    """Where the message of the fold was lost, as safety re-reads of the client are off here."""
    desk.fold()
    waited = _in_a_thread(lambda: desk.client.wait("t", SOON, via="view", interval=0.02).state)
    desk.in_phase(Phase.ASLEEP)
    desk.engine.listener.hear = lambda _: None  # type: ignore[method-assign, assignment]
    desk.publish("t", "SUCCESS")
    desk.fold()

    assert "SUCCESS" == waited()


def test_an_attended_wait_keeps_its_deadline_and_leaves_nothing(desk: Desk) -> None:
    """With one error, as without options."""
    desk.fold()
    with pytest.raises(WaitTimeout, match=r"not ready after 0\.1 s"):
        desk.client.wait("t", 0.1, on_message=print, on_interval=int, follow_parents=True)

    assert ({}, {}) == (desk.watch.waiters, desk.watch.followers)


def test_a_failed_ancestor_ends_the_wait(desk: Desk, make: Callable[..., Any]) -> None:
    """With its error, however far up it is; the parents are found by what the events say."""
    publish(desk, make("child", "PENDING", parent_id="parent"))
    publish(desk, make("parent", "STARTED", parent_id="root"))
    desk.fold()
    waited = _in_a_thread(lambda: desk.client.wait("child", SOON, follow_parents=True))
    desk.in_phase(Phase.ASLEEP, "root")
    with desk.wiring.publisher() as publisher:
        publisher.failed_with("root", _Declined("root"))
    desk.fold()

    with pytest.raises(RemoteTaskError, match="root"):
        waited()
    assert {} == desk.watch.waiters


class _Declined(Exception):
    pass


def test_at_least_and_fresh_wait_for_the_view_first(desk: Desk) -> None:
    """What is older than that position is not the answer: here it was forgotten."""
    desk.publish("t", "FAILURE")
    desk.fold()
    position = desk.client.forget("t")
    waited = [
        _in_a_thread(lambda: desk.client.wait("t", SOON, via="view", at_least=position).state),
        _in_a_thread(lambda: desk.client.wait("t", SOON, via="view", fresh=True).state),
    ]
    desk.fold()
    desk.publish("t", "SUCCESS")
    desk.fold()

    assert ["SUCCESS", "SUCCESS"] == [wait() for wait in waited]


# -- inside a running task ------------------------------------------------------------------------------------------

WAITS: list[Callable[[Client], object]] = [
    lambda client: client.get("t", SOON),
    lambda client: client.wait("t", SOON),
    lambda client: client.result("t").get(SOON),
    lambda client: list(client.events("t")),
]


@pytest.mark.parametrize("wait", WAITS)
def test_a_running_task_may_not_wait_unless_it_is_allowed_to(desk: Desk, wait: Callable[[Client], object]) -> None:
    """The mark is its context's own: other threads wait, and a look is no wait."""
    desk.publish("t", "SUCCESS")
    desk.fold()
    token = begin_task("outer")
    try:
        with pytest.raises(WaitRefused, match="'outer' is about to wait for 't'"):
            wait(desk.client)
        _in_a_thread(lambda: wait(desk.client))()
        assert desk.client.wait("t", 0).successful
        with allow_waiting():
            wait(desk.client)
        with pytest.raises(WaitRefused):
            wait(desk.client)
    finally:
        end_task(token)
    wait(desk.client)


def test_events_need_kafka(desk: Desk) -> None:
    """They stand in the log alone."""
    desk.fold()
    _describe_view(desk)
    place = desk.client._whereabouts.find(Deadline(SOON))
    with Wiring(Settings(namespace=place.namespace), store=desk.store) as wiring, wiring.client() as client:
        with pytest.raises(ConfigurationError, match="set kafka_bootstrap"):
            list(client.events("t"))
        with pytest.raises(ConfigurationError, match="set kafka_bootstrap"):
            client.wait("t", 1, on_message=print)
