"""
Which server executes a key: on one server, on a primary that Sentinel names, and on a Cluster.

The one thing that differs between the topologies. Nothing here sends a batch or knows what a key holds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache
from random import SystemRandom
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeVar

import redis
from redis.crc import key_slot

from streamresults.store.keys import SLOTS
from streamresults.store.redis_errors import is_moving

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Host and port.
Address = tuple[str, int]
T = TypeVar("T")

#: Seconds for which a call is sent again while keys move or another server takes over. Larger holds up every partition
#: of a call for the sake of one; smaller tells the flows of an outage more often, and they start again from the log.
PATIENCE: Final = 1.0

_LOST: Final = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)
#: Passes by itself, when a failover or a slot's migration is over; MovedError is one of AskError's kind.
_PASSING: Final = (
    *_LOST,
    redis.exceptions.AskError,
    redis.exceptions.TryAgainError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.ReadOnlyError,
)


def _passes(error: Exception) -> bool:
    if is_moving(error):
        return True
    return isinstance(error, _PASSING) and not isinstance(error, redis.exceptions.AuthenticationError)


@lru_cache(maxsize=4096)
def _slot(key: str) -> int:
    return key_slot(key.encode())


class Nodes(ABC):
    """Knows which server executes a key. Thread-safe; connects to nothing before it is asked."""

    #: Seconds for which :meth:`recover` may be asked and the call sent again.
    patience: float = PATIENCE

    def __init__(self, where: str) -> None:
        #: The servers, for messages; no password.
        self.where: Final = where

    @abstractmethod
    def of(self, key: str) -> redis.Redis:
        """Return the server that executes a key; may block for a round trip or a few."""

    @abstractmethod
    def recover(self, errors: Sequence[Exception]) -> bool:
        """Learn from errors where keys are now; tell whether to send the calls again, after a moment."""

    @abstractmethod
    def each(self) -> list[redis.Redis]:
        """Return every server that holds keys."""

    @abstractmethod
    def anywhere(self, act: Callable[[redis.Redis], T]) -> T:
        """Do something with whichever server answers."""

    @abstractmethod
    def close(self) -> None:
        """Release every connection."""

    def asked(self, error: redis.exceptions.AskError) -> redis.Redis:
        """Return the server that an ASK names."""
        raise error


class OneServer(Nodes):
    """One server: it executes every key, and its errors are its caller's business at once."""

    patience = 0.0

    def __init__(self, client: redis.Redis, where: str) -> None:
        super().__init__(where)
        self._client: Final = client

    def of(self, key: str) -> redis.Redis:  # noqa: ARG002 -- every key
        """Return the server."""
        return self._client

    def recover(self, errors: Sequence[Exception]) -> bool:  # noqa: ARG002
        """Leave it to the caller."""
        return False

    def each(self) -> list[redis.Redis]:
        """Return the server."""
        return [self._client]

    def anywhere(self, act: Callable[[redis.Redis], T]) -> T:
        """Do it with the server."""
        return act(self._client)

    def close(self) -> None:
        """Release every connection."""
        self._client.connection_pool.disconnect()


class Replicated(OneServer):
    """The primary that Sentinel names: asked anew for each new connection, so a lost one finds the next primary."""

    patience = PATIENCE

    def __init__(self, client: redis.Redis, sentinels: Sequence[redis.Redis], where: str) -> None:
        super().__init__(client, where)
        self._sentinels: Final = sentinels

    def recover(self, errors: Sequence[Exception]) -> bool:
        """Drop what may still lead to the old primary."""
        if not all(_passes(error) for error in errors):
            return False
        self._client.connection_pool.disconnect(inuse_connections=False)
        return True

    def close(self) -> None:
        """Release every connection."""
        super().close()
        for sentinel in self._sentinels:
            sentinel.connection_pool.disconnect()


class Cluster(Nodes):
    """
    The primaries of a Cluster, by slot.

    Args:
        connect: Makes the client of one server; connects to nothing.
        seeds: Servers to learn the others from.
    """

    def __init__(self, connect: Callable[[Address], redis.Redis], seeds: Sequence[Address]) -> None:
        super().__init__(",".join(f"{host}:{port}" for host, port in seeds))
        self._connect: Final = connect
        self._seeds: Final = seeds
        self._clients: Final[dict[Address, redis.Redis]] = {}
        self._lock: Final = Lock()
        #: The primary of each slot; empty before the slots were read.
        self._owners: list[Address | None] = []
        #: Primaries and replicas, the one that answered last first.
        self._members: list[Address] = list(seeds)

    def of(self, key: str) -> redis.Redis:
        """Return the primary of the key's slot."""
        slot = _slot(key)
        owner = self._slots()[slot]
        if owner is None:
            msg = f"slot {slot} belongs to no server"
            raise redis.exceptions.ClusterDownError(msg)
        return self._client(owner)

    def recover(self, errors: Sequence[Exception]) -> bool:
        """Take the owners that MOVED names; for everything else that passes read the slots again."""
        if not all(_passes(error) for error in errors):
            return False
        unknown = False
        for error in errors:
            if isinstance(error, redis.exceptions.MovedError) and error.host:
                self._owners[error.slot_id] = (error.host, error.port)
            else:
                unknown = unknown or not isinstance(error, redis.exceptions.TryAgainError)
        if unknown:
            try:
                self._read_slots()
            except _LOST:
                return True  # nobody answers now; whoever does in a moment is asked then
        return True

    def asked(self, error: redis.exceptions.AskError) -> redis.Redis:
        """Return the server that an ASK names: the slot's next owner, which holds this key already."""
        return self._client((error.host, error.port))

    def each(self) -> list[redis.Redis]:
        """Return every primary."""
        return [self._client(owner) for owner in dict.fromkeys(self._slots()) if owner is not None]

    def anywhere(self, act: Callable[[redis.Redis], T]) -> T:
        """Do it with any server, in random order, so that many processes spread over them."""
        self._slots()
        problem: Exception | None = None
        for address in SystemRandom().sample(self._members, len(self._members)):
            try:
                return act(self._client(address))
            except _LOST as exc:
                problem = exc
        assert problem is not None
        raise problem

    def close(self) -> None:
        """Release every connection."""
        with self._lock:
            for client in list(self._clients.values()):  # a thread that is not told yet may add one
                client.connection_pool.disconnect()

    def _slots(self) -> list[Address | None]:
        if not self._owners:
            self._read_slots()
        return self._owners

    def _client(self, address: Address) -> redis.Redis:
        client = self._clients.get(address)
        # setdefault is one step: of two threads both get the first one's client, and nothing was connected yet.
        return client if client is not None else self._clients.setdefault(address, self._connect(address))

    def _read_slots(self) -> None:
        with self._lock:
            problem: Exception | None = None
            for address in self._members:
                try:
                    ranges = self._client(address).execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]  # as shipped
                except (redis.exceptions.RedisError, OSError) as exc:
                    problem = exc
                    continue
                self._take(address, ranges)
                return
            assert problem is not None
            raise problem

    def _take(self, source: Address, ranges: Sequence[Sequence[Any]]) -> None:
        owners: list[Address | None] = [None] * SLOTS
        members = [source]
        for first, last, *nodes in ranges:
            # A server that does not know its own name leaves it out: it is where it was asked.
            addresses = [((host or b"").decode() or source[0], port) for host, port, *_ in nodes]
            owners[first : last + 1] = addresses[:1] * (last + 1 - first)
            members += addresses
        self._owners = owners
        self._members = list(dict.fromkeys([*members, *self._seeds]))
        for gone in self._clients.keys() - set(self._members):
            self._clients.pop(gone).connection_pool.disconnect(inuse_connections=False)
