"""Task ids as Celery takes them: text, UUIDs and bytes."""

from __future__ import annotations

from typing import Any

from kombu.utils.encoding import bytes_to_str


def text_of(task_id: Any) -> str:
    """
    Return a task id as text.

    Raises:
        ValueError: It is empty.
    """
    found = bytes_to_str(task_id) if isinstance(task_id, bytes) else str(task_id) if task_id else ""
    if not found:
        msg = f"task_id must not be empty. Got {task_id} instead."
        raise ValueError(msg)
    return found
