"""Writes tombstones: the log is told to forget a task. It never touches the view, which follows the log."""

from __future__ import annotations

from threading import TIMEOUT_MAX, Event, Lock
from typing import TYPE_CHECKING, Final

from streamresults.errors import ClientClosed, ConfigurationError, PublishFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.deadline import Deadline
    from streamresults.topic.base import Acknowledgement, TopicWriter


class Tombstones:
    """
    Writes over a writer of its own, opened with the first tombstone. Thread-safe.

    Args:
        open_writer: ``None`` in a process without Kafka.
    """

    def __init__(self, open_writer: Callable[[], TopicWriter] | None) -> None:
        self._open_writer: Final = open_writer
        self._lock: Final = Lock()
        self._writer: TopicWriter | None = None
        self._closed = False

    def write(self, task_id: str, partition: int, deadline: Deadline) -> Acknowledgement:
        """
        Block until the brokers hold a task's tombstone; return where.

        Raises:
            PublishFailed: Not acknowledged in time.
            ConfigurationError: This process has no Kafka.
            ClientClosed: It was closed.
        """
        writer = self._opened(task_id)
        answers: list[Acknowledgement] = []
        done = Event()

        def acknowledged(answer: Acknowledgement) -> None:
            answers.append(answer)
            done.set()

        while not writer.produce(task_id.encode(), None, acknowledged, partition=partition):
            if not writer.wait_for_room(deadline):
                raise _failed(task_id, "was not written: the queue is full", written=False)
        if not done.wait(deadline.remaining(TIMEOUT_MAX)):
            raise _failed(task_id, f"was not acknowledged in {deadline.total:g} s")
        error = answers[0].error
        if error is not None:
            raise _failed(task_id, f"failed: {error}", written=getattr(error, "written", None)) from error
        return answers[0]

    def _opened(self, task_id: str) -> TopicWriter:
        if self._open_writer is None:
            raise ConfigurationError("forgetting writes to the topic: set kafka_bootstrap")
        with self._lock:
            if self._closed:
                raise ClientClosed("the client is closed: open another one", task_id=task_id)
            self._writer = self._writer or self._open_writer()
            return self._writer

    def close(self, deadline: Deadline) -> None:
        """Release the writer; what is under way is acknowledged or fails."""
        with self._lock:
            writer, self._writer, self._closed = self._writer, None, True
        if writer is not None:
            writer.close(deadline)


def _failed(task_id: str, why: str, *, written: bool | None = None) -> PublishFailed:
    return PublishFailed(f"the tombstone of task {task_id!r} {why}", task_id=task_id, written=written)
