"""Waiting for one task: by a thread that blocks, or by a function that is called."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Unpack

from msgspec.structs import replace

from streamresults.client.attended import wait_attended
from streamresults.client.callbacks import Callbacks
from streamresults.client.connected import check_id, within
from streamresults.client.looking_up import LookingUp
from streamresults.client.options import check_function
from streamresults.client.provenance import Provenance
from streamresults.client.result import Result
from streamresults.client.task_events import Following
from streamresults.client.turn import Bell
from streamresults.client.waiter import Phase
from streamresults.deadline import ANSWER, NOT_STATED, Deadline, OptionalTimeout
from streamresults.errors import ConfigurationError, TopicUnavailable, WaitTimeout
from streamresults.events import states
from streamresults.events.running import check_waiting_allowed

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.client.callbacks import Registration
    from streamresults.client.engine import Engine
    from streamresults.client.options import Via, WaitOptions
    from streamresults.client.reading import Reader
    from streamresults.client.waiter import Answer, Waiter
    from streamresults.client.whereabouts import Place
    from streamresults.events.fold import Best

_log: Final = logging.getLogger("streamresults.client")
#: Seconds between two lines of log of a wait that never ends.
_REMIND: Final = 60.0


class Waiting(LookingUp, Following):
    """The face of the engine for one wait."""

    def get(
        self,
        task_id: str,
        timeout: OptionalTimeout = NOT_STATED,
        *,
        via: Via = "auto",
        propagate: bool = True,
        callback: Callable[[str, object], object] | None = None,
        **options: Unpack[WaitOptions],
    ) -> object:
        """
        Block until the task has ended, and return its result or raise its exception.

        Args:
            timeout: As for :meth:`wait`, and so is what is not said here.
            propagate: Raise the exception of a task that failed or was revoked; if not, it is returned.
            callback: Called with the id and what is returned, before that is returned.

        Raises:
            WaitTimeout: The deadline passed first; says what was seen and where.
            BaseException: What the task raised, if its class is allowed, else RemoteTaskError.
            NoResult, DeadLettered, ClientClosed: See their names.
        """
        check_function("callback", callback)
        result = self.wait(task_id, timeout, via=via, **options)
        found = result.value() if propagate else result.value_or_exception()
        if callback is not None:
            callback(task_id, found)
        return found

    def wait(
        self,
        task_id: str,
        timeout: OptionalTimeout = NOT_STATED,
        *,
        via: Via = "auto",
        **options: Unpack[WaitOptions],
    ) -> Result:
        """
        Block until the task has ended, however it ended.

        Args:
            task_id: Need not be known to anybody yet.
            timeout: Seconds or a timedelta; 0 looks once; ``None`` waits for ever and logs every minute; not stated:
                the client's own, 30 s by default.
            via: ``"topic"`` reads the topic itself; ``"view"`` waits for the fold to tell; ``"auto"`` takes the topic
                while Kafka is configured and what has to be read of it stays within the budget.
            options: See :class:`WaitOptions`.

        Raises:
            WaitTimeout, ClientClosed: See their names.
            WaitRefused: A running task is about to wait: see :func:`streamresults.allow_waiting`.
            TopicRecreated, TopicMissing: The topic was deleted meanwhile, and made again or not.
            ServiceUnavailable: Neither topic nor view could be found, so that there is nothing to wait on.
            TypeError, ValueError: An option is misspelt, or is not what it has to be.
        """
        check_id(task_id)
        deadline = self._deadline(timeout)
        if deadline.total:
            check_waiting_allowed(task_id)
        if options:
            return wait_attended(self, task_id, deadline, via, options)
        if deadline.total == 0:
            return self._look_once(task_id)
        place, engine = self._entrance(task_id, within(deadline))
        bell = Bell()
        partition = self._whereabouts.partition_of(task_id, place)
        through_topic, spent = self._through_topic(via, engine), deadline.elapsed()
        waiter = engine.submit(task_id, partition, bell.over, through_topic=through_topic, spent=spent)
        try:
            self._block(waiter, bell, deadline, engine.reader)
        except BaseException:
            engine.give_up(waiter)
            raise
        answer = waiter.answer or engine.give_up(waiter)
        if answer is not None:
            return self._as_result(waiter, answer, place, deadline)
        if waiter.error is not None:
            raise waiter.error
        raise self._timed_out(waiter, deadline, engine)

    def on_result(self, task_id: str, callback: Callable[[Registration], object], *, via: Via = "auto") -> Registration:
        """
        Have a function called once the task has ended, however it ended, and return at once: no thread waits.

        Blocks only the first time, until topic and view are found. The wait lasts until the task ends, it is
        cancelled, or the client is closed, and holds about 1 KB. All functions are called from one thread of the
        client, one after the other; what they raise is logged.

        Args:
            callback: Called once, with the registration, whose ``result()`` returns the result or raises why there is
                none. Not called when the registration was cancelled in time.
            via: As for :meth:`wait`.

        Raises:
            ClientClosed: See its name; closing the client also ends every registration with it.
            ServiceUnavailable: Neither topic nor view could be found, so that there is nothing to wait on.
        """
        check_id(task_id)
        check_function("callback", callback, needed=True)
        deadline = Deadline(ANSWER)
        place, engine = self._entrance(task_id, deadline)
        partition = self._whereabouts.partition_of(task_id, place)
        callbacks = self._running_callbacks(engine, place)
        through_topic, spent = self._through_topic(via, engine), deadline.elapsed()
        return callbacks.register(task_id, partition, callback, through_topic=through_topic, spent=spent)

    def _running_callbacks(self, engine: Engine, place: Place) -> Callbacks:
        with self._lock:
            if self._callbacks is not None and engine is self._engine:
                return self._callbacks
            callbacks = Callbacks(engine, lambda waiter: self._ended(waiter, place))
            if engine is self._engine:  # else the topic was made again just now, and nobody can register any more
                self._callbacks = callbacks
            return callbacks

    def _block(self, waiter: Waiter, bell: Bell, deadline: Deadline, reader: Reader) -> None:
        polls = False
        try:
            reader.ask_for_turn(waiter, bell)  # within: who is interrupted behind it gives the turn back
            while waiter.phase is not Phase.OVER and not deadline.passed():
                minute = Deadline(deadline.remaining(_REMIND))
                polls = reader.poll_for(waiter, bell, minute) if polls else bell.wait(minute.remaining(_REMIND)) is True
                if minute.passed() and not deadline.passed():
                    _remind(waiter, deadline)
        finally:
            reader.turn.leave(bell)

    def _look_once(self, task_id: str) -> Result:
        self._check_open(task_id)
        once = Deadline(ANSWER)
        found = self._lookups.look_one(task_id, self._whereabouts.find(once), once)
        if found.ready or found.mark is not None:
            return found
        uncovered = f" ({found.uncovered})" if found.uncovered and not found.found else ""
        msg = f"task {task_id!r} is {found.state}: not ready at the one look that timeout=0 takes{uncovered}"
        raise WaitTimeout(msg, task_id=task_id, state=found.state)

    def _through_topic(self, via: Via, engine: Engine) -> bool:
        if via not in {"auto", "topic", "view"}:
            msg = f'via is "auto", "topic" or "view": {via!r}'
            raise ValueError(msg)
        if via == "topic" and self._open_reader is None:
            raise ConfigurationError('via="topic" needs Kafka: set kafka_bootstrap')
        if via == "view" and self._store is None:
            raise ConfigurationError('via="view" needs Redis: set redis_url')
        if via != "auto" or self._open_reader is None or self._store is None:
            return via == "topic" or (via == "auto" and self._open_reader is not None)
        return engine.traffic <= self._options.join_budget

    def _timed_out(self, waiter: Waiter, deadline: Deadline, engine: Engine) -> WaitTimeout:
        # What the wait itself has seen: another look could block for longer than the caller has time.
        state = waiter.state_seen or states.UNKNOWN
        seen = "no record of it was seen" if state == states.UNKNOWN else f"it is {state}"
        msg = (
            f"task {waiter.task_id!r}: not ready after {deadline.total:g} s; {seen} "
            f"(partition {waiter.partition}; {engine.describe(waiter.partition)})"
        )
        return WaitTimeout(msg, task_id=waiter.task_id, state=state)

    def _ended(self, waiter: Waiter, place: Place) -> Result:
        """Return the result of a registration that is over."""
        if waiter.answer is not None:
            return self._as_result(waiter, waiter.answer, place, Deadline(ANSWER))
        if waiter.error is not None:
            raise waiter.error
        msg = f"task {waiter.task_id!r}: the registration was cancelled"
        raise WaitTimeout(msg, task_id=waiter.task_id, state=waiter.state_seen)

    def _as_result(self, waiter: Waiter, answer: Answer, place: Place, deadline: Deadline) -> Result:
        best = answer.best
        if best is not None and best.value is None:
            best = self._fetched(waiter, best, deadline)
        provenance = Provenance(self._decoding, answer.basis, place.topic_id, waiter.partition, answer.as_of)
        return Result(waiter.task_id, provenance, best, answer.mark)

    def _fetched(self, waiter: Waiter, best: Best, deadline: Deadline) -> Best | None:
        """Return the event with its value, which stands in the log alone; ``None`` for a tombstone."""
        try:
            value = self._fetcher.fetch(waiter.partition, best.offset, deadline)
        except TopicUnavailable as exc:
            if not deadline.passed():
                raise
            msg = f"task {waiter.task_id!r} has ended, but not all was there after {deadline.total:g} s: {exc}"
            raise WaitTimeout(msg, task_id=waiter.task_id, state=waiter.state_seen) from exc
        return None if value is None else replace(best, value=value)


def _remind(waiter: Waiter, deadline: Deadline) -> None:
    _log.info("still waiting for task %s after %.0f s", waiter.task_id, deadline.elapsed(), extra={"action": "waiting"})
