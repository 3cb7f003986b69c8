"""
What no allowlist may hold, whatever its entries say: control flow of Python and of frameworks, and errors of ours.

Control exceptions of other libraries are known by name; none of these libraries is imported here.
"""

from __future__ import annotations

import functools
from typing import Final

from streamresults.errors import StreamResultsError
from streamresults.events.builtin_fields import BUILTIN_EXCEPTIONS

#: Control flow of Python: raised in a client, these would stop a process, a generator or a task that is not theirs.
#: Subclasses as well. Whatever is not an ``Exception`` is refused besides.
CONTROL: Final = (
    StopIteration,
    StopAsyncIteration,
    GeneratorExit,
    SystemExit,
    KeyboardInterrupt,
)

#: Control exceptions of libraries and worker frameworks, by name; subclasses as well. In a client that is
#: itself a task of such a framework they would steer that task.
_CONTROL_NAMES: Final = frozenset(
    {
        ("celery.exceptions", "TaskPredicate"),
        ("celery.exceptions", "Ignore"),
        ("celery.exceptions", "Reject"),
        ("celery.exceptions", "Retry"),
        ("billiard.exceptions", "SoftTimeLimitExceeded"),
        ("dramatiq.errors", "Retry"),
        ("huey.exceptions", "CancelExecution"),
        ("huey.exceptions", "RetryTask"),
        ("arq.worker", "Retry"),
        ("arq.worker", "RetryJob"),
        ("rq.job", "Retry"),
        ("rq.timeouts", "BaseTimeoutException"),
        ("taskiq.exceptions", "NoResultError"),
        ("taskiq.exceptions", "TaskRejectedError"),
    }
)

#: What every library calls the exception that cancels what awaits it: asyncio, concurrent.futures, Twisted and others.
#: In a client it would cancel who waits.
_CANCELLED: Final = "CancelledError"


def reason_against(cls: type[BaseException], never: tuple[type[BaseException], ...]) -> str:
    """Return why a class must not be rebuilt, ``""`` if it may be; ``never`` holds what is refused with subclasses."""
    if cls is TimeoutError:
        return "must never be rebuilt: a remote timeout would be mistaken for one of ours"
    by_name = any(_controls_by_name(base.__module__, base.__qualname__) for base in cls.__mro__)
    if not issubclass(cls, Exception) or issubclass(cls, never) or by_name:
        return "must never be rebuilt: it controls the process or the framework that raises it"
    if issubclass(cls, StreamResultsError):
        return "must never be rebuilt: a remote error would be mistaken for one of ours"
    return ""


@functools.lru_cache(maxsize=1024)
def reason_by_name(module: str, qualname: str, never: tuple[type[BaseException], ...]) -> str:
    """Return why a name can be on no list, as far as that is known without importing anything."""
    for cls in (*BUILTIN_EXCEPTIONS, *never, *_own_errors()):
        if (cls.__module__, cls.__qualname__) == (module, qualname):
            return reason_against(cls, never)
    return "must never be rebuilt: it controls a worker framework" if _controls_by_name(module, qualname) else ""


def _controls_by_name(module: str, qualname: str) -> bool:
    return qualname.rpartition(".")[2] == _CANCELLED or (module, qualname) in _CONTROL_NAMES


def _own_errors() -> list[type[BaseException]]:
    found: list[type[BaseException]] = [StreamResultsError]
    for cls in found:  # grows while it is walked
        found += cls.__subclasses__()
    return found
