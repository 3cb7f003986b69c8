"""
The view on Redis or Valkey, one server: the only door to the redis library.

Every write is a script that may be repeated, so nothing here retries a write by itself: the flow that called decides,
inside its own deadline, and redis-py's own retries are off so that nothing is retried twice over.
"""

from __future__ import annotations

from contextlib import contextmanager
from importlib import resources
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, Final

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from streamresults.errors import ConfigurationError, StoreOutOfMemory, StoreUnavailable, TopicMismatch
from streamresults.store.base import (
    BackfillBatch,
    BackfillReply,
    BatchReply,
    Descriptor,
    LiveBatch,
    Looked,
    Mark,
    Store,
    Subscription,
    View,
)
from streamresults.store.coverage import GENERATION_BYTES, Coverage, Outcome
from streamresults.store.keys import Keys, descriptor_key, directory_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from streamresults.store.base import Interest

#: Seconds until a connection that says nothing counts as lost. Smaller takes a slow script for an outage; larger keeps
#: every waiter in the dark for as long.
SOCKET_TIMEOUT: Final = 5.0
#: Most task ids of one partition in one script. Larger blocks the server for longer than a millisecond or two;
#: smaller pays a call more often.
LOOK_MAX: Final = 1000
#: How long the flag that says "there are marks" outlives the last mark's writing: the longest retention there is.
_MARKED_MS: Final = 400 * 86_400_000

_ENCODE_MARK: Final = msgspec.msgpack.Encoder()
_DECODE_MARK: Final = msgspec.msgpack.Decoder(Mark)


@contextmanager
def _translated(where: str) -> Iterator[None]:
    """Turn the library's errors into ours, once and in one place."""
    try:
        yield
    except redis.exceptions.OutOfMemoryError as exc:
        msg = f"Redis at {where} is out of memory: raise maxmemory, or let results expire sooner"
        raise StoreOutOfMemory(msg) from exc
    except redis.exceptions.AuthenticationError as exc:
        msg = f"Redis at {where} refused the login: {exc}. Set the user and password in the Redis URL"
        raise StoreUnavailable(msg) from exc
    except redis.exceptions.RedisError as exc:
        msg = f"Redis not reachable or not able: {where} ({type(exc).__name__}: {exc}). Is it running?"
        raise StoreUnavailable(msg) from exc
    except OSError as exc:
        msg = f"Redis not reachable: {where} ({exc}). Is it running?"
        raise StoreUnavailable(msg) from exc


class _Scripts:
    """The Lua files, loaded on first use and again whenever the server has forgotten them."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        folder = resources.files("streamresults.store")
        read = {name: folder.joinpath(f"{name}.lua").read_text() for name in ("fold", "live", "backfill", "look")}
        self._sources: Final = {
            "live": read["fold"] + read["live"],
            "backfill": read["fold"] + read["backfill"],
            "look": read["look"],
        }
        self._shas: dict[str, str] = {}

    def run(self, name: str, calls: Sequence[Sequence[Any]]) -> list[Any]:
        """Run one script for each call (number of keys, keys and arguments), all in one round trip."""
        try:
            return self._execute(self._sha(name), calls)
        except redis.exceptions.NoScriptError:
            # A restart, a failover or SCRIPT FLUSH; the calls that did run are repeatable.
            self._shas.pop(name, None)
            return self._execute(self._sha(name), calls)

    def _sha(self, name: str) -> str:
        sha = self._shas.get(name)
        if sha is None:
            sha = self._shas[name] = str(self._client.script_load(self._sources[name]))
        return sha

    def _execute(self, sha: str, calls: Sequence[Sequence[Any]]) -> list[Any]:
        if len(calls) == 1:
            return [self._client.execute_command("EVALSHA", sha, *calls[0])]  # type: ignore[no-untyped-call]  # as shipped
        pipeline = self._client.pipeline(transaction=False)
        for call in calls:
            pipeline.execute_command("EVALSHA", sha, *call)  # type: ignore[no-untyped-call]  # as shipped
        return pipeline.execute()


class RedisView(View):
    """The view of one topic on one Redis server."""

    def __init__(self, client: redis.Redis, where: str, keys: Keys) -> None:
        self._client = client
        self._where = where
        self._keys = keys
        self._scripts = _Scripts(client)

    def apply(self, batches: Sequence[LiveBatch]) -> list[BatchReply]:
        """Fold batches into the view; see :meth:`View.apply`."""
        calls = [self._live_call(batch) for batch in batches]
        with _translated(self._where):
            replies = self._scripts.run("live", calls)
        return [
            BatchReply(Outcome(outcome), bool(began), Coverage.unpack(coverage)) for outcome, began, coverage in replies
        ]

    def look(self, wanted: Mapping[int, Sequence[str]], interest: Interest | None = None) -> dict[int, Looked]:
        """Read values, marks and coverage; see :meth:`View.look`."""
        parts = [(p, ids[i : i + LOOK_MAX]) for p, ids in wanted.items() for i in range(0, len(ids) or 1, LOOK_MAX)]
        with _translated(self._where):
            replies = self._scripts.run("look", [self._look_call(p, ids, interest) for p, ids in parts])
        found: dict[int, Looked] = {}
        for (partition, ids), reply in zip(parts, replies, strict=True):
            looked = _looked(len(ids), reply)
            earlier = found.get(partition)
            found[partition] = looked if earlier is None else _joined(earlier, looked)
        return found

    def backfill(self, batches: Sequence[BackfillBatch]) -> list[BackfillReply]:
        """Fold batches under the view; see :meth:`View.backfill`."""
        calls = [self._backfill_call(batch) for batch in batches]
        with _translated(self._where):
            replies = self._scripts.run("backfill", calls)
        return [
            BackfillReply(bool(applied), None if packed is None else Coverage.unpack(packed))
            for applied, packed in replies
        ]

    def _live_call(self, batch: LiveBatch) -> list[Any]:
        claim = batch.claim
        own = [
            claim.begin,
            claim.end,
            claim.least,
            claim.fresh_start,
            claim.target,
            claim.fresh_generation,
            claim.lost_generation,
            claim.log_end,
        ]
        return self._fold_call(batch.partition, own, batch.entries, batch.marks)

    def _backfill_call(self, batch: BackfillBatch) -> list[Any]:
        claim = batch.claim
        return self._fold_call(batch.partition, [claim.begin, claim.end, claim.generation], batch.entries, batch.marks)

    def _fold_call(
        self,
        partition: int,
        own: list[Any],
        entries: Sequence[tuple[str, bytes]],
        marks: Sequence[tuple[str, Mark]],
    ) -> list[Any]:
        """Return keys and arguments as ``fold.lua`` lists them, behind a script's own arguments."""
        keys = self._keys
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
        call += [entry for _, entry in entries]
        for _, mark in marks:
            call += [_ENCODE_MARK.encode(mark), mark.keep_until_ms]
        return call

    def _look_call(self, partition: int, ids: Sequence[str], interest: Interest | None) -> list[Any]:
        keys = self._keys
        prefix, mark_prefix = keys.value_prefix(partition), keys.mark_prefix(partition)
        call: list[Any] = [
            3 + 2 * len(ids),
            keys.coverage(partition),
            keys.interested(partition),
            keys.marked(partition),
        ]
        call += [prefix + task_id for task_id in ids]
        call += [mark_prefix + task_id for task_id in ids]
        call += [
            len(ids),
            interest.channel if interest else "",
            int(interest.seconds * 1000) if interest else 0,
            len(prefix.encode()),
            keys.interest_prefix(partition),
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


def _received(pubsub: redis.client.PubSub, timeout: float) -> list[str]:
    found = []
    message = pubsub.get_message(ignore_subscribe_messages=True, timeout=timeout)
    while message is not None:
        found.append(message["data"].decode())
        message = pubsub.get_message(ignore_subscribe_messages=True, timeout=0)
    return found


class RedisSubscription(Subscription):
    """Listens on one channel over a connection of its own, made again when it is lost."""

    def __init__(self, client: redis.Redis, where: str, channel: str) -> None:
        self._client = client
        self._where = where
        self._channel = channel
        self._closed: Final = Event()
        #: Held while a connection is read or given back.
        self._reading: Final = Lock()
        with _translated(where):
            #: ``None`` when it was lost and could not be made again.
            self._pubsub: redis.client.PubSub | None = self._listen()

    def get(self, timeout: float) -> list[str] | None:
        """Block for task ids that became ready; see :meth:`Subscription.get`."""
        with self._reading:
            if self._closed.is_set():
                return []
            if self._pubsub is not None:
                try:
                    return _received(self._pubsub, timeout)
                except Exception:  # noqa: BLE001 -- a connection that close() takes away raises TypeError, among others
                    if self._closed.is_set():
                        return []
                    self._pubsub.close()
                    self._pubsub = None
            with _translated(self._where):
                self._pubsub = self._listen()
            return None

    def close(self) -> None:
        """Release the connection; see :meth:`Subscription.close`."""
        self._closed.set()
        connection = getattr(self._pubsub, "connection", None)
        if connection is not None:
            connection.disconnect()  # wakes the thread in get()
        with self._reading:
            if self._pubsub is not None:
                self._pubsub.close()
                self._pubsub = None

    def _listen(self) -> redis.client.PubSub:
        pubsub: redis.client.PubSub = self._client.pubsub()  # type: ignore[no-untyped-call]  # as shipped
        pubsub.subscribe(self._channel)
        confirmed = pubsub.get_message(timeout=SOCKET_TIMEOUT)
        if confirmed is None:
            pubsub.close()
            msg = f"no answer to SUBSCRIBE in {SOCKET_TIMEOUT:g} s"
            raise redis.exceptions.TimeoutError(msg)
        return pubsub


class RedisStore(Store):
    """
    Opens views on one Redis or Valkey server.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://`` as redis-py reads it.

    Raises:
        ConfigurationError: The URL is none.
    """

    def __init__(self, url: str) -> None:
        try:
            self._client = redis.Redis.from_url(
                url,
                socket_timeout=SOCKET_TIMEOUT,
                socket_connect_timeout=SOCKET_TIMEOUT,
                retry=Retry(NoBackoff(), 0),
                client_name="streamresults",
            )
        except ValueError as exc:
            msg = f"the Redis URL cannot be read: {exc}"
            raise ConfigurationError(msg) from exc
        known = self._client.connection_pool.connection_kwargs
        self.where: Final = str(known.get("path") or f"{known.get('host', 'localhost')}:{known.get('port', 6379)}")

    def view(self, namespace: str, topic_id: str) -> RedisView:
        """Open the view of one topic."""
        return RedisView(self._client, self.where, Keys(namespace, topic_id))

    def read_descriptor(self, namespace: str, topic: str) -> Descriptor | None:
        """Return the descriptor of a topic's view."""
        with _translated(self.where):
            data = self._client.get(descriptor_key(namespace, topic))
        try:
            return None if data is None else msgspec.json.decode(data, type=Descriptor)
        except msgspec.MsgspecError as exc:
            msg = f"{descriptor_key(namespace, topic)} at {self.where} holds no descriptor of a view: {exc}"
            raise TopicMismatch(msg) from exc

    def write_descriptor(self, namespace: str, descriptor: Descriptor) -> None:
        """Publish the descriptor of a topic's view."""
        with _translated(self.where):
            self._client.set(descriptor_key(namespace, descriptor.topic), msgspec.json.encode(descriptor))
            self._client.sadd(directory_key(descriptor.topic), namespace)

    def namespaces(self, topic: str) -> list[str]:
        """Return the namespaces that hold a view of this topic's name."""
        with _translated(self.where):
            members = self._client.smembers(directory_key(topic))
        return sorted(member.decode() for member in members if isinstance(member, bytes))

    def subscribe(self, channel: str) -> RedisSubscription:
        """Listen on a channel."""
        return RedisSubscription(self._client, self.where, channel)

    def eviction_policy(self) -> str | None:
        """Return what the server does when it is full."""
        with _translated(self.where):
            policy = self._client.info("memory").get("maxmemory_policy")
        return str(policy) if policy else None

    def ping(self) -> str:
        """Return the server's name and version."""
        with _translated(self.where):
            about = self._client.info("server")
        name = "valkey" if "valkey_version" in about else "redis"
        return f"{name} {about.get(f'{name}_version', '?')}"

    def close(self) -> None:
        """Release every connection."""
        self._client.close()
        self._client.connection_pool.disconnect()
