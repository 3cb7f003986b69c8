"""``streamresults demo --celery``: a Celery application, its worker and a caller, whose results go the same way."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

import click

from streamresults.deadline import Deadline
from streamresults.errors import ServiceUnavailable

if TYPE_CHECKING:
    from subprocess import Popen

    from streamresults.cli.demo_services import DemoServices

#: Seconds for the worker to come up. It takes two.
_START: Final = 30.0
#: Seconds between looks at what it has logged.
_LOOK: Final = 0.05
_APPLICATION: Final = """\
from celery import Celery, chord
app = Celery("shop", broker="{broker}", backend="{backend}")
class OutOfStock(Exception): ...
class Declined(Exception): ...
@app.task
def add(x, y): return x + y
@app.task
def total(numbers): return sum(numbers)
@app.task(throws=OutOfStock)
def ship(order): raise OutOfStock(order)
@app.task
def charge(card): raise Declined(card)
"""


def require() -> None:
    """
    Make sure that Celery is there, before anything is started.

    Raises:
        UsageError: It is not.
    """
    try:
        import streamresults.celery  # noqa: F401 -- only whether it can be imported
    except ImportError as exc:
        msg = "the demonstration of Celery needs it: pip install 'streamresults[celery,demo]'"
        raise click.UsageError(msg) from exc


def show(services: DemoServices) -> None:
    """
    Write the application, run its worker, and call its tasks from a process of its own.

    Raises:
        ServiceUnavailable: Worker or caller did not do what they should.
    """
    application = _written(services)
    worker = services.start([*_CELERY, "worker", "--concurrency=2", "--loglevel=info", *_QUIET], name="worker")
    print(f"celery     pid {worker.pid}, two children  {services.folder / 'shop.py'}\n", flush=True)
    for line in application.splitlines():
        print(f"    {line}")
    _wait_until_ready(services, worker)
    print(flush=True)
    # In the application's folder and environment, as the settings of whoever runs the demonstration are not its own.
    code = "from streamresults.cli.demo_caller import call; call()"
    caller = services.start([sys.executable, "-c", code], name="caller", shows=True)
    if caller.wait():
        msg = f"the demonstration's caller has failed: {services.last_words('caller')}"
        raise ServiceUnavailable(msg)


def further(services: DemoServices) -> list[str]:
    """Return what can be tried in another terminal while it stays."""
    return [
        f"cd {services.folder}",
        "celery -A shop call shop.add -a '[2, 2]'    # prints an ID; then: celery -A shop result ID",
    ]


#: The interpreter's own Celery, whatever PATH says.
_CELERY: Final = (sys.executable, "-m", "celery", "-A", "shop")
_QUIET: Final = ("--without-gossip", "--without-mingle", "--without-heartbeat")


def _written(services: DemoServices) -> str:
    kafka, redis = services.settings.kafka_bootstrap, services.settings.redis_url
    topic = services.settings.topic
    text = _APPLICATION.format(
        broker=f"{redis.rpartition('/')[0]}/1", backend=f"streamresults://{kafka}/{topic}?redis={redis}"
    )
    (services.folder / "shop.py").write_text(text)
    return text


def _wait_until_ready(services: DemoServices, worker: Popen[str]) -> None:
    deadline = Deadline(_START)
    while " ready." not in services.log("worker"):
        if worker.poll() is not None or deadline.passed():
            msg = f"the demonstration's Celery worker did not come up: {services.last_words('worker')}"
            raise ServiceUnavailable(msg)
        time.sleep(_LOOK)
