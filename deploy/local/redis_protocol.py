"""One command to a Redis server and its reply, without a client library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import socket


class ErrorReply(Exception):
    """Raised for an error that the server replied."""


def ask(connection: socket.socket, *words: str | bytes) -> Any:
    """
    Send one command and return its reply: str, int, bytes, None or a list of those.

    Raise `ErrorReply` when the server refuses it, OSError when it does not answer.
    """
    encoded = [word.encode() if isinstance(word, str) else word for word in words]
    head = b"*%d\r\n" % len(encoded)
    connection.sendall(head + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded))
    with connection.makefile("rb") as replies:
        return _read(replies)


def _read(replies: BinaryIO) -> Any:
    line = replies.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionError("the connection was closed before a reply")
    kind, text = line[:1], line[1:-2]
    if kind == b"-":
        raise ErrorReply(text.decode(errors="replace"))
    if kind == b"+":
        return text.decode()
    if kind == b":":
        return int(text)
    size = int(text)
    if size < 0:
        return None
    if kind == b"*":
        return [_read(replies) for _ in range(size)]
    return replies.read(size + 2)[:-2]
