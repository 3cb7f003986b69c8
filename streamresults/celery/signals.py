"""What happens when processes of a worker begin and end."""

from __future__ import annotations

import os
from typing import Any

from celery import signals

from streamresults.celery.process import all_connections

#: The process that runs a worker's pool, and the children of one; 0 for none.
_main = 0
_child = 0


def connect() -> None:
    """Listen, once however often it is called."""
    signals.worker_init.connect(_on_worker, dispatch_uid="streamresults.worker")
    signals.worker_process_init.connect(_on_child, dispatch_uid="streamresults.child")
    signals.worker_process_shutdown.connect(_on_end, dispatch_uid="streamresults.child_end")
    signals.worker_shutdown.connect(_on_end, dispatch_uid="streamresults.worker_end")
    signals.worker_ready.connect(_on_ready, dispatch_uid="streamresults.ready")


def others_may_know(app: Any) -> bool:
    """
    Tell whether another process may have ended a task that this one asks about, and much hangs on the answer.

    That is so in a worker's main process, which asks when a child was lost, and in one that must not run again what
    has succeeded already.
    """
    here = os.getpid()
    return here == _main or (here == _child and bool(app.conf.worker_deduplicate_successful_tasks))


def _on_worker(**_: Any) -> None:
    global _main  # noqa: PLW0603 -- one of each process
    _main = os.getpid()


def _on_child(**_: Any) -> None:
    """Connect before the first task ends: a child's first acknowledgement takes half a second otherwise."""
    global _child  # noqa: PLW0603 -- as above
    _child = os.getpid()
    for connections in all_connections():
        connections.warm()


def _on_ready(sender: Any = None, **_: Any) -> None:
    """Connect where tasks run in the main process itself: not before a pool has forked its children."""
    _on_worker()  # a backend that was made later than the worker has missed that
    pool = getattr(getattr(sender, "controller", sender), "pool_cls", None)
    if pool is not None and not getattr(pool, "uses_semaphore", False):
        for connections in all_connections():
            connections.warm()


def _on_end(**_: Any) -> None:
    """Have queued states acknowledged before the process ends through os._exit."""
    for connections in all_connections():
        connections.flush()
