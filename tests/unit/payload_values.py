"""Values of all kinds that a payload can hold, and how two of them are compared."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, time, timedelta, timezone
from typing import Any

import pytest
from hypothesis import strategies as st

from streamresults.events.json_serializer import JsonSerializer
from streamresults.events.msgpack_serializer import MsgpackSerializer

JSON = JsonSerializer()
MSGPACK = MsgpackSerializer()
both = pytest.mark.parametrize("serializer", [JSON, MSGPACK], ids=lambda serializer: serializer.name)


def is_hashable(value: Any) -> bool:
    """Tell whether a value can be a key."""
    try:
        hash(value)
    except (TypeError, OverflowError):
        return False
    return True


def facts(value: Any) -> Any:
    """Describe a value so that equal descriptions mean equal values of equal types, NaN and -0.0 included."""
    if type(value) in (list, tuple):
        return type(value), [facts(item) for item in value]
    if type(value) in (set, frozenset):
        return type(value), sorted(map(repr, map(facts, value)))
    if type(value) is dict:
        return dict, [(facts(key), facts(item)) for key, item in value.items()]
    if type(value) in (datetime, time):
        return type(value), value.isoformat(), str(value.tzinfo), value.fold
    return type(value), repr(value)


BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
ZONES = st.sampled_from([None, UTC, BERLIN, zoneinfo.ZoneInfo("America/New_York"), timezone(timedelta(minutes=-91))])
FOLDS = st.sampled_from([0, 1])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**70), 2**70), st.floats(), TEXTS, st.binary(max_size=8),
    st.decimals(), st.uuids(), st.dates(), st.timedeltas(),
    st.builds(lambda at, zone, fold: at.replace(tzinfo=zone, fold=fold), st.datetimes(), ZONES, FOLDS),
    st.builds(lambda at, zone, fold: at.replace(tzinfo=zone, fold=fold), st.times(), ZONES, FOLDS),
)  # fmt: skip
#: A signaling NaN cannot be hashed, nor can an aware time at either end of the calendar.
HASHABLES = st.recursive(
    LEAVES.filter(is_hashable), lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=3
)
MARKED = st.sampled_from(["$sr:", "$sr:uuid", "$sr:tuple", "$sr:map", "$sr", "x"])
VALUES = st.recursive(
    LEAVES | MARKED,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(TEXTS, inner, max_size=4),
        st.dictionaries(MARKED, inner, max_size=3),
        st.dictionaries(HASHABLES, inner, max_size=3),
        st.sets(HASHABLES, max_size=3),
        st.frozensets(HASHABLES, max_size=3),
    ),
    max_leaves=12,
)


def nested(levels: int) -> Any:
    """Return a list in a list, so many levels deep."""
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value
