"""
Pickle, for who has to: an exception as its own class pickles it. Off unless both sides name it, and never a fallback.

Reading is done by Python's own unpickler in Python, whose ``find_class`` is the allowlist: nothing else is looked up,
imported or called. What it cannot keep from running are the constructors of the classes that are listed.
"""

from __future__ import annotations

import io
import logging
import pickle
from typing import TYPE_CHECKING, Any, Final

from streamresults.errors import PayloadNotDecodable, PayloadNotEncodable
from streamresults.events.decisions import Decision
from streamresults.events.forms import DEPTH_MAX, nests_deeper, raw_depth
from streamresults.events.untrusted import safe_repr, safe_str, type_name

if TYPE_CHECKING:
    from streamresults.events.allowlist import ExceptionAllowlist

_log: Final = logging.getLogger("streamresults.exceptions")

CONTENT_TYPE: Final = "application/x-python-serialize"
_PROTOCOL: Final = 4
#: Bytes of a pickle that is opened. Python's own unpickler takes microseconds for each: more would hold a reader up.
SIZE_MAX: Final = 1_048_576
_MRO: Final = type.__dict__["__mro__"].__get__
_ARGS: Final = BaseException.__dict__["args"].__get__


class PickleSerializer:
    """
    Encodes anything that pickles, and decodes plain data and listed exceptions.

    Args:
        allowlist: The only classes that a pickle may name.
        depth: Levels of nesting, as for the other serializers.
    """

    name: Final = "pickle"
    content_type: Final = CONTENT_TYPE

    def __init__(self, allowlist: ExceptionAllowlist, depth: int = DEPTH_MAX) -> None:
        self._allowlist: Final = allowlist
        self._raw_depth: Final = raw_depth(depth)
        _log.warning(
            "pickle is turned on: who can write to the topic can run the constructors of every exception class on the "
            "allowlist, with arguments of their choice. Turn it off where JSON or MessagePack will do",
            extra={"action": "pickle_turned_on"},
        )

    def encode(self, value: object, *, path: str = "result") -> bytes:
        """
        Return the pickle of a value; of an exception that does not pickle, that of what comes nearest.

        Raises:
            PayloadNotEncodable: It does not pickle.
        """
        try:
            return pickle.dumps(picklable(value) if isinstance(value, BaseException) else value, _PROTOCOL)
        except Exception as exc:
            kind = type_name(type(value))
            message = f"{path}: {kind} cannot be pickled: {safe_str(exc)[:200]}"
            raise PayloadNotEncodable(message, path=path, kind=kind) from exc

    def decode(self, data: bytes) -> object:
        """
        Return what a pickle holds, if it is made of plain data and listed exceptions.

        Raises:
            PayloadNotDecodable: It names anything else, is no pickle, or is too large.
        """
        if len(data) > SIZE_MAX:
            message = f"a pickle of {len(data)} bytes is larger than the {SIZE_MAX} that are opened"
            raise PayloadNotDecodable(message)
        try:
            value: object = _Unpickler(data, self._allowlist).load()
        except PayloadNotDecodable:
            raise
        except Exception as exc:
            # Also RecursionError and MemoryError, and what a listed class's constructor raises.
            message = f"not a pickle that is opened here: {type(exc).__name__}"
            raise PayloadNotDecodable(message) from exc
        if nests_deeper(value, self._raw_depth):
            message = f"a pickle nests deeper than {self._raw_depth} levels"
            raise PayloadNotDecodable(message)
        return value


def picklable(exc: BaseException) -> BaseException:
    """
    Return the exception itself if it comes back from its pickle, else the nearest base that does, with the same args.

    Where no base but ``Exception`` takes them it is an ``Exception`` with the name and the message.
    """
    if _comes_back(exc):
        return exc
    args = _ARGS(exc)
    for base in _MRO(type(exc))[1:]:
        if base in {Exception, BaseException, object}:
            break
        try:
            nearest: BaseException = base(*args)
        except Exception:  # noqa: BLE001, S112 -- its constructor wants something else: the next base
            continue
        if _comes_back(nearest):
            return nearest
    return Exception(f"{type_name(type(exc))}: {safe_str(exc)}", *(safe_repr(arg) for arg in args))


def _comes_back(exc: BaseException) -> bool:
    try:
        again = pickle.loads(pickle.dumps(exc, _PROTOCOL))  # noqa: S301 -- its own, made a moment ago
    except Exception:  # noqa: BLE001 -- its own code runs
        return False
    return type(again) is type(exc)


# Python's own in Python: with the one in C ten bytes take gigabytes, as its memo is an array and they say how long.
class _Unpickler(pickle._Unpickler):  # noqa: SLF001 -- documented as the slow one
    def __init__(self, data: bytes, allowlist: ExceptionAllowlist) -> None:
        super().__init__(io.BytesIO(data))
        self._allowlist = allowlist

    def find_class(self, module: str, name: str) -> Any:
        """Return a listed class, by one look into the allowlist."""
        if self._allowlist.judge(module, name) is not Decision.ALLOWED:
            message = f"a pickle names {f'{module}.{name}'[:200]!r}, which is on no allowlist"
            raise PayloadNotDecodable(message)
        return self._allowlist.find(module, name)

    def persistent_load(self, _pid: Any) -> Any:
        """Refuse: nothing of ours has persistent ids."""
        message = "a pickle holds a persistent id"
        raise PayloadNotDecodable(message)
