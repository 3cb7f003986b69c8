"""What an event's numbers and its state may be: a writer refuses what no reader could take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from streamresults.events.event import Event

#: Longest state. A state is a word that people type and that every tool prints; smaller would refuse real ones.
STATE_MAX: Final = 128
_INT_MIN: Final = -(2**31)
_INT_MAX: Final = 2**31 - 1
#: What timestamp-micros can say to a reader that makes dates of it: the years 1 to 9999.
_MICROSECONDS_MIN: Final = -62_135_596_800_000_000
_MICROSECONDS_MAX: Final = 253_402_300_799_999_999


def check_ranges(event: Event) -> None:
    """
    Refuse what fastavro writes without a word and a reader then cannot take.

    Raises:
        ValueError: Names the field, what it holds and what it may hold.
    """
    if not 0 < len(event.state) <= STATE_MAX:
        msg = f"state has {len(event.state)} characters, of 1 to {STATE_MAX}"
        raise ValueError(msg)
    if event.expires_after_ms < 0:
        msg = f"expires_after_ms is {event.expires_after_ms}, less than 0"
        raise ValueError(msg)
    if not (
        _INT_MIN <= event.attempt <= _INT_MAX
        and _INT_MIN <= event.group_index <= _INT_MAX
        and _INT_MIN <= event.chord_size <= _INT_MAX
        and _INT_MIN <= event.retries <= _INT_MAX
        and _MICROSECONDS_MIN <= event.occurred_at_us <= _MICROSECONDS_MAX
        and _MICROSECONDS_MIN <= event.started_at_us <= _MICROSECONDS_MAX
    ):
        _refuse_number(event)
    if not event.exception:
        return
    for number, node in enumerate(event.exception):
        for index in (node.cause, node.context, *node.members, *(frame.line for frame in node.frames)):
            _check_range(f"a number in exception[{number}]", index, _INT_MIN, _INT_MAX)


def _refuse_number(event: Event) -> None:
    """Say which number is out of its range."""
    for name in ("attempt", "group_index", "chord_size", "retries"):
        _check_range(name, getattr(event, name), _INT_MIN, _INT_MAX)
    for name in ("occurred_at_us", "started_at_us"):
        _check_range(name, getattr(event, name), _MICROSECONDS_MIN, _MICROSECONDS_MAX)


def _check_range(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        msg = f"{name} is {value}, not in {least} to {most}"
        raise ValueError(msg)
