"""
The application of the Celery scenarios, as its worker and its clients import it.

``SCENARIO`` is JSON in the environment: the broker, the backend, the queue, and settings of Celery.
"""

from __future__ import annotations

import json
import os
import time
from functools import partial
from typing import Any

from celery import Celery, Task, group
from celery.contrib.abortable import AbortableTask
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.result import allow_join_result

_scenario = json.loads(os.environ["SCENARIO"])
app = Celery("scenarios", broker=_scenario["broker"], backend=_scenario["backend"])
app.conf.update(
    task_default_queue=_scenario["queue"],
    result_backend_transport_options=_scenario.get("options", {}),
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
    **_scenario.get("conf", {}),
)

#: Not shared with other applications of the process: a test imports this module once for each backend.
task = partial(app.task, shared=False)


class OutOfStock(Exception):
    """An exception of the application's own, which can be pickled."""

    def __init__(self, item: str, left: int = 0) -> None:
        super().__init__(item, left)
        self.item = item
        self.left = left


class Unlisted(Exception):
    """An exception of the application's own that no task says it throws."""


class Unpicklable(Exception):
    """One that cannot: its constructor wants what its arguments do not have."""

    def __init__(self, item: str, *, left: int) -> None:
        super().__init__(item)
        self.left = left


@task()
def add(x: int, y: int) -> int:
    """Add."""
    return x + y


@task()
def total(numbers: list[int]) -> int:
    """Add all."""
    return sum(numbers)


@task()
def echo(value: Any) -> Any:
    """Return what it is given."""
    return value


@task()
def fail(message: str) -> None:
    """Raise."""
    raise ValueError(message)


@task(throws=(OutOfStock,))
def out_of_stock(item: str) -> None:
    """Raise the application's own exception, caused by another one."""
    try:
        {"tea": 3}["shelf"]
    except KeyError as exc:
        raise OutOfStock(item, 3) from exc


@task(throws=(Unpicklable,))
def unpicklable() -> None:
    """Raise what cannot be pickled."""
    raise Unpicklable("tea", left=4)


@task()
def unlisted(item: str) -> None:
    """Raise what nobody has listed."""
    raise Unlisted(item)


@task()
def unencodable() -> object:
    """Return what no serializer takes."""
    return object()


@task(bind=True)
def progress(self: Task, steps: int) -> int:
    """Report each step."""
    for number in range(steps):
        self.update_state(state="PROGRESS", meta={"step": number})
    return steps


@task(bind=True)
def own_state(self: Task) -> list[Any]:
    """Say a state and read it back."""
    self.update_state(state="HALF", meta={"done": 50})
    found = app.AsyncResult(self.request.id)
    return [found.state, found.info]


@task(bind=True, max_retries=3)
def third_time(self: Task) -> int:
    """Fail twice."""
    if self.request.retries < 2:
        raise self.retry(exc=ValueError("again"), countdown=0)
    return int(self.request.retries)


@task(bind=True)
def waits_for_retry(self: Task) -> None:
    """Wait long for a second try."""
    raise self.retry(exc=ValueError("again"), countdown=600)


@task(bind=True, max_retries=0)
def may_not_retry(self: Task) -> None:
    """Give up at once."""
    raise self.retry(countdown=0)


@task(bind=True, max_retries=1, throws=(OutOfStock,))
def never_works(self: Task) -> None:
    """Give up in the end."""
    raise self.retry(exc=OutOfStock("tea", 1), countdown=0)


@task(ignore_result=True)
def ignored() -> int:
    """Return what nobody wants."""
    return 1


@task(ignore_result=True, store_errors_even_if_ignored=True)
def ignored_but_for_errors() -> None:
    """Fail where nobody wants a result."""
    raise ValueError("kept")


@task()
def ignores_itself() -> None:
    """Leave the task as it is."""
    raise Ignore


@task()
def rejects_itself() -> None:
    """Refuse the message for good."""
    raise Reject("not for us", requeue=False)


@task(bind=True, base=AbortableTask)
def abortable(self: AbortableTask, at_most: int) -> int:
    """Count until somebody says stop."""
    for count in range(at_most):
        if self.is_aborted():
            return count
        time.sleep(0.05)
    return at_most


@task()
def asks_within() -> list[Any]:
    """Wait for a task within a task, as one must not and as one may."""
    child = add.delay(1, 1)
    try:
        return ["", child.get(timeout=20)]
    except RuntimeError as exc:
        with allow_join_result():
            return [str(exc), child.get(timeout=20)]


@task(bind=True)
def says_and_leaves(self: Task) -> None:
    """Say much, and leave before anybody can have heard all of it."""
    for number in range(4000):
        self.update_state(state="WORD", meta=number)
    self.update_state(state="LAST-WORD", meta=os.getpid())
    raise Ignore


@task(bind=True, acks_late=True, reject_on_worker_lost=True)
def dies_once(self: Task, path: str) -> str:
    """Take the process along the first time it is delivered."""
    if not os.path.exists(path):  # noqa: PTH110 -- a path that another process is to look at
        open(path, "w").close()  # noqa: PTH123 -- as above
        os.kill(os.getpid(), 9)
    return str(self.request.id)


@task()
def begins_and_sleeps(path: str) -> None:
    """Say that it has begun, and take long."""
    open(path, "w").close()  # noqa: PTH123 -- a path that another process is to look at
    time.sleep(60)


@task()
def meets(seconds: float) -> list[float]:
    """Say from when to when it was at work."""
    begun = time.monotonic()
    time.sleep(seconds)
    return [begun, time.monotonic()]


@task(soft_time_limit=1, throws=(SoftTimeLimitExceeded,))
def much_too_long() -> None:
    """Run into the soft limit."""
    time.sleep(30)


@task(acks_late=True)
def note(path: str) -> int:
    """Count how often it was run."""
    with open(path, "a+") as file:  # noqa: PTH123 -- a path that another process is to look at
        file.write("run\n")
        file.seek(0)
        return len(file.readlines())


@task()
def sleep(seconds: float) -> float:
    """Take a while."""
    time.sleep(seconds)
    return seconds


@task(bind=True)
def replaced(self: Task, value: int) -> Any:
    """Have another task do it."""
    raise self.replace(add.s(value, 1))


@task(bind=True)
def parent(self: Task) -> str:
    """Call a task and a group."""
    add.delay(1, 1)
    group(add.s(1, number) for number in range(2)).apply_async()
    return str(self.request.id)


@task(acks_late=True, reject_on_worker_lost=False)
def die() -> None:
    """Take the process along."""
    os.kill(os.getpid(), 9)


@task(time_limit=1)
def too_long() -> None:
    """Run into the hard limit."""
    time.sleep(30)


@task()
def process_id() -> int:
    """Return who runs it."""
    return os.getpid()
