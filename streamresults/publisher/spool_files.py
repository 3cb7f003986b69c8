"""One process's segments in a spool directory: the one that is written to, and full ones. It publishes nothing."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from streamresults.publisher.segments import Segment, used

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from streamresults.publisher.segments import Header

#: Bytes after which another segment is begun. Larger gives disk space back, and repeats after a crash, in larger
#: pieces.
SEGMENT_BYTES: Final = 8 * 1024 * 1024


class SpoolFiles:
    """
    Thread-safe.

    Args:
        max_bytes: Most bytes of all files in the directory, whoever wrote them.
        header: What this process's segments begin with.
    """

    def __init__(self, directory: Path, max_bytes: int, header: Header) -> None:
        self.directory: Final = directory
        self._max_bytes: Final = max_bytes
        self._header: Final = header
        self._begin()

    def _begin(self) -> None:
        #: Held while the disk is written to.
        self._lock = threading.Lock()
        self._current: Segment | None = None
        #: Full ones, the oldest first.
        self._full: deque[Segment] = deque()
        #: Events in all of them.
        self.count = 0

    def after_fork(self) -> None:
        """Let go, in a forked child, of the parent's files; closing them here does not unlock them there."""
        segments = self._all()
        self._begin()
        for segment in segments:
            segment.release()

    def _all(self) -> list[Segment]:
        return [*self._full, *([self._current] if self._current is not None else [])]

    def owns(self, path: Path) -> bool:
        """Tell whether a file is one of this process's."""
        with self._lock:
            return any(segment.path == path for segment in self._all())

    def append(self, records: Sequence[bytes]) -> None:
        """
        Append packed records, all or none; returns when the disk holds them.

        Raises:
            OSError: The disk refused, or the directory is full.
        """
        size = sum(map(len, records))
        with self._lock:
            if used(self.directory) + size > self._max_bytes:
                msg = f"it is full, with spool_bytes at {self._max_bytes}"
                raise OSError(msg)
            if self._current is not None and self._current.size + size > SEGMENT_BYTES:
                self._full.append(self._current)
                self._current = None
            if self._current is None:
                self._current = Segment.create(self.directory, self._header)
            self._current.append(records)
            self.count += len(records)

    def oldest(self) -> Segment | None:
        """Return the oldest segment, to be published; what is appended from now on goes into another one."""
        with self._lock:
            if not self._full and self._current is not None:
                self._full.append(self._current)
                self._current = None
            return self._full[0] if self._full else None

    def published(self, segment: Segment) -> None:
        """Forget the oldest segment, which is in the log."""
        with self._lock:
            assert segment is self._full[0]
            self._full.popleft()
            self.count -= segment.count

    def close(self) -> None:
        """Let go of the files: they are left over for whoever comes next."""
        with self._lock:
            for segment in self._all():
                segment.release()
            self._full.clear()
            self._current = None
