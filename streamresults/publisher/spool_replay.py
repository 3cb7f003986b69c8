"""Publishes what a segment of a spool holds, as it stands there: the bytes that were to be published then."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from streamresults.deadline import Deadline
from streamresults.errors import PublishError, RecordTooLarge, ServiceUnavailable
from streamresults.topic.sent import send

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from streamresults.publisher.connection import Connection
    from streamresults.publisher.segments import Header, Segment, SpooledRecord
    from streamresults.topic.base import TopicWriter
    from streamresults.topic.sent import Sent

_log: Final = logging.getLogger("streamresults.publisher")
#: Records under way at once. Larger repeats more of them when the brokers go away again, smaller waits more often.
_CHUNK: Final = 1000


class SpoolReplay:
    """
    One thread at a time.

    Args:
        schemas_topic: Segments of another one are left alone.
        fingerprint: The schema that the connection has registered.
        timeout: Seconds to connect, and to find room in the queue.
    """

    def __init__(self, connection: Connection, schemas_topic: str, fingerprint: bytes, timeout: float) -> None:
        self._connection: Final = connection
        self._schemas_topic: Final = schemas_topic
        self._fingerprint: Final = fingerprint.hex()
        self._timeout: Final = timeout
        #: Segments that are not for this publisher.
        self.strangers: Final[set[Path]] = set()

    def publish(self, segment: Segment) -> bool:
        """
        Publish a segment in its order and delete it; one that is not for us, or is damaged, is left or set aside.

        Returns:
            ``False`` when the brokers do not take it now: it stays as it is.
        """
        contents = segment.read()
        header = contents.header
        if header is not None and header.topic != self._schemas_topic:
            self._leave(segment, header)
            return True
        refused = 0
        try:
            if header is not None and contents.records:
                refused = self._send(header, contents.records)
        except (ServiceUnavailable, PublishError) as exc:
            _log.info("the spool has to wait: %s", exc, extra={"action": "spool_waits", "segment": str(segment.path)})
            return False
        if contents.unread or refused:
            aside = segment.set_aside()
            _log.error(
                "%d events of the spool are larger than the topic takes, and %d bytes cannot be read, torn off by a "
                "crash or damaged. They stay in %s",
                refused,
                contents.unread,
                aside,
                extra={"action": "spool_aside", "segment": str(aside), "events": refused, "bytes": contents.unread},
            )
        else:
            segment.delete()
        if contents.records:
            _log.info(
                "%d events of the spool were published",
                len(contents.records),
                extra={"action": "spool_published", "events": len(contents.records), "segment": str(segment.path)},
            )
        return True

    def _leave(self, segment: Segment, header: Header) -> None:
        self.strangers.add(segment.path)
        segment.release()
        _log.warning(
            "%s holds events of another topic, whose schemas are in %s: it is left alone",
            segment.path,
            header.topic,
            extra={"action": "spool_stranger", "segment": str(segment.path), "topic": header.topic},
        )

    def _send(self, header: Header, records: Sequence[SpooledRecord]) -> int:
        """
        Publish records; return, when the brokers hold the others, how many they refuse for their size.

        Raises:
            ServiceUnavailable, PublishError: They do not take one now.
        """
        writer = self._connection.opened(Deadline(self._timeout))
        if header.fingerprint != self._fingerprint:  # of another release, which may never have reached the brokers
            schema = bytes.fromhex(header.fingerprint), header.definition.encode()
            self._sent(writer, [schema], topic=self._schemas_topic)
        # The first one alone: while the brokers are away, no more than it is under way.
        refused = self._sent(writer, records[:1])
        for begin in range(1, len(records), _CHUNK):
            refused += self._sent(writer, records[begin : begin + _CHUNK])
        return refused

    def _sent(self, writer: TopicWriter, records: Sequence[tuple[bytes, bytes]], *, topic: str | None = None) -> int:
        under_way: list[Sent] = []
        refused = 0
        for key, value in records:
            try:
                under_way.append(send(writer, key, value, Deadline(self._timeout), topic=topic))
            except RecordTooLarge:
                refused += 1
        for sent in under_way:
            try:
                # As long as librdkafka tries: its last word always comes, and nothing is sent a second time before it.
                sent.wait(Deadline(None))
            except RecordTooLarge:
                refused += 1
        return refused
