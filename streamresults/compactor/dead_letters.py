"""Where records go that cannot be read: their original bytes and headers, with the reason, in the dead-letter topic."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, NamedTuple

from streamresults.errors import AppendFailed, RecordTooLarge, TopicUnavailable
from streamresults.store.base import Mark
from streamresults.topic.headers import read_headers
from streamresults.topic.sent import Sent, send

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamresults.compactor.folding import Unreadable
    from streamresults.deadline import Deadline
    from streamresults.topic.base import TopicWriter
    from streamresults.topic.records import Acknowledgement, Headers, Record

_log: Final = logging.getLogger("streamresults.compactor")
HEADER_PREFIX: Final = "sr.dlq."
#: How a letter that is too large is shortened: 1 leaves its value in place, 2 its key and its own headers too.
_CUT_ALL: Final = 2


class _Letter(NamedTuple):
    """One letter on its way."""

    cut: int
    sent: Sent


class DeadLetters:
    """
    Writes dead letters, at least once: the source position stands in the headers.

    Args:
        writer: A writer on the dead-letter topic.
        dead_letter_topic: Its name, for the marks.
        topic: The topic that the records come from.
    """

    def __init__(self, writer: TopicWriter, dead_letter_topic: str, topic: str) -> None:
        self._writer = writer
        self._name = dead_letter_topic
        self._topic = topic
        #: What is acknowledged already, by partition and offset: a batch that is tried again writes nothing twice.
        self._acknowledged: dict[tuple[int, int], Mark] = {}

    def write(self, unreadable: Sequence[Unreadable], deadline: Deadline) -> list[tuple[str, Mark]]:
        """
        Block until the brokers hold every record; return the marks to leave under the keys that are task ids.

        Raises:
            TopicUnavailable: Not all were acknowledged in time: write them again before moving on.
        """
        fresh = [letter for letter in unreadable if _place(letter.record) not in self._acknowledged]
        waits = [(letter, self._produce(letter, 0, deadline)) for letter in fresh]
        for letter, under_way in waits:
            answer = self._acknowledgement(letter, under_way, deadline)
            place = f"{self._name}[{answer.partition}]@{answer.offset}"
            self._acknowledged[_place(letter.record)] = self._mark(letter, place)
        marks = {u.task_id: self._acknowledged[_place(u.record)] for u in unreadable if u.task_id is not None}
        return list(marks.items())

    def folded(self) -> None:
        """Note that everything written so far is in the view: nothing of it will be tried again."""
        self._acknowledged.clear()

    def close(self, deadline: Deadline) -> None:
        """Release the writer."""
        self._writer.close(deadline)

    def _mark(self, letter: Unreadable, place: str) -> Mark:
        offset, partition = letter.record.offset() or 0, letter.record.partition() or 0
        reason = f"{type(letter.error).__name__}: {letter.error}"
        _log.warning(
            "dead letter: %s[%d]@%d %s -> %s",
            self._topic,
            partition,
            offset,
            reason,
            place,
            extra={"action": "dead_lettered", "partition": partition, "offset": offset},
        )
        return Mark(offset=offset, reason=reason, place=place, keep_until_ms=letter.keep_until_ms)

    def _acknowledgement(self, letter: Unreadable, under_way: _Letter, deadline: Deadline) -> Acknowledgement:
        try:
            return under_way.sent.wait(deadline)
        except RecordTooLarge as exc:
            if under_way.cut == _CUT_ALL:
                raise self._not_taken(exc) from exc
            return self._acknowledgement(letter, self._produce(letter, under_way.cut + 1, deadline), deadline)
        except AppendFailed as exc:
            raise self._not_taken(exc) from exc

    def _not_taken(self, why: Exception) -> TopicUnavailable:
        return TopicUnavailable(f"the dead-letter topic {self._name!r} did not take a record: {why}")

    def _produce(self, letter: Unreadable, cut: int, deadline: Deadline) -> _Letter:
        """
        Queue a letter, shortened as much as the topic demands: what was readable once must not stop its partition.

        The original fitted, with our headers it may not: the bytes stay readable at the position that these name.
        """
        key, value = letter.record.key(), letter.record.value()
        raw_key = key if isinstance(key, bytes) and cut < _CUT_ALL else b""
        raw_value = value if isinstance(value, bytes) else None
        headers = [*((read_headers(letter.record) or []) if cut < _CUT_ALL else []), *self._own_headers(letter)]
        if cut:
            raw_value = b""
            headers.append((HEADER_PREFIX + "value_left_in_place", b"true"))
        try:
            return _Letter(cut, send(self._writer, raw_key, raw_value, deadline, headers=headers))
        except RecordTooLarge:
            if cut == _CUT_ALL:
                raise
            return self._produce(letter, cut + 1, deadline)
        except AppendFailed as exc:
            raise self._not_taken(exc) from exc

    def _own_headers(self, letter: Unreadable) -> Headers:
        record = letter.record
        value = record.value()
        facts = {
            "topic": self._topic,
            "partition": str(record.partition()),
            "offset": str(record.offset()),
            "timestamp": str(record.timestamp()[1]),
            "error": type(letter.error).__name__,
            "message": str(letter.error),
            "stage": "compact",
            "fingerprint": value[2:10].hex() if isinstance(value, bytes) else "",
        }
        return [(HEADER_PREFIX + name, text.encode(errors="replace")) for name, text in facts.items()]


def _place(record: Record) -> tuple[int, int]:
    return record.partition() or 0, record.offset() or 0
