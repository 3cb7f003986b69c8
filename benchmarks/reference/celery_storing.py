"""
A process that stores results by Celery when it is told to. Arguments: Redis's URL.

It answers, with one line each: ``prepare SEED COUNT`` makes ready what the tasks of that seed have to do with;
``publish`` stores their results and says when it began and ended, by a clock of the machine, in seconds.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from benchmarks.reference import celery_backend, workload


class _Storing:
    def __init__(self, redis_url: str) -> None:
        self._app = celery_backend.open_app(redis_url)
        self._ready: list[tuple[str, Any, Any]] = []

    def prepare(self, seed: str, count: str) -> str:
        numbered = enumerate(workload.seeded_ids(int(seed), int(count)))
        self._ready = [(task_id, workload.result(at), celery_backend.request(at)) for at, task_id in numbered]
        return "done"

    def publish(self) -> str:
        store = self._app.backend.store_result
        began = time.perf_counter()
        for task_id, result, request in self._ready:
            store(task_id, result, "SUCCESS", request=request)
        return f"{began} {time.perf_counter()}"


def main(redis_url: str) -> None:
    """Answer until standard input ends."""
    storing = _Storing(redis_url)
    for line in sys.stdin:
        word, *arguments = line.split()
        print(word, getattr(storing, word)(*arguments), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
