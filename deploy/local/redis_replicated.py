"""A Redis primary, its replica and the sentinels that replace it; to be failed over at will."""

from __future__ import annotations

from typing import TYPE_CHECKING

import programs
from ports import HOST, free_ports
from processes import LocalServicesError, wait_until
from redis_server import RedisServer
from server_group import ServerGroup

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# How long a primary may be silent. Smaller: a busy machine loses primaries that are only slow. Larger: every failover
# takes that much longer. In production it is 30 s by default.
_DOWN_AFTER_MS = 1000

# A whole failover; a sentinel that was beaten to it tries again after twice that.
_FAILOVER_MS = 5000

# Sentinels find each other within some 3 s, a replica its primary within 1 s, a failover takes 2 s.
_READY_SECONDS = 40.0


class Sentinel(RedisServer):
    """One of the sentinels of a `RedisReplicated`, which makes it."""

    def __init__(self, folder: Path, port: int, name: str, primary: int, quorum: int) -> None:
        """Prepare, without starting anything; `primary` is the port of the first one."""
        super().__init__(folder, port, name=name)
        self._first = [
            f"sentinel monitor {RedisReplicated.service} {HOST} {primary} {quorum}",
            f"sentinel down-after-milliseconds {RedisReplicated.service} {_DOWN_AFTER_MS}",
            f"sentinel failover-timeout {RedisReplicated.service} {_FAILOVER_MS}",
        ]

    def command(self) -> list[str]:
        """Write sentinel.conf, once: a sentinel keeps in it what it learns. Return the command."""
        config = self.folder / "sentinel.conf"
        if self._first:
            lines = [f"port {self.port}", f"bind {HOST}", f'dir "{self.folder}"', *self._first]
            config.write_text("\n".join(lines) + "\n")
            self._first = []
        return [programs.redis_server(), str(config), "--sentinel"]


class RedisReplicated(ServerGroup):
    """
    Two servers, one the replica of the other, and three sentinels.

    See `ServerGroup` for how they end.
    """

    #: What the sentinels call the primary.
    service = "mymaster"

    def __init__(self, folder: Path | None = None) -> None:
        """Prepare, without starting anything. Without a folder a temporary one is made, and removed by `close`."""
        super().__init__("replicated", folder)
        ports = free_ports(5)
        self.servers = [
            RedisServer(self.folder / f"redis-{number}", port, {"repl-diskless-sync-delay": "0"}, f"redis-{number}")
            for number, port in enumerate(ports[:2], start=1)
        ]
        self.sentinels = [
            Sentinel(self.folder / f"sentinel-{number}", port, f"sentinel-{number}", ports[0], 2)
            for number, port in enumerate(ports[2:], start=1)
        ]

    @property
    def url(self) -> str:
        """Return redis+sentinel://host:port,…/mymaster?db=0."""
        return f"redis+sentinel://{','.join(one.address for one in self.sentinels)}/{self.service}?db=0"

    @property
    def primary(self) -> RedisServer:
        """Return the server that the sentinels take for the primary now."""
        _, port = next(one for one in self.sentinels if one.is_running()).ask(
            "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service
        )
        return next(server for server in self.servers if server.port == int(port))

    @property
    def processes(self) -> Sequence[RedisServer]:
        """Return sentinels and servers."""
        return [*self.sentinels, *self.servers]

    def start(self) -> None:
        """
        Start all, and block until the replica follows and every sentinel knows all the others.

        Raise `LocalServicesError` when that fails; what was started is killed then.
        """
        try:
            first, second = self.servers
            first.start()
            second.start()
            second.execute("REPLICAOF", HOST, str(first.port))
            for sentinel in self.sentinels:
                sentinel.start()
            self.wait_ready()
        except BaseException:
            self.kill()
            raise

    def wait_ready(self) -> None:
        """
        Block until a failover would succeed. Raise `LocalServicesError` when that does not come.

        A former primary is made a replica here: the sentinels take some ten seconds for it.
        """
        primary = self.primary
        for server in self.servers:
            if server is not primary and _role(server) == "master":
                server.ask("REPLICAOF", HOST, str(primary.port))
        if not wait_until(self._is_ready, _READY_SECONDS):
            message = f"the sentinels did not agree; the end of a log:\n{self.sentinels[0].log_tail()}"
            raise LocalServicesError(message)

    def wait_for_another(self, old: RedisServer) -> RedisServer:
        """Block until a server other than `old` is the primary and takes writes; return it."""
        if not wait_until(lambda: self.primary is not old and _role(self.primary) == "master", _READY_SECONDS):
            message = f"nobody replaced {old.name}; the end of a log:\n{self.sentinels[0].log_tail()}"
            raise LocalServicesError(message)
        return self.primary

    def fail_over(self) -> RedisServer:
        """Have the sentinels swap primary and replica while both run; return the new primary."""
        old = self.primary
        wait_until(self._is_accepted, _READY_SECONDS)
        return self.wait_for_another(old)

    def stop(self) -> None:
        """Kill all: in memory there is nothing to end cleanly, and sentinels would start a failover meanwhile."""
        self.kill()

    def _is_accepted(self) -> bool:
        try:
            self.sentinels[0].ask("SENTINEL", "FAILOVER", self.service)
        except LocalServicesError:
            return False  # it has not heard of the replica lately, or a failover is still going on
        return True

    def _is_ready(self) -> bool:
        known = f"name={self.service},status=ok,address={self.primary.address},slaves=1,sentinels=3"
        # Until the old primary is told that it is one, there are two; a failover to it would lose everything.
        replicas = [server for server in self.servers if server is not self.primary]
        return all(_follows(one) for one in replicas) and all(
            one.about("sentinel").get("master0") == known for one in self.sentinels
        )


def _role(server: RedisServer) -> str:
    return server.about("replication")["role"]


def _follows(server: RedisServer) -> bool:
    about = server.about("replication")
    return about["role"] == "slave" and about["master_link_status"] == "up"
