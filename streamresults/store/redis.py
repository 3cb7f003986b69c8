"""
The view on Redis or Valkey: what a batch and a look are as keys and arguments of a script.

Where a key is and what is sent again is decided beside it (redis_nodes.py, redis_calls.py); these modules together are
the only door to the redis library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import redis

from streamresults.errors import TopicMismatch
from streamresults.store.base import (
    BackfillBatch,
    BackfillReply,
    BatchReply,
    Descriptor,
    LiveBatch,
    Looked,
    Mark,
    Store,
    View,
)
from streamresults.store.coverage import GENERATION_BYTES, Coverage, Outcome
from streamresults.store.descriptor import of_this_format
from streamresults.store.keys import Keys, descriptor_keys, directory_key
from streamresults.store.redis_calls import Call, Calls
from streamresults.store.redis_errors import translated
from streamresults.store.redis_parts import RedisParts
from streamresults.store.redis_subscription import RedisSubscription
from streamresults.store.redis_url import open_nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from streamresults.store.base import Interest

    #: A partition, and ids of tasks in it.
    _Part = tuple[int, Sequence[str]]

#: Most task ids of one partition in one script. Larger blocks the server for longer than a millisecond or two;
#: smaller pays a call more often.
LOOK_MAX: Final = 1000
#: How long the flag that says "there are marks" outlives the last mark's writing: the longest retention there is.
_MARKED_MS: Final = 400 * 86_400_000

_ENCODE_MARK: Final = msgspec.msgpack.Encoder()
_DECODE_MARK: Final = msgspec.msgpack.Decoder(Mark)


class RedisView(View):
    """The view of one topic on Redis."""

    def __init__(self, calls: Calls, where: str, keys: Keys) -> None:
        self._calls = calls
        self._where = where
        self._keys = keys

    def apply(self, batches: Sequence[LiveBatch]) -> list[BatchReply]:
        """Fold batches into the view; see :meth:`View.apply`."""
        calls = [self._live_call(batch) for batch in batches]
        with translated(self._where):
            replies = self._calls.script("live", calls)
        return [
            BatchReply(Outcome(outcome), bool(began), Coverage.unpack(coverage)) for outcome, began, coverage in replies
        ]

    def look(self, wanted: Mapping[int, Sequence[str]], interest: Interest | None = None) -> dict[int, Looked]:
        """Read values, marks and coverage; see :meth:`View.look`."""
        parts = [(p, ids[i : i + LOOK_MAX]) for p, ids in wanted.items() for i in range(0, len(ids) or 1, LOOK_MAX)]
        with translated(self._where):
            looks = self._look_plainly(parts) if interest is None else self._look_by_script(parts, interest)
        found: dict[int, Looked] = {}
        for (partition, _), looked in zip(parts, looks, strict=True):
            earlier = found.get(partition)
            found[partition] = looked if earlier is None else _joined(earlier, looked)
        return found

    def _look_plainly(self, parts: Sequence[_Part]) -> list[Looked]:
        """Look without leaving word: one MGET is as atomic as a script, and costs the server a quarter of it."""
        keys = self._keys
        calls = []
        for partition, ids in parts:
            coverage, prefix = keys.coverage(partition), keys.value_prefix(partition)
            # The time first: what has expired by then is not shown, and nothing is hidden too early.
            calls.append(Call(coverage, ("TIME",)))
            calls.append(Call(coverage, ("MGET", coverage, keys.marked(partition), *[prefix + one for one in ids])))
        replies = self._calls.commands(calls)
        looks = []
        marked = []
        for index, (time, (coverage, mark, *values)) in enumerate(zip(replies[::2], replies[1::2], strict=True)):
            now_ms = int(time[0]) * 1000 + int(time[1]) // 1000
            looks.append(_looked(len(values), (now_ms, coverage, values, ())))
            if mark is not None and values:
                marked.append(index)
        if marked:  # values and marks have to be read at one moment
            again = self._look_by_script([parts[index] for index in marked])
            for index, looked in zip(marked, again, strict=True):
                looks[index] = looked
        return looks

    def _look_by_script(self, parts: Sequence[_Part], interest: Interest | None = None) -> list[Looked]:
        replies = self._calls.script("look", [self._look_call(p, ids, interest) for p, ids in parts])
        return [_looked(len(ids), reply) for (_, ids), reply in zip(parts, replies, strict=True)]

    def backfill(self, batches: Sequence[BackfillBatch]) -> list[BackfillReply]:
        """Fold batches under the view; see :meth:`View.backfill`."""
        calls = [self._backfill_call(batch) for batch in batches]
        with translated(self._where):
            replies = self._calls.script("backfill", calls)
        return [
            BackfillReply(bool(applied), None if packed is None else Coverage.unpack(packed))
            for applied, packed in replies
        ]

    def _live_call(self, batch: LiveBatch) -> list[Any]:
        claim = batch.claim
        expected = claim.expected_generation or claim.fresh_generation
        own = [
            claim.begin,
            claim.end,
            claim.least,
            claim.fresh_start,
            claim.target,
            claim.fresh_generation,
            claim.lost_generation,
            claim.log_end,
            expected,
        ]
        return self._fold_call(batch.partition, own, expected, batch)

    def _backfill_call(self, batch: BackfillBatch) -> list[Any]:
        claim = batch.claim
        own = [claim.begin, claim.end, claim.generation]
        return self._fold_call(batch.partition, own, claim.generation, batch)

    def _fold_call(
        self, partition: int, own: list[Any], generation: bytes, batch: LiveBatch | BackfillBatch
    ) -> list[Any]:
        """Return keys and arguments as ``fold.lua`` lists them, behind a script's own arguments."""
        keys, entries, marks = self._keys, batch.entries, batch.marks
        prefix, mark_prefix = keys.value_prefix(partition), keys.mark_prefix(partition)
        call: list[Any] = [
            3 + len(entries) + len(marks),
            keys.coverage(partition),
            keys.interested(partition),
            keys.marked(partition),
        ]
        call += [prefix + task_id for task_id, _ in entries]
        call += [mark_prefix + task_id for task_id, _ in marks]
        call += own
        call += [len(entries), len(prefix.encode()), keys.interest_prefix(partition), _MARKED_MS]
        call += [generation + entry for _, entry in entries]
        for _, mark in marks:
            call += [_ENCODE_MARK.encode(mark), mark.keep_until_ms]
        return call

    def _look_call(self, partition: int, ids: Sequence[str], interest: Interest | None) -> list[Any]:
        keys = self._keys
        prefix = keys.value_prefix(partition)
        call: list[Any] = [
            3 + len(ids),
            keys.coverage(partition),
            keys.interested(partition),
            keys.marked(partition),
        ]
        call += [prefix + task_id for task_id in ids]
        call += [
            len(ids),
            interest.channel if interest else "",
            int(interest.seconds * 1000) if interest else 0,
            len(prefix.encode()),
            keys.interest_prefix(partition),
            keys.mark_prefix(partition),
        ]
        return call


def _looked(count: int, reply: Sequence[Any]) -> Looked:
    now_ms, packed, values, marks = reply
    if packed is None:
        return Looked([None] * count, [None] * count, None, now_ms)
    coverage = Coverage.unpack(packed)
    generation = coverage.generation
    current = [value if value is not None and value[:GENERATION_BYTES] == generation else None for value in values]
    return Looked(current, _marks(count, marks, generation, now_ms), coverage, now_ms)


def _marks(count: int, marks: Sequence[bytes | None], generation: bytes, now_ms: int) -> list[Mark | None]:
    found: list[Mark | None] = [None] * count
    for index, data in enumerate(marks):
        if data is not None and data[:GENERATION_BYTES] == generation:
            mark = _DECODE_MARK.decode(data[GENERATION_BYTES:])
            found[index] = mark if mark.keep_until_ms > now_ms else None
    return found


def _joined(first: Looked, second: Looked) -> Looked:
    """Join two looks at one partition: what both prove is what the earlier coverage proves, if it is one generation."""
    values = [*first.values, *second.values]
    marks = [*first.marks, *second.marks]
    one, two = first.coverage, second.coverage
    same = one is not None and two is not None and one.generation == two.generation
    return Looked(values, marks, one if same else None, first.now_ms)


class RedisStore(Store):
    """
    Opens views on Redis or Valkey: one server, a primary that Sentinel names, or a Cluster.

    Args:
        url: As :func:`~streamresults.store.redis_url.open_nodes` reads it.
        credentials: What gives the login, as it takes it.

    Raises:
        ConfigurationError: The URL is none.
    """

    def __init__(self, url: str, credentials: object = None) -> None:
        self._nodes = open_nodes(url, credentials)
        self._calls = Calls(self._nodes)
        self.where: Final = self._nodes.where

    def view(self, namespace: str, topic_id: str) -> RedisView:
        """Open the view of one topic."""
        return RedisView(self._calls, self.where, Keys(namespace, topic_id))

    def read_descriptor(self, namespace: str, topic: str) -> Descriptor | None:
        """Return the descriptor of a topic's view."""
        for key in descriptor_keys(namespace, topic):
            with translated(self.where):
                data = self._calls.command(key, "GET", key)
            if data is not None:
                return self._descriptor(key, data)
        return None

    def _descriptor(self, key: str, data: bytes) -> Descriptor:
        try:
            return msgspec.json.decode(data, type=Descriptor)
        except msgspec.MsgspecError as exc:
            msg = f"{key} at {self.where} holds no descriptor of a view: {exc}"
            raise TopicMismatch(msg) from exc

    def change_descriptor(
        self, namespace: str, topic: str, change: Callable[[Descriptor | None], Descriptor]
    ) -> Descriptor:
        """Publish what a change makes of the descriptor."""
        own, *_ = descriptor_keys(namespace, topic)
        directory = directory_key(topic)
        with translated(self.where):
            written = False
            while not written:  # again only when somebody has written meanwhile, which few do and seldom
                before = self._calls.command(own, "GET", own)
                descriptor = change(None if before is None else of_this_format(self._descriptor(own, before)))
                key, *older = descriptor_keys(namespace, topic, descriptor.format)
                expected = before if key == own else self._calls.command(key, "GET", key)
                data = msgspec.json.encode(descriptor)
                (written,) = self._calls.script("describe", [[1, key, expected or b"", data]])
            for other in older:
                self._calls.command(other, "SET", other, data, "NX")
            self._calls.command(directory, "SADD", directory, namespace)
        return descriptor

    def namespaces(self, topic: str) -> list[str]:
        """Return the namespaces that hold a view of this topic's name."""
        key = directory_key(topic)
        with translated(self.where):
            members: Iterable[bytes] = self._calls.command(key, "SMEMBERS", key)
        return sorted(member.decode() for member in members)

    def subscribe(self, channel: str) -> RedisSubscription:
        """Listen on a channel."""
        return RedisSubscription(self._nodes, channel)

    def parts(self, namespace: str, topic: str) -> RedisParts:
        """Open the sets of parts of a topic."""
        return RedisParts(self._calls, self.where, namespace, topic)

    def eviction_policy(self) -> str | None:
        """Return what the servers do when they are full: of several policies one that evicts."""
        with translated(self.where):
            try:
                found = {client.info("memory").get("maxmemory_policy") for client in self._nodes.each()}
            except redis.exceptions.NoPermissionError:
                return None
        named = sorted(str(policy) for policy in found if policy)
        return next((policy for policy in named if policy != "noeviction"), named[0] if named else None)

    def ping(self) -> str:
        """Return the server's name and version; of a Cluster, those of one that answers."""
        with translated(self.where):
            try:
                about = self._nodes.anywhere(lambda client: client.info("server"))
            except redis.exceptions.NoPermissionError:
                about = {}  # the server is there, and does not say what it is
        name = "valkey" if "valkey_version" in about else "redis"
        return f"{name} {about.get(f'{name}_version', '?')}"

    def close(self) -> None:
        """Release every connection."""
        self._nodes.close()
