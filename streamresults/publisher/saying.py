"""What can be said of a task, one method each: an event is made, then published by the face that this belongs to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from streamresults.events import states
from streamresults.publisher.recording import Recorder
from streamresults.publisher.task_run import TaskRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import timedelta

    from streamresults.events.event import Event, Position
    from streamresults.publisher.making import Making
    from streamresults.publisher.progress import Progress

#: The state of a report of progress when no other is named.
PROGRESS = "PROGRESS"


class Saying(ABC):
    """
    The methods that say one thing of a task; ``fields`` are those of an Event and of :meth:`event`.

    What ends a task blocks until the brokers hold it, and returns its position: ``None`` where it rests in the spool.
    What does not is queued.
    """

    _making: Making
    _progress: Progress

    @abstractmethod
    def publish(self, event: Event) -> Position | None:
        """Publish an event; see :meth:`Publisher.publish`."""

    def event(
        self,
        task_id: str,
        state: str,
        *,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        expires: float | timedelta | None = None,
        **fields: Any,
    ) -> Event:
        """
        Make an event with this publisher's serializer and defaults.

        Args:
            args: The call's positional arguments, recorded when stated.
            kwargs: The call's keyword arguments, recorded when stated.
            expires: Seconds or a timedelta after which readers hide the event; 0 until retention takes it. When it is
                not stated, what ``task_expires`` says of the task's name holds, then ``result_expires``.
            fields: ``result`` (any value; ``None`` is a result too) and the fields of an Event.

        Raises:
            PayloadNotEncodable: Names the path inside the value.
        """
        return self._making.event(task_id, state, args=args, kwargs=kwargs, expires=expires, **fields)

    def started(self, task_id: str, **fields: Any) -> None:
        """Publish STARTED."""
        self.publish(self.event(task_id, states.STARTED, **fields))

    def progress(self, task_id: str, value: object = None, *, state: str = PROGRESS, **fields: Any) -> None:
        """
        Report how far a task is, with any value, in a state of any name that does not say more than progress.

        At most one report of a task goes per ``progress_interval``: the newest replaces what waits for its turn,
        whatever its state's name. The last one always stands before the event that ends the task.

        Raises:
            ValueError: The state is one of those that have a meaning of their own.
        """
        self._progress.report(self._making.progress(task_id, value, state, fields))

    def retrying(self, task_id: str, exc: BaseException, **fields: Any) -> None:
        """Publish RETRY: this run failed with ``exc``, and another will follow."""
        self.publish(self._making.with_exception(task_id, states.RETRY, exc, fields))

    def succeeded(self, task_id: str, result: object = None, **fields: Any) -> Position | None:
        """Publish SUCCESS with a result and return where it stands."""
        return self.publish(self.event(task_id, states.SUCCESS, result=result, **fields))

    def failed_with(self, task_id: str, exc: BaseException, **fields: Any) -> Position | None:
        """
        Publish FAILURE with an exception and return where it stands.

        Raises:
            TypeError: It is no exception, such as its text alone.
        """
        return self.publish(self._making.with_exception(task_id, states.FAILURE, exc, fields))

    def failed_with_traceback(self, task_id: str, text: str, **fields: Any) -> Position | None:
        """
        Publish FAILURE where a formatted traceback is all there is, such as of a killed process; return its place.

        Its last line is the message, and the name in it matches with :meth:`RemoteTaskError.is_type`: readers get a
        RemoteTaskError whatever it says.
        """
        return self.publish(self._making.with_traceback(task_id, states.FAILURE, text, fields))

    def revoked(self, task_id: str, reason: str | BaseException = "revoked", **fields: Any) -> Position | None:
        """Publish REVOKED: it will not run, or was stopped. A reason in words is recorded as a TaskRevoked."""
        return self.publish(self._making.revoked(task_id, reason, fields))

    def rejected(self, task_id: str, reason: str = "", **fields: Any) -> Position | None:
        """Publish REJECTED: a worker refused the task for good, and there will be no result."""
        return self.publish(self._making.without_result(task_id, states.REJECTED, reason, fields))

    def ignored(self, task_id: str, reason: str = "", **fields: Any) -> Position | None:
        """Publish IGNORED: the task ended, and wants no result to be recorded."""
        return self.publish(self._making.without_result(task_id, states.IGNORED, reason, fields))

    def save_group(self, group_id: str, members: Iterable[str], **fields: Any) -> Position | None:
        """
        Save which tasks a group has, in their order; saving it again replaces that.

        Args:
            members: Task ids; a group inside is named by its id with ``group:`` before it.

        Raises:
            PublishFailed: One of these is no id, as of all that is published; nothing was sent.
        """
        return self.publish(self._making.group(group_id, members, fields))

    def run(self, task_id: str, **fields: Any) -> TaskRun:
        """
        Record a block: STARTED when it is entered, then SUCCESS or FAILURE with its timing when it is left.

        With ``async with`` the event loop is not held up meanwhile, and a cancelled block is REVOKED.

        Example::

            with publisher.run("order-7", name="shop.charge") as run:
                run.result = charge("card_9")
        """
        return TaskRun(self, task_id, fields)

    def record(
        self,
        name: str = "",
        *,
        task_id: Callable[..., str] | None = None,
        record_call: bool = False,
        **fields: Any,
    ) -> Recorder:
        """
        Return a decorator that records every call of a function, sync or async, as :meth:`run` does a block.

        Args:
            name: The task's name; the function's own, with its module, when not stated.
            task_id: Makes the id from the call's arguments; a fresh UUID each time when not stated.
            record_call: Record the call's arguments as well.

        Example::

            @publisher.record("shop.charge", task_id=lambda order: f"charge-{order}")
            def charge(order): ...
        """
        return Recorder(self.run, name, make_id=task_id, record_call=record_call, fields=fields)
