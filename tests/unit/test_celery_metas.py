"""Events as Celery's metas: the text of ``date_done``, which is made of seconds that are kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest

from streamresults.celery.metas import Metas
from streamresults.events.event import Event

#: The second in which New York puts its clocks back, and Lord Howe Island its own by half an hour.
CHANGES = (1_793_512_800, 1_775_314_800)


class Unhashable(tzinfo):
    """What dateutil's timezones are like."""

    __hash__ = None  # type: ignore[assignment] # so it is there

    def utcoffset(self, _: datetime | None) -> timedelta:
        return timedelta(hours=2)

    def dst(self, _: datetime | None) -> timedelta:
        return timedelta(0)

    def tzname(self, _: datetime | None) -> str:
        return "two hours"


def metas_in(zone: tzinfo) -> Metas:
    """Return what makes metas of an application in a timezone."""
    return Metas({"application/json"}, zone, revive=lambda _: ValueError(), exception_of=lambda value: value)


@pytest.mark.parametrize(
    "zone",
    [
        UTC,
        ZoneInfo("UTC"),
        ZoneInfo("America/New_York"),
        ZoneInfo("Australia/Lord_Howe"),
        timezone(-timedelta(minutes=17, seconds=30)),
        pytest.param(Unhashable(), id="unhashable"),
    ],
    ids=str,
)
def test_the_time_of_an_end_is_what_datetime_writes(zone: tzinfo) -> None:
    """In every timezone, on both sides of a change of its clocks, with and without a fraction, also the second time."""
    metas = metas_in(zone)
    microseconds = [1, 0, 999_999, 123_456]
    moments = [
        (second + beside) * 1_000_000 + fraction
        for second in (*CHANGES, 0, 1_800_000_000)
        for beside in (-1, 0, 1)
        for fraction in microseconds
    ]

    for moment in moments * 2:
        meta = metas.of_event(Event(task_id="t", state="SUCCESS", occurred_at_us=moment))

        expected = datetime.fromtimestamp(0, tz=UTC) + timedelta(microseconds=moment)
        assert meta["date_done"] == expected.astimezone(zone).isoformat()


def test_every_meta_has_children_of_its_own() -> None:
    """Celery puts its results into them."""
    metas = metas_in(UTC)
    event = Event(task_id="t", state="SUCCESS")
    metas.of_event(event)["children"].append("x")

    assert metas.of_event(event)["children"] == []
