"""What a client is told: how it behaves, and by which way a wait learns of the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypedDict, cast

import msgspec

from streamresults.events.event import Position

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.client.result import Result

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
    #: End with the error of an ancestor that has failed, raised whatever ``propagate`` says; this task's own end comes
    #: first.
    follow_parents: bool
    #: First wait until the view has folded this position: nothing older is the answer.
    at_least: Position
    #: First wait until the view has folded all that the log holds now.
    fresh: bool


#: Those that are called.
_FUNCTIONS: Final = frozenset({"on_interval", "on_message"})


def stated(options: WaitOptions) -> WaitOptions:
    """
    Return the options that say something: ``None`` says as little as leaving one out.

    Raises:
        TypeError: One is misspelt, or is not what it has to be.
        ValueError: The interval is no time that passes.
    """
    found = {name: value for name, value in options.items() if value is not None}
    for name, value in found.items():
        if name not in WaitOptions.__annotations__:
            msg = f"a wait has no option {name!r}; it has {', '.join(WaitOptions.__annotations__)}"
            raise TypeError(msg)
        if name in _FUNCTIONS:
            check_function(name, value)
    check_interval(found.get("interval", 1.0))
    check_position(found.get("at_least"))
    return cast("WaitOptions", found)


def check_function(name: str, value: object, *, needed: bool = False) -> None:
    """
    Refuse what cannot be called, before anybody waits for the moment at which it would be.

    Raises:
        TypeError: It cannot; ``None`` can be left alone, unless it is needed.
    """
    if not callable(value) and (needed or value is not None):
        msg = f"{name} is a function, not {type(value).__name__}: {value!r:.60}"
        raise TypeError(msg)


def check_interval(seconds: object) -> None:
    """
    Refuse an interval that would be over before it has begun.

    Raises:
        ValueError: It is no number of seconds above 0.
    """
    if not isinstance(seconds, int | float) or not seconds > 0:
        msg = f"an interval is a number of seconds above 0: {seconds!r:.60}"
        raise ValueError(msg)


def check_position(at_least: object) -> None:
    """
    Refuse what is no position, such as an offset alone.

    Raises:
        TypeError: It is none.
    """
    if at_least is not None and not isinstance(at_least, Position):
        msg = f"at_least is a Position, as publishing returns it, not {type(at_least).__name__}: {at_least!r:.60}"
        raise TypeError(msg)
