"""
What belongs to a process and not to a backend: one publisher and one client for each configuration, however many
backends Celery makes of it, in however many threads.

A forked child opens its own connections with its first use, and never touches its parent's: publisher and client see
to that themselves, at every fork.
"""

from __future__ import annotations

import atexit
import logging
import os
from threading import Lock, Thread
from typing import TYPE_CHECKING, Final

import msgspec

from streamresults.celery.ahead import Ahead
from streamresults.celery.taking_turns import TakingTurns
from streamresults.client import Basis
from streamresults.deadline import Deadline
from streamresults.errors import BatchFailed, NotYetCovered, PublishError, ServiceUnavailable
from streamresults.events.states import is_terminal
from streamresults.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamresults.celery.ahead import Known
    from streamresults.client import Client, Result
    from streamresults.events.event import Event, Position
    from streamresults.publisher import Publisher
    from streamresults.settings import Settings
    from streamresults.store.parts import Parts

_log: Final = logging.getLogger("streamresults.celery")
#: Seconds that a process which ends waits for what is queued. Shorter loses progress of the last task where brokers
#: are slow, longer holds a restart up where they are away; results are never among it.
_FLUSH: Final = 5.0
#: Seconds for the view to fold what this process knows. Shorter believes it for longer than need be, longer holds up
#: who asks while the compactors are away.
_FOLDED: Final = 0.5
#: Seconds for the first connection of a worker, which is made beside its work.
_WARM: Final = 30.0


class Connections:
    """
    The connections of one configuration in this process. Thread-safe.

    Args:
        wiring: What opens them.
    """

    def __init__(self, wiring: Wiring) -> None:
        self.wiring: Final = wiring
        self.ahead: Final = Ahead()
        self._lock = Lock()
        self._publisher: Publisher | None = None
        self._client: Client | None = None
        self._parts: Parts | None = None
        self._turns = TakingTurns()

    @property
    def publisher(self) -> Publisher:
        """The publisher; it connects with its first event."""
        if self._publisher is None:
            with self._lock:
                if self._publisher is None:
                    self._publisher = self.wiring.publisher()
        return self._publisher

    @property
    def client(self) -> Client:
        """The client; it connects with its first use."""
        if self._client is None:
            with self._lock:
                if self._client is None:
                    self._client = self.wiring.client()
        return self._client

    @property
    def parts(self) -> Parts:
        """Where chords are counted; it connects with its first use."""
        if self._parts is None:
            with self._lock:
                if self._parts is None:
                    self._parts = self.wiring.parts()
        return self._parts

    def after_fork(self) -> None:
        """Replace, in a forked child, what another thread of the parent may have held."""
        self._lock = Lock()
        self._turns = TakingTurns()
        self.ahead.after_fork()

    def publish(self, event: Event, *, final: bool) -> None:
        """
        Publish an event; a final one is in all in-sync replicas when this returns, any other one is queued.

        Raises:
            PublishError: See its name; nothing is kept of it.
        """
        if final:
            self.ahead.keep(event.task_id, event, self._confirmed(event))
        else:
            self.ahead.keep(event.task_id, event, self.publisher.send(event))

    def _confirmed(self, event: Event) -> Position | None:
        """Publish an event and block until the brokers hold it, also one that ends no task."""
        if is_terminal(event.state, terminal=event.terminal):
            return self.publisher.publish(event)
        try:
            (position,) = self.publisher.publish_many([event])
        except BatchFailed as exc:
            raise exc.failures[0] from exc
        return position

    def forget(self, task_id: str) -> None:
        """
        Write a task's tombstone, behind all that this process has said of it.

        Raises:
            PublishFailed: See its name.
        """
        self.flush()  # tombstones have a producer of their own, and would pass what is queued
        self.ahead.keep(task_id, None, self.client.forget(task_id))

    def seen(self, result: Result) -> None:
        """Take note of an event that was read in the topic, which the view may not have folded yet."""
        if result.basis is Basis.TOPIC and result.position is not None:
            self.ahead.keep(result.task_id, result.event, result.position)

    def look(self, task_ids: Sequence[str]) -> list[Result]:
        """
        Look tasks up; threads do it one after the other, so that however many wait, few connections are open.

        Raises:
            ServiceUnavailable: Redis did not answer.
        """
        with self._turns.turn():
            return self.client.lookup_many(task_ids)

    def newest(self, seen: Result) -> Known | None:
        """Return what this process knows of a task, if it stands over what a lookup has just shown."""
        known = self.ahead.newer(seen.task_id, seen)
        if known is None or seen.found or not known.doubtful:
            return known
        position = known.position()
        if position is None:
            return known
        try:
            self.client.lookup(seen.task_id, at_least=position, timeout=_FOLDED)
        except (NotYetCovered, ServiceUnavailable):
            return known
        self.ahead.settled(seen.task_id)
        return None

    def warm(self) -> None:
        """Connect beside the work, so that the first result does not wait for it; never blocks, never raises."""
        Thread(target=self._warm, name="streamresults-warm", daemon=True).start()

    def _warm(self) -> None:
        try:
            self.publisher.warm(_WARM)
        except (PublishError, ServiceUnavailable) as exc:
            _log.warning(
                "Kafka could not be reached yet, results will try again: %s", exc, extra={"action": "warm_failed"}
            )

    def flush(self, timeout: float = _FLUSH) -> None:
        """Have what is queued acknowledged: progress and other states that do not end a task."""
        if self._publisher is None:
            return
        left, _ = self._publisher.flush(timeout)
        if left:
            _log.warning(
                "%d states that do not end a task were not acknowledged in %g s",
                left,
                timeout,
                extra={"action": "flush_failed", "unacknowledged": left},
            )

    def close(self) -> None:
        """Flush, and close every connection."""
        publisher, self._publisher = self._publisher, None
        client, self._client = self._client, None
        self._parts = None
        if publisher is not None:
            publisher.close(Deadline(_FLUSH).remaining())
        if client is not None:
            client.close()
        self.wiring.close()


_OPEN: Final[dict[tuple[bytes, int], Connections]] = {}
_lock = Lock()


def connections_of(settings: Settings, credentials: object = None) -> Connections:
    """
    Return the connections of a configuration in this process; connects to nothing.

    Args:
        credentials: What gives the login of Redis; another object is another configuration.
    """
    key = msgspec.json.encode(settings), id(credentials)
    with _lock:
        found = _OPEN.get(key)
        if found is None:
            # The wiring keeps the object, so that no other one gets its id.
            found = _OPEN[key] = Connections(Wiring(settings, credentials=credentials))
        return found


def use_wiring(settings: Settings, wiring: Wiring) -> Connections:
    """Have backends of a configuration use a wiring, such as one on the in-memory topic and store."""
    with _lock:
        found = _OPEN[msgspec.json.encode(settings), id(None)] = Connections(wiring)
    return found


def all_connections() -> list[Connections]:
    """Return the connections of every configuration."""
    with _lock:
        return list(_OPEN.values())


def close_all() -> None:
    """Flush and close everything that this process has opened."""
    with _lock:
        found = list(_OPEN.values())
        _OPEN.clear()
    for connections in found:
        connections.close()


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 -- another thread of the parent may have held it
    _lock = Lock()
    for connections in _OPEN.values():
        connections.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
# A pool's child ends through os._exit and comes by none of this: see signals.py.
atexit.register(close_all)
