"""
Capture: an exception becomes data that any client can read. It never raises, whatever the exception's own code does,
and never takes a live object, a local variable or code along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from streamresults.events.builtin_fields import read_fields
from streamresults.events.event import REPR, ExceptionNode, NamedValue
from streamresults.events.limits import LIMITS
from streamresults.events.slots import read_slots
from streamresults.events.tracebacks import format_traceback, read_frames
from streamresults.events.untrusted import Scissors, safe_repr, safe_str

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamresults.events.limits import Limits
    from streamresults.events.payloads import Serializer

#: Classes along the method resolution order: deeper hierarchies are generated, and only matched by name.
BASES_MAX: Final = 64
#: Characters of the repr that stands for a value.
REPR_MAX: Final = 1024
#: Not attributes but Python's notes, and what reviving adds.
_NOT_ATTRIBUTES: Final = frozenset({"__notes__", "remote_traceback"})

_ARGS: Final = BaseException.__dict__["args"].__get__
_DICT: Final = BaseException.__dict__["__dict__"].__get__
_CAUSE: Final = BaseException.__dict__["__cause__"].__get__
_CONTEXT: Final = BaseException.__dict__["__context__"].__get__
_SUPPRESS: Final = BaseException.__dict__["__suppress_context__"].__get__
_TRACEBACK: Final = BaseException.__dict__["__traceback__"].__get__
_MEMBERS: Final = BaseExceptionGroup.__dict__["exceptions"].__get__
_MRO: Final = type.__dict__["__mro__"].__get__
_MODULE: Final = type.__dict__["__module__"].__get__
_QUALNAME: Final = type.__dict__["__qualname__"].__get__


def capture(
    exc: BaseException, serializer: Serializer, limits: Limits = LIMITS
) -> tuple[tuple[ExceptionNode, ...], str]:
    """
    Turn an exception, its chain and its group members into data. Never raises.

    Args:
        exc: What the task raised.
        serializer: Encodes arguments, attributes and fields; what it cannot encode is recorded as its repr.
        limits: How much is kept; what is cut is marked.

    Returns:
        The nodes, ``exc`` at index 0, and the formatted traceback with its chain.
    """
    try:
        nodes = _Capture(serializer, limits).run(exc)
    except Exception:  # noqa: BLE001 - a stack or memory nearly used up: the failure is still reported, by name
        nodes = (ExceptionNode(module="", qualname=str(_QUALNAME(type(exc)))[: limits.name], truncated=True),)
    return nodes, format_traceback(exc, limits.traceback)


class _Capture:
    """One run: numbers exceptions as it meets them, breadth first, so that a cut takes the remotest ones."""

    def __init__(self, serializer: Serializer, limits: Limits) -> None:
        self._serializer = serializer
        self._limits = limits
        self._scissors = Scissors(limits.total)
        self._queue: list[BaseException] = []
        self._index: dict[int, int] = {}

    def run(self, exc: BaseException) -> tuple[ExceptionNode, ...]:
        self._number(exc)
        nodes: list[ExceptionNode] = []
        while len(nodes) < len(self._queue):  # grows while it is walked
            nodes.append(self._node(self._queue[len(nodes)]))
        return tuple(nodes)

    def _number(self, exc: BaseException | None) -> int:
        if exc is None:
            return -1
        index = self._index.get(id(exc))
        if index is not None:
            return index
        if len(self._queue) >= self._limits.chain:
            self._scissors.has_cut = True
            return -1
        self._queue.append(exc)
        self._index[id(exc)] = len(self._queue) - 1
        return len(self._queue) - 1

    def _node(self, exc: BaseException) -> ExceptionNode:
        scissors, limits = self._scissors, self._limits
        scissors.has_cut = False
        cls = type(exc)
        is_group = issubclass(cls, BaseExceptionGroup)
        cause, context = self._number(_CAUSE(exc)), self._number(_CONTEXT(exc))
        members = scissors.items(_MEMBERS(exc), limits.children) if is_group else []
        numbers = [self._number(member) for member in members]
        return ExceptionNode(
            module=self._name(_MODULE(cls), free=True),
            qualname=self._name(_QUALNAME(cls), free=True),
            bases=tuple(self._type_name(base) for base in scissors.items(_MRO(cls)[:-1], BASES_MAX)),
            message=scissors.text(safe_str(exc), limits.message),
            # Before the values, which may take all the room that is left: where it broke says more.
            frames=read_frames(_TRACEBACK(exc), scissors, limits.frames),
            # A group's arguments are its message, a field, and its members, which are nodes.
            arguments=() if is_group else self._values((("", value) for value in _ARGS(exc)), limits.arguments),
            fields=self._values(read_fields(exc), limits.arguments),
            attributes=self._values(self._attributes(exc), limits.attributes),
            notes=self._notes(exc),
            cause=cause,
            context=context,
            suppress_context=bool(_SUPPRESS(exc)),
            members=tuple(index for index in numbers if index >= 0),
            truncated=scissors.has_cut,
        )

    def _name(self, name: object, *, free: bool = False) -> str:
        return self._scissors.text(name, self._limits.name, free=free) if type(name) is str else ""

    def _type_name(self, cls: type) -> str:
        return f"{self._name(_MODULE(cls))}:{self._name(_QUALNAME(cls))}"

    def _attributes(self, exc: BaseException) -> list[tuple[str, object]]:
        attributes: dict[Any, object] = {**_DICT(exc), **dict(read_slots(exc))}
        return [item for item in attributes.items() if type(item[0]) is str and item[0] not in _NOT_ATTRIBUTES]

    def _values(self, pairs: Iterable[tuple[str, object]], limit: int) -> tuple[NamedValue, ...]:
        return tuple(self._value(self._name(name), value) for name, value in self._scissors.items(pairs, limit))

    def _value(self, name: str, value: object) -> NamedValue:
        try:
            data = self._serializer.encode(value, path=name or "argument")
        except BaseException:  # noqa: BLE001 - foreign code runs: a registered serializer, the value's metaclass
            data = None
        if type(data) is bytes and self._scissors.fits(data, self._limits.value):
            return NamedValue(name=name, content_type=self._serializer.content_type, data=data)
        if data is not None:
            self._scissors.has_cut = True
        return NamedValue(name=name, content_type=REPR, data=self._scissors.text(safe_repr(value), REPR_MAX).encode())

    def _notes(self, exc: BaseException) -> tuple[str, ...]:
        notes = _DICT(exc).get("__notes__")
        if type(notes) is not list:
            return ()
        return tuple(
            self._scissors.text(safe_str(note), self._limits.message)
            for note in self._scissors.items(notes, self._limits.notes)
        )
