"""
The shortest way through the beginning of a record, written by hand for what every lookup reads.

Reading a head takes a fifth of the time that it takes through a schema, and reading a group's index a twentieth of
decoding the event. Whatever is not quite ordinary is left to the schema's way, which also finds the words for what is
wrong. Property tests hold both to fastavro.
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError  # noqa: N812 -- it is an exception, whatever struct calls it
from typing import Final

from streamresults.events.event import Payload, Prefix

#: Where the fields stand behind the header of ten bytes: kind, 16 bytes of event id, the length of the task id.
KIND, EVENT_ID, EVENT_ID_END, _ID = 10, 11, 27, 28
KINDS: Final = {0: "task", 2: "group"}
#: Lengths and numbers of one byte: what lies above takes the schema's way, where nothing else is said.
_ONE_BYTE: Final = 128
#: The first and the second member of a union: no body, and a body.
_UNION: Final = (0, 2)
#: The bits of a length's first byte that are not those of a short string: it goes on, or is negative.
LONG_OR_NEGATIVE: Final = 0x81
#: Bytes of a length, or of an index, that are looked at: up to 2**27, which is more than a record's.
_LENGTH_BYTES: Final = 4
#: Bytes behind the state that are looked at: its flag, an attempt of one byte, and six in which the expiry ends for
#: anything up to 68 years.
_TAIL: Final = 8
#: No exception and no traceback, when it happened, and when it began: a moment of our time takes 8 bytes.
_times: Final = Struct("<HQQ").unpack_from
#: Of 8 bytes the bits that say that a number goes on, and those of a moment.
_GOES_ON: Final = 0x8080_8080_8080_8080
_MOMENT: Final = 0x0080_8080_8080_8080
#: Names that repeat, such as states and content types, with what they say. Larger holds more in memory for ever.
_CACHE_MAX: Final = 2048

#: Of the bytes from a state to the expiry: state, flag, attempt, expiry, and how many of these bytes that took.
_Middle = tuple[str, bool, int, int, int]
_middles: Final[dict[bytes, _Middle]] = {}
_names: Final[dict[bytes, str]] = {}

#: The bytes from a state to the first one of the body's union, with what they say: state to expiry, content type, and
#: whether there is a body.
_Start = tuple[bytes, _Middle, str, bool]
#: That of the record that was read last: most of those that are read together are alike so far, and comparing takes a
#: fifth of reading. The first one is that of an event of which nothing is said but its state.
_last: Final[list[_Start]] = [(b"\2S\0\0\0\0\0\0", ("S", False, 0, 0, 5), "", False)]

#: A record's task id, what it says from its state to the body's union, its payload, and where its next field begins.
_Fields = tuple[str, _Start, Payload, int]


def read_head(header: bytes, value: bytes) -> tuple[Prefix, Payload, int] | None:
    """
    Return prefix and payload of a record, and where its next field begins; ``None`` where the schema has to be asked.

    Args:
        header: What a record of the version begins with that is written.
    """
    found = read_fields(header, value)
    if found is None:
        return None
    task_id, (_, middle, _, _), payload, behind = found
    state, terminal, attempt, expires, _ = middle
    prefix = Prefix(
        kind=KINDS[value[KIND]],
        event_id=value[EVENT_ID:EVENT_ID_END],
        task_id=task_id,
        state=state,
        terminal=terminal,
        attempt=attempt,
        expires_after_ms=expires,
    )
    return prefix, payload, behind


def read_payload(header: bytes, value: bytes) -> tuple[Payload, int] | None:
    """Do the same without the prefix; there is none where that is broken."""
    found = read_fields(header, value)
    return None if found is None else found[2:]


def read_fields(header: bytes, value: bytes) -> _Fields | None:
    """Do the same with the fields as they stand; kind and event id have their fixed places, and are sound."""
    try:
        length = value[EVENT_ID_END]
        if not value.startswith(header) or length & LONG_OR_NEGATIVE or value[KIND] not in KINDS:
            return None
        state_at = _ID + (length >> 1)
        task_id = value[_ID:state_at].decode()
        start = _last[0]
        if not value.startswith(start[0], state_at):
            start = _start_of(value, state_at)
        alike, _, content_type, has_body = start
        at, body = state_at + len(alike), None
        if has_body:
            length, at = read_length(value, at)
            body, at = value[at : at + length], at + length
        if value[at] or value[at + 1] or length < 0:
            return None  # kept outside of the log, encrypted, or broken
        return task_id, start, Payload(content_type=content_type, body=body), at + 2
    except (IndexError, UnicodeDecodeError):
        return None  # broken or not ordinary: the schema's way says which


def _start_of(value: bytes, state_at: int) -> _Start:
    """
    Read from the state to the first byte of the body's union.

    Raises:
        IndexError, UnicodeDecodeError: It is broken, or not ordinary.
    """
    behind = state_at + 1 + (value[state_at] >> 1)
    tail = value[state_at : behind + _TAIL]
    middle = _middles.get(tail) or _read_middle(tail, behind - state_at)
    content_type, end = read_name(value, state_at + middle[-1])
    if value[end] or value[end + 1] not in _UNION:
        raise IndexError  # compressed, or broken
    start = _last[0] = value[state_at : end + 2], middle, content_type, value[end + 1] != 0
    return start


def _read_middle(data: bytes, behind: int) -> _Middle:
    """Read state, flag, attempt and expiry; the flag stands at ``behind``. Raises as :func:`_start_of` does."""
    if data[0] & LONG_OR_NEGATIVE or behind <= 1 or data[behind] > 1 or data[behind + 1] >= _ONE_BYTE:
        raise IndexError
    found = read_long(data, behind + 2, len(data) - behind - 2)
    if found is None or found[0] < 0:
        raise IndexError
    attempt = data[behind + 1]
    middle = data[1:behind].decode(), data[behind] == 1, (attempt >> 1) ^ -(attempt & 1), *found
    if len(_middles) < _CACHE_MAX:
        _middles[data] = middle
    return middle


def read_name(value: bytes, at: int) -> tuple[str, int]:
    """
    Return a string that repeats, and where the next field begins.

    Raises:
        IndexError: It is a long one, or broken.
        UnicodeDecodeError: It is no string.
    """
    if not value[at]:
        return "", at + 1
    end = at + 1 + (value[at] >> 1)
    return _names.get(value[at:end]) or _name(value, at, end), end


def _name(value: bytes, at: int, end: int) -> str:
    """Read a short string that repeats, and keep it."""
    raw = value[at:end]
    if raw[0] & LONG_OR_NEGATIVE or len(raw) < end - at:
        raise IndexError
    found = raw[1:].decode()
    if len(_names) < _CACHE_MAX:
        _names[raw] = found
    return found


def read_group(value: bytes, at: int) -> tuple[bytes, int] | None:
    """
    Return the group that an event says it belongs to, as the bytes of its id, and the event's index there.

    ``None`` where the schema has to be asked. What stands behind the index is not looked at.

    Args:
        at: Where the field behind the head begins, as :func:`read_head` says.
    """
    try:
        traced, occurred, started = _times(value, at)
        if traced or occurred & _GOES_ON != _MOMENT:
            return None  # an exception, a traceback, or another time
        if started & _GOES_ON == _MOMENT:
            at += 26  # and how long it took
        elif not started & 0xFF:  # nobody knows when it began
            at += 19
        else:
            return None
        parent = value[at]
        at += 1 + (parent >> 1)
        root = value[at]
        at += 1 + (root >> 1)
        length = value[at]
        end = at + 1 + (length >> 1)
        if (parent | root | length) & LONG_OR_NEGATIVE:
            return None
        index = _index(value, end)
        return None if index is None else (value[at + 1 : end], index)
    except (IndexError, StructError):
        return None


def _index(value: bytes, at: int) -> int | None:
    """Return a number, the sooner the smaller it is: few groups have more than 8191 members."""
    low, high = value[at], value[at + 1]
    if low < _ONE_BYTE:
        return (low >> 1) ^ -(low & 1)
    if high < _ONE_BYTE:
        return ((low & 127 | high << 7) >> 1) ^ -(low & 1)
    found = read_long(value, at, _LENGTH_BYTES)
    return None if found is None else found[0]


def read_length(value: bytes, at: int) -> tuple[int, int]:
    """Return a length, negative for what is none, and where the next field begins; raises IndexError at the end."""
    low = value[at]
    if low < _ONE_BYTE:
        return (low >> 1) ^ -(low & 1), at + 1
    high = value[at + 1]
    if high < _ONE_BYTE:
        return -1 if low & 1 else (low & 127 | high << 7) >> 1, at + 2
    return read_long(value, at, _LENGTH_BYTES) or (-1, at)


def read_long(value: bytes, at: int, most: int) -> tuple[int, int] | None:
    """Return a number of at most so many bytes, and where the next field begins; raises IndexError at the end."""
    found = shift = 0
    for place in range(at, at + most):
        byte = value[place]
        found |= (byte & 127) << shift
        if byte < _ONE_BYTE:
            return (found >> 1) ^ -(found & 1), place + 1
        shift += 7
    return None
