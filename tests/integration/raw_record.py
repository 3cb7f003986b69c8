"""Writes a record into Kafka byte by byte, as no client library lets one: with header names that are no text."""

from __future__ import annotations

import socket
import struct
from typing import Final

_POLYNOMIAL: Final = 0x82F63B78


def append(bootstrap: str, topic: str, key: bytes, value: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """Append one record to partition 0, and wait for the answer."""
    host, _, port = bootstrap.partition(":")
    record = b"\0\0\0" + _sized(key) + _sized(value) + _varint(len(headers))
    record += b"".join(_sized(name) + _sized(content) for name, content in headers)
    batch = _batch(_sized(record))
    parts = struct.pack(">i", 1) + _text(topic.encode()) + struct.pack(">iii", 1, 0, len(batch)) + batch
    # Produce, version 7, correlation id 1, no client id, no transaction, all replicas, 10 s.
    request = struct.pack(">hhihhhi", 0, 7, 1, -1, -1, -1, 10_000) + parts
    with socket.create_connection((host, int(port)), timeout=20) as connection, connection.makefile("rb") as replies:
        connection.sendall(struct.pack(">i", len(request)) + request)
        reply = replies.read(struct.unpack(">i", replies.read(4))[0])
    (error,) = struct.unpack_from(">h", reply, 4 + 4 + 2 + len(topic) + 4 + 4)
    assert error == 0


def _batch(record: bytes) -> bytes:
    tail = struct.pack(">hiqqqhii", 0, 0, 0, 0, -1, -1, -1, 1) + record
    body = struct.pack(">ibI", 0, 2, _crc32c(tail)) + tail
    return struct.pack(">qi", 0, len(body)) + body


def _text(text: bytes) -> bytes:
    return struct.pack(">h", len(text)) + text


def _sized(data: bytes) -> bytes:
    return _varint(len(data)) + data


def _varint(number: int) -> bytes:
    """Return a zigzag varint of a number from 0 up."""
    left, out = number << 1, b""
    while left > 0x7F:
        out += bytes([left & 0x7F | 0x80])
        left >>= 7
    return out + bytes([left])


def _crc32c(data: bytes) -> int:
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (_POLYNOMIAL if register & 1 else 0)
    return register ^ 0xFFFFFFFF
