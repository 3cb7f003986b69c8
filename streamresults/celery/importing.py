"""
Copies what Celery's own backend keeps in Redis into the topic.

The old backend is read through Celery's own client of it: URL, TLS, Sentinel, credentials, serializer and prefix are
those that the application has always been configured with. Nothing there is changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from celery.app.backends import by_url
from celery.backends.redis import RedisBackend

from streamresults.celery.imported import saved_group_event, task_event
from streamresults.celery.urls import masked
from streamresults.errors import (
    ConfigurationError,
    MalformedRecord,
    PayloadTooLarge,
    RecordTooLarge,
    ServiceUnavailable,
)
from streamresults.events.decisions import Decision
from streamresults.events.event import GROUP_PREFIX
from streamresults.publisher.checks import checked_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from streamresults.celery.backend import StreamResultsBackend
    from streamresults.events.event import Event
    from streamresults.publisher import Pending

#: Keys of one turn. Fewer cost round trips; more hold more values in memory at once, each of which may be large.
_TURN: Final = 200
#: Seconds for the brokers to acknowledge a turn.
_PATIENCE: Final = 60.0
#: Types of exceptions that are told apart. Records name them, so that more would be somebody's mischief.
_TYPES: Final = 1_000
#: What Celery keeps of a chord that is under way, beside the group.
_OF_CHORDS: Final = (b".j", b".t", b".s", b".d")
#: What the newest Celery leaves of a chord that is over, for some minutes.
_OF_CHORDS_OVER: Final = b".c"


@dataclass(slots=True)
class Counts:
    """How far it has come."""

    tasks: int = 0
    groups: int = 0
    #: They are known here, and stay as they are.
    known: int = 0
    #: They expired while they were read.
    gone: int = 0
    #: Accounts of chords under way, which are left where their parts go.
    chords: int = 0
    bad: int = 0
    #: Results, by the ``module:QualifiedName`` of an exception that no list of the application names.
    unlisted: dict[str, int] = field(default_factory=dict)


class _Found(NamedTuple):
    key: str
    value: bytes
    expires_after_ms: int


class Importing:
    """
    One run of it.

    What is known here already is left alone, so that a second run brings what the first one has not, and nothing twice.

    Args:
        backend: Takes the results over.
        url: Of the old backend, as ``result_backend`` took it.
        on_bad: Called with the key of a record that cannot be taken over, and why; the run goes on.

    Raises:
        ConfigurationError: The old backend is none of Celery's on Redis.
    """

    def __init__(self, backend: StreamResultsBackend, url: str, on_bad: Callable[[str, str], None]) -> None:
        self._backend: Final = backend
        self._url: Final = url
        self._on_bad: Final = on_bad
        self._longest: Final = int(backend.settings.longest_expiry * 1000)
        backend.list_exceptions()
        self._allowlist: Final = backend.connections.wiring.allowlist()
        try:
            cls, stripped = by_url(url, backend.app.loader)
        except ImportError as exc:
            msg = f"there is no backend for {masked(url)!r}: {exc}"
            raise ConfigurationError(msg) from exc
        if not (isinstance(cls, type) and issubclass(cls, RedisBackend)):
            msg = f"{masked(url)!r} is none of Celery's backends on Redis; fallback_backend reads any other"
            raise ConfigurationError(msg)
        self._old: Final[Any] = cls(app=backend.app, url=stripped)
        self.counts: Final = Counts()

    def run(self, *, dry: bool = False, on_progress: Callable[[Counts], None] = lambda _: None) -> Counts:
        """
        Copy everything; with ``dry`` only count what would be.

        Raises:
            ServiceUnavailable: The old backend, or the view, did not answer.
            PublishError: The topic did not take it. What was counted before is in it; run it again.
        """
        for is_group, prefix in ((False, self._old.task_keyprefix), (True, self._old.group_keyprefix)):
            keys = self._keys(prefix)
            while turn := list(islice(keys, _TURN)):
                events = [event for found in self._read(turn) if (event := self._event(found, prefix, is_group))]
                unknown = self._unknown(events)
                self._judge(unknown)
                taken = len(unknown) if dry else self._published(unknown)
                if is_group:
                    self.counts.groups += taken
                else:
                    self.counts.tasks += taken
                on_progress(self.counts)
        return self.counts

    def close(self) -> None:
        """Close the connections to the old backend."""
        self._old.client.close()
        self._old.client.connection_pool.disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- reading ----------------------------------------------------------------------------------------------------

    def _keys(self, prefix: bytes) -> Iterator[bytes]:
        seen: set[bytes] = set()  # of this turn of the server's: SCAN may name a key twice
        escaped = b"".join(b"\\" + bytes([byte]) if byte in b"*?[]\\" else bytes([byte]) for byte in prefix)
        for key in self._asked(lambda: self._old.client.scan_iter(match=escaped + b"*", count=_TURN)):
            if len(seen) > 10 * _TURN:
                seen.clear()
            if key in seen:
                continue
            seen.add(key)
            if prefix == self._old.group_keyprefix and key.endswith((*_OF_CHORDS, _OF_CHORDS_OVER)):
                self.counts.chords += key.endswith(_OF_CHORDS)
                continue
            yield key

    def _read(self, keys: Sequence[bytes]) -> Iterator[_Found]:
        pipeline = self._old.client.pipeline(transaction=False)
        for key in keys:
            pipeline.get(key)
            pipeline.pttl(key)
        (answers,) = self._asked(lambda: iter([pipeline.execute(raise_on_error=False)]))
        for key, value, left in zip(keys, answers[::2], answers[1::2], strict=True):
            name = key.decode(errors="backslashreplace")
            if isinstance(value, Exception):
                self._bad(name, str(value))
            elif value is None or not isinstance(left, int) or left < -1:
                self.counts.gone += 1
            else:
                yield _Found(name, value, 0 if left < 0 else min(max(left, 1), self._longest))

    def _asked(self, ask: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        try:
            yield from ask()
        except self._old.connection_errors as exc:
            msg = f"the old backend {masked(self._url)!r} did not answer: {exc}"
            raise ServiceUnavailable(msg) from exc

    # -- taking over ------------------------------------------------------------------------------------------------

    def _event(self, found: _Found, prefix: bytes, is_group: bool) -> Event | None:  # noqa: FBT001 -- of its kind
        name = found.key.removeprefix(prefix.decode())
        try:
            meta = self._old.decode(found.value)
            if is_group:
                serializer = self._backend.serializer
                event = saved_group_event(name, meta, serializer, found.value, found.expires_after_ms)
            else:
                event = task_event(self._backend.making, name, meta, found.value, found.expires_after_ms)
            checked_key(event, self._longest)
        except Exception as exc:  # noqa: BLE001 -- a record may hold anything, and a serializer raise anything
            self._bad(found.key, f"{type(exc).__name__}: {exc}")
            return None
        return event

    def _unknown(self, events: Sequence[Event]) -> list[Event]:
        """Return those of which nothing is known here."""
        known = {
            result.task_id
            for result in self._backend.connections.client.lookup_many([event.task_id for event in events])
            if result.found
        }
        self.counts.known += len(known)
        return [event for event in events if event.task_id not in known]

    def _judge(self, events: Sequence[Event]) -> None:
        """Count the exceptions that will be no exceptions of their class, for want of a line in the configuration."""
        unlisted = self.counts.unlisted
        for node in (event.exception[0] for event in events if event.exception):
            listable = self._allowlist.may_be_listed(node.module, node.qualname)
            if listable and self._allowlist.decide(node.module, node.qualname) is Decision.NOT_LISTED:
                name = f"{node.module}:{node.qualname}"
                if name in unlisted or len(unlisted) < _TYPES:
                    unlisted[name] = unlisted.get(name, 0) + 1

    def _published(self, events: Sequence[Event]) -> int:
        """Publish events, and return of how many the brokers hold all."""
        queued = [(event, self._queued(event)) for event in events]
        taken = 0
        for event, pending in queued:
            if pending is None:
                continue
            try:
                pending.position(_PATIENCE)
            except RecordTooLarge as exc:
                self._bad(_key_of(event), str(exc))
            else:
                taken += 1
        return taken

    def _queued(self, event: Event) -> Pending | None:
        try:
            return self._backend.connections.publisher.send(event)
        except (RecordTooLarge, MalformedRecord, PayloadTooLarge) as exc:
            self._bad(_key_of(event), str(exc))
            return None

    def _bad(self, key: str, why: str) -> None:
        self.counts.bad += 1
        self._on_bad(key, why)


def _key_of(event: Event) -> str:
    """Return what Celery calls the record, for whoever looks it up."""
    if event.kind == "group":
        return f"celery-taskset-meta-{event.task_id.removeprefix(GROUP_PREFIX)}"
    return f"celery-task-meta-{event.task_id}"
