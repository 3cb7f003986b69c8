"""``on_message`` of a set: every meta of each member, as Celery's backend on Redis tells them."""

from __future__ import annotations

import threading
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from celery import states
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.result import GroupResult

from tests.unit.test_celery_waiting import SOON, in_thread, waiting
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery


MEMBERS = [f"m{number}" for number in range(5)]


class Heard:
    """What was told, by task, and by which threads."""

    def __init__(self) -> None:
        self.of: dict[str, list[str]] = defaultdict(list)
        self.threads: set[int] = set()
        self.values: list[Any] = []

    def __call__(self, meta: dict[str, Any]) -> None:
        self.of[meta["task_id"]].append(meta["status"])
        self.threads.add(threading.get_ident())
        self.values.append(meta["result"])


@pytest.fixture
def heard() -> Heard:
    """Give what is told."""
    return Heard()


def group_of(app: Celery, members: list[str]) -> GroupResult:
    return GroupResult("g", [app.AsyncResult(member) for member in members])


def joins(app: Celery, heard: Heard, **options: Any) -> Callable[[], Any]:
    """Return a join that notes in which thread it is made."""

    def join() -> tuple[int, Any]:
        return threading.get_ident(), group_of(app, MEMBERS).get(timeout=SOON, on_message=heard, **options)

    return join


@pytest.mark.parametrize("options", [{}, {"on_interval": int, "interval": 0.01}], ids=["at once", "in steps"])
def test_a_group_tells_every_meta_of_each_member_in_its_order(
    app: Celery, worker: Any, heard: Heard, options: dict[str, Any]
) -> None:
    """Those of before the wait and those of one that has ended before it too, each once, in the thread that waits."""
    worker.store_result("m0", {}, states.STARTED)
    worker.store_result("m0", 0, states.SUCCESS)
    worker.store_result("m1", {}, states.STARTED)
    worker.connections.flush()
    eventually(lambda: app.AsyncResult("m0").ready() and app.AsyncResult("m1").state == "STARTED")
    joining = in_thread(joins(app, heard, **options))
    eventually(lambda: waiting(app) == 4)
    for member in MEMBERS[2:]:
        worker.store_result(member, {}, states.STARTED)
    for number, member in enumerate(MEMBERS[1:], 1):
        worker.store_result(member, {"done": 0.5}, "PROGRESS")
        worker.store_result(member, number, states.SUCCESS)

    thread, values = joining.result()

    assert values == list(range(5))
    assert heard.of == {"m0": ["STARTED", "SUCCESS"]} | {m: ["STARTED", "PROGRESS", "SUCCESS"] for m in MEMBERS[1:]}
    assert {"done": 0.5} in heard.values
    assert heard.threads == {thread}


def test_everything_is_told_before_the_end_is_given(app: Celery, worker: Any, heard: Heard) -> None:
    told_at_end: dict[str, list[str]] = {}

    def take() -> None:
        for task_id, _ in app.backend.get_many(MEMBERS, timeout=SOON, on_message=heard):
            told_at_end[task_id] = list(heard.of[task_id])

    taking = in_thread(take)
    eventually(lambda: waiting(app) == 5)
    for member in MEMBERS:
        worker.store_result(member, {}, states.STARTED)
        worker.store_result(member, KeyError("again"), states.RETRY)
        worker.store_result(member, KeyError("k"), states.FAILURE)
    taking.result()

    assert told_at_end == {member: ["STARTED", "RETRY", "FAILURE"] for member in MEMBERS}


def test_steps_tell_nothing_twice(app: Celery, worker: Any, heard: Heard) -> None:
    """A join that calls ``on_interval`` waits in steps."""
    steps = threading.Semaphore(0)
    joining = in_thread(
        lambda: list(
            app.backend.get_many(["m0"], timeout=SOON, interval=0.01, on_interval=steps.release, on_message=heard)
        )
    )
    worker.store_result("m0", {}, states.STARTED)
    worker.connections.flush()
    eventually(lambda: heard.of["m0"] == ["STARTED"])
    for _ in range(5):
        steps.acquire()
    worker.store_result("m0", 1, states.SUCCESS)
    joining.result()

    assert heard.of["m0"] == ["STARTED", "SUCCESS"]


def test_a_deadline_leaves_nobody_behind(app: Celery, worker: Any, heard: Heard) -> None:
    worker.store_result("m0", {}, states.STARTED)
    worker.connections.flush()

    with pytest.raises(CeleryTimeoutError):
        group_of(app, MEMBERS).get(timeout=0.5, on_message=heard)

    assert heard.of == {"m0": ["STARTED"]}
    engine = app.backend.connections.client._engine
    assert engine is not None
    with engine.waits.lock:
        assert not any(watch.followers for watch in engine.waits.watches.values())
    assert waiting(app) == 0


def test_a_group_that_has_ended_tells_its_ends_and_reads_no_log(
    app: Celery, worker: Any, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, member in enumerate(MEMBERS):
        worker.store_result(member, {}, states.STARTED)
        worker.store_result(member, number, states.SUCCESS)
    eventually(lambda: all(app.AsyncResult(member).ready() for member in MEMBERS))
    monkeypatch.setattr(app.backend.connections.client, "_open_reader", partial(pytest.fail, "it reads the log"))

    assert group_of(app, MEMBERS).get(timeout=SOON, on_message=heard) == list(range(5))
    assert heard.of == {member: ["SUCCESS"] for member in MEMBERS}


def test_a_slow_listener_misses_nothing(app: Celery, worker: Any) -> None:
    """What the reader cannot keep for it is read in the log."""
    go_on, told = threading.Event(), []

    def hear(meta: dict[str, Any]) -> None:
        told.append(meta["result"])
        assert go_on.wait(SOON)

    joining = in_thread(partial(group_of(app, MEMBERS[:2]).get, timeout=SOON, on_message=hear))
    eventually(lambda: waiting(app) == 2)
    worker.store_result("m0", -1, "PROGRESS")
    worker.connections.flush()
    eventually(lambda: bool(told))
    for number in range(600):
        worker.store_result("m0", number, "STEP")
    worker.store_result("m1", "other", states.SUCCESS)
    worker.store_result("m0", 600, states.SUCCESS)
    eventually(lambda: waiting(app) == 0)
    go_on.set()

    assert joining.result() == [600, "other"]
    assert [one for one in told if one != "other"] == list(range(-1, 601))


def test_what_on_message_raises_ends_the_join(app: Celery, worker: Any) -> None:
    def hear(_: Any) -> None:
        raise LookupError("enough")

    joining = in_thread(partial(group_of(app, MEMBERS).get, timeout=SOON, on_message=hear))
    eventually(lambda: waiting(app) == 5)
    worker.store_result("m3", {}, states.STARTED)
    worker.connections.flush()

    with pytest.raises(LookupError, match="enough"):
        joining.result()
    eventually(lambda: waiting(app) == 0)


def test_many_members_share_one_reader_of_what_was_before(app: Celery, worker: Any, heard: Heard) -> None:
    """However many members there are, and however much has happened to them."""
    members = [f"n{number}" for number in range(300)]
    for member in members:
        worker.store_result(member, {}, states.STARTED)
    worker.connections.flush()
    eventually(lambda: all(app.AsyncResult(member).state == "STARTED" for member in members[-5:]))
    client, opened = app.backend.connections.client, []
    open_reader = client._open_reader
    assert open_reader is not None

    def count() -> Any:
        opened.append(1)
        return open_reader()

    object.__setattr__(client, "_open_reader", count)
    joining = in_thread(partial(group_of(app, members).get, timeout=SOON, on_message=heard))
    eventually(lambda: waiting(app) == 300)
    eventually(lambda: len(heard.of) == 300)
    for member in members:
        worker.store_result(member, 1, states.SUCCESS)
    joining.result()

    assert heard.of == {member: ["STARTED", "SUCCESS"] for member in members}
    assert len(opened) <= 4  # the shared reader's place in each partition may become known one after the other
