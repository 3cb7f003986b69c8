"""Choose TCP ports for servers on this machine."""

from __future__ import annotations

import random
import socket

from processes import LocalServicesError

HOST = "127.0.0.1"

# Ports are drawn below every system's ephemeral range (Linux starts at 32768). Inside that range an outgoing
# connection may take the port while its server is down, and a client that keeps reconnecting to it can even be
# given the same port as its source and end up connected to itself.
_PORTS = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Return distinct ports nothing listens on now. Raise `LocalServicesError` when there are none."""
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        if len(found) == count:
            return found
        if _is_free(port):
            found.append(port)
    message = f"no {count} free ports between {_PORTS.start} and {_PORTS.stop - 1}"
    raise LocalServicesError(message)


def check_port(port: int) -> None:
    """Raise `LocalServicesError` when something listens on the port."""
    if not _is_free(port):
        message = f"port {port} of {HOST} is taken by another process"
        raise LocalServicesError(message)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: without it, connections left over from a killed server would make its port look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            return False
    return True
