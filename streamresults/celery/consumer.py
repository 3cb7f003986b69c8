"""What stands where Celery keeps the consumer of its own backends: whoever reaches for it finds its methods."""

from __future__ import annotations

import socket
from typing import Any


class ResultConsumer:
    """Stands where Celery's backends keep their consumer; there is nothing to start, to drain or to subscribe to."""

    def start(self, initial_task_id: str, **_: Any) -> None:
        """Do nothing: the engine starts with the first wait."""

    def stop(self) -> None:
        """Do nothing: the engine ends with its process."""

    def consume_from(self, task_id: str) -> None:
        """Do nothing: a wait finds what came before it."""

    def cancel_for(self, task_id: str) -> None:
        """Do nothing: nothing was subscribed to."""

    def on_after_fork(self) -> None:
        """Do nothing: the client sees to that."""

    def drain_events(self, timeout: float | None = None) -> None:  # noqa: ARG002 -- Celery's
        """Have nothing to give: what ends is told by the engine's own threads."""
        raise socket.timeout("nothing is drained here")  # noqa: UP041 -- the name that callers catch
