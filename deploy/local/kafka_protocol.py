"""The two questions to a broker that readiness needs, without a client library."""

from __future__ import annotations

import socket
import struct

# One answer of a broker that is up. Larger: a frozen broker would use up the limit of a whole start in one wait.
_REPLY_SECONDS = 2.0

# Requests are: kind, version, correlation id, no client id, body. The versions are the last without compact encoding
# that ask no more than is needed; Kafka 4 still answers them.
_NO_TOPICS = struct.pack(">hhihi", 3, 1, 0, -1, 0)
_GROUP = b"start"
_COORDINATOR = struct.pack(f">hhihh{len(_GROUP)}s", 10, 0, 0, -1, len(_GROUP), _GROUP)


def cluster_members(host: str, port: int, within: float = _REPLY_SECONDS) -> set[int]:
    """
    Ask a broker which brokers are at work and return their node ids.

    Blocks for at most about `within` seconds per read. Raise OSError when it does not answer as a broker.
    """
    return set(_node_ids(_ask(host, port, _NO_TOPICS, within)))


def serves_groups(host: str, port: int, within: float = _REPLY_SECONDS) -> bool:
    """
    Tell whether consumer groups have a coordinator; the first time, the asked broker makes their topic.

    Blocks for at most about `within` seconds per read. Raise OSError when it does not answer as a broker.
    """
    (error,) = _unpack(">h", _ask(host, port, _COORDINATOR, within)[4:6])
    return error == 0


def _ask(host: str, port: int, request: bytes, within: float) -> bytes:
    with socket.create_connection((host, port), timeout=within) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        with connection.makefile("rb") as replies:
            (size,) = _unpack(">i", replies.read(4))
            return replies.read(size)


def _node_ids(reply: bytes) -> list[int]:
    """Read the brokers at the head of a Metadata reply: correlation id, then an array of (id, host, port, rack)."""
    (count,) = _unpack(">i", reply[4:8])
    nodes: list[int] = []
    at = 8
    for _ in range(count):
        node, length = _unpack(">ih", reply[at : at + 6])
        at += 6 + length + 4
        (rack,) = _unpack(">h", reply[at : at + 2])
        at += 2 + max(rack, 0)  # a broker without a rack has length -1
        nodes.append(node)
    return nodes


def _unpack(layout: str, data: bytes) -> tuple[int, ...]:
    try:
        return struct.unpack(layout, data)
    except struct.error:
        message = "the connection was closed before a whole reply"
        raise ConnectionError(message) from None
