"""
The files of a spool. A segment is a header and records, each with a checksum; it is locked while its owner lives.

A record is there once its ``append`` has returned: the bytes have been synchronised with the disk. A crash can leave a
torn end behind; whoever was writing it has not been told that it is there.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from streamresults.disk import sync_directory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MAGIC: Final = b"SRSPOOL1"
_LENGTH: Final = struct.Struct("<I")
#: Lengths of key and value, and the CRC-32 of both.
_RECORD: Final = struct.Struct("<III")
#: Ends the name of a segment. Names sort by the time at which they were opened.
SUFFIX: Final = ".spool"
#: Ends the name of what is no segment any more: kept for people, never looked at again.
SET_ASIDE: Final = ".aside"


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a segment says of its records."""

    #: The topic of their schemas: it stands for the topic that they belong to.
    topic: str
    #: The fingerprint of their schema, 16 hexadecimal digits.
    fingerprint: str
    #: The schema, as its publisher may never have reached the topic.
    definition: str


class SpooledRecord(NamedTuple):
    """One record of a segment."""

    key: bytes
    value: bytes


class Contents(NamedTuple):
    """What a segment holds."""

    #: ``None`` when not even the header can be read.
    header: Header | None
    records: list[SpooledRecord]
    #: Bytes behind the last sound record: an end that a crash has torn, or damage. Nobody can tell which.
    unread: int


class Segment:
    """
    One file, open and locked. One thread at a time.

    Raises:
        OSError: The disk refused.
    """

    def __init__(self, path: Path, handle: int, size: int) -> None:
        self.path: Final = path
        self.size = size
        #: Records that this process has appended.
        self.count = 0
        self._handle = handle

    @classmethod
    def create(cls, directory: Path, header: Header) -> Segment:
        """Make a new one, empty and durable."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{time.time_ns():020d}-{os.getpid()}-{os.urandom(4).hex()}{SUFFIX}"
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o600)
        segment = cls(path, handle, 0)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            told = msgspec.json.encode(header)
            segment._write(_MAGIC + _LENGTH.pack(len(told)) + told)
            sync_directory(directory)
        except BaseException:
            segment.release()
            raise
        return segment

    @classmethod
    def claim(cls, path: Path) -> Segment | None:
        """Lock a segment that was left over; ``None`` while its owner lives, or when it is gone."""
        try:
            handle = os.open(path, os.O_RDWR | os.O_APPEND)
        except FileNotFoundError:
            return None
        segment = cls(path, handle, 0)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another one may have claimed, published and deleted it between our opening and locking.
            segment.size = os.fstat(handle).st_size
            if os.fstat(handle).st_nlink:
                return segment
        except BlockingIOError:
            pass
        except BaseException:
            segment.release()
            raise
        segment.release()
        return None

    @property
    def released(self) -> bool:
        """Whether it was closed, as it was published, set aside or given back."""
        return self._handle < 0

    def append(self, records: Sequence[bytes]) -> None:
        """Write packed records, all or none, and return when the disk holds them."""
        self._write(b"".join(records))
        self.count += len(records)

    def _write(self, data: bytes) -> None:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._handle, view) :]
            os.fsync(self._handle)
        except OSError:
            # Half a record in the middle would hide what comes behind it.
            os.ftruncate(self._handle, self.size)
            raise
        self.size += len(data)

    def read(self) -> Contents:
        """Return all that it holds."""
        return unpacked(os.pread(self._handle, self.size, 0))

    def delete(self) -> None:
        """Delete the file: all that it held is in the log."""
        self.path.unlink(missing_ok=True)
        self.release()

    def set_aside(self) -> Path:
        """Keep the file under a name that nobody publishes from; return it."""
        aside = self.path.with_name(self.path.name + SET_ASIDE)
        self.path.rename(aside)
        self.release()
        return aside

    def release(self) -> None:
        """Close and thereby unlock it; the file stays. In a forked child the parent's lock stays with the parent."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def packed(key: bytes, value: bytes) -> bytes:
    """Return a record as it stands in a segment."""
    return _RECORD.pack(len(key), len(value), zlib.crc32(value, zlib.crc32(key))) + key + value


def unpacked(data: bytes) -> Contents:
    """Read a segment's bytes, whatever they are: as far as they are sound."""
    at = len(_MAGIC) + _LENGTH.size
    if not data.startswith(_MAGIC) or len(data) < at:
        return Contents(None, [], len(data))
    (length,) = _LENGTH.unpack_from(data, len(_MAGIC))
    try:
        header = msgspec.json.decode(data[at : at + length], type=Header)
    except msgspec.DecodeError:
        return Contents(None, [], len(data))
    at += length
    records: list[SpooledRecord] = []
    while len(data) - at >= _RECORD.size:
        key_length, value_length, checksum = _RECORD.unpack_from(data, at)
        begin, end = at + _RECORD.size, at + _RECORD.size + key_length + value_length
        if end > len(data):
            break
        key, value = data[begin : begin + key_length], data[begin + key_length : end]
        if zlib.crc32(value, zlib.crc32(key)) != checksum:
            break
        records.append(SpooledRecord(key, value))
        at = end
    return Contents(header, records, len(data) - at)


def left_over(directory: Path) -> list[Path]:
    """Return the segments in a directory, the oldest first, whoever owns them."""
    try:
        return sorted(path for path in directory.iterdir() if path.name.endswith(SUFFIX))
    except FileNotFoundError:
        return []


def used(directory: Path) -> int:
    """Return the bytes that the files of a directory take, those that were set aside included."""
    total = 0
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                try:
                    total += entry.stat().st_size
                except FileNotFoundError:
                    continue  # another process has just published it
    except FileNotFoundError:
        return 0
    return total
