"""A result event as a frozen value: one task entered one state. Plain data: no bytes of the wire, no clock."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

#: Stands before the id of a saved group in the task id field and in the record key; task ids never begin with it.
GROUP_PREFIX: Final = "group:"

#: Longest task id in bytes of UTF-8. Larger would let one id outweigh its result in every key of the view;
#: smaller would refuse ids that people build from URLs and paths.
TASK_ID_MAX_BYTES: Final = 1024


class Position(NamedTuple):
    """Where one event stands: the same triple never names two events."""

    topic_id: str
    partition: int
    offset: int


class Reference(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a large payload rests."""

    uri: str
    #: SHA-256 of the stored body, 32 bytes.
    sha256: bytes
    #: Bytes of the stored body.
    size: int


class Payload(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The result, progress or retry information: bytes that the core does not look into."""

    #: Media type of the decoded body; ``""`` without a payload.
    content_type: str = ""
    #: Compression of the body; ``""`` for none.
    content_encoding: str = ""
    #: ``None`` says that there is no payload; an encoded null is a payload.
    body: bytes | None = None
    #: Where a body too large for the log rests.
    reference: Reference | None = None
    #: The data key that the body is encrypted with; ``""`` plain. Reserved: readers refuse any other.
    key_id: str = ""


NO_PAYLOAD: Final = Payload()


class NamedValue(msgspec.Struct, frozen=True, kw_only=True):
    """An encoded value that belongs to an exception: a positional argument, an attribute, a builtin's field."""

    #: ``""`` for a positional argument.
    name: str = ""
    #: :data:`REPR` marks a value that could not be encoded.
    content_type: str
    #: The encoded value, or the UTF-8 of its repr.
    data: bytes


#: Content type of a :class:`NamedValue` whose value could not be encoded: the data is its repr.
REPR: Final = "text/x-python-repr"


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One frame of a traceback; locals never travel."""

    file: str
    line: int
    function: str
    #: The source line, ``""`` when unknown.
    source: str = ""


class ExceptionNode(msgspec.Struct, frozen=True, kw_only=True):
    """One exception of a chain; the others are named by their index in the event's ``exception`` tuple."""

    module: str
    qualname: str
    #: ``module:qualname`` along the method resolution order, itself first, ``object`` left out.
    bases: tuple[str, ...] = ()
    message: str = ""
    arguments: tuple[NamedValue, ...] = ()
    attributes: tuple[NamedValue, ...] = ()
    #: What a builtin type keeps outside of args and attributes, such as errno or start.
    fields: tuple[NamedValue, ...] = ()
    notes: tuple[str, ...] = ()
    #: Outermost first.
    frames: tuple[Frame, ...] = ()
    #: Index of ``__cause__``, -1 for none.
    cause: int = -1
    #: Index of ``__context__``, -1 for none.
    context: int = -1
    suppress_context: bool = False
    #: Indexes of an exception group's members.
    members: tuple[int, ...] = ()
    #: A limit cut something off.
    truncated: bool = False

    @property
    def type_name(self) -> str:
        """``module:qualname``, the form that allowlists use."""
        return f"{self.module}:{self.qualname}"


class Prefix(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The fields that every schema version begins with: all that the fold needs."""

    #: ``"task"`` or ``"group"``.
    kind: str
    #: UUIDv7, 16 bytes.
    event_id: bytes
    task_id: str
    state: str
    #: The record's own flag; :func:`~streamresults.events.states.is_terminal` tells the whole truth.
    terminal: bool
    #: 1 for the first run; 0 unknown.
    attempt: int
    #: Milliseconds after the broker's append time; 0 until retention takes the record.
    expires_after_ms: int


class Event(msgspec.Struct, frozen=True, gc=False):
    """
    One immutable record of the log: a task entered a state.

    Everything but the id and the state may be left out; an empty string, an empty tuple, 0 or -1 says absent. Name its
    fields where you make one; by position is for the shortest way alone. Plain data that cannot form a circle: the
    garbage collector does not look at it. Not made for subclasses.
    """

    task_id: str
    state: str
    kind: str = "task"
    #: UUIDv7, 16 bytes; a retried publish keeps it.
    event_id: bytes = msgspec.field(default_factory=lambda: new_event_id())  # noqa: PLW0108 -- defined below
    terminal: bool = False
    #: 1 for the first run; 0 unknown.
    attempt: int = 0
    #: Milliseconds after the broker's append time; 0 until retention takes the record.
    expires_after_ms: int = 0
    payload: Payload = NO_PAYLOAD
    #: The exception at index 0 and all it is chained to; empty for none.
    exception: tuple[ExceptionNode, ...] = ()
    #: The formatted traceback with its chain.
    traceback: str = ""
    #: Microseconds since 1970 by the worker's clock.
    occurred_at_us: int = msgspec.field(default_factory=lambda: time.time_ns() // 1000)
    #: The same for the start of the run; 0 unknown.
    started_at_us: int = 0
    #: Seconds by a monotonic clock; negative unknown.
    runtime: float = -1.0
    parent_id: str = ""
    root_id: str = ""
    group_id: str = ""
    group_index: int = -1
    chord_size: int = -1
    #: Task ids, and group ids with ``group:`` before them.
    children: tuple[str, ...] = ()
    #: W3C trace id, 32 hexadecimal digits.
    trace_id: str = ""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    #: The task's registered name.
    name: str = ""
    worker: str = ""
    queue: str = ""
    #: -1 unknown.
    retries: int = -1
    #: Media type of args, kwargs and stamps.
    call_content_type: str = ""
    args: bytes = b""
    kwargs: bytes = b""
    stamped_headers: tuple[str, ...] = ()
    stamps: bytes = b""

    @property
    def occurred_at(self) -> datetime:
        """When it happened by the worker's clock, in UTC."""
        return datetime.fromtimestamp(self.occurred_at_us / 1e6, tz=UTC)

    @property
    def started_at(self) -> datetime | None:
        """When the run began by the worker's clock, in UTC; ``None`` unknown."""
        return datetime.fromtimestamp(self.started_at_us / 1e6, tz=UTC) if self.started_at_us else None


def new_event_id() -> bytes:
    """Return a fresh UUIDv7 (RFC 9562 section 5.7): 48 bits of milliseconds, then 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10))
    high = (milliseconds << 16) | 0x7000 | (random >> 68)
    low = 0x8000_0000_0000_0000 | (random & 0x3FFF_FFFF_FFFF_FFFF)
    return ((high << 64) | low).to_bytes(16)
