"""A failure of which only the text of a traceback is left, such as that of a killed process."""

from __future__ import annotations

from streamresults.events.event import ExceptionNode
from streamresults.events.limits import LIMITS, Limits

#: Characters of a name in the last line; more would be refused by every reader.
_NAME_MAX = 512


def capture_text(text: str, limits: Limits = LIMITS) -> tuple[tuple[ExceptionNode, ...], str]:
    """
    Return the record of a formatted traceback, and the traceback cut to its end.

    The last line, ``module.Name: message``, is the message; the name in it is recorded as a base, so that
    :meth:`~streamresults.errors.RemoteTaskError.is_type` finds it. Readers get a RemoteTaskError whatever it says: the
    arguments are not known, and where a module ends and a class begins the text does not say either.
    """
    kept = text[-limits.traceback :].encode("utf-8", "backslashreplace").decode()
    lines = [line for line in kept.splitlines() if line.strip() and line[0] not in " |+"]
    line = lines[-1] if lines else ""
    name = line.partition(":")[0]
    module, _, qualname = name.rpartition(".")
    is_name = len(name) <= _NAME_MAX and all(part.isidentifier() for part in name.split("."))
    node = ExceptionNode(
        module="",
        qualname="",
        bases=(f"{module or 'builtins'}:{qualname}",) if is_name else (),
        message=line[: limits.message],
        truncated=True,
    )
    return (node,), kept
