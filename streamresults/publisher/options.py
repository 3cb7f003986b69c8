"""How a publisher behaves: what wiring makes of the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from streamresults.events.limits import LIMITS, Limits
from streamresults.publisher.retrying import RetryOptions

if TYPE_CHECKING:
    from streamresults.events.allowlist import ExceptionAllowlist


class PublisherOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a publisher behaves; durations are seconds."""

    schemas_topic: str
    publish_timeout: float = 30.0
    result_expires: float = 86_400.0
    longest_expiry: float = 604_800.0
    #: By a task's registered name, stronger than ``result_expires``.
    task_expires: dict[str, float] = msgspec.field(default_factory=dict)
    #: Whether name, arguments, worker, retries, queue and stamps are recorded.
    extended_metadata: bool = True
    #: How much of an exception travels.
    exception_limits: Limits = LIMITS
    #: What this process would rebuild: an exception that is not on it is logged once, and counted.
    allowlist: ExceptionAllowlist | None = None
    #: Between two reports of progress of one task; 0 lets all of them through.
    progress_interval: float = 0.5
    #: A directory on a local disk for what Kafka does not take, of one topic and any number of processes; empty: its
    #: callers get an error instead.
    spool: str = ""
    #: Most bytes that all processes together keep there.
    spool_bytes: int = 268_435_456
    retry: RetryOptions = RetryOptions()
    #: Who publishes, such as ``w-7@host-3``.
    worker: str = ""
