"""
The native join: every wait of a process is fed by the one engine of its client.

No wait subscribes to anything of its own, sending a task asks nobody, and nothing here sleeps. A deadline is one for
all that a call waits for; 0 looks once.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from celery import states as celery_states
from celery.exceptions import TimeoutError as CeleryTimeoutError
from vine import promise

from streamresults.celery.announced import announce
from streamresults.celery.errors import timed_out
from streamresults.celery.fallback import LOOK, FoundElsewhere, looking_elsewhere
from streamresults.celery.listening import Listening
from streamresults.celery.members import Members
from streamresults.celery.task_ids import text_of
from streamresults.deadline import Deadline
from streamresults.errors import NotYetCovered, ServiceUnavailable, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from streamresults.celery.fallback import Fallback
    from streamresults.celery.process import Connections
    from streamresults.celery.then import Thens
    from streamresults.client import Result

#: Seconds between two calls of ``on_interval`` where nobody says how many.
_INTERVAL: Final = 0.5
#: Seconds for the view to fold the ends of the parents of what has failed. Shorter raises the error of the child where
#: the view is behind, longer raises it later where the compactors are away.
_PARENTS_FOLDED: Final = 2.0
#: Parents that are asked for one by one, as each shows all of its partition. Fewer miss a partition of many, more take
#: longer where members ignore their results, which never show.
_PARENTS_ASKED: Final = 64
_log: Final = logging.getLogger("streamresults.celery")

Meta = dict[str, Any]


class NativeJoin:
    """
    What Celery's result objects wait by. Thread-safe, in any number of threads.

    The methods and their arguments are Celery's; what is not said of one is as in Celery's documentation.
    """

    supports_native_join = True
    connections: Connections
    _fallback: Fallback | None
    _thens: Thens

    READY_STATES: Collection[str]

    if TYPE_CHECKING:  # what the backend adds; a method here would stand before Celery's own

        def _meta_of(self, result: Result) -> Meta: ...

        def _told(self, result: Result) -> Meta: ...

        def _ready_metas(self, task_ids: Collection[str]) -> dict[str, Meta]: ...

        def _ensure_not_eager(self) -> None: ...

    @property
    def is_async(self) -> bool:
        """Whether results come by themselves."""
        return True

    # -- one --------------------------------------------------------------------------------------------------------

    def wait_for_pending(
        self,
        result: Any,
        timeout: float | None = None,
        interval: float | None = None,
        on_interval: Callable[[], Any] | None = None,
        on_message: Callable[[Meta], Any] | None = None,
        callback: Callable[[str, Any], Any] | None = None,
        propagate: bool = True,  # noqa: FBT001, FBT002 -- Celery's
        no_ack: bool = True,  # noqa: ARG002, FBT001, FBT002 -- for AMQP alone
    ) -> Any:
        """
        Block until a task has ended, and return its value or raise its exception.

        Raises:
            TimeoutError: Celery's own; the deadline has passed.
        """
        self._ensure_not_eager()
        tick = None if on_interval is None or _is_empty(on_interval) else on_interval
        deadline = Deadline(_seconds(timeout))
        meta = self._awaited(text_of(result.id), deadline, interval, tick, on_message)
        if tick is not None and meta["status"] in celery_states.PROPAGATE_STATES:
            self._fold_parents(result, Deadline(deadline.remaining(_PARENTS_FOLDED)))
            tick()  # follow_parents raises the error of the parent that this one failed for, by the last tick
        result._maybe_set_cache(meta)  # noqa: SLF001 -- the way of all backends
        return result.maybe_throw(callback=callback, propagate=propagate)

    def _fold_parents(self, result: Any, deadline: Deadline) -> None:
        """Have the view show how the parents of a result ended, which this process may not have heard of yet."""
        parents = Members(result._parents()).ids()  # noqa: SLF001 -- as get() itself does
        try:
            ended = self._ready_metas(parents)
            for task_id in [task_id for task_id in parents if task_id not in ended][:_PARENTS_ASKED]:
                self.connections.client.lookup(task_id, fresh=True, timeout=deadline.remaining())
        except (NotYetCovered, ServiceUnavailable) as exc:
            _log.debug("of the parents of %s not all is known: %s", result.id, exc, extra={"action": "parents_unknown"})

    def wait_for(
        self,
        task_id: str,
        timeout: float | None = None,
        interval: float | None = None,
        no_ack: bool = True,  # noqa: ARG002, FBT001, FBT002 -- for AMQP alone
        on_interval: Callable[[], Any] | None = None,
    ) -> Meta:
        """
        Block until a task has ended, and return its meta.

        Raises:
            TimeoutError: Celery's own; the deadline has passed.
        """
        return self._awaited(text_of(task_id), Deadline(_seconds(timeout)), interval, on_interval, None)

    def _awaited(
        self,
        task_id: str,
        deadline: Deadline,
        interval: float | None,
        on_interval: Callable[[], Any] | None,
        on_message: Callable[[Meta], Any] | None,
    ) -> Meta:
        found = self._looked_up(task_id, deadline)
        if found is not None:
            if on_message is not None:
                on_message(found)
            return found
        options: dict[str, Any] = {}
        if on_interval is not None:
            options = {"on_interval": on_interval, "interval": interval or _INTERVAL}
        if on_message is not None:
            options["on_message"] = lambda event: on_message(self._meta_of(event))
        if self._fallback is not None:
            options |= looking_elsewhere(task_id, self._fallback, options)
        try:
            result = self.connections.client.wait(task_id, _left(deadline), **options)
        except WaitTimeout as exc:
            raise timed_out(exc) from exc
        except FoundElsewhere as found_there:
            return found_there.meta
        return self._told(result)

    def _looked_up(self, task_id: str, deadline: Deadline) -> Meta | None:
        """
        Return the meta of a task that has ended by now; ``None`` while there is time to wait.

        Raises:
            ServiceUnavailable: Redis did not answer, and the deadline is this one look.
            TimeoutError: Celery's own; looking has taken longer than the deadline.
        """
        why = "not ready at the one look that there was time for"
        try:
            found = self._ready_metas([task_id]).get(task_id)
        except ServiceUnavailable as exc:
            if not deadline.total:
                raise
            found, why = None, str(exc)  # the topic may still tell
        if found is None and deadline.total and deadline.passed():
            msg = f"The operation timed out. Task {task_id!r}: {why}"
            raise CeleryTimeoutError(msg)
        return found

    # -- many -------------------------------------------------------------------------------------------------------

    def iter_native(
        self,
        result: Any,
        timeout: float | None = None,
        interval: float | None = None,
        no_ack: bool = True,  # noqa: ARG002, FBT001, FBT002 -- for AMQP alone
        on_message: Callable[[Meta], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        **_: Any,
    ) -> Iterator[tuple[str, Any]]:
        """
        Give the id and the meta of each member as it ends; of a set inside, its id and its members once all have.

        Raises:
            TimeoutError: Celery's own; the deadline, one for all, has passed.
        """
        self._ensure_not_eager()
        members = Members(result.results)
        yield from members.ended_before()
        waiting = members.ids()
        if waiting:
            ends = self._ends(
                waiting, Deadline(_seconds(timeout)), interval=interval, on_interval=on_interval, on_message=on_message
            )
            for task_id, meta in ends:
                yield from members.ended(task_id, meta)

    def get_many(
        self,
        task_ids: Iterable[str],
        timeout: float | None = None,
        interval: float | None = None,
        no_ack: bool = True,  # noqa: ARG002, FBT001, FBT002 -- for AMQP alone
        on_message: Callable[[Meta], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        max_iterations: int | None = None,
        READY_STATES: Collection[str] | None = None,  # noqa: N803 -- Celery's
    ) -> Iterator[tuple[str, Meta]]:
        """
        Give the id and the meta of each task as it ends; with ``max_iterations`` those that have ended by now, of which
        ``READY_STATES`` chooses.

        Raises:
            TimeoutError: Celery's own; the deadline has passed.
        """
        wanted = list(dict.fromkeys(map(text_of, task_ids)))
        if max_iterations:
            for task_id, meta in self._ready_metas(wanted).items():
                if READY_STATES is not None and meta["status"] not in READY_STATES:
                    continue
                if on_message is not None:
                    on_message(meta)
                yield task_id, meta
        elif wanted:
            yield from self._ends(
                wanted, Deadline(_seconds(timeout)), interval=interval, on_interval=on_interval, on_message=on_message
            )

    def _ends(
        self,
        task_ids: list[str],
        deadline: Deadline,
        *,
        interval: float | None,
        on_interval: Callable[[], Any] | None,
        on_message: Callable[[Meta], Any] | None,
    ) -> Iterator[tuple[str, Meta]]:
        """Give the tasks as they end, each once; raises Celery's TimeoutError."""
        left = dict.fromkeys(task_ids)
        for task_id, meta in self._own_ends(left).items():
            del left[task_id]
            if on_message is not None:
                on_message(meta)
            yield task_id, meta
        step = float("inf") if on_interval is None or _is_empty(on_interval) else interval or _INTERVAL
        if self._fallback is not None:
            step = min(step, LOOK)
        with Listening(self.connections.client, on_message, self._meta_of, deadline) as listening:
            while left:
                yield from self._ended_within(left, deadline, step, listening)
                if left and on_interval is not None:
                    on_interval()

    def _own_ends(self, task_ids: Collection[str]) -> dict[str, Meta]:
        """Return the ends that this process knows of by itself, which the view may not show within the deadline."""
        own = self.connections.ahead.among(task_ids)
        try:
            return self._ready_metas(own) if own else {}
        except ServiceUnavailable:
            return {}  # the wait itself says so, or the topic tells

    def _ended_within(
        self, left: dict[str, None], deadline: Deadline, step: float, listening: Listening
    ) -> Iterator[tuple[str, Meta]]:
        """Give, and take out of ``left``, what ends within a step."""
        try:
            for task_id, end in listening.ends(left, _left(deadline, step)):
                if isinstance(end, Exception):
                    raise end
                del left[task_id]
                yield task_id, self._told(end)
        except WaitTimeout as exc:
            if deadline.passed():
                raise timed_out(exc) from exc
        if left and self._fallback is not None:
            for task_id, meta in self._ready_metas(list(left)).items():
                del left[task_id]
                listening.tell(meta)
                yield task_id, meta

    # -- calling somebody ---------------------------------------------------------------------------------------------

    def add_pending_result(self, result: Any, weak: bool | None = None, **_: Any) -> Any:  # noqa: FBT001 -- Celery's
        """Take note that somebody may want to be called at a result's end; waits for nothing."""
        if weak is not None:
            # A plain get() says nothing of weak: it waits by itself.
            announce(result, weak=weak)
        return result

    def listened_to(self, result: Any, *, weak: bool) -> None:
        """Have a result told of its task's end, as somebody wants to be called then."""
        self._thens.register(result, weak=weak)
        task_id = text_of(result.id)
        there = self._fallback.metas([task_id]).get(task_id) if self._fallback is not None else None
        if there is not None and there["status"] in self.READY_STATES:
            result._maybe_set_cache(there)  # noqa: SLF001 -- the way of all backends

    def add_pending_results(self, results: Iterable[Any], weak: bool = False) -> list[Any]:  # noqa: FBT001, FBT002
        """Do the same for many."""
        return [self.add_pending_result(result, weak=weak) for result in results]

    def remove_pending_result(self, result: Any) -> Any:
        """Take note that nobody wants that any more. Also called by finalizers: takes no lock, and asks nobody."""
        self._thens.leave(result)
        return result

    def on_task_call(self, producer: Any, task_id: str) -> dict[str, Any]:  # noqa: ARG002 -- Celery's
        """Do nothing: sending a task costs no question and no subscription."""
        return {}


def _seconds(timeout: float | None) -> float | None:
    """Return a timeout of Celery's, of which one that is over counts as 0."""
    return None if timeout is None else max(0.0, timeout)


def _left(deadline: Deadline, at_most: float = float("inf")) -> float | None:
    left = deadline.remaining(at_most)
    return None if left == float("inf") else left


def _is_empty(on_interval: Any) -> bool:
    """Tell whether a promise calls nobody: ``get`` always passes one."""
    return isinstance(on_interval, promise) and on_interval.fun is None and on_interval.listeners == [None]
