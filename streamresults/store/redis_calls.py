"""
Sends commands and scripts to the servers of their keys: one round trip per server, all servers at once.

Commands are sent again only where the topology says that the error passes, and for a bounded time: each may have been
executed before, which compare-and-set makes harmless. What a script does is none of this module's business.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from hashlib import sha1
from importlib import resources
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypeGuard

import redis

from streamresults.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from types import TracebackType

    from streamresults.store.redis_nodes import Nodes

#: Seconds before a call is sent again. Smaller asks a Cluster that is electing more often than it can change; larger
#: is added to every failover.
_PAUSE: Final = 0.02
#: How often the scripts are loaded for one call. Each load is followed by a try, and a server forgets its scripts only
#: by a restart, a failover or SCRIPT FLUSH; more would hide that one forgets them all the time.
_LOADS: Final = 3
#: Calls at once, each on a connection of its own to every server that it asks. More leave more connections open after a
#: burst of threads, and are no faster, as Python runs one at a time; fewer leave a thread waiting for others' replies.
AT_ONCE: Final = 16
#: Seconds after which a call waits for no other one. Shorter opens more connections in a burst, longer holds threads up
#: behind a server that has fallen silent.
_ITS_TURN: Final = 0.25
#: The files that the scripts are made of.
_SCRIPTS: Final = ("fold", "live", "backfill", "look", "describe", "parts")


class Call(NamedTuple):
    """One command, and the key that says where it is executed."""

    key: str
    words: Sequence[Any]


class _Flight:
    """Commands under way to one server, over a connection that nobody else uses meanwhile."""

    def __init__(self, client: redis.Redis, commands: Sequence[Sequence[Any]]) -> None:
        self._pool = client.connection_pool
        self._left = len(commands)
        self._problem: Exception | None = None
        self._connection: Any = None
        try:
            self._connection = self._pool.get_connection()
            self._connection.send_packed_command(self._connection.pack_commands(commands))
        except (redis.exceptions.RedisError, OSError) as exc:
            self._problem = exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._connection is None:
            return
        if self._left:
            self._connection.disconnect()  # else the next to use it would read our replies
        self._pool.release(self._connection)

    def reply(self) -> Any:
        """Return the next command's reply, or what went wrong with it."""
        if self._problem is not None:
            return self._problem
        try:
            reply = self._connection.read_response()
        except redis.exceptions.ResponseError as exc:
            reply = exc
        except (redis.exceptions.RedisError, OSError) as exc:
            self._problem = exc
            return exc
        self._left -= 1
        return reply


class Calls:
    """The commands and scripts of one store."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._turns: Final = BoundedSemaphore(AT_ONCE)
        folder = resources.files("streamresults.store")
        read = {name: folder.joinpath(f"{name}.lua").read_text() for name in _SCRIPTS}
        self._sources: Final = {
            "live": read["fold"] + read["live"],
            "backfill": read["fold"] + read["backfill"],
            "look": read["look"],
            "describe": read["describe"],
            "parts": read["parts"],
        }
        self._digests: Final = {
            name: sha1(source.encode(), usedforsecurity=False).hexdigest() for name, source in self._sources.items()
        }

    def command(self, key: str, *words: Any) -> Any:
        """Run one command where its key is."""
        return self._execute([Call(key, words)])[0]

    def commands(self, calls: Sequence[Call]) -> list[Any]:
        """Run commands, each where its key is; those of equal key in their order."""
        return self._execute(calls)

    def script(self, name: str, calls: Sequence[Sequence[Any]]) -> list[Any]:
        """
        Run a script for each call (number of keys, keys, arguments) where its first key is.

        Calls of equal first key are executed in their order; where one is sent again, so are those behind it.
        """
        digest = self._digests[name]
        return self._execute([Call(call[1], ("EVALSHA", digest, *call)) for call in calls], self._sources[name])

    def _execute(self, calls: Sequence[Call], source: str = "") -> list[Any]:
        replies: list[Any] = [None] * len(calls)
        left: Sequence[int] = range(len(calls))
        asked: dict[int, redis.Redis] = {}
        deadline = Deadline(self._nodes.patience)
        loads = 0
        while left:
            self._round(calls, left, asked, replies)
            failed = {index: replies[index] for index in left if isinstance(replies[index], Exception)}
            if not failed:
                break
            unknown = [index for index, error in failed.items() if isinstance(error, redis.exceptions.NoScriptError)]
            if unknown and loads < _LOADS:
                self._load(source, [calls[index].key for index in unknown])
                loads += 1
                rest = [error for index, error in failed.items() if index not in unknown]
            else:
                rest = list(failed.values())
            if rest:
                if not self._nodes.recover(rest) or deadline.passed():
                    raise max(rest, key=lambda error: isinstance(error, redis.exceptions.OutOfMemoryError))
                time.sleep(_PAUSE)
            asked = {index: self._nodes.asked(error) for index, error in failed.items() if _is_ask(error)}
            left = _again(calls, left, failed.keys())
        return replies

    def _round(
        self, calls: Sequence[Call], left: Sequence[int], asked: dict[int, redis.Redis], replies: list[Any]
    ) -> None:
        """Send every call that is left and put its reply, or its error, in its place."""
        shares: dict[tuple[redis.Redis, bool], list[int]] = {}
        try:
            for index in left:
                client = asked.get(index)
                server = client if client is not None else self._nodes.of(calls[index].key)
                shares.setdefault((server, client is not None), []).append(index)
        except (redis.exceptions.RedisError, OSError) as exc:
            for index in left:
                replies[index] = exc
            return
        with ExitStack() as stack:
            if self._turns.acquire(timeout=_ITS_TURN):
                stack.callback(self._turns.release)
            flights = [
                (stack.enter_context(_Flight(server, _commands(calls, indexes, asking=asking))), asking, indexes)
                for (server, asking), indexes in shares.items()
            ]
            for flight, asking, indexes in flights:
                for index in indexes:
                    if asking:
                        flight.reply()
                    replies[index] = flight.reply()

    def _load(self, source: str, keys: Sequence[str]) -> None:
        """Load a script into the servers of these keys, once into each."""
        once = {self._nodes.of(key): key for key in keys}
        self._execute([Call(key, ("SCRIPT", "LOAD", source)) for key in once.values()])


def _is_ask(error: Exception) -> TypeGuard[redis.exceptions.AskError]:
    return isinstance(error, redis.exceptions.AskError) and not isinstance(error, redis.exceptions.MovedError)


def _again(calls: Sequence[Call], left: Sequence[int], failed: Collection[int]) -> list[int]:
    """Return what failed and what stands behind it, which was executed against another view than it was made for."""
    stuck = set()
    found = []
    for index in left:
        if index in failed:
            stuck.add(calls[index].key)
        if calls[index].key in stuck:
            found.append(index)
    return found


def _commands(calls: Sequence[Call], indexes: Sequence[int], *, asking: bool) -> list[Sequence[Any]]:
    """Return the commands of one server; one that an ASK sent there is announced by ASKING."""
    if not asking:
        return [calls[index].words for index in indexes]
    return [words for index in indexes for words in (("ASKING",), calls[index].words)]
