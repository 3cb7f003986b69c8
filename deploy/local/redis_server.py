"""A Redis (or Valkey) server of one's own: in memory, on loopback, to be broken at will."""

from __future__ import annotations

import shutil
import socket
from typing import TYPE_CHECKING, Any

import programs
from ports import HOST
from processes import LocalServicesError
from redis_protocol import ErrorReply, ask
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
        self,
        folder: Path | None = None,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        name: str = "redis",
    ) -> None:
        """
        Prepare, without starting anything.

        `settings` are lines of redis.conf (values quoted as there) that hold over restarts. Without a port a free one
        is taken, without a folder a temporary one is made.
        """
        super().__init__(name, folder, port)
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
        config = self.folder / "redis.conf"
        config.write_text("".join(f"{name} {value}\n" for name, value in self.lines().items()))
        return [program, str(config)]

    def lines(self) -> dict[str, str]:
        """Return the lines of redis.conf."""
        return {**self._settings, "port": str(self.port), "dir": f'"{self.folder}"'}

    def is_ready(self) -> bool:
        """Tell whether the server answers PING with PONG, which it does not while it loads a dump."""
        with self.connected(_PING_SECONDS) as connection:
            try:
                return bool(ask(connection, "PING") == "PONG")
            except ErrorReply:
                return False

    def ask(self, *words: str | bytes) -> Any:
        """
        Send one command and return its reply (str, int, bytes, None or a list of those), blocking until it comes.

        Raise `LocalServicesError` for an error reply or none.
        """
        try:
            with self.connected(_REPLY_SECONDS) as connection:
                return ask(connection, *words)
        except (OSError, ErrorReply) as error:
            said = "answered" if isinstance(error, ErrorReply) else "did not answer"
            message = f"{self.name} at {self.address} {said} {words[0]!r}: {error}"
            raise LocalServicesError(message) from error

    def execute(self, *words: str) -> str:
        """Send one command for administration (CONFIG SET, SAVE, FLUSHALL, DBSIZE) and return its one-line reply."""
        return str(self.ask(*words))

    def about(self, section: str) -> dict[str, str]:
        """Return a section of INFO."""
        lines = self.ask("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

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

    def connected(self, within: float) -> socket.socket:
        """Return a connection on which commands are understood. Raise OSError when the server is not there."""
        return socket.create_connection((HOST, self.port), timeout=within)
