"""
The worker process of the demonstration: calls come in as lines on stdin, what becomes of them goes to the topic.

In production a task queue brings the calls; the rest is what a worker does there. It never meets Redis or the caller.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from streamresults.settings import load
from streamresults.wiring import Wiring


class OutOfStockError(Exception):
    """Raised by a task; no allowlist names it, so it stays a RemoteTaskError in the client."""


def add(left: int, right: int) -> int:
    """Add."""
    return left + right


def resize(name: str) -> dict[str, Any]:
    """Return what a resized picture would look like."""
    return {"picture": name, "size": [512, 512]}


def charge(card: str) -> None:
    """Decline every card."""
    msg = f"{card} was declined"
    raise ValueError(msg)


def ship(order: str) -> None:
    """Have nothing to ship."""
    raise OutOfStockError(order)


TASKS: Final = {task.__name__: task for task in (add, resize, charge, ship)}


def work() -> None:
    """Run calls until stdin ends."""
    with Wiring(load()) as wiring, wiring.publisher(worker="demo-worker") as publisher:
        publisher.warm()
        print("ready", flush=True)
        for line in sys.stdin:
            call = json.loads(line)
            name, args = call["name"], call["args"]
            try:
                with publisher.run(call["id"], name=f"demo.{name}", args=args) as run:
                    run.result = TASKS[name](*args)
            except (ValueError, OutOfStockError):
                continue  # published as FAILURE: the caller will see it


if __name__ == "__main__":
    work()
