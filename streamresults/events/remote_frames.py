"""
Recorded frames as a traceback that Python prints behind the local one; made when an exception is handed out.

A recorded file name never names a file here: Python opens the file of a frame to print its line, and a record could
make it open any. So names travel into the traceback in angle brackets, which Python leaves alone; the source lines
are in ``remote_traceback``.
"""

from __future__ import annotations

import functools
from types import FunctionType, TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple

from streamresults.events.limits import LIMITS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from streamresults.events.event import ExceptionNode, Frame
    from streamresults.events.limits import Limits

#: Frames of a whole record that are made. Larger lets one raise take longer than its task did.
ALL_MAX: Final = 1000
#: Characters of a file or function name.
_NAME_MAX: Final = 1024
#: Pairs of a file and a function whose frame is kept, as failures repeat. Larger keeps more names, smaller makes the
#: frames of a busy client's failures anew each time.
_FRAMES_KEPT: Final = 2048
_LINE_MAX: Final = 2**31 - 1

_CAUSE: Final = BaseException.__dict__["__cause__"]
_CONTEXT: Final = BaseException.__dict__["__context__"]
_SUPPRESS: Final = BaseException.__dict__["__suppress_context__"]
_TRACEBACK: Final = BaseException.__dict__["__traceback__"]
_MEMBERS: Final = BaseExceptionGroup.__dict__["exceptions"].__get__


class _Recorded(NamedTuple):
    """One revived exception, and what raising it may change."""

    exc: BaseException
    trace: TracebackType | None
    cause: BaseException | None
    context: BaseException | None
    suppress_context: bool


class Raisable:
    """
    A revived exception, and all it is chained to, with the frames that it was recorded with; making it never raises.

    What is raised shows the local frames first and the remote ones behind them. Raising adds the local frames to the
    exception, and, where another one is being handled, makes that one its context: :meth:`afresh` undoes both.

    Args:
        exc: As it was revived.
        nodes: The record that it was revived from.
        limits: What a writer keeps; twice as many frames are made, and of a whole record :data:`ALL_MAX`.
    """

    __slots__ = ("_recorded", "exception")

    def __init__(self, exc: BaseException, nodes: Sequence[ExceptionNode], limits: Limits = LIMITS) -> None:
        #: The exception; raised as it is, it shows the remote frames as well.
        self.exception: Final = exc
        self._recorded: Final = tuple(_with_frames(exc, nodes, 2 * limits.frames))
        self.afresh()

    def afresh(self) -> BaseException:
        """Return the exception as it was recorded, so that raising twice does not show the local frames twice."""
        for one, trace, cause, context, suppress_context in self._recorded:
            _TRACEBACK.__set__(one, trace)
            _CAUSE.__set__(one, cause)
            _CONTEXT.__set__(one, context)
            _SUPPRESS.__set__(one, suppress_context)
        return self.exception


def _with_frames(exc: BaseException, nodes: Sequence[ExceptionNode], each: int) -> Iterator[_Recorded]:
    left = ALL_MAX
    for one, node in _pairs(exc, nodes):
        frames = node.frames[: min(left, each)]
        left -= len(frames)
        try:
            trace = _traceback(frames)
        except Exception:  # noqa: BLE001 -- a name that Python cannot hold: the text of the traceback is still there
            trace = None
        yield _Recorded(one, trace, _CAUSE.__get__(one), _CONTEXT.__get__(one), _SUPPRESS.__get__(one))


def _pairs(exc: BaseException, nodes: Sequence[ExceptionNode]) -> Iterator[tuple[BaseException, ExceptionNode]]:
    """Yield each revived exception with its record, the outermost first."""
    queue: list[tuple[BaseException | None, int]] = [(exc, 0)]
    seen: set[int] = set()
    for one, index in queue:  # grows while it is walked
        if one is None or not 0 <= index < len(nodes) or id(one) in seen:
            continue
        seen.add(id(one))
        node = nodes[index]
        yield one, node
        queue += [(_CAUSE.__get__(one), node.cause), (_CONTEXT.__get__(one), node.context)]
        if isinstance(one, BaseExceptionGroup) and len(_MEMBERS(one)) == len(node.members):
            queue += zip(_MEMBERS(one), node.members, strict=True)


def _traceback(frames: Sequence[Frame]) -> TracebackType | None:
    trace: TracebackType | None = None
    for frame in reversed(frames):
        # Without a last instruction Python shows the line that is given here, and looks for no columns.
        trace = TracebackType(trace, _frame(frame.file, frame.function), -1, max(1, min(frame.line, _LINE_MAX)))
    return trace


@functools.lru_cache(maxsize=_FRAMES_KEPT)
def _frame(file: str, function: str) -> FrameType:
    """Return a frame that shows these names. It belongs to a generator that never runs, so it holds no other frame."""
    name = _printable(function)
    code = _never.__code__.replace(co_filename=f"<remote {_printable(file)}>", co_name=name, co_qualname=name)
    frame: FrameType = FunctionType(code, {"__name__": "remote"})().gi_frame
    return frame


def _never() -> Iterator[None]:
    yield


def _printable(name: str) -> str:
    text = name[:_NAME_MAX]
    return text if text.isprintable() else ascii(text)[1:-1]
