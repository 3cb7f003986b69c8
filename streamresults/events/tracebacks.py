"""Where an exception came from, as data and as text. No local variables: they hold secrets and live objects."""

from __future__ import annotations

import linecache
import traceback
from collections import deque
from typing import TYPE_CHECKING, Final

from streamresults.events.event import Frame
from streamresults.events.untrusted import Scissors, safe_str, type_name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType, TracebackType

#: Frames of one exception. A runaway recursion has a thousand, all alike: the first and the last hundred tell it.
FRAMES_MAX: Final = 200
#: Characters of a file or function name, and of a source line; minified and generated code has lines of megabytes.
PATH_MAX: Final = 1024
SOURCE_MAX: Final = 256
#: Characters of the formatted traceback. Smaller would cut long chains, larger would not fit into a record with a
#: payload; both ends are kept, since Python prints the exception itself last.
TRACEBACK_MAX: Final = 65_536

_CUT: Final = "\n[... cut ...]\n"


def read_frames(trace: TracebackType | None, scissors: Scissors) -> tuple[Frame, ...]:
    """Return the frames of a traceback, outermost first; of too many, those at both ends."""
    first: list[tuple[FrameType, int]] = []
    last: deque[tuple[FrameType, int]] = deque(maxlen=FRAMES_MAX // 2)
    count = 0
    while trace is not None:
        place = (trace.tb_frame, trace.tb_lineno or 0)
        if count < FRAMES_MAX // 2:
            first.append(place)
        else:
            last.append(place)
        count += 1
        trace = trace.tb_next
    scissors.has_cut |= count > FRAMES_MAX
    return tuple(_frame(frame, line, scissors) for frame, line in (*first, *last))


def format_traceback(exc: BaseException) -> str:
    """Return what Python would print for ``exc`` with its chain, cut in the middle. Never raises."""
    try:
        text = _both_ends(traceback.TracebackException.from_exception(exc).format())
    except BaseException as error:  # noqa: BLE001 - formatting runs the exception's own code
        reason = f"[the traceback could not be formatted: {type_name(type(error))}]"
        text = _both_ends([f"{type_name(type(exc))}: {safe_str(exc)}\n", f"{reason}\n"])
    return text


def _both_ends(lines: Iterable[str]) -> str:
    """Join lines up to the limit, dropping from the middle while they come: all of them may be gigabytes."""
    half = (TRACEBACK_MAX - len(_CUT)) // 2
    start, end, cut = "", "", False
    for raw in lines:
        line = raw.encode("utf-8", "backslashreplace").decode()
        if len(start) < half and not end:
            start, line = start + line[: half - len(start)], line[half - len(start) :]
        end += line
        if len(end) > 2 * half:
            end, cut = end[-half:], True
    if len(end) > half:
        end, cut = end[-half:], True
    return f"{start}{_CUT}{end}" if cut else start + end


def _frame(frame: FrameType, line: int, scissors: Scissors) -> Frame:
    code = frame.f_code
    return Frame(
        file=scissors.text(code.co_filename, PATH_MAX),
        line=line,
        function=scissors.text(code.co_name, PATH_MAX),
        source=scissors.text(_source(frame, line), SOURCE_MAX),
    )


def _source(frame: FrameType, line: int) -> str:
    try:
        return linecache.getline(frame.f_code.co_filename, line, frame.f_globals).strip()
    except BaseException:  # noqa: BLE001 - a module's loader is asked for its source
        return ""
