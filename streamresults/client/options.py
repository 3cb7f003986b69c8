"""What a client is told: how it behaves, and by which way a wait learns of the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.client.result import Result
    from streamresults.events.event import Position

#: How a wait learns of the end; see :meth:`Client.wait`.
Via = Literal["auto", "topic", "view"]


class ClientOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a client behaves; durations are seconds."""

    wait_timeout: float = 30.0
    wait_interval: float = 1.0
    safety_rereads: bool = True
    #: Bytes a second that this process may read of the topic before ``via="auto"`` takes the view.
    join_budget: float = 5_000_000.0
    #: Results of tasks that succeeded, kept for all handles; 0 or ``None`` for any number, -1 for none. Each takes its
    #: record's bytes and 700 bytes more.
    result_cache_max: int | None = -1
    #: Where schemas stand; empty: groups cannot be saved.
    schemas_topic: str = ""
    #: Seconds after which a saved group is hidden; 0: when retention takes it.
    result_expires: float = 86_400.0


class WaitOptions(TypedDict, total=False):
    """What else a wait may be told; nothing of it delays the moment at which the wait ends."""

    #: Seconds between two calls of ``on_interval``; as often the view is read again, as a safety net. 1 by default.
    interval: float
    #: Called by the waiting thread, once per interval.
    on_interval: Callable[[], object]
    #: Called by the waiting thread with every event of this task, from its first one on, in their order; needs Kafka.
    on_message: Callable[[Result], object]
    #: End with the error of an ancestor that has failed; what this task's own end says comes first.
    follow_parents: bool
    #: First wait until the view has folded this position: nothing older is the answer.
    at_least: Position
    #: First wait until the view has folded all that the log holds now.
    fresh: bool
