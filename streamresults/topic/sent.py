"""Produce one record and wait until the brokers have spoken: for what is written seldom, one thing at a time."""

from __future__ import annotations

from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import TIMEOUT_MAX
from typing import TYPE_CHECKING

from streamresults.errors import AppendFailed

if TYPE_CHECKING:
    from streamresults.deadline import Deadline
    from streamresults.topic.base import TopicWriter
    from streamresults.topic.records import Acknowledgement, Headers


class Sent:
    """One record on its way; made by :func:`send`."""

    def __init__(self, writer: TopicWriter) -> None:
        self._writer = writer
        # An Event would be left locked while a signal's handler waits within its wait, and who tells would wait for it.
        self._told: SimpleQueue[None] = SimpleQueue()
        self._answer: Acknowledgement | None = None

    def __call__(self, answer: Acknowledgement) -> None:
        """Take the brokers' answer, on whichever thread serves."""
        self._answer = answer
        self._told.put(None)

    def wait(self, deadline: Deadline) -> Acknowledgement:
        """
        Block until the brokers hold the record, and return where.

        Raises:
            AppendFailed: They do not, or the deadline passed first; ``written`` says what is known.
            RecordTooLarge: It is larger than the topic takes.
        """
        if self._answer is None:
            self._writer.urge()
            with suppress(Empty):
                self._told.get(timeout=deadline.remaining(TIMEOUT_MAX))
        if self._answer is None:
            msg = f"it was not acknowledged in {deadline.total:g} s"
            raise AppendFailed(msg, written=None)
        if self._answer.error is not None:
            raise self._answer.error
        return self._answer


def send(
    writer: TopicWriter,
    key: bytes,
    value: bytes | None,
    deadline: Deadline,
    *,
    headers: Headers | None = None,
    partition: int = -1,
    topic: str | None = None,
) -> Sent:
    """
    Queue a record; blocks only while the queue is full. The arguments are those of :meth:`TopicWriter.produce`.

    Raises:
        AppendFailed: The queue stayed full, or the writer refused the record; nothing was queued.
        RecordTooLarge: The record is larger than the writer takes; nothing was queued.
    """
    sent = Sent(writer)
    while not writer.produce(key, value, sent, headers=headers, partition=partition, topic=topic):
        if not writer.wait_for_room(deadline):
            msg = f"it was not written: the queue was full for {deadline.total:g} s, the brokers do not keep up"
            raise AppendFailed(msg, written=False)
    return sent
