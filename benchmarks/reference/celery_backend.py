"""Celery's own result backend on Redis with extended results, about the same tasks as every other row."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any, Final

from benchmarks.reference import workload

if TYPE_CHECKING:
    from collections.abc import Sequence

INSTALLED: Final = importlib.util.find_spec("celery") is not None
#: What a row says that was not measured for want of it.
SKIPPED: Final = "skipped: pip install 'celery[redis]'"


def open_app(redis_url: str) -> Any:
    """Return an app that keeps its results in Redis."""
    app = importlib.import_module("celery").Celery(broker="memory://", backend=redis_url)
    app.conf.update(result_extended=True)
    return app


def request(number: int, group_id: str | None = None) -> Any:
    """Return what extended results take their metadata from."""
    return importlib.import_module("celery.app.task").Context(
        task=workload.METADATA["name"],
        args=workload.arguments(number),
        kwargs=workload.keywords(number),
        hostname=workload.METADATA["worker"],
        retries=workload.METADATA["retries"],
        group=group_id,
        delivery_info={"routing_key": workload.METADATA["queue"]},
    )


def store(app: Any, task_id: str, number: int, group_id: str | None = None) -> None:
    """Store the result of one task, as a worker does."""
    app.backend.store_result(task_id, workload.result(number), "SUCCESS", request=request(number, group_id))


def group(app: Any, group_id: str, task_ids: Sequence[str]) -> Any:
    """Return the tasks as one group, whose ``join_native`` waits for all of them."""
    found = importlib.import_module("celery.result").GroupResult
    return found(group_id, [app.AsyncResult(task_id) for task_id in task_ids], app=app)
