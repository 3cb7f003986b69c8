"""Who wants every record of a task as the reader delivers it. What the reader did not deliver is said, not left out."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.topic.records import Record

#: Most records that wait for a slow consumer. It reads the log itself for what was dropped; larger holds more memory.
_MOST: Final = 256


class Follower:
    """
    The records of one key in one partition. Guarded by the dispatch lock, but for :meth:`take`.

    Args:
        notify: Called whenever something has come, under the dispatch lock; must not block.
    """

    __slots__ = ("_items", "error", "key", "next_offset", "notify", "partition")

    def __init__(self, key: bytes, partition: int, notify: Callable[[], None]) -> None:
        self.key: Final = key
        self.partition: Final = partition
        self.notify: Final = notify
        #: Where its consumer goes on; everything below was read. Touched by the consumer alone; -1 before it knows.
        self.next_offset = -1
        self._items: Final[deque[Record | int]] = deque()
        #: Why nothing more will come.
        self.error: Exception | None = None

    def begin(self, offset: int) -> None:
        """Take note that the reader delivers from this offset on: what is below it is to be read from the log."""
        self._items.append(offset)
        self.notify()

    def deliver(self, record: Record) -> None:
        """Take a record."""
        if len(self._items) >= _MOST:
            self._items.clear()
            self._items.append(record.offset() or 0)
        self._items.append(record)
        self.notify()

    def end(self, error: Exception) -> None:
        """Take note that nothing more will come."""
        self.error = error
        self.notify()

    def take(self) -> Record | int | None:
        """Return the next record, an offset from which the reader delivers, or ``None`` while there is nothing."""
        try:
            return self._items.popleft()
        except IndexError:
            return None
