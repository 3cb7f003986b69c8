"""Where an exception came from, as data and as text. No local variables: they hold secrets and live objects."""

from __future__ import annotations

import itertools
import linecache
import traceback
from collections import deque
from typing import TYPE_CHECKING, Final

from streamresults.events.event import Frame
from streamresults.events.untrusted import Scissors, safe_str, type_name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType, TracebackType

#: Characters of a file or function name, and of a source line; minified and generated code has lines of megabytes.
PATH_MAX: Final = 1024
SOURCE_MAX: Final = 256

_CUT: Final = "\n[... cut ...]\n"


def read_frames(trace: TracebackType | None, scissors: Scissors, limit: int) -> tuple[Frame, ...]:
    """Return the frames of a traceback, outermost first; of more than ``limit``, those at both ends."""
    half = limit // 2
    first: list[tuple[FrameType, int]] = []
    last: deque[tuple[FrameType, int]] = deque(maxlen=half)
    count = 0
    while trace is not None:
        place = (trace.tb_frame, trace.tb_lineno or 0)
        if count < limit - half:
            first.append(place)
        else:
            last.append(place)
        count += 1
        trace = trace.tb_next
    scissors.has_cut |= count > limit
    return tuple(_frame(frame, line, scissors) for frame, line in (*first, *last))


def format_traceback(exc: BaseException, limit: int) -> str:
    """Return what Python would print for ``exc`` with its chain, of more than ``limit`` characters both ends."""
    try:
        text = _both_ends(traceback.TracebackException.from_exception(exc).format(), limit)
    except BaseException as error:  # noqa: BLE001 - formatting runs the exception's own code
        reason = f"[the traceback could not be formatted: {type_name(type(error))}]"
        text = _both_ends([f"{type_name(type(exc))}: {safe_str(exc)}\n", f"{reason}\n"], limit)
    return text


def cut_text(text: str, limit: int) -> str:
    """Return a traceback that is text already, as UTF-8 can carry it; of more than ``limit`` characters both ends."""
    return _both_ends([text], limit)


def _both_ends(lines: Iterable[str], limit: int) -> str:
    """Join lines up to the limit, dropping from the middle while they come: all of them may be gigabytes."""
    whole: list[str] = []
    room = limit
    rest = iter(lines)
    for line in rest:
        whole.append(line)
        room -= len(line)
        if room < 0:
            return _cut_in_the_middle(itertools.chain(whole, rest), limit)
    text = "".join(whole)
    try:
        text.encode()
    except UnicodeEncodeError:  # lone surrogates become escapes, which are longer
        return _cut_in_the_middle(whole, limit)
    return text


def _cut_in_the_middle(lines: Iterable[str], limit: int) -> str:
    half = max(1, (limit - len(_CUT)) // 2)
    start, end, cut = "", "", False
    for raw in lines:
        line = raw.encode("utf-8", "backslashreplace").decode()
        if len(start) < half and not end:
            start, line = start + line[: half - len(start)], line[half - len(start) :]
        end += line
        if len(end) > limit:
            end, cut = end[-half:], True
    if cut or len(start) + len(end) > limit:
        return f"{start}{_CUT}{end[-half:]}"
    return start + end


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
