"""The worker's side for event loops: the same events, awaited. It publishes by the publisher that it stands on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

from streamresults.aio.loops import Loops
from streamresults.aio.pending import AsyncPending, spoken
from streamresults.aio.questions import Questions
from streamresults.aio.task_run import AsyncTaskRun
from streamresults.deadline import NOT_STATED
from streamresults.errors import PublisherClosed
from streamresults.publisher import Pending, steps
from streamresults.publisher.publisher import CLOSE_TIMEOUT
from streamresults.publisher.recording import Recorder
from streamresults.publisher.saying import PROGRESS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from datetime import timedelta
    from types import TracebackType

    from streamresults.deadline import OptionalTimeout, Timeout
    from streamresults.events.event import Event, Position
    from streamresults.publisher import Flushed, Publisher
    from streamresults.publisher.saying import Saying


class AsyncPublisher:
    """
    A publisher for coroutines, of any number of event loops in any threads.

    Every method is that of :class:`~streamresults.Publisher`, with the same parameters, results and errors. An event is
    made and queued on one of a few threads of this object; waiting for its acknowledgement holds none. Whoever is
    cancelled waits no longer, and the event goes its way all the same.

    Order: events of one task arrive in the order of calls that were awaited one after the other.

    Args:
        publisher: What it stands on. Threads may go on using it: both share one connection.
    """

    def __init__(self, publisher: Publisher) -> None:
        self._publisher: Final = publisher
        self._loops: Final = Loops()
        self._questions: Final = Questions(self._loops, "streamresults-publish", _closed)
        self._ask: Final = self._questions.ask

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def topic_id(self) -> Awaitable[str]:
        """The topic id that positions carry, to be awaited: it is asked for once."""
        return self._ask(lambda: self._publisher.topic_id)

    @property
    def spooled(self) -> int:
        """Events of this process that rest in the spool and are not in the log yet."""
        return self._publisher.spooled

    async def warm(self, timeout: OptionalTimeout = NOT_STATED) -> None:  # noqa: ASYNC109 -- the same name everywhere
        """Connect, and register the schema; see :meth:`Publisher.warm`."""
        await self._ask(self._publisher.warm, timeout)

    # -- events -----------------------------------------------------------------------------------------------------

    async def send(self, event: Event, timeout: OptionalTimeout = NOT_STATED) -> AsyncPending:  # noqa: ASYNC109
        """Queue an event, and return what will become of it, to be awaited; see :meth:`Publisher.send`."""
        pending = await self._ask(self._publisher.send, event, timeout)
        return AsyncPending(pending, self._publisher, self._loops, self._questions)

    async def publish(self, event: Event, timeout: OptionalTimeout = NOT_STATED) -> Position | None:  # noqa: ASYNC109
        """Publish an event; one that ends the task waits for the brokers: see :meth:`Publisher.publish`."""
        return await self._published(lambda: event, timeout)

    async def publish_many(
        self,
        events: Iterable[Event],
        timeout: OptionalTimeout = NOT_STATED,  # noqa: ASYNC109
    ) -> list[Position | None]:
        """Publish events in their order, and wait until the brokers hold all; see :meth:`Publisher.publish_many`."""
        return await self._ask(self._publisher.publish_many, events, timeout)

    async def started(self, task_id: str, **fields: Any) -> None:
        """Publish STARTED."""
        await self._said(lambda say: say.started(task_id, **fields))

    async def progress(self, task_id: str, value: object = None, *, state: str = PROGRESS, **fields: Any) -> None:
        """Report how far a task is; see :meth:`Publisher.progress`."""
        await self._ask(self._publisher.progress, task_id, value, state=state, **fields)

    async def retrying(self, task_id: str, exc: BaseException, **fields: Any) -> None:
        """Publish RETRY: this run failed with ``exc``, and another will follow."""
        await self._said(lambda say: say.retrying(task_id, exc, **fields))

    async def succeeded(self, task_id: str, result: object = None, **fields: Any) -> Position | None:
        """Publish SUCCESS with a result, and return where it stands."""
        return await self._said(lambda say: say.succeeded(task_id, result, **fields))

    async def failed_with(self, task_id: str, exc: BaseException, **fields: Any) -> Position | None:
        """Publish FAILURE with an exception, and return where it stands; see :meth:`Publisher.failed_with`."""
        return await self._said(lambda say: say.failed_with(task_id, exc, **fields))

    async def failed_with_traceback(self, task_id: str, text: str, **fields: Any) -> Position | None:
        """Publish FAILURE where a traceback is all there is; see :meth:`Publisher.failed_with_traceback`."""
        return await self._said(lambda say: say.failed_with_traceback(task_id, text, **fields))

    async def revoked(self, task_id: str, reason: str | BaseException = "revoked", **fields: Any) -> Position | None:
        """Publish REVOKED: it will not run, or was stopped."""
        return await self._said(lambda say: say.revoked(task_id, reason, **fields))

    async def rejected(self, task_id: str, reason: str = "", **fields: Any) -> Position | None:
        """Publish REJECTED: a worker refused the task for good."""
        return await self._said(lambda say: say.rejected(task_id, reason, **fields))

    async def ignored(self, task_id: str, reason: str = "", **fields: Any) -> Position | None:
        """Publish IGNORED: the task ended, and wants no result to be recorded."""
        return await self._said(lambda say: say.ignored(task_id, reason, **fields))

    async def save_group(self, group_id: str, members: Iterable[str], **fields: Any) -> Position | None:
        """Save which tasks a group has, in their order; see :meth:`Publisher.save_group`."""
        return await self._said(lambda say: say.save_group(group_id, members, **fields))

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
        """Make an event, which blocks nowhere; see :meth:`Publisher.event`."""
        return self._publisher.event(task_id, state, args=args, kwargs=kwargs, expires=expires, **fields)

    def run(self, task_id: str, **fields: Any) -> AsyncTaskRun:
        """
        Record a block: STARTED when it is entered, then SUCCESS, FAILURE, or REVOKED where it was cancelled.

        Example::

            async with publisher.run("order-7", name="shop.charge") as run:
                run.result = await charge("card_9")
        """
        return AsyncTaskRun(self, self._publisher, task_id, fields)

    def record(
        self,
        name: str = "",
        *,
        task_id: Callable[..., str] | None = None,
        record_call: bool = False,
        **fields: Any,
    ) -> Recorder:
        """Return a decorator that records every call of a function; see :meth:`Publisher.record`."""
        return Recorder(self.run, name, make_id=task_id, record_call=record_call, fields=fields)

    # -- the end ----------------------------------------------------------------------------------------------------

    async def flush(self, timeout: Timeout = None) -> Flushed:  # noqa: ASYNC109
        """Wait until everything queued is acknowledged or has failed; see :meth:`Publisher.flush`."""
        return await self._ask(self._publisher.flush, timeout)

    async def close(self, timeout: Timeout = CLOSE_TIMEOUT) -> Flushed:  # noqa: ASYNC109
        """Flush, then close the publisher that this stands on; see :meth:`Publisher.close`."""
        return await self._questions.last(self._publisher.close, timeout)

    # -- within -----------------------------------------------------------------------------------------------------

    async def _said(self, say: Callable[[Saying], object]) -> Position | None:
        return await self._published(lambda: steps.made(self._publisher, say), NOT_STATED)

    async def _published(self, make: Callable[[], Event], timeout: OptionalTimeout) -> Position | None:  # noqa: ASYNC109
        publisher, budget = self._publisher, steps.deadline_of(self._publisher, timeout)
        begun = await self._ask(steps.begin, publisher, make, budget)
        if not isinstance(begun, Pending):
            return begun
        await spoken(self._loops.here(), begun, budget)
        if steps.is_written(publisher, begun):
            return steps.finish(publisher, begun, budget)
        return await self._ask(steps.finish, publisher, begun, budget)


def _closed() -> PublisherClosed:
    return PublisherClosed("the publisher is closed: open another one")
