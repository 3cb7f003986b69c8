"""A Redis (or Valkey) server of one's own: in memory, on loopback, to be broken at will."""

from __future__ import annotations

import shutil
import socket
from typing import TYPE_CHECKING

import programs
from ports import HOST
from processes import LocalServicesError
from server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# One reply to one small command. SAVE of a test's data is the slowest of them.
_REPLY_SECONDS = 30.0

# A ready server answers PING within a millisecond; while a dump loads it answers -LOADING, which is an answer too.
_PING_SECONDS = 1.0

_SETTINGS = {
    "bind": HOST,
    "save": '""',
    "appendonly": "no",
    "maxmemory-policy": "noeviction",
    "daemonize": "no",
    # The folder is named by the caller, and a dump in it is loaded at the start.
    "dbfilename": "dump.rdb",
}


class RedisServer(ServerProcess):
    """One Redis server, which keeps nothing over a stop unless it is told to `save`."""

    # A start takes some 20 ms, a large dump seconds.
    ready_within = 30.0

    def __init__(
        self, folder: Path | None = None, port: int | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        """
        Prepare, without starting anything.

        `settings` are lines of redis.conf (values quoted as there) that hold over restarts. Without a port a free one
        is taken, without a folder a temporary one is made.
        """
        super().__init__("redis", folder, port)
        self._settings = {**_SETTINGS, **(settings or {})}

    @property
    def url(self) -> str:
        """Return redis://host:port/0."""
        return f"redis://{self.address}/0"

    @property
    def dump(self) -> Path:
        """Return the file `save` writes and a start loads."""
        return self.folder / "dump.rdb"

    def command(self) -> list[str]:
        """Write redis.conf and return the command that runs the server."""
        program = programs.redis_server()
        lines = {**self._settings, "port": str(self.port), "dir": f'"{self.folder}"'}
        config = self.folder / "redis.conf"
        config.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        return [program, str(config)]

    def is_ready(self) -> bool:
        """Tell whether the server answers PING with PONG, which it does not while it loads a dump."""
        return self._exchange(("PING",), _PING_SECONDS) == "+PONG"

    def execute(self, *words: str) -> str:
        """
        Send one command and return its one-line reply, blocking until it comes.

        For administration (CONFIG SET, SAVE, FLUSHALL, DBSIZE): a reply of several lines is not understood.
        Raise `LocalServicesError` for an error reply or none.
        """
        try:
            reply = self._exchange(words, _REPLY_SECONDS)
        except OSError as error:
            message = f"{self.name} at {self.address} did not answer {words[0]}: {error}"
            raise LocalServicesError(message) from error
        if reply[:1] not in ("+", ":"):
            message = f"{self.name} at {self.address} answered {words[0]} with {reply!r}"
            raise LocalServicesError(message)
        return reply[1:]

    def configure(self, name: str, value: str) -> None:
        """Change a setting of the running server, until it is stopped. Raise `LocalServicesError` like `execute`."""
        self.execute("CONFIG", "SET", name, value)

    def save(self, copy: Path | None = None) -> Path:
        """
        Write the data to the dump, to be loaded by the next start, and block until it is written.

        With `copy` the dump goes there instead, for a later `restart_with`. Return the file.
        """
        self.execute("SAVE")
        if copy is not None:
            shutil.move(self.dump, copy)
        return copy or self.dump

    def restart_empty(self) -> None:
        """Kill the server and start it on the same port without data. Block and raise like `start`."""
        self.kill()
        self._erase()
        self.start()

    def restart_with(self, dump: Path) -> None:
        """Kill the server and start it on the same port with the data of an old dump. Block and raise like `start`."""
        self.kill()
        self._erase()
        shutil.copyfile(dump, self.dump)
        self.start()

    def _erase(self) -> None:
        self.dump.unlink(missing_ok=True)
        shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)

    def _exchange(self, words: tuple[str, ...], within: float) -> str:
        encoded = [word.encode() for word in words]
        request = b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
        with socket.create_connection((HOST, self.port), timeout=within) as connection:
            connection.sendall(request)
            with connection.makefile("rb") as replies:
                line = replies.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the connection was closed before a reply")
        return line.decode(errors="replace").rstrip("\r\n")
