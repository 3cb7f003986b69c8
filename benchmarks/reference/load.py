"""A process that publishes results at a steady rate until its standard input ends; nothing of it is measured."""

from __future__ import annotations

import sys
import time
from threading import Event, Thread
from typing import Final

from benchmarks.reference import records, workload
from benchmarks.reference.publish import RawPublisher

#: Seconds between two bursts: short, as in a system whose events come one by one.
_EVERY: Final = 0.005
_DIFFERENT: Final = 50_000


def main(bootstrap: str, topic: str, per_second: str) -> None:
    """Publish until told to stop."""
    stop = Event()
    publisher = Thread(target=_publish, args=(RawPublisher(bootstrap, topic), int(per_second), stop))
    publisher.start()
    sys.stdin.read()
    stop.set()
    publisher.join()


def _publish(raw: RawPublisher, per_second: int, stop: Event) -> None:
    ready = records.stamped(workload.task_ids(_DIFFERENT))
    began, sent = time.monotonic(), 0
    while not stop.wait(_EVERY):
        due = int((time.monotonic() - began) * per_second)
        for number in range(sent, due):
            raw.send(*ready[number % _DIFFERENT])
        sent = due
        raw.serve()
    raw.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
