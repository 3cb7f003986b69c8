"""
A process that publishes results of known tasks at a steady rate. Arguments: bootstrap, topic.

``publish SEED COUNT RATE`` publishes the first ``COUNT`` tasks of a seed, ``RATE`` a second, and answers with one line:
when each was handed to the producer, by a clock of the machine, in seconds, as JSON.
"""

from __future__ import annotations

import json
import sys
import time

from benchmarks.reference import records, workload
from benchmarks.reference.publish import RawPublisher


def _publish(raw: RawPublisher, ready: list[tuple[bytes, bytes]], rate: float) -> list[float]:
    moments = []
    began = time.perf_counter()
    for number, (key, value) in enumerate(ready):
        early = began + number / rate - time.perf_counter()
        if early > 0:
            time.sleep(early)
        moments.append(time.perf_counter())
        raw.send(key, value)
        raw.serve()
    raw.flush()
    return moments


def main(bootstrap: str, topic: str) -> None:
    """Answer until standard input ends."""
    raw = RawPublisher(bootstrap, topic)
    raw.one_by_one(workload.task_ids(1))
    for line in sys.stdin:
        word, seed, count, rate = line.split()
        ready = records.stamped(list(workload.seeded_ids(int(seed), int(count))))
        print(word, json.dumps(_publish(raw, ready, float(rate))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
