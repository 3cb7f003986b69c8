"""Sets of parts on Redis or Valkey: each is one key, so that every operation is one script on any topology."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from streamresults.store.keys import parts_alias_key, parts_key, parts_watch_key
from streamresults.store.parts import Claim, Counted, Parts, PartSet, Status
from streamresults.store.redis_errors import translated

if TYPE_CHECKING:
    from streamresults.store.redis_calls import Calls


class RedisParts(Parts):
    """
    Sets of parts on Redis.

    Args:
        calls: Sends what is to be done.
        where: Names the servers, without a password.
        namespace: Prefix of all keys.
        topic: The name of the topic whose tasks the parts belong to.
    """

    def __init__(self, calls: Calls, where: str, namespace: str, topic: str) -> None:
        self._calls: Final = calls
        self._where: Final = where
        self._key: Final = partial(parts_key, namespace, topic)
        self._alias: Final = partial(parts_alias_key, namespace, topic)
        self._watched: Final = parts_watch_key(namespace, topic)

    def _run(self, set_id: str, operation: str, keep_ms: int, *arguments: Any) -> Any:
        with translated(self._where):
            return self._calls.script("parts", [[1, self._key(set_id), operation, keep_ms, *arguments]])[0]

    def begin(self, set_id: str, about: bytes, size: int | None, *, keep_ms: int, anew: bool) -> bool:
        """Begin a set; see :meth:`Parts.begin`."""
        return bool(self._run(set_id, "begin", keep_ms, about, "" if size is None else size, int(anew)))

    def resize(self, set_id: str, size: int) -> None:
        """Say how many parts there are to be; see :meth:`Parts.resize`."""
        self._run(set_id, "resize", 0, size)

    def add(self, set_id: str, member: str, *, keep_ms: int) -> bool:
        """Have one more part expected; see :meth:`Parts.add`."""
        return bool(self._run(set_id, "add", keep_ms, member))

    def put(self, set_id: str, part: str, data: bytes, claim: Claim, *, final: bool, keep_ms: int) -> Counted:
        """Put a part; see :meth:`Parts.put`."""
        return _counted(self._run(set_id, "put", keep_ms, claim.token, claim.lease_ms, part, int(final), data))

    def claim(self, set_id: str, claim: Claim) -> Counted:
        """Take the claim of a complete set; see :meth:`Parts.claim`."""
        return _counted(self._run(set_id, "claim", 0, claim.token, claim.lease_ms))

    def prolong(self, set_id: str, claim: Claim) -> bool:
        """Hold a claim for longer; see :meth:`Parts.prolong`."""
        return bool(self._run(set_id, "prolong", 0, claim.token, claim.lease_ms))

    def settle(self, set_id: str, token: str, *, keep_ms: int) -> bool:
        """Settle a set; see :meth:`Parts.settle`."""
        return bool(self._run(set_id, "settle", keep_ms, token))

    def suspect(self, set_id: str) -> str:
        """Tell which primary may have lost parts of a set; see :meth:`Parts.suspect`."""
        found: bytes = self._run(set_id, "suspect", 0)
        return found.decode()

    def trust(self, set_id: str, primary: str) -> None:
        """Have a set suspected no more; see :meth:`Parts.trust`."""
        self._run(set_id, "trust", 0, primary)

    def read(self, set_id: str) -> PartSet | None:
        """Return what there is of a set; see :meth:`Parts.read`."""
        key = self._key(set_id)
        with translated(self._where):
            found = self._calls.command(key, "HGETALL", key)
        # Both protocols: a map, or names and values in turns.
        fields: dict[bytes, bytes] = found if isinstance(found, dict) else dict(zip(*[iter(found)] * 2, strict=True))
        return _part_set(fields) if fields else None

    def name(self, alias: str, set_id: str, *, keep_ms: int) -> None:
        """Give a set a second name; see :meth:`Parts.name`."""
        key = self._alias(alias)
        with translated(self._where):
            self._calls.command(key, "SET", key, set_id, *(("PX", keep_ms) if keep_ms else ()))

    def find(self, alias: str) -> str | None:
        """Return the set that has a second name; see :meth:`Parts.find`."""
        key = self._alias(alias)
        with translated(self._where):
            found = self._calls.command(key, "GET", key)
        return None if found is None else found.decode()

    def watch(self, set_id: str, delay_ms: int) -> None:
        """Have a set be due in so long; see :meth:`Parts.watch`."""
        with translated(self._where):
            self._calls.command(self._watched, "ZADD", self._watched, _now_ms() + delay_ms, set_id)

    def unwatch(self, set_id: str) -> None:
        """Have it not be due any more; see :meth:`Parts.unwatch`."""
        with translated(self._where):
            self._calls.command(self._watched, "ZREM", self._watched, set_id)

    def due(self, limit: int, again_ms: int) -> list[str]:
        """Return sets that are due; see :meth:`Parts.due`."""
        key, now = self._watched, _now_ms()
        with translated(self._where):
            found = self._calls.command(key, "ZRANGE", key, "-inf", now, "BYSCORE", "LIMIT", 0, limit)
            if found:
                again = [word for one in found for word in (now + again_ms, one)]
                self._calls.command(key, "ZADD", key, "XX", *again)
        return [one.decode() for one in found]


def _now_ms() -> int:
    """Return this process's clock: seconds more or less are nothing to who looks whether something was left behind."""
    return time.time_ns() // 1_000_000


def _counted(reply: Any) -> Counted:
    status, come, expected, held_ms, taken_over = reply
    return Counted(Status(status), come, None if expected < 0 else expected, held_ms, bool(taken_over))


def _part_set(fields: dict[bytes, bytes]) -> PartSet:
    added = sorted((int(number), name[2:].decode()) for name, number in fields.items() if name[:2] == b"x:")
    size = fields.get(b"size")
    return PartSet(
        about=fields.get(b"about", b""),
        size=None if size is None else int(size),
        added=tuple(member for _, member in added),
        parts={name[2:].decode(): value[1:] for name, value in fields.items() if name[:2] == b"p:"},
        token=fields.get(b"token", b"").decode(),
        # By this process's clock, and for people alone: what is decided about a claim is decided by the server.
        held_ms=max(0, int(float(fields.get(b"until", b"0"))) - _now_ms()),
        settled=b"settled" in fields,
    )
