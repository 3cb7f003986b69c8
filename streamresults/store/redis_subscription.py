"""
Listens for wake-ups on a connection of its own; it says that messages may be lost and never asks for them again.

What a script publishes reaches every server of a Cluster and every replica, so any of them may be listened to.
"""

from __future__ import annotations

from threading import Event, Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import redis

from streamresults.store.base import Subscription
from streamresults.store.redis_errors import translated
from streamresults.store.redis_url import SOCKET_TIMEOUT

if TYPE_CHECKING:
    from streamresults.store.redis_nodes import Nodes


class RedisSubscription(Subscription):
    """Listens on one channel, on a connection that is made again when it is lost."""

    def __init__(self, nodes: Nodes, channel: str) -> None:
        self._nodes = nodes
        self._channel = channel
        self._closed: Final = Event()
        #: Held while a connection is read or given back.
        self._reading: Final = Lock()
        #: When the server was last heard, and when it was asked whether it is still there.
        self._heard_at = 0.0
        self._asked_at: float | None = None
        with translated(nodes.where):
            #: ``None`` when it was lost and could not be made again.
            self._pubsub: redis.client.PubSub | None = nodes.anywhere(self._listen)

    def get(self, timeout: float) -> list[str] | None:
        """Block for task ids that became ready; see :meth:`Subscription.get`."""
        with self._reading:
            if self._closed.is_set():
                return []
            if self._pubsub is not None:
                try:
                    return self._received(self._pubsub, timeout)
                except Exception:  # noqa: BLE001 -- a connection that close() takes away raises TypeError, among others
                    if self._closed.is_set():
                        return []
                    self._pubsub.close()
                    self._pubsub = None
            with translated(self._nodes.where):
                self._pubsub = self._nodes.anywhere(self._listen)
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

    def _listen(self, client: redis.Redis) -> redis.client.PubSub:
        pubsub: redis.client.PubSub = client.pubsub()  # type: ignore[no-untyped-call]  # as shipped
        pubsub.subscribe(self._channel)
        confirmed = pubsub.get_message(timeout=SOCKET_TIMEOUT)
        if confirmed is None:
            pubsub.close()
            msg = f"no answer to SUBSCRIBE in {SOCKET_TIMEOUT:g} s"
            raise redis.exceptions.TimeoutError(msg)
        self._heard_at, self._asked_at = monotonic(), None
        return pubsub

    def _received(self, pubsub: redis.client.PubSub, timeout: float) -> list[str]:
        found = []
        heard = False
        connection: Any = pubsub.connection
        while connection.can_read(0 if heard else timeout):
            heard = True
            # Whatever has begun is read to its end: redis-py drops the connection, and all that is still to be read
            # from it, when the rest of a message is not there within the time that it is given.
            message = pubsub.get_message(timeout=SOCKET_TIMEOUT)
            if message is not None and message["type"] == "message":
                found.append(message["data"].decode())
        self._check(pubsub, heard=heard)
        return found

    def _check(self, pubsub: redis.client.PubSub, *, heard: bool) -> None:
        """Ask a silent server whether it is there: one that is frozen or cut off closes no connection."""
        now = monotonic()
        if heard:
            self._heard_at, self._asked_at = now, None
        elif self._asked_at is not None and now - self._asked_at > SOCKET_TIMEOUT:
            msg = f"no answer to PING in {SOCKET_TIMEOUT:g} s"
            raise redis.exceptions.TimeoutError(msg)
        elif self._asked_at is None and now - self._heard_at > SOCKET_TIMEOUT:
            pubsub.ping()
            self._asked_at = now
