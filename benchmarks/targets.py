"""What the figures are aimed at: information in the table, never an assertion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from benchmarks.measure import Row


class Target(NamedTuple):
    """One aim: a ratio unless it says value, a least one unless it says at most."""

    bound: float
    at_most: bool = False
    of_value: bool = False

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.bound:g}"

    def verdict(self, row: Row) -> str:
        """Return ``ok`` or ``MISS``; nothing when there is no figure."""
        figure = row.value if self.of_value else row.ratio
        if figure is None:
            return ""
        return "ok" if (figure <= self.bound if self.at_most else figure >= self.bound) else "MISS"


TARGETS: Final = {
    "publish_pipelined": Target(0.7),
    "publish_sync": Target(0.6),
    "publish_first": Target(1.3, at_most=True),
    "join_first_in_partition": Target(40, at_most=True, of_value=True),
    "import_ms": Target(120, at_most=True, of_value=True),
    "cli_help_ms": Target(150, at_most=True, of_value=True),
    "compactor": Target(0.5),
    "cluster_compactor": Target(0.6),
    "backfill": Target(0.7),
    "backfill_live_visible": Target(1, at_most=True, of_value=True),
    "join_p50": Target(1.5, at_most=True),
    "join_p99": Target(1.5, at_most=True),
    "view_wait_p50": Target(4, at_most=True),
    "waiters_10000": Target(2, at_most=True, of_value=True),
    "waiters_10000_readers": Target(1, at_most=True, of_value=True),
    "waiters_10000_redis_connections": Target(2, at_most=True, of_value=True),
    "waiters_100000": Target(1, at_most=True, of_value=True),
    "waiters_100000_readers": Target(1, at_most=True, of_value=True),
    "waiters_100000_redis_connections": Target(2, at_most=True, of_value=True),
    "waiters_100000_wake_p99": Target(50, at_most=True, of_value=True),
    "await_10000": Target(1.5, at_most=True),
    "await_10000_threads": Target(0, at_most=True, of_value=True),
    "idle_client_fetches": Target(0, at_most=True, of_value=True),
    "idle_client_bytes": Target(0, at_most=True, of_value=True),
    "one_waiter_bytes": Target(round(1.1 / 12, 4), at_most=True),
    "lookup_one": Target(0.6),
    "lookup_1000": Target(0.9),
    "group_1000_finished": Target(1.1, at_most=True),
    "group_1000_finished_celery": Target(15),
    "join_10000": Target(6),
    "as_completed_first": Target(2, at_most=True),
    "exception_capture": Target(0.5),
    "exception_revive": Target(0.4),
    "exception_raise": Target(0.8),
    "celery_store_one": Target(0.7),
    "celery_store_16_threads": Target(5),
    "celery_get_ready": Target(1),
    "celery_blocked_get_p50": Target(1.2, at_most=True),
    "celery_group_1000_finished": Target(25),
    "celery_group_1000_finished_oldest": Target(25),
    "celery_group_1000_join": Target(1),
    "celery_50_waits_redis_connections": Target(3, at_most=True, of_value=True),
    "celery_task_throughput": Target(0.8),
}
