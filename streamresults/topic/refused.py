"""A record whose signature was refused, in the form that readers hand it on: nobody can take it for what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from streamresults.errors import SignatureRefused
    from streamresults.topic.records import Headers, Record


class RefusedRecord:
    """
    Stands at its offset, and is nobody's: it has no key, and its value is that many zero bytes.

    So whoever does not look for it passes it over as one more record that cannot be read, whoever counts bytes counts
    right, and a tombstone is none. What it was is in :attr:`original`.
    """

    __slots__ = ("error", "original")

    def __init__(self, original: Record, error: SignatureRefused) -> None:
        self.original: Final = original
        #: Why it was refused.
        self.error: Final = error

    def partition(self) -> int | None:
        """Return the partition."""
        return self.original.partition()

    def offset(self) -> int | None:
        """Return the offset."""
        return self.original.offset()

    def key(self) -> None:
        """Return no key: it is no task's."""

    def value(self) -> bytes:
        """Return as many zero bytes as the original has."""
        return bytes(len(self.original.value() or b""))

    def timestamp(self) -> tuple[int, int]:
        """Return when it was appended."""
        return self.original.timestamp()

    def headers(self) -> Headers:
        """Return none."""
        return []
