"""Chords, as Celery calls its backend for them; what is counted and sent is decided beside this."""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from celery import states as celery_states
from celery.app.task import Context
from celery.signals import worker_ready
from celery.utils.functional import _regen
from celery.utils.time import get_exponential_backoff_interval
from kombu.serialization import prepare_accept_content
from msgspec import structs

from streamresults.celery.chord_accounts import Accounts, Rules
from streamresults.celery.chord_begun import Begun
from streamresults.celery.chord_layout import COUNTING, ends_of, layout_of, record_of
from streamresults.celery.chord_sending import Sending
from streamresults.celery.configuration import seconds
from streamresults.celery.encoding import decode
from streamresults.celery.errors import not_stored
from streamresults.celery.kin import leaves
from streamresults.celery.task_ids import text_of
from streamresults.errors import PublishError, ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from streamresults.celery.chord_body import Part
    from streamresults.celery.making import Making
    from streamresults.celery.metas import Metas
    from streamresults.celery.process import Connections
    from streamresults.settings import Settings

#: Headers that this process has begun and not sent to their ends yet.
_BEGUN: Final = 1_000
#: Seconds for which a dispatcher may read parts at least, before another one takes over.
_LEASE: Final = 5.0
#: What a signature is made of, as the request of a task that will never run has it.
_SIGNATURE: Final = ("task", "args", "kwargs", "options", "subtask_type", "immutable")


class Chords:
    """
    What ``Backend`` calls for chords. Thread-safe.

    Without a Redis there is nowhere to count, and Celery's own task polls for the header as it does with every backend
    that does not count.
    """

    app: Any
    serializer: str
    accept: Collection[str] | None
    expires: float
    connections: Connections
    settings: Settings

    if TYPE_CHECKING:  # what the backend adds
        store_result: Any
        encode_result: Any
        exception_safe_to_retry: Any
        always_retry: bool
        max_retries: float
        base_sleep_between_retries_ms: int
        max_sleep_between_retries_ms: int
        _sleep: Any

        @cached_property
        def _making(self) -> Making: ...

        @cached_property
        def _metas(self) -> Metas: ...

    @cached_property
    def _accounts(self) -> Accounts:
        conf = self.app.conf
        interval = conf.result_chord_retry_interval
        rules = Rules(
            keep_ms=self._expires_ms,
            lease_ms=int(max(_LEASE, 2 * (conf.result_chord_join_timeout or 0)) * 1000),
            interval=float(interval) if interval else 1.0,
        )
        sending = Sending(
            self.app,
            self.chord_error_from_stack,
            self._value_of,
        )
        return Accounts(self.connections, rules, sending, prepare_accept_content(conf.accept_content))

    def _value_of(self, part: Part) -> Any:
        if part.state in celery_states.EXCEPTION_STATES:
            return self._metas.of_event(part.event)["result"]
        payload = part.payload
        return None if payload.body is None else decode(payload.content_type, payload.body, self.accept)

    @cached_property
    def _begun(self) -> OrderedDict[str, Begun]:
        return OrderedDict()

    # -- beginning --------------------------------------------------------------------------------------------------

    def apply_chord(self, header_result_args: Any, body: Any, **kwargs: Any) -> None:
        """
        Begin to count a header, before it is sent.

        Raises:
            BackendStoreError: Kafka or Redis does not answer; nothing was sent.
        """
        if not self._counts:
            super().apply_chord(header_result_args, body, **kwargs)  # type: ignore[misc]  # of the backend's other base
            return
        group_id, results = header_result_args
        layout = layout_of(str(group_id), None if isinstance(results, _regen) else results, body)
        serializer = body.options.get("serializer") or self.app.conf.task_serializer
        record = record_of(layout, body, serializer, self._expires_ms)
        self._durably(layout.group_id, self._accounts.begin, record)
        begun = self._begun
        begun[layout.group_id] = Begun(record, results)
        while len(begun) > _BEGUN:
            begun.popitem(last=False)

    def set_chord_size(self, group_id: Any, chord_size: int) -> None:
        """
        Say how many tasks of a header will return; Celery does when it sends the last one.

        Raises:
            BackendStoreError: Kafka or Redis does not answer.
        """
        if not self._counts:
            return
        begun = self._begun.pop(str(group_id), None)
        if begun is None:
            # Of a group inside a header, which nobody counts by itself, and which has the header's own id before Celery
            # 5.7; or of a header that came out of a generator for so long that it was pushed out.
            self._durably(group_id, self._accounts.resize_unknown, str(group_id), chord_size)
            return
        record = begun.sized(chord_size)
        if record is not None:
            self._durably(group_id, self._accounts.resize, record)

    def add_to_chord(self, group_id: Any, result: Any) -> None:
        """
        Have a chord wait for one more task, which is about to be sent.

        Raises:
            BackendStoreError: Kafka or Redis does not answer.
            NotImplementedError: Nothing is counted without a Redis.
        """
        if not self._counts:
            super().add_to_chord(group_id, result)  # type: ignore[misc]  # as above
            return
        self._durably(group_id, self._accounts.add, str(group_id), leaves(result.as_tuple()))

    # -- counting ---------------------------------------------------------------------------------------------------

    def on_chord_part_return(self, request: Any, state: str, result: Any, **_: Any) -> None:
        """
        Count what became of a member; called once or more often for each, whether its result is stored or not.

        Raises:
            EncodeError: kombu's own: the result has no form in ``result_serializer``.
        """
        task_id, group_id = request.id, request.group
        if not (task_id and group_id and self._counts):
            return
        if getattr(request, "subtask_type", None) == "group":
            self._fail_group(request, state, result)
            return
        event = self._making.event(
            text_of(task_id),
            self.encode_result(result, state),
            state,
            traceback=None,
            request=None,
            children=None,
            expires=self._expires_ms / 1000,
        )
        index = getattr(request, "group_index", None)
        event = structs.replace(event, group_id=str(group_id), group_index=index if isinstance(index, int) else -1)
        self._accounts.part(str(group_id), event, request.chord, logged=not self._ignores(request, state))

    def finish_chord(self, group_id: str) -> None:
        """
        Count the members of a chord that the log knows to have ended, and send its body if that completes it.

        For a chord that nobody returns to any more. Does nothing to one that is done, or while another process holds
        its claim.

        Raises:
            StoreUnavailable, TopicUnavailable, NotYetCovered: See their names.
        """
        self._accounts.finish(group_id)

    def look_after_chords(self) -> None:
        """Have this process send, from now on, the bodies of chords whose dispatchers have died; returns at once."""
        if self._counts:
            self._accounts.keep_sweeping()

    def chord_error_from_stack(self, callback: Any, exc: Exception | None = None) -> Any:
        """Have a body fail, and with it every chord that the body is a member of itself."""
        info = super().chord_error_from_stack(callback, exc)  # type: ignore[misc]  # as above
        for end in ends_of(callback, self.app):
            if all(end.options.get(name) for name in ("chord", "group_id", "task_id")):
                self.on_chord_part_return(_request_of(end), celery_states.FAILURE, exc)
        return info

    def _fail_group(self, request: Any, state: str, exc: Any) -> None:
        """Have all tasks of a group end as the task before it in their chain did: none of them will ever run."""
        for end in ends_of({name: getattr(request, name, None) for name in _SIGNATURE}, self.app):
            member = _request_of(end)
            self.store_result(member.id, exc, state, request=member)
            self.on_chord_part_return(member, state, exc)

    def _ignores(self, request: Any, state: str) -> bool:
        """Tell whether a member's own result is not stored, so that the log does not know it by that."""
        task = self.app._tasks.get(getattr(request, "task", None) or "")  # noqa: SLF001 -- see Seeding
        stated = vars(request).get("ignore_result") if hasattr(request, "__dict__") else None
        ignored = getattr(task, "ignore_result", None) if stated is None else stated
        errors = state != celery_states.SUCCESS and getattr(task, "store_errors_even_if_ignored", False)
        return bool(ignored) and not errors

    # -- what they share --------------------------------------------------------------------------------------------

    @property
    def _counts(self) -> bool:
        return self.connections.wiring.has_store

    @property
    def _expires_ms(self) -> int:
        expires = self.app.conf.get("result_chord_expires")  # from Celery 5.7 on
        keep = self.expires if expires is None else seconds(expires)
        # The log keeps nothing for longer; what is kept for ever is kept as long as it keeps anything.
        return int(min(keep, self.settings.longest_expiry) * 1000)

    def _durably(self, group_id: Any, act: Callable[..., Any], *arguments: Any) -> None:
        """Do something as often as ``result_backend_always_retry`` asks for."""
        retries = 0
        while True:
            try:
                act(*arguments)
            except (PublishError, ServiceUnavailable) as exc:
                if not (self.always_retry and self.exception_safe_to_retry(exc) and retries < self.max_retries):
                    raise not_stored(exc, str(group_id), COUNTING) from exc
            else:
                return
            retries += 1
            base, most = self.base_sleep_between_retries_ms, self.max_sleep_between_retries_ms
            self._sleep(get_exponential_backoff_interval(base, retries, most, full_jitter=True) / 1000)


@worker_ready.connect  # type: ignore[untyped-decorator]  # as shipped
def _on_worker_ready(sender: Any = None, **_: Any) -> None:
    """Have the main process of every worker look after chords."""
    backend = getattr(getattr(sender, "app", None), "backend", None)
    if isinstance(backend, Chords):
        backend.look_after_chords()


def _request_of(signature: Any) -> Context:
    """Return the request that a task would have had which will never run."""
    options = signature.options
    request = Context(signature)
    request.update(options)
    request.id, request.group = options.get("task_id"), options.get("group_id")
    return request
