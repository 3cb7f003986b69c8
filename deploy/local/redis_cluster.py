"""A Redis Cluster of three primaries, with or without replicas; slots can be moved and primaries failed over."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from ports import HOST, free_ports
from processes import LocalServicesError, wait_until
from redis_server import RedisServer
from server_group import ServerGroup

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SLOTS = 16384
_PRIMARIES = 3

# How long a server may be silent. Smaller: a busy machine loses primaries that are only slow. Larger: a failover takes
# that much longer. In production it is 15 s by default.
_NODE_TIMEOUT_MS = 2000

# Servers know each other within some 3 s; a failover takes the node timeout and 1 s.
_READY_SECONDS = 40.0

# A failover in good order takes 50 ms; how long one is waited for before it is asked for again, and how often.
_FAILOVER_SECONDS = 2.0
_FAILOVER_TRIES = 10

# A replica that stood for election keeps the votes for twice the node timeout. Should it have become a replica again by
# then and lose its primary, Redis (7.0 at least) counts the old votes: it takes itself for elected, with an old epoch,
# nobody follows it, and nobody else is elected for ever.
_VOTES_SECONDS = 2 * _NODE_TIMEOUT_MS / 1000 + 0.5

# Keys in one MIGRATE, which blocks both servers. Larger: it is over before a test sees that keys are on both sides.
_MOVED_AT_ONCE = 10


class RedisCluster(ServerGroup):
    """
    Three primaries with a third of the slots each, and as many replicas as asked for.

    See `ServerGroup` for how they end.
    """

    def __init__(self, replicas: int = 0, folder: Path | None = None) -> None:
        """
        Prepare, without starting anything; `replicas` is how many each primary has.

        Without a folder a temporary one is made, and removed by `close`.
        """
        super().__init__("cluster", folder)
        self._replicas = replicas
        self._elected_at = -_VOTES_SECONDS
        count = _PRIMARIES * (1 + replicas)
        ports = free_ports(2 * count)
        self._buses = dict(zip(ports[:count], ports[count:], strict=True))
        #: The first three begin as primaries; `owner_of` tells who is one later.
        self.servers = [
            RedisServer(self.folder / f"redis-{number}", port, _settings(bus), f"redis-{number}")
            for number, (port, bus) in enumerate(self._buses.items(), start=1)
        ]

    @property
    def url(self) -> str:
        """Return redis+cluster://host:port,… of the first three."""
        return f"redis+cluster://{','.join(one.address for one in self.servers[:_PRIMARIES])}"

    @property
    def processes(self) -> Sequence[RedisServer]:
        """Return the servers."""
        return self.servers

    def start(self) -> None:
        """
        Start all, join them, and block until each serves and every replica follows.

        Raise `LocalServicesError` when that fails; what was started is killed then.
        """
        try:
            for server in self.servers:
                # In an old folder: the cluster of other ports that it describes is gone.
                (server.folder / "nodes.conf").unlink(missing_ok=True)
                server.start()
            self._join()
            self.wait_ready()
        except BaseException:
            self.kill()
            raise

    def wait_ready(self) -> None:
        """Block until every running server serves all slots and every replica follows."""
        if not wait_until(self._is_ready, _READY_SECONDS):
            message = f"the cluster does not serve; the end of a log:\n{self.servers[0].log_tail()}"
            raise LocalServicesError(message)

    def owner_of(self, slot: int) -> RedisServer:
        """Return the primary that a slot belongs to now, as a running server sees it."""
        witness = next(one for one in self.servers if one.is_running())
        ranges = witness.ask("CLUSTER", "SLOTS")
        port = next(nodes[0][1] for first, last, *nodes in ranges if first <= slot <= last)
        return next(server for server in self.servers if server.port == port)

    def replica_of(self, primary: RedisServer) -> RedisServer:
        """Return a running replica of a primary."""
        wanted = str(primary.port)
        return next(
            one for one in self.servers if one.is_running() and one.about("replication").get("master_port") == wanted
        )

    def wait_for_another(self, slot: int, old: RedisServer) -> RedisServer:
        """Block until a slot belongs to a server other than `old`, and all is served again; return it."""
        if not wait_until(lambda: self.owner_of(slot) is not old, _READY_SECONDS):
            message = f"nobody replaced {old.name}; the end of a log:\n{self.servers[-1].log_tail()}"
            raise LocalServicesError(message)
        self._elected_at = monotonic()
        self.wait_ready()
        return self.owner_of(slot)

    def crash(self, slot: int) -> RedisServer:
        """Kill the primary of a slot as soon as it can be replaced, up to 5 s after a failover; return it."""
        wait_until(lambda: monotonic() - self._elected_at > _VOTES_SECONDS, _READY_SECONDS)
        primary = self.owner_of(slot)
        primary.kill()
        return primary

    def fail_over(self, slot: int) -> RedisServer:
        """Have a replica take over from the primary of a slot while both run; return the new primary."""
        old = self.owner_of(slot)
        replica, tries = self.replica_of(old), 0
        while self.owner_of(slot) is old and tries < _FAILOVER_TRIES:
            # A request that comes just after another failover is lost, and Redis itself does not repeat it.
            replica.ask("CLUSTER", "FAILOVER")
            wait_until(lambda: self.owner_of(slot) is not old, _FAILOVER_SECONDS)
            tries += 1
        return self.wait_for_another(slot, old)

    def move_slot(self, slot: int, target: RedisServer) -> int:
        """Move a slot with its keys to another primary, a few keys at a time; return how many keys were moved."""
        self.begin_move(slot, target)
        moved = 0
        while keys := self.move_keys(slot, target):
            moved += keys
        self.end_move(slot, target)
        return moved

    def begin_move(self, slot: int, target: RedisServer) -> None:
        """Open a slot between its primary and another one: keys may be on either side until `end_move`."""
        source = self.owner_of(slot)
        target.ask("CLUSTER", "SETSLOT", str(slot), "IMPORTING", _id(source))
        source.ask("CLUSTER", "SETSLOT", str(slot), "MIGRATING", _id(target))

    def move_keys(self, slot: int, target: RedisServer) -> int:
        """Move a few keys of an open slot; return how many."""
        source = self.owner_of(slot)
        keys = source.ask("CLUSTER", "GETKEYSINSLOT", str(slot), str(_MOVED_AT_ONCE))
        if keys:
            source.ask("MIGRATE", HOST, str(target.port), "", "0", "5000", "KEYS", *keys)
        return len(keys)

    def end_move(self, slot: int, target: RedisServer) -> None:
        """Close a slot whose keys are all on the other side: it belongs to that primary now."""
        source = self.owner_of(slot)
        others = [one for one in self.servers if one not in (source, target) and one.is_running() and _is_primary(one)]
        # The target first: a slot that nobody owns for a moment would be refused.
        for server in (target, source, *others):
            server.ask("CLUSTER", "SETSLOT", str(slot), "NODE", _id(target))

    def stop(self) -> None:
        """Kill all: in memory there is nothing to end cleanly."""
        self.kill()

    def _is_ready(self) -> bool:
        try:
            return self._all_serve()
        except LocalServicesError:
            return False  # a server that is back loads its data, and says nothing else meanwhile

    def _all_serve(self) -> bool:
        running = [server for server in self.servers if server.is_running()]
        if not all(_serves(server) for server in running):
            return False
        # A primary that nobody follows could not be replaced; with a server down, one of them has to do without.
        followers = [server.about("replication")["connected_slaves"] for server in running if _is_primary(server)]
        return len(running) < len(self.servers) or set(followers) == {str(self._replicas)}

    def _join(self) -> None:
        primaries, replicas = self.servers[:_PRIMARIES], self.servers[_PRIMARIES:]
        for number, server in enumerate(self.servers):
            # Epochs that differ from the start, or the servers would have to settle who yields.
            server.ask("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
            if server in primaries:
                slots = range(number * _SLOTS // _PRIMARIES, (number + 1) * _SLOTS // _PRIMARIES)
                server.ask("CLUSTER", "ADDSLOTS", *map(str, slots))
            # To each from each: waiting for gossip to introduce them would take seconds.
            for other in self.servers[:number]:
                server.ask("CLUSTER", "MEET", HOST, str(other.port), str(self._buses[other.port]))
        for number, replica in enumerate(replicas):
            primary = _id(primaries[number % _PRIMARIES])
            if not wait_until(lambda one=replica, name=primary: name in _known(one), _READY_SECONDS):  # type: ignore[misc]
                message = f"{replica.name} did not meet its primary; the end of its log:\n{replica.log_tail()}"
                raise LocalServicesError(message)
            replica.ask("CLUSTER", "REPLICATE", primary)
        if not wait_until(lambda: all(len(_known(one)) == len(self.servers) for one in self.servers), _READY_SECONDS):
            message = f"the servers did not meet; the end of a log:\n{self.servers[0].log_tail()}"
            raise LocalServicesError(message)


def _settings(bus: int) -> dict[str, str]:
    return {
        "cluster-enabled": "yes",
        "cluster-port": str(bus),
        "cluster-node-timeout": str(_NODE_TIMEOUT_MS),
        # However old its data: the test of a replica that is behind is the view's own.
        "cluster-replica-validity-factor": "0",
        # A replica stays with its primary, however often the two swap.
        "cluster-allow-replica-migration": "no",
        "repl-diskless-sync-delay": "0",
    }


def _id(server: RedisServer) -> str:
    return str(server.ask("CLUSTER", "MYID").decode())


def _known(server: RedisServer) -> list[str]:
    """Return the ids of the servers that this one has met and shaken hands with."""
    lines: list[list[str]] = [line.split() for line in server.ask("CLUSTER", "NODES").decode().splitlines()]
    return [line[0] for line in lines if "handshake" not in line[2]]


def _is_primary(server: RedisServer) -> bool:
    return server.about("replication")["role"] == "master"


def _serves(server: RedisServer) -> bool:
    text: Any = server.ask("CLUSTER", "INFO")
    follows = _is_primary(server) or server.about("replication").get("master_link_status") == "up"
    return follows and b"cluster_state:ok" in text and b"cluster_slots_fail:0" in text
