"""
An application of chords, as its worker and a client import it.

``CHORDS`` is JSON in the environment: broker, backend, queue, and the folder of the files by which tasks are held.
"""

from __future__ import annotations

import json
import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

from celery import Celery, Task, signals

_told = json.loads(os.environ["CHORDS"])
_folder = Path(_told["folder"])
app = Celery("chords", broker=_told["broker"], backend=_told["backend"])
app.conf.update(
    task_default_queue=_told["queue"],
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
    result_chord_retry_interval=0.1,
    task_publish_retry=False,
    broker_connection_timeout=1,
)

#: Not shared with other applications of the process.
task: Any = partial(app.task, shared=False)


@task()
def echo(value: Any) -> Any:
    """Return what it is given."""
    return value


@task()
def collect(values: Any) -> Any:
    """Return what the header returned, and leave word of having run."""
    with (_folder / "collected").open("a") as file:
        file.write(".")
    return values


@task()
def held(name: str) -> str:
    """Return once a file of that name is there, or the test is over."""
    while not ((_folder / name).exists() or (_folder / "over").exists()):
        time.sleep(0.01)
    return name


@task(bind=True)
def adding(self: Task, value: Any) -> Any:
    """Add another task to the chord that it is a member of."""
    self.add_to_chord(echo.s([value]))
    return value


@task(bind=True, acks_late=True, reject_on_worker_lost=True)
def dying_once(self: Task, value: Any) -> Any:
    """Take the process along, the first time."""
    mark = _folder / f"died-{self.request.id}"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return value


@signals.before_task_publish.connect
def _die(sender: str, **_: Any) -> None:
    """Die where a body is to be sent, if the test asks for it; once."""
    mark = _folder / "die"
    if sender == collect.name and mark.exists():
        mark.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
