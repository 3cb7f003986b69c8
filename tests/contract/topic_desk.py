"""Appending, reading and waiting, in the tests of every kind of topic."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from streamresults.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamresults.topic.base import TopicGroup, TopicReader, TopicWriter
    from streamresults.topic.records import Acknowledgement, Record

#: Seconds in which anything here happens on a loaded machine.
SOON = 30.0

PARTITIONS = 4


def append(writer: TopicWriter, key: str, value: bytes | None = b"v", partition: int = -1) -> Acknowledgement:
    """Append one record and wait for its acknowledgement."""
    done = threading.Event()
    acks: list[Acknowledgement] = []

    def on_ack(ack: Acknowledgement) -> None:
        acks.append(ack)
        done.set()

    assert writer.produce(key.encode(), value, on_ack, partition=partition)
    assert done.wait(SOON)

    return acks[0]


def read(reader: TopicReader | TopicGroup, count: int) -> list[Record]:
    """Return the next ``count`` records."""
    deadline = Deadline(SOON)
    records: list[Record] = []
    while len(records) < count and not deadline.passed():
        records += reader.poll(1.0).records
    return records


def keys(records: Sequence[Record]) -> list[str]:
    return [bytes(record.key() or b"").decode() for record in records]  # type: ignore[arg-type]
