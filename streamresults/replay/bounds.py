"""The words for where a replay begins and ends, and the offsets that they mean. Reads no record."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, NoReturn

import msgspec

from streamresults.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamresults.deadline import Deadline
    from streamresults.topic.base import TopicInspector
    from streamresults.topic.records import Watermarks

#: What every refusal names.
ACCEPTED: Final = (
    "earliest, end, an offset of every partition (1234), offsets by partition (0:1234 or 0:12,3:40), "
    "a time with its zone (2026-02-14T10:00:00Z, @2026-02-14) or a time ago (@-48h, @-1h30m; d h m s ms)"
)

_OFFSET_MAX: Final = 2**63 - 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_UNITS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

_DATE: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK: Final = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?"
_OFFSET: Final = re.compile(r"[0-9]+")
_BY_PARTITION: Final = re.compile(r"[0-9]+:[0-9]+(,[0-9]+:[0-9]+)*")
_TIME: Final = re.compile(rf"(?P<date>{_DATE})([Tt ](?P<clock>{_CLOCK})(?P<zone>[Zz]|[+-][0-9]{{2}}:[0-9]{{2}}))?")
#: As many digits as milliseconds since 1970 have had since 2001, and rpk takes.
_MILLISECONDS: Final = re.compile(r"[0-9]{13}")
_AGO: Final = re.compile(r"-(([0-9]+(ms|[dhms]))+)")
_PART_OF_AGO: Final = re.compile(r"([0-9]+)(ms|[dhms])")


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """One end of a range, as it was said."""

    text: str
    kind: Literal["earliest", "end", "offset", "partitions", "time", "ago"]
    #: For every partition.
    offset: int = 0
    #: By partition: partitions that are not named are not read.
    offsets: dict[int, int] = msgspec.field(default_factory=dict)
    #: Since 1970, or before now.
    milliseconds: int = 0


def parse_bound(text: str) -> Bound:
    """
    Read one end of a range.

    Raises:
        ConfigurationError: The text is none; the message names what is accepted.
    """
    said = text.strip()
    if said in ("earliest", "end"):
        return Bound(text=said, kind="earliest" if said == "earliest" else "end")
    if _OFFSET.fullmatch(said):
        return Bound(text=said, kind="offset", offset=_number(said, text))
    if _BY_PARTITION.fullmatch(said):
        pairs = [pair.split(":") for pair in said.split(",")]
        offsets = {_number(partition, text): _number(offset, text) for partition, offset in pairs}
        if len(offsets) < len(pairs):
            _refuse(text, "a partition is named twice")
        return Bound(text=said, kind="partitions", offsets=offsets)
    ago = _AGO.fullmatch(said[1:]) if said.startswith("@") else None
    if ago:
        milliseconds = sum(int(count) * _UNITS[unit] for count, unit in _PART_OF_AGO.findall(ago[1]))
        return Bound(text=said, kind="ago", milliseconds=milliseconds)
    return Bound(text=said, kind="time", milliseconds=_time(said, text))


def _number(digits: str, text: str) -> int:
    # The length first: Python refuses to read very long numbers at all.
    if len(digits) > len(str(_OFFSET_MAX)) or int(digits) > _OFFSET_MAX:
        _refuse(text, "no partition has such an offset")
    return int(digits)


def _time(said: str, text: str) -> int:
    """Return the first millisecond at or after a time: offsets are looked up by whole ones."""
    instant = said.removeprefix("@")
    if said != instant and _MILLISECONDS.fullmatch(instant):
        return int(instant)
    found = _TIME.fullmatch(instant)
    if not found:
        _refuse(text, "")
    clock, zone = found["clock"] or "00:00", (found["zone"] or "Z").upper()
    try:
        moment = datetime.fromisoformat(f"{found['date']}T{clock}{zone}")
        return -((_EPOCH - moment) // _MILLISECOND)
    except (ValueError, OverflowError) as exc:
        _refuse(text, str(exc))


def _refuse(text: str, why: str) -> NoReturn:
    msg = f"{text!r} is no bound of a replay{': ' + why if why else ''}. Accepted: {ACCEPTED}"
    raise ConfigurationError(msg)


def parse_range(begin: str, end: str = "end") -> tuple[Bound, Bound]:
    """
    Read both ends of a range; ``@-48h:-24h`` as the begin is both ends in one, as rpk writes them.

    Raises:
        ConfigurationError: One of them is none, or the range ends before it begins.
    """
    both = _both(begin.strip())
    if both is not None and end != "end":
        msg = f"{begin!r} names an end and so does {end!r}: leave one out"
        raise ConfigurationError(msg)
    first, last = both or (parse_bound(begin), parse_bound(end))
    if _is_reversed(first, last):
        msg = f"the range ends before it begins: {first.text!r} to {last.text!r}"
        raise ConfigurationError(msg)
    return first, last


def _both(begin: str) -> tuple[Bound, Bound] | None:
    """Split at the colon that leaves a bound on both sides; times have colons of their own."""
    if not begin.startswith("@") or _parsed(begin) is not None:
        return None
    for at in (found.start() for found in re.finditer(":", begin)):
        last = begin[at + 1 :].strip()
        first, second = _parsed(begin[:at]), _parsed(last if last == "end" else "@" + last.removeprefix("@"))
        if first is not None and second is not None:
            return first, second
    return None


def _parsed(text: str) -> Bound | None:
    try:
        return parse_bound(text)
    except ConfigurationError:
        return None


def _is_reversed(first: Bound, last: Bound) -> bool:
    if first.kind != last.kind:
        return False
    if first.kind == "partitions":
        return any(offset > last.offsets.get(partition, offset) for partition, offset in first.offsets.items())
    if first.kind == "ago":
        return first.milliseconds < last.milliseconds
    return (first.offset, first.milliseconds) > (last.offset, last.milliseconds)


def partitions_of(first: Bound, last: Bound, partitions: Sequence[int]) -> list[int]:
    """
    Return the partitions that a range reads: those that both of its ends name, where an end names any.

    Raises:
        ConfigurationError: One of them is not the topic's, or none is left.
    """
    chosen = list(partitions)
    for bound in (first, last):
        if bound.kind == "partitions":
            strange = sorted(bound.offsets.keys() - set(partitions))
            if strange:
                msg = f"{bound.text!r} names partition {strange[0]}; what is read has {_listed(partitions)}"
                raise ConfigurationError(msg)
            chosen = [partition for partition in chosen if partition in bound.offsets]
    if not chosen:
        msg = f"{first.text!r} and {last.text!r} have no partition in common"
        raise ConfigurationError(msg)
    return chosen


def _listed(partitions: Sequence[int]) -> str:
    return f"{partitions[0]} to {partitions[-1]}" if len(partitions) > 1 else f"{partitions[0]} alone"


def offsets_of(
    bound: Bound,
    marks: Mapping[int, Watermarks],
    inspector: TopicInspector,
    now_ms: int,
    deadline: Deadline,
) -> dict[int, int]:
    """
    Return the offset that a bound means in each partition, as it was asked for: the log may hold less.

    Args:
        marks: What each partition held when the range was fixed.

    Raises:
        TopicUnavailable: A time was asked for and Kafka did not answer.
    """
    if bound.kind == "earliest":
        return {partition: low for partition, (low, _) in marks.items()}
    if bound.kind == "end":
        return {partition: high for partition, (_, high) in marks.items()}
    if bound.kind == "offset":
        return dict.fromkeys(marks, bound.offset)
    if bound.kind == "partitions":
        return {partition: bound.offsets[partition] for partition in marks}
    moment = now_ms - bound.milliseconds if bound.kind == "ago" else bound.milliseconds
    # Kafka takes negative times for something else; nothing was appended before 1970.
    return inspector.offsets_at(list(marks), max(0, moment), deadline)
