"""What ends a command, as an exit code: the one table of errors and codes. The codes are part of the interface."""

from __future__ import annotations

import logging
from enum import IntEnum
from typing import Final

import click

from streamresults import errors
from streamresults.cli.text import printable

_log: Final = logging.getLogger("streamresults.cli")


class Exit(IntEnum):
    """What the exit code of a command says."""

    OK = 0
    #: The task ended as FAILURE, REVOKED, REJECTED or IGNORED.
    TASK_FAILED = 1
    #: The command or the configuration cannot be carried out.
    USAGE = 2
    #: The log holds no record of the task.
    UNKNOWN = 3
    TIMEOUT = 4
    #: Kafka or Redis did not answer.
    UNREACHABLE = 5
    #: The view is not the fold of the log.
    MISMATCH = 6
    #: The view does not cover what was asked for: it may exist.
    NOT_YET_COVERED = 7
    #: A record of the task cannot be read.
    DEAD_LETTERED = 8
    #: A bug of ours, as sysexits.h has it.
    BUG = 70
    INTERRUPTED = 130


#: The first class that fits decides.
_CODES: Final[tuple[tuple[type[BaseException], Exit], ...]] = (
    (errors.NotYetCovered, Exit.NOT_YET_COVERED),
    (errors.UnknownTask, Exit.UNKNOWN),
    (errors.WaitTimeout, Exit.TIMEOUT),
    (errors.DeadLettered, Exit.DEAD_LETTERED),
    (errors.NoResult, Exit.TASK_FAILED),
    (errors.ClientClosed, Exit.INTERRUPTED),
    (errors.RemoteTaskError, Exit.TASK_FAILED),
    (errors.VerificationMismatch, Exit.MISMATCH),
    (errors.RecordTooLarge, Exit.USAGE),
    (errors.PublishError, Exit.UNREACHABLE),
    (errors.RecordGone, Exit.DEAD_LETTERED),
    (errors.ServiceUnavailable, Exit.UNREACHABLE),
    (errors.PayloadNotDecodable, Exit.DEAD_LETTERED),
    (errors.RecordError, Exit.DEAD_LETTERED),
    (errors.StreamResultsError, Exit.USAGE),
    (OSError, Exit.USAGE),  # a disk that is full, a file that may not be read: its words name it
)


def code_of(exc: BaseException) -> Exit:
    """Return the exit code of an error."""
    return next((code for kind, code in _CODES if isinstance(exc, kind)), Exit.BUG)


def explain(exc: BaseException) -> Exit:
    """Write what failed, what was tried and what to do as one line, and return the exit code."""
    code = code_of(exc)
    message = printable(" ".join(str(exc).split()))
    if code is Exit.BUG:
        message = f"{type(exc).__name__}: {message}. This is a bug of streamresults: --log-level debug shows where"
    elif code is Exit.UNREACHABLE and "streamresults " not in message:
        message = f"{message}{'' if message.endswith(('.', '?')) else '.'} Run: streamresults doctor"
    click.echo(f"error: {message}", err=True)
    _log.debug("the error in full", exc_info=exc, extra={"action": "command_failed"})
    return code
