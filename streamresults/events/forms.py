"""
How a value that JSON would lose is written with what JSON has; here the way back. It does not know any bytes.

A form is a dict with a single key, the mark and a name: ``{"$sr:uuid": "…"}``. A dict with other than plain keys is
the form ``map``, a list of pairs; so is a user's dict with a key that begins with the mark, which escapes it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from streamresults.errors import PayloadNotDecodable
from streamresults.events.leaves import LIFT_LEAF

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Begins the key of every form.
MARK: Final = "$sr:"
#: A byte of it: looking for one byte takes a tenth of the time that looking for several takes.
MARK_BYTE: Final = ord("$")

#: Levels of nesting that are encoded where no setting says otherwise. More would let a value use up the stack of a
#: client that is itself called from deep code (a level costs up to three of Python's 1000 frames); fewer would refuse
#: real trees and documents.
DEPTH_MAX: Final = 100


def raw_depth(depth: int) -> int:
    """Return the levels on the wire: a ``map`` takes three for one, its dict, list and pair; a leaf's form two more."""
    return 3 * depth + 2


#: Form -> what is made of a list.
SEQUENCES: Final[dict[str, type[tuple[Any, ...] | set[Any] | frozenset[Any]]]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}

#: Members of a set, or keys of a map, that may share one hash. Values of honest data hardly ever do; integers beyond
#: 64 bits can be chosen to, and then every further one costs as much as all before it.
ALIKE_MAX: Final = 64

_ATOMS: Final = frozenset({str, int, float, bool, type(None), bytes})
_CONTAINERS: Final = frozenset({list, dict, tuple})


def lift(value: Any) -> object:
    """
    Turn every form inside a freshly decoded value back into what it stands for, changing lists and dicts in place.

    Raises:
        PayloadNotDecodable: A form is unknown, or stands beside other keys.
        Exception: Whatever a broken form makes a constructor raise.
    """
    kind = type(value)
    if kind is list:
        for index, item in enumerate(value):
            if type(item) not in _ATOMS:
                value[index] = lift(item)
    elif kind is dict:
        for key, item in value.items():
            if type(key) is str and key.startswith(MARK):
                return _lift_form(key, item, len(value))
            if type(item) not in _ATOMS:
                value[key] = lift(item)
    return value


def _lift_form(key: str, content: Any, size: int) -> object:
    name = key.removeprefix(MARK)
    if size == 1 and name in LIFT_LEAF:
        return LIFT_LEAF[name](content)
    if size != 1 or type(content) is not list:
        message = "a form is unknown, broken or stands beside other keys"
        raise PayloadNotDecodable(message)
    lift(content)
    if name == "tuple":
        return tuple(content)
    if name in SEQUENCES:
        _check_hashes(content)
        return SEQUENCES[name](content)
    if name == "map":
        pairs = list(_pairs(content))
        _check_hashes([key for key, _ in pairs])
        return dict(pairs)
    message = "a form is unknown; a newer release may have written it"
    raise PayloadNotDecodable(message)


def _check_hashes(members: list[Any]) -> None:
    """Refuse members that were chosen to collide, before a set is made of them."""
    if len(members) <= ALIKE_MAX:
        return
    if max(Counter(map(hash, members)).values()) > ALIKE_MAX:
        message = f"a form is broken: more than {ALIKE_MAX} of its members share one hash"
        raise PayloadNotDecodable(message)


def _pairs(content: list[Any]) -> Iterator[tuple[Any, Any]]:
    for pair in content:
        if type(pair) is not list:
            message = "a form is broken: map holds something other than pairs"
            raise PayloadNotDecodable(message)
        key, item = pair
        yield key, item


def nests_deeper(value: object, levels: int) -> bool:
    """Tell whether lists, dicts and tuples nest deeper than ``levels``, level by level and without recursion."""
    found: list[Any] = [value]
    for _ in range(levels + 1):
        level = [item for item in found if type(item) in _CONTAINERS]
        if not level:
            return False
        found = []
        for item in level:
            found += item  # of a dict its keys, which may be tuples
            if type(item) is dict:
                found += item.values()
    return True
