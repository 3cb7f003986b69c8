"""
Revive: data becomes an exception again if the allowlist names its class. It never imports, walks attributes, or runs
a constructor, a property or a method because a record says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from streamresults.errors import RemoteTaskError, SecurityError
from streamresults.events.builtin_fields import builtin_base, reserved_names, set_field
from streamresults.events.decisions import Decision
from streamresults.events.event import REPR, ExceptionNode, NamedValue
from streamresults.events.limits import LIMITS
from streamresults.events.slots import slots_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamresults.events.allowlist import ExceptionAllowlist
    from streamresults.events.limits import Limits
    from streamresults.events.payloads import SerializerRegistry

#: Classes along the recorded method resolution order: twice as many as are written.
_BASES_MAX: Final = 128
#: Characters of a refused record's arguments in the message of its SecurityError.
_SHOWN_MAX: Final = 200

_ARGS: Final = BaseException.__dict__["args"].__set__
_DICT: Final = BaseException.__dict__["__dict__"].__get__
_CAUSE: Final = BaseException.__dict__["__cause__"].__set__
_CONTEXT: Final = BaseException.__dict__["__context__"].__set__
_SUPPRESS: Final = BaseException.__dict__["__suppress_context__"].__set__


class RemoteRepr:
    """
    Stands for a value that could not travel, inside a rebuilt exception: it looks like the value and is not.

    Args:
        text: The repr that the worker recorded.
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteRepr) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


def revive(
    nodes: Sequence[ExceptionNode],
    traceback_text: str,
    allowlist: ExceptionAllowlist,
    registry: SerializerRegistry,
    *,
    accept: frozenset[str] | None = None,
    limits: Limits = LIMITS,
) -> BaseException:
    """
    Return the exception that a record stands for, to be raised or looked at. Never raises.

    Args:
        nodes: The record: the exception at index 0 and all it is chained to.
        traceback_text: The worker's formatted traceback; kept as the attribute ``remote_traceback``.
        allowlist: The classes that may be rebuilt.
        registry: Decodes arguments, attributes and fields.
        accept: Content types that may be decoded; ``None`` for every registered one.
        limits: What a writer keeps; twice as much is looked at, so that writers may grow first.

    Returns:
        An instance of the listed class; else a RemoteTaskError with every recorded field; a SecurityError when the
        record names something loaded here that is not an exception class. Causes, contexts and members likewise.
    """
    text = traceback_text if type(traceback_text) is str else ""
    try:
        return _Revival(nodes, text, allowlist, registry, accept=accept, limits=limits).run()
    except Exception:  # noqa: BLE001 - a record that is no record, or a stack nearly used up: that task's own trouble
        return RemoteTaskError("unknown", remote_traceback=text)


class _Revival:
    """One run over one record."""

    def __init__(
        self,
        nodes: Sequence[ExceptionNode],
        traceback_text: str,
        allowlist: ExceptionAllowlist,
        registry: SerializerRegistry,
        *,
        accept: frozenset[str] | None,
        limits: Limits,
    ) -> None:
        if type(nodes) not in (tuple, list) or not nodes or any(type(node) is not ExceptionNode for node in nodes):
            message = "not a record of an exception"
            raise TypeError(message)
        self._limits = limits
        self._nodes = tuple(nodes[: 2 * limits.chain])
        self._text = traceback_text
        self._allowlist = allowlist
        self._registry = registry
        self._accept = accept
        #: By index; ``None`` while a group's members are being built, so that no group comes to hold itself.
        self._built: dict[int, BaseException | None] = {}

    def run(self) -> BaseException:
        head = self._build(0)
        # Grows while it is walked: linking an exception builds the ones that it is linked to.
        for index in _growing(self._built):
            exc = self._built[index]
            if exc is not None:
                self._link(exc, self._nodes[index])
        if not isinstance(head, RemoteTaskError):
            _DICT(head)["remote_traceback"] = self._text
        return head

    def _build(self, index: int) -> BaseException:
        self._built[index] = None
        node = self._nodes[index]
        try:
            exc = self._rebuild(node)
        except Exception:  # noqa: BLE001 - its state cannot be set as data: this node alone stays remote
            exc = None
        if exc is None:
            exc = self._security_error(node) or self._remote(index)
        self._built[index] = exc
        return exc

    def _rebuild(self, node: ExceptionNode) -> BaseException | None:
        if self._allowlist.judge(node.module, node.qualname) is not Decision.ALLOWED:
            return None
        cls = self._allowlist.find(node.module, node.qualname)
        assert cls is not None
        base = builtin_base(cls)
        if issubclass(base, BaseExceptionGroup):
            exc = self._new_group(base, cls, node)
        else:
            exc = base.__new__(cls)
            _ARGS(exc, tuple(self._decode(value) for value in node.arguments[: 2 * self._limits.arguments]))
        for field in node.fields[: 2 * self._limits.arguments]:
            set_field(exc, field.name, self._decode(field))
        self._set_attributes(exc, base, node)
        return exc

    def _new_group(self, base: type[BaseException], cls: type[BaseException], node: ExceptionNode) -> BaseException:
        message = next(
            self._decode(field) for field in node.fields[: 2 * self._limits.arguments] if field.name == "message"
        )
        members = [
            exc for index in node.members[: 2 * self._limits.children] if (exc := self._member(index)) is not None
        ]
        new: Any = base.__new__
        made: BaseException = new(cls, message, members)
        return made

    def _set_attributes(self, exc: BaseException, base: type[BaseException], node: ExceptionNode) -> None:
        attributes: dict[str, object] = _DICT(exc)
        reserved = reserved_names(base)
        slots = slots_of(type(exc)) if node.attributes else {}
        for value in node.attributes[: 2 * self._limits.attributes]:
            if self._is_attribute(value.name) and value.name not in reserved:
                slot = slots.get(value.name)
                if slot is None:
                    attributes[value.name] = self._decode(value)
                else:
                    slot.__set__(exc, self._decode(value))
        notes = [note for note in node.notes[: 2 * self._limits.notes] if type(note) is str]
        if notes:
            attributes["__notes__"] = notes

    def _decode(self, value: NamedValue) -> object:
        if value.content_type == REPR:
            return RemoteRepr(value.data.decode("utf-8", "replace"))
        return self._registry.decode(value.content_type, value.data, accept=self._accept)

    def _member(self, index: object) -> BaseException | None:
        if type(index) is not int or not 0 <= index < len(self._nodes):
            return None
        return self._built[index] if index in self._built else self._build(index)

    def _link(self, exc: BaseException, node: ExceptionNode) -> None:
        cause, context = self._member(node.cause), self._member(node.context)
        if cause is not None:
            _CAUSE(exc, cause)
        if context is not None:
            _CONTEXT(exc, context)
        _SUPPRESS(exc, node.suppress_context is True)

    def _security_error(self, node: ExceptionNode) -> SecurityError | None:
        if self._allowlist.decide(node.module, node.qualname) is not Decision.REFUSED:
            return None
        payload = repr([value.data[:_SHOWN_MAX] for value in node.arguments[:_SHOWN_MAX]])[:_SHOWN_MAX]
        return SecurityError(f"expected an exception class, got `{node.module}.{node.qualname}`; arguments {payload}")

    def _remote(self, index: int) -> RemoteTaskError:
        node = self._nodes[index]
        record = self._nodes if index == 0 else (msgspec.structs.replace(node, cause=-1, context=-1, members=()),)
        exc = RemoteTaskError(
            node.message if type(node.message) is str else "unknown",
            type_name=self._printable(node.type_name) if node.module or node.qualname else "",
            bases=[self._printable(base) for base in node.bases[:_BASES_MAX]],
            remote_traceback=self._text if index == 0 else "",
            record=record,
        )
        for note in node.notes[: 2 * self._limits.notes]:
            exc.add_note(note)
        return exc

    def _is_attribute(self, name: object) -> bool:
        return (
            type(name) is str and len(name) <= self._limits.name and name.isidentifier() and not name.startswith("__")
        )

    def _printable(self, name: object) -> str:
        """Return a recorded name without control characters: it is printed to terminals and logs."""
        text = str.__getitem__(name, slice(2 * self._limits.name + 1)) if isinstance(name, str) else ""
        return text if text.isprintable() else ascii(text)[1:-1]


def _growing(built: dict[int, BaseException | None]) -> Any:
    done: set[int] = set()
    while todo := [index for index in built if index not in done]:
        done.update(todo)
        yield from todo
