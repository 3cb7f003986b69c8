"""Writes tombstones and saved groups into the log. It never touches the view, which follows the log."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Final

from streamresults.deadline import Deadline
from streamresults.errors import AppendFailed, ClientClosed, ConfigurationError, PublishFailed
from streamresults.topic.records import Acknowledgement
from streamresults.topic.sent import Sent, send

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamresults.events.codec import Codec
    from streamresults.topic.base import TopicWriter

#: Seconds for a writer that is replaced to let go of what it has.
_LET_GO: Final = 1.0


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
        self._schema_written = False
        self._closed = False
        #: The brokers were silent for as long as the last call had: its caller was told, and waits for it no more.
        self._given_up = False

    def register_schema(self, codec: Codec, topic: str, deadline: Deadline) -> None:
        """
        Make sure that whoever meets our fingerprint can find the schema; before the first event that is written.

        Raises:
            PublishFailed: Not acknowledged in time.
            ConfigurationError, ClientClosed: As :meth:`write` does.
        """
        if self._schema_written:
            return
        writer = self._opened(topic)
        try:
            send(writer, codec.fingerprint, codec.schema_json.encode(), deadline, topic=topic).wait(deadline)
        except AppendFailed as exc:
            self._given_up = deadline.passed()
            msg = f"the schema was not written to {topic!r}: {exc}"
            raise PublishFailed(msg, task_id="", written=exc.written) from exc
        self._schema_written = True

    def write(
        self, task_id: str, partitions: Sequence[int], deadline: Deadline, value: bytes | None = None
    ) -> list[Acknowledgement]:
        """
        Block until the brokers hold a task's tombstone in each of these partitions; return where, in their order.

        Args:
            value: Written instead of a tombstone.

        Raises:
            PublishFailed: Not acknowledged in time, in one of them at least.
            ConfigurationError: This process has no Kafka.
            ClientClosed: It was closed.
        """
        writer = self._opened(task_id)
        answers = self._ask(writer, (task_id, value), partitions, deadline)
        refused = [partition for partition in partitions if getattr(answers[partition].error, "written", None) is False]
        if refused and not deadline.passed():
            # A writer learns of partitions that were added only when it asks again: a new one asks at once.
            answers |= self._ask(self._reopened(writer, task_id), (task_id, value), refused, deadline)
        self._given_up = deadline.passed() and any(answer.error is not None for answer in answers.values())
        for partition in partitions:
            error = answers[partition].error
            if error is not None:
                why = f"in partition {partition} failed: {error}"
                what = "the tombstone of task" if value is None else "the record of"
                msg = f"{what} {task_id!r} {why}"
                raise PublishFailed(msg, task_id=task_id, written=getattr(error, "written", None)) from error
        return [answers[partition] for partition in partitions]

    def _ask(
        self, writer: TopicWriter, what: tuple[str, bytes | None], partitions: Sequence[int], deadline: Deadline
    ) -> dict[int, Acknowledgement]:
        """Write one record into each partition at the same time; return what became of each."""
        task_id, value = what
        sent: dict[int, Sent | AppendFailed] = {}
        for partition in partitions:
            try:
                sent[partition] = send(writer, task_id.encode(), value, deadline, partition=partition)
            except AppendFailed as exc:  # refused at once
                sent[partition] = exc
        return {partition: _answer(one, partition, deadline) for partition, one in sent.items()}

    def _opened(self, task_id: str) -> TopicWriter:
        if self._open_writer is None:
            raise ConfigurationError("forgetting and saving write to the topic: set kafka_bootstrap")
        with self._lock:
            if self._closed:
                raise ClientClosed("the client is closed: open another one", task_id=task_id)
            self._writer = self._writer or self._open_writer()
            return self._writer

    def _reopened(self, writer: TopicWriter, task_id: str) -> TopicWriter:
        """Return another writer than this one, which is closed unless somebody else did so."""
        with self._lock:
            ours = self._writer is writer
            if ours:
                self._writer = None
        if ours:
            writer.close(Deadline(_LET_GO))
        return self._opened(task_id)

    def close(self, deadline: Deadline) -> None:
        """Release the writer; what is under way is acknowledged or fails, soon where its caller has given up."""
        with self._lock:
            writer, self._writer, self._closed = self._writer, None, True
        if writer is not None:
            writer.close(Deadline(_LET_GO) if self._given_up else deadline)


def _answer(sent: Sent | AppendFailed, partition: int, deadline: Deadline) -> Acknowledgement:
    """Return what becomes of a tombstone, whether it was refused at once, later or not at all."""
    if isinstance(sent, AppendFailed):
        return Acknowledgement(sent, partition, -1)
    try:
        return sent.wait(deadline)
    except AppendFailed as exc:
        return Acknowledgement(exc, partition, -1)
