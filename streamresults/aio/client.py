"""The caller's side for event loops: the same questions, awaited. It waits by the engine of the client it stands on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self, Unpack

from streamresults.aio.attended import ATTENDED, Attended
from streamresults.aio.events import events_of
from streamresults.aio.handle import AsyncResultHandle
from streamresults.aio.loops import Loops
from streamresults.aio.members import member_of
from streamresults.aio.questions import Questions
from streamresults.aio.sets import AsyncResultGroup, AsyncResultSet
from streamresults.aio.waits import Wait
from streamresults.client.begun import deadline_of, find_place, is_placed
from streamresults.client.connected import check_many
from streamresults.client.options import check_function, stated
from streamresults.client.result_group import ResultGroup
from streamresults.deadline import ANSWER, NOT_STATED, Deadline
from streamresults.errors import ClientClosed, NotYetCovered
from streamresults.events.running import check_waiting_allowed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from types import TracebackType

    from streamresults.aio.members import Member
    from streamresults.client import Client, Registration, Result, ResultSet
    from streamresults.client.options import Via, WaitOptions
    from streamresults.deadline import OptionalTimeout, Timeout
    from streamresults.events.event import Position


class AsyncClient:
    """
    A client for coroutines, of any number of event loops in any threads.

    Every method is that of :class:`~streamresults.Client`, with the same parameters, results and errors. A wait holds
    no thread and no timer of its own, and whoever is cancelled leaves nothing behind. What asks a service is asked on
    a few threads of this object, up to 16 at a time; a wait asks only the first time.

    Args:
        client: What it stands on. Threads may go on using it: both share one engine, one reader and one connection.
    """

    def __init__(self, client: Client) -> None:
        self._client: Final = client
        self._loops: Final = Loops()
        self._questions: Final = Questions(self._loops, "streamresults-ask", _closed)
        self._ask: Final = self._questions.ask

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def refused(self) -> dict[str, int]:
        """See :attr:`Client.refused`."""
        return self._client.refused

    def result(self, task_id: str) -> AsyncResultHandle:
        """Return a handle of a task, to be awaited; asks nobody. See :meth:`Client.result`."""
        return AsyncResultHandle(self, self._client.result(task_id))

    def results(self, members: Iterable[Member] = ()) -> AsyncResultSet:
        """Return many tasks as one thing; asks nobody. See :meth:`Client.results`."""
        return AsyncResultSet(self, self._client.results(member_of(member) for member in check_many(members)))

    def group(self, group_id: str, members: Iterable[Member] = ()) -> AsyncResultGroup:
        """Return many tasks as one thing with a name; asks nobody. See :meth:`Client.group`."""
        whole = self._client.group(group_id, (member_of(member) for member in check_many(members)))
        return AsyncResultGroup(self, whole)

    async def restore_group(self, group_id: str, timeout: OptionalTimeout = NOT_STATED) -> AsyncResultGroup:  # noqa: ASYNC109
        """Return a group that was saved, in any process; see :meth:`Client.restore_group`."""
        return AsyncResultGroup(self, await self._ask(self._client.restore_group, group_id, timeout))

    def _set_of(self, whole: ResultSet) -> AsyncResultSet:
        return (AsyncResultGroup if isinstance(whole, ResultGroup) else AsyncResultSet)(self, whole)

    def events(self, task_id: str, timeout: Timeout = None) -> AsyncIterator[Result]:
        """Give every event of a task to an ``async for``, until the one that ends it; see :meth:`Client.events`."""
        return events_of(self._client, task_id, timeout, self._loops, self._questions)

    # -- waiting ----------------------------------------------------------------------------------------------------

    async def get(
        self,
        task_id: str,
        timeout: OptionalTimeout = NOT_STATED,  # noqa: ASYNC109 -- the same name everywhere
        *,
        via: Via = "auto",
        propagate: bool = True,
        callback: Callable[[str, object], object] | None = None,
        **options: Unpack[WaitOptions],
    ) -> object:
        """Wait until the task has ended, and return its result or raise its exception; see :meth:`Client.get`."""
        check_function("callback", callback)
        result = await self.wait(task_id, timeout, via=via, **options)
        value = result.value if propagate else result.value_or_exception
        found = value() if result.at_hand else await self._ask(value)
        if callback is not None:
            callback(task_id, found)
        return found

    async def wait(
        self,
        task_id: str,
        timeout: OptionalTimeout = NOT_STATED,  # noqa: ASYNC109
        *,
        via: Via = "auto",
        **options: Unpack[WaitOptions],
    ) -> Result:
        """
        Wait until the task has ended, however it ended; see :meth:`Client.wait`.

        What the result says of itself blocks nowhere, unless :attr:`Result.at_hand` is false: its payload rests in the
        payload store then, and is fetched by whoever reads it. :meth:`get` fetches it without blocking the loop.

        ``interval``, ``on_interval``, ``on_message`` and ``follow_parents`` are attended to by a thread for this wait;
        the functions are called on the event loop. It ends at most one interval after the wait was cancelled.
        """
        client, deadline = self._client, deadline_of(self._client, timeout)
        if options:
            options = stated(options)
        if options.keys() & ATTENDED:
            attended = Attended(self._loops.here(), options)
            waited = self._questions.ask_alone(client.wait, task_id, timeout, via=via, **attended.options)
            return await self._found(await attended.until_over(waited))
        if not deadline.total:
            return await self._found(await self._ask(client.wait, task_id, 0, via=via, **options))
        check_waiting_allowed(task_id)
        if options:
            await self._covered(task_id, deadline, options)
        if not is_placed(client):
            await self._ask(find_place, client, task_id, deadline)
        begun = await Wait(self._loops.here()).until_over(client, task_id, deadline, via)
        result = await self._ask(begun.result) if begun.needs_fetch else begun.result()
        return result if result.has_schema else await self._found(result)

    async def _covered(self, task_id: str, deadline: Deadline, options: WaitOptions) -> None:
        """Wait until the view has folded what the options ask for; not found by then is no error."""
        fresh, at_least = options.get("fresh", False), options.get("at_least")
        if fresh or at_least is not None:
            try:
                await self.lookup(task_id, fresh=fresh, at_least=at_least, timeout=deadline.remaining())
            except NotYetCovered:
                if deadline.passed():
                    raise

    async def _found(self, result: Result) -> Result:
        """Return a result whose schema is known: what it says of itself needs no service any more."""
        if not result.has_schema:
            await self._ask(result.find_schema)
        return result

    async def on_result(
        self, task_id: str, callback: Callable[[Registration], object], *, via: Via = "auto"
    ) -> Registration:
        """
        Have a function called on this event loop once the task has ended; see :meth:`Client.on_result`.

        A loop that was closed meanwhile calls nothing any more.
        """
        check_function("callback", callback, needed=True)
        loop = self._loops.here()

        def ended(registration: Registration) -> None:
            loop.call(callback, registration)

        if not is_placed(self._client):
            await self._ask(find_place, self._client, task_id, Deadline(ANSWER))
        return self._client.on_result(task_id, ended, via=via)  # blocks nowhere by now: who is cancelled leaves none

    # -- looking up -------------------------------------------------------------------------------------------------

    async def lookup(
        self,
        task_id: str,
        *,
        fresh: bool = False,
        at_least: Position | None = None,
        timeout: OptionalTimeout = NOT_STATED,  # noqa: ASYNC109
    ) -> Result:
        """Return what the view knows of a task; see :meth:`Client.lookup`."""
        asked = self._ask(self._client.lookup, task_id, fresh=fresh, at_least=at_least, timeout=timeout)
        return await self._found(await asked)

    async def lookup_many(self, task_ids: Sequence[str], *, timeout: OptionalTimeout = NOT_STATED) -> list[Result]:  # noqa: ASYNC109
        """Return what the view knows of each task, in one round trip; see :meth:`Client.lookup_many`."""
        results = await self._ask(self._client.lookup_many, task_ids, timeout=timeout)
        return [await self._found(result) for result in results]

    async def forget(self, task_id: str, timeout: OptionalTimeout = NOT_STATED) -> Position:  # noqa: ASYNC109
        """Write the task's tombstone; see :meth:`Client.forget`."""
        return await self._ask(self._client.forget, task_id, timeout)

    # -- the end ----------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """
        Close the client that this stands on: whoever waits, on any loop or in any thread, gets ClientClosed.

        Closing twice is harmless.
        """
        await self._questions.last(self._client.close)


def _closed() -> ClientClosed:
    return ClientClosed("the client is closed: open another one", task_id="")
