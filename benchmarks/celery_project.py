"""The application of the rows of Celery workers. ``BENCH_CELERY`` in the environment is broker, queue and backend."""

from __future__ import annotations

import json
import os
from typing import Any

from celery import Celery

_stated: dict[str, str] = json.loads(os.environ["BENCH_CELERY"])
app = Celery("bench", broker=_stated["broker"], backend=_stated["backend"])
app.conf.update(task_default_queue=_stated["queue"], result_extended=True, worker_prefetch_multiplier=16)


@app.task(name="bench.charge")  # type: ignore[untyped-decorator] # Celery has no types
def charge(number: int, card: str, amount: float) -> dict[str, Any]:
    """Return some 150 bytes of JSON."""
    return {"x": number, "card": card, "amount": amount, "status": "charged", "receipt": {"lines": 4, "paid": True}}
