"""Events on their way to the disk of a spool: in a line, written in batches, each told what has become of it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from streamresults.publisher.segments import packed

if TYPE_CHECKING:
    from threading import Condition

    from streamresults.events.codec import Codec
    from streamresults.publisher.kept import Kept
    from streamresults.publisher.spool_files import SpoolFiles

#: Events that are written and synchronised at once. Larger makes the first of them wait, smaller asks the disk more
#: often.
_BATCH: Final = 500
#: The same in bytes.
_BATCH_BYTES: Final = 4 * 1024 * 1024
#: Events that wait to be written before callers are held up, as they are by a full queue.
_WAITING_MAX: Final = 10_000


class SpoolWaiting:
    """
    The line of one process. Thread-safe, but for writing: one thread at a time.

    Args:
        changed: Held for every change of the line, and told when some of it was written.
    """

    def __init__(self, files: SpoolFiles, codec: Codec, changed: Condition) -> None:
        self._files: Final = files
        self._codec: Final = codec
        self._changed: Final = changed
        self._line: Final[deque[Kept]] = deque()
        #: Events that were taken from the line and are not on the disk yet.
        self._under_way = 0

    @property
    def count(self) -> int:
        """Events that are not on the disk yet."""
        return len(self._line) + self._under_way

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write that is not being written."""
        return not self._line

    @property
    def full(self) -> bool:
        """Whether callers are to be held up."""
        return len(self._line) >= _WAITING_MAX

    def put(self, kept: Kept) -> None:
        """Put an event behind those that wait; the caller holds ``changed``."""
        self._line.append(kept)

    def write(self) -> None:
        """Write everything that waits, and settle it; a batch that the disk refuses is given up."""
        while True:
            batch, records = self._next()
            if not batch:
                return
            refused: Exception | None = None
            try:
                self._files.append(records)
            except Exception as exc:  # noqa: BLE001 -- whatever it is, the callers of these events are told
                refused = exc
            for kept in batch:
                if refused is None:
                    kept.written(self._files.directory)
                else:
                    kept.refused(self._files.directory, refused)
            with self._changed:
                self._under_way -= len(batch)
                self._changed.notify_all()

    def _next(self) -> tuple[list[Kept], list[bytes]]:
        """Take what is written at once from those that wait."""
        batch: list[Kept] = []
        records: list[bytes] = []
        size = 0
        while len(batch) < _BATCH and size < _BATCH_BYTES:
            with self._changed:
                if not self._line:
                    break
                batch.append(self._line.popleft())
                self._under_way += 1
            event = batch[-1].event
            records.append(packed(event.task_id.encode(), self._codec.encode(event)))  # it was encoded before
            size += len(records[-1])
        return batch, records
