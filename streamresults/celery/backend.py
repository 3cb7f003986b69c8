"""The result backend: Celery's calls, each handed to what does it. It decides nothing by itself."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import msgspec
from celery import states as celery_states
from celery.backends.base import BaseKeyValueStoreBackend
from kombu.utils.encoding import ensure_bytes

from streamresults.celery import signals
from streamresults.celery.chords import Chords
from streamresults.celery.configuration import fallback_of, seconds, settings_of
from streamresults.celery.consumer import ResultConsumer
from streamresults.celery.errors import not_read, not_stored, safe_to_retry, too_large
from streamresults.celery.exceptions import Revival, list_celerys_own
from streamresults.celery.fallback import Fallback
from streamresults.celery.groups import Groups
from streamresults.celery.making import Making
from streamresults.celery.metas import Metas, pending
from streamresults.celery.process import connections_of
from streamresults.celery.redis_options import credentials_of
from streamresults.celery.seeding import Seeding
from streamresults.celery.task_ids import text_of
from streamresults.celery.then import Thens
from streamresults.celery.urls import masked
from streamresults.celery.waiting import NativeJoin
from streamresults.errors import NotYetCovered, PublishError, ServiceUnavailable, StreamResultsError
from streamresults.events.event import Event
from streamresults.topic.records import RECORD_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from streamresults.celery.process import Connections
    from streamresults.client import Result
    from streamresults.events.allowlist import ExceptionAllowlist

_log: Final = logging.getLogger("streamresults.celery")
#: Seconds for a view to fold what another process of this worker may have said just now.
_FRESH: Final = 2.0
#: How an application lists an exception.
_HINT: Final = 'streamresults_allow = ["{}"] in the configuration of Celery'

Meta = dict[str, Any]


class StreamResultsBackend(NativeJoin, Groups, Chords, BaseKeyValueStoreBackend):
    """
    Results as events in a Kafka topic, folded into Redis. Thread-safe: one serves all threads of an application.

    Whatever was stored is durable when storing it returns, if it ends the task; this process sees at once what it has
    stored itself, and others as soon as the view has folded it. SUCCESS is final, wherever and however late anything
    else is stored.

    Args:
        app: The application.
        url: As :mod:`streamresults.celery.urls` reads it; ``None`` where the bare name was configured.

    Raises:
        ImproperlyConfigured: The settings contradict each other; the message names them.
    """

    supports_autoexpire = True
    supports_result_compression = True
    supports_failure_expires = True
    persistent = True

    def __init__(self, app: Any, url: str | None = None, **kwargs: Any) -> None:
        super().__init__(app=app, url=url, **kwargs)
        conf = app.conf
        self.thread_safe = True
        self.expires: float = seconds(self.expires)
        failure_expires = conf.get("result_failure_expires")
        self._failure_expires: float = self.expires if failure_expires is None else seconds(failure_expires)
        compression = conf.get("result_compression")
        self.settings = settings_of(conf, url or "", compression=compression)
        stated = self.settings.kafka.get("message.max.bytes", "")
        self._record_bytes: Final = int(stated) if stated.isdigit() else RECORD_BYTES  # the writer says what is wrong
        self.credentials: Final = credentials_of(conf)
        self.connections: Connections = connections_of(self.settings, self.credentials)
        self.result_consumer = ResultConsumer()
        self._thens = Thens(lambda: self.connections.client, self._told)
        list_celerys_own()
        self._seeding: Final = Seeding(app)
        fallback = fallback_of(conf, url or "")
        self._fallback = Fallback(app, fallback, self.exception_to_python) if fallback else None
        signals.connect()

    # -- what is opened when it is first needed ---------------------------------------------------------------------

    @cached_property
    def _allowlist(self) -> ExceptionAllowlist:
        found = self.connections.wiring.allowlist()
        found.decisions.hint = _HINT
        return found

    @cached_property
    def _revival(self) -> Revival:
        _ = self._allowlist  # so that what it logs is for this application
        return Revival(self.connections.wiring.decoding(), self._seeding.refresh)

    @cached_property
    def _making(self) -> Making:
        wiring = self.connections.wiring
        extended = bool(self.app.conf.find_value_for_key("extended", "result"))
        return Making(self.serializer, extended=extended, limits=wiring.limits(), allowlist=self._allowlist)

    @cached_property
    def _metas(self) -> Metas:
        return Metas(
            self.accept,
            self.app.timezone,
            revive=self._revival.of_event,
            exception_of=self.exception_to_python,
        )

    @property
    def making(self) -> Making:
        """What makes its events."""
        return self._making

    def list_exceptions(self) -> None:
        """List, by now, what the application's tasks say they throw or retry, and what its settings list."""
        self._seeding.refresh()

    # -- storing ----------------------------------------------------------------------------------------------------

    def store_result(
        self, task_id: Any, result: Any, state: str, traceback: Any = None, request: Any = None, **_: Any
    ) -> Any:
        """
        Store what became of a task; returns once all in-sync replicas hold it, if the task has ended with it.

        Raises:
            EncodeError: kombu's own: the result has no form in ``result_serializer``.
            BackendStoreError: It did not reach the log, also when it was tried again as often as is configured.
        """
        encoded = self.encode_result(result, state)
        event = self._event(task_id, encoded, state, traceback, request)
        try:
            # The event in the place of the result: what is tried again is the same event, and is encoded once.
            super().store_result(event.task_id, event, state, traceback, request)
        except (PublishError, ServiceUnavailable) as exc:
            raise not_stored(exc, event.task_id, state) from exc
        return encoded

    def _store_result(
        self, task_id: Any, result: Any, state: str, traceback: Any = None, request: Any = None, **_: Any
    ) -> Any:
        event = result
        if not isinstance(event, Event):
            event = self._event(task_id, result, state, traceback, request)
        final = state in celery_states.READY_STATES
        if len(event.args) + len(event.kwargs) > self._record_bytes:
            event = _lightened(event, "they are larger than a record may be")
        try:
            self.connections.publish(event, final=final)
        except PublishError as exc:
            if not too_large(exc) or not (event.args or event.kwargs):
                raise
            self.connections.publish(_lightened(event, str(exc)), final=final)
        return result

    def _event(self, task_id: Any, result: Any, state: str, traceback: Any, request: Any) -> Event:
        return self._making.event(
            text_of(task_id),
            result,
            state,
            traceback=traceback,
            request=request,
            children=self.current_task_children(request),
            expires=self._failure_expires if state == celery_states.FAILURE else self.expires,
        )

    def encode_result(self, result: Any, state: str) -> Any:
        """Return what is stored; an exception as it is, as it travels as data and not through the serializer."""
        if state in self.EXCEPTION_STATES and isinstance(result, BaseException):
            return result
        return self.prepare_value(result)

    def exception_safe_to_retry(self, exc: BaseException) -> bool:
        """Tell whether ``result_backend_always_retry`` tries again after an error."""
        return safe_to_retry(exc)

    # -- reading ----------------------------------------------------------------------------------------------------

    def get_task_meta(self, task_id: Any, cache: bool = True) -> Meta:  # noqa: FBT001, FBT002 -- Celery's
        """
        Return what is known of a task; PENDING where nothing is.

        Raises:
            BackendGetMetaError: It could not be read.
        """
        try:
            meta: Meta = super().get_task_meta(text_of(task_id), cache=cache)
        except StreamResultsError as exc:
            raise not_read(exc, text_of(task_id)) from exc
        return meta

    def _get_task_meta_for(self, task_id: Any) -> Meta:
        meta = self._look([text_of(task_id)])[0]
        if meta["status"] not in self.READY_STATES and signals.others_may_know(self.app):
            return self._fresh(text_of(task_id), meta)
        return meta

    def _look(self, task_ids: Sequence[str]) -> list[Meta]:
        """Return what is known of tasks, in one round trip; what this process has said itself is known at once."""
        return self._filled([self._known(result) for result in self.connections.look(task_ids)])

    def _filled(self, metas: list[Meta]) -> list[Meta]:
        """Return the metas with what the backend knows that was used before, where nothing is known here."""
        if self._fallback is None:
            return metas
        unknown = [meta["task_id"] for meta in metas if meta["status"] == celery_states.PENDING]
        found = self._fallback.metas(unknown)
        return [found.get(meta["task_id"], meta) for meta in metas]

    def _known(self, result: Result) -> Meta:
        own = self.connections.newest(result)
        if own is None:
            return self._meta_of(result)
        return pending(result.task_id) if own.event is None else self._metas.of_event(own.event)

    def _fresh(self, task_id: str, otherwise: Meta) -> Meta:
        """Return what the log holds of a task by now: another process of the worker may have ended it just now."""
        try:
            known = self._known(self.connections.client.lookup(task_id, fresh=True, timeout=_FRESH))
        except (NotYetCovered, ServiceUnavailable) as exc:
            _log.warning(
                "whether task %s has ended is not known for sure: %s",
                task_id,
                exc,
                extra={"action": "not_fresh", "task_id": task_id},
            )
            return otherwise
        return self._filled([known])[0]

    def _meta_of(self, result: Result) -> Meta:
        return self._metas.of_result(result)

    def _told(self, result: Result) -> Meta:
        """Return the meta of what a wait was told, which this process knows from now on."""
        self.connections.seen(result)
        return self._metas.of_result(result)

    def _ready_metas(self, task_ids: Collection[str]) -> dict[str, Meta]:
        """Return the metas of those that have ended; each is the caller's own, as results write into theirs."""
        cached = {task_id: self._cache[task_id] for task_id in task_ids if task_id in self._cache}
        found = {task_id: dict(meta) for task_id, meta in cached.items() if meta["status"] in self.READY_STATES}
        left = [task_id for task_id in task_ids if task_id not in found]
        if left:
            looked = {meta["task_id"]: meta for meta in self._look(left) if meta["status"] in self.READY_STATES}
            self._cache.update({task_id: dict(meta) for task_id, meta in looked.items()})
            found |= looked
        return found

    def meta_from_decoded(self, meta: Meta) -> Meta:
        """Return a meta with its exception as one; one that is whole stays as it is."""
        if meta["status"] in self.EXCEPTION_STATES:
            meta["result"] = self.exception_to_python(meta["result"])
        return meta

    def exception_to_python(self, exc: Any) -> Any:
        """Return an exception that was stored as a value; its class is rebuilt only if it is listed."""
        return self._revival.of_value(exc)

    def task_result_exists(self, task_id: Any) -> bool:
        """
        Tell whether the log holds anything of a task; ``False`` is authoritative.

        Raises:
            BackendGetMetaError: Nobody could tell.
        """
        try:
            (found,) = self.connections.client.lookup_many([text_of(task_id)])
            own = self.connections.newest(found)
            if own is not None:
                return own.event is not None
            if self.connections.client.result(text_of(task_id)).exists():
                return True
            return self._fallback is not None and bool(self._fallback.metas([text_of(task_id)]))
        except StreamResultsError as exc:
            raise not_read(exc, text_of(task_id)) from exc

    def _forget(self, task_id: Any) -> None:
        self.connections.forget(text_of(task_id))
        if self._fallback is not None:
            self._fallback.forget(text_of(task_id))

    # -- by key, for tools ------------------------------------------------------------------------------------------

    def get(self, key: Any) -> bytes | None:
        """Return the meta of a task by Celery's key, as other backends store it; ``None`` where nothing is known."""
        (found,) = self.mget([key])
        return found

    def mget(self, keys: Sequence[Any]) -> list[bytes | None]:
        """Do the same for many in one round trip."""
        metas = self._look([text_of(self._strip_prefix(key)) for key in keys])
        return [None if meta["status"] == celery_states.PENDING else self._encoded(meta) for meta in metas]

    def _encoded(self, meta: Meta) -> bytes:
        if isinstance(meta["result"], BaseException):
            meta = {**meta, "result": self.prepare_exception(meta["result"])}
        encoded: bytes = ensure_bytes(self._encode(meta)[2])
        return encoded

    def delete(self, key: Any) -> None:
        """Forget the task, or delete the saved group, that Celery's key names."""
        stripped = text_of(self._strip_prefix(key))
        if ensure_bytes(key).startswith(self.group_keyprefix):
            self._delete_group(stripped)
        else:
            self._forget(stripped)

    # -- the process ------------------------------------------------------------------------------------------------

    def as_uri(self, include_password: bool = False) -> str:  # noqa: FBT001, FBT002 -- Celery's
        """Return the URL, without its secrets unless they are asked for."""
        if not self.url:
            return "streamresults://"
        return str(self.url) if include_password else masked(self.url)

    def __reduce__(self, args: Any = (), kwargs: Any = None) -> Any:
        return super().__reduce__(args, {**(kwargs or {}), "url": self.url, "expires": self.expires})


def _lightened(event: Event, why: str) -> Event:
    """Return an event without its task's arguments, which no payload store takes, and say so."""
    _log.warning(
        "task %s, %s: stored without the args and kwargs that result_extended keeps: %s",
        event.task_id,
        event.state,
        why,
        extra={"action": "arguments_not_stored", "task_id": event.task_id},
    )
    return msgspec.structs.replace(event, args=b"", kwargs=b"")
