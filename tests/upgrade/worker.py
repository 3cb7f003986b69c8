"""
A worker and a caller in a process of their own, of whichever release this interpreter finds; public names alone.

Arguments: ``every PREFIX`` publishes one task of each kind; ``load PREFIX`` publishes task after task until SIGTERM and
then prints where each of them stands, one JSON object a line; ``lookup`` reads ids from the arguments.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from itertools import count

import streamresults

#: Above ``inline_max``: its bytes stand in the log alone.
LARGE = 100_000


def _every(prefix: str) -> None:
    with streamresults.open_publisher() as publisher:
        publisher.succeeded(f"{prefix}-plain", {"paid": [1, None, "ü"]}, name="shop.pay", labels={"team": "a"})
        publisher.succeeded(f"{prefix}-none")
        publisher.succeeded(f"{prefix}-large", "x" * LARGE)
        publisher.started(f"{prefix}-twice")
        publisher.failed_with(f"{prefix}-twice", LookupError("not yet"))
        publisher.succeeded(f"{prefix}-twice", 2)
        publisher.started(f"{prefix}-started")
        failure = ValueError("no such order", 7)
        failure.__cause__ = KeyError("order")
        publisher.failed_with(f"{prefix}-failed", failure)
        publisher.succeeded(f"{prefix}-forgotten", 1)
    with streamresults.open_client() as client:
        client.forget(f"{prefix}-forgotten")


def _load(prefix: str) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    acknowledged = []
    with streamresults.open_publisher() as publisher:
        for number in count():
            task = f"{prefix}-{number}"
            publisher.started(task)
            at = publisher.succeeded(task, number)
            assert at is not None  # there is no spool
            acknowledged.append({"task_id": task, "partition": at.partition, "offset": at.offset, "result": number})
            if not number:
                sys.stderr.write("publishing\n")
            if stop.is_set():
                break
    for one in acknowledged:
        _say(one)


def _lookup(task_ids: list[str]) -> None:
    with streamresults.open_client() as client:
        for found in client.lookup_many(task_ids):
            outcome: object = None
            if found.ready:
                outcome = repr(found.exception) if found.exception is not None else found.result
                outcome = len(outcome) if isinstance(outcome, str) and len(outcome) == LARGE else outcome
            _say({"task_id": found.task_id, "state": found.state, "outcome": outcome})


def _say(row: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(row) + "\n")


def main() -> None:
    """Run."""
    what, *rest = sys.argv[1:]
    if what == "lookup":
        _lookup(rest)
    else:
        {"every": _every, "load": _load}[what](rest[0])


main()
