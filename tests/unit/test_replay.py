"""
The words of a replay's bounds, and what a scan does when the log changes under it.

We test these aspects: every accepted form and its offsets, both ends in one, refusals that say what is accepted; gaps
and ends without records; retention and loss while reading; what a comparison makes of every kind of value.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamresults.deadline import Deadline
from streamresults.errors import ConfigurationError, TopicUnavailable
from streamresults.events.fold import NEVER, NONE, Best, Summary
from streamresults.replay.bounds import ACCEPTED, offsets_of, parse_bound, parse_range, partitions_of
from streamresults.replay.comparing import Found, Outcome, outcome_of
from streamresults.replay.scan import Progress, scan
from streamresults.store.base import Mark
from streamresults.topic.memory import MemoryBroker

if TYPE_CHECKING:
    from streamresults.topic.base import TopicInspector

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
OFFSETS: Final = st.integers(0, 2**63 - 1)
MOMENTS: Final = st.datetimes(
    min_value=datetime(1, 1, 2),  # noqa: DTZ001 -- the zone is drawn beside it
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


# -- words ------------------------------------------------------------------------------------------------------


@given(OFFSETS)
def test_a_number_is_an_offset_of_every_partition(offset: int) -> None:
    """Any offset that a partition can have is read as it is."""
    bound = parse_bound(f" {offset} ")

    assert ("offset", offset) == (bound.kind, bound.offset)


@given(st.dictionaries(st.integers(0, 10**6), OFFSETS, min_size=1, max_size=5))
def test_offsets_by_partition_are_read(offsets: dict[int, int]) -> None:
    """One or more pairs name the partitions that are read."""
    bound = parse_bound(",".join(f"{partition}:{offset}" for partition, offset in offsets.items()))

    assert ("partitions", offsets) == (bound.kind, bound.offsets)


@given(MOMENTS, st.sampled_from(["", "@"]))
def test_a_time_is_its_first_whole_millisecond(moment: datetime, at: str) -> None:
    """A time in any zone is the first millisecond that is not before it, with or without the sign that rpk puts."""
    bound = parse_bound(at + moment.isoformat())

    assert bound.kind == "time"
    passed = timedelta(milliseconds=bound.milliseconds) - (moment - EPOCH)
    assert timedelta(0) <= passed < timedelta(milliseconds=1)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(["d", "h", "m", "s", "ms"])), min_size=1, max_size=4))
def test_times_ago_add_up(parts: list[tuple[int, str]]) -> None:
    """Every unit counts, in any order and number."""
    units = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
    bound = parse_bound("@-" + "".join(f"{count}{unit}" for count, unit in parts))

    assert ("ago", sum(count * units[unit] for count, unit in parts)) == (bound.kind, bound.milliseconds)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("@2026-02-14", datetime(2026, 2, 14, tzinfo=UTC)),
        ("2026-02-14", datetime(2026, 2, 14, tzinfo=UTC)),
        ("2026-02-14t10:00z", datetime(2026, 2, 14, 10, tzinfo=UTC)),
        ("2026-02-14 10:00:00+02:00", datetime(2026, 2, 14, 8, tzinfo=UTC)),
        ("2026-02-14T10:00:00.123456789Z", datetime(2026, 2, 14, 10, 0, 0, 124_000, tzinfo=UTC)),
        ("@1771027200000", datetime(2026, 2, 14, tzinfo=UTC)),
    ],
)
def test_times_as_people_write_them(text: str, moment: datetime) -> None:
    """A date is midnight UTC; small letters, a space, nanoseconds and rpk's milliseconds are read."""
    assert (moment - EPOCH) // timedelta(milliseconds=1) == parse_bound(text).milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "latest",
        "-5",
        "1.5",
        "12:",
        "0:1,0:2",
        "@48h",
        "@-48",
        "@-48x",
        "2026-02-14T10:00:00",
        "2026-02-30",
        "2026-W07-6",
        "٣",
        str(2**63),
        "9" * 5000,
        "0:" + str(2**63),
        "@2026-02-14T25:00:00Z",
        "0000-01-01",
        "@-48h:later",
    ],
)
def test_a_refusal_says_what_is_accepted(text: str) -> None:
    """Anything else is refused with the text, and with everything that would have been taken."""
    with pytest.raises(ConfigurationError) as caught:
        parse_range(text)

    assert repr(text) in str(caught.value)
    assert ACCEPTED in str(caught.value)


@given(st.text(max_size=30))
def test_no_text_breaks_the_parser(text: str) -> None:
    """Whatever is typed is a bound or a refusal."""
    try:
        first, last = parse_range(text)
    except ConfigurationError:
        return
    assert first.text
    assert last.text


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        ("@-48h:-24h", "@-48h", "@-24h"),
        ("@-48h:@-24h", "@-48h", "@-24h"),
        ("@-24h:end", "@-24h", "end"),
        ("@2026-02-14:2026-02-15", "@2026-02-14", "@2026-02-15"),
        ("@2026-02-14T10:00:00Z:2026-02-14T11:30:00+01:00", "@2026-02-14T10:00:00Z", "@2026-02-14T11:30:00+01:00"),
        ("@2026-02-14T10:00:00+05:30", "@2026-02-14T10:00:00+05:30", "end"),
    ],
)
def test_both_ends_in_one_text(text: str, begin: str, end: str) -> None:
    """The colon between two times is found among the colons inside them."""
    assert (parse_bound(begin), parse_bound(end)) == parse_range(text)


@pytest.mark.parametrize(
    ("begin", "end"),
    [("9", "8"), ("@-1h", "@-2h"), ("2026-02-15", "2026-02-14"), ("0:5,1:5", "0:9,1:4"), ("@-2h:-1h", "5")],
)
def test_a_range_that_contradicts_itself_is_refused(begin: str, end: str) -> None:
    """A range that ends before it begins, or has two ends, is a mistake and not an empty answer."""
    with pytest.raises(ConfigurationError):
        parse_range(begin, end)


def test_named_partitions_are_the_ones_read() -> None:
    """Both ends choose; a partition that is not there is refused, and so is nothing in common."""
    everything, some, other = parse_bound("end"), parse_bound("1:5,2:5"), parse_bound("2:9,3:9")

    assert [0, 1, 2, 3] == partitions_of(everything, everything, range(4))
    assert [2] == partitions_of(some, other, range(4))
    with pytest.raises(ConfigurationError, match="names partition 3; what is read has 0 to 2"):
        partitions_of(other, everything, range(3))
    with pytest.raises(ConfigurationError, match="in common"):
        partitions_of(parse_bound("0:1"), parse_bound("1:9"), range(4))


# -- a log that changes -----------------------------------------------------------------------------------------


class _Log:
    """One partition in memory, and a scan of it."""

    def __init__(self, records: int) -> None:
        self.now = 1000.0
        self.broker = MemoryBroker({"t": 1}, clock=lambda: self.now)
        self.inspector: TopicInspector = self.broker.inspector("t")
        self.append(records)

    def append(self, records: int) -> None:
        """Append records, one second apart."""
        writer = self.broker.writer("t")
        for _ in range(records):
            self.now += 1
            writer.produce(b"k", b"v", None)
            writer.flush(Deadline(5))
        writer.close(Deadline(5))

    def offsets(self, bound: str, now_ms: int = 0) -> int:
        """Return the offset that a bound means."""
        marks = self.inspector.watermarks([0], Deadline(5))
        return offsets_of(parse_bound(bound), marks, self.inspector, now_ms, Deadline(5))[0]


def test_bounds_are_resolved_to_offsets() -> None:
    """Words, numbers and times become the offsets that the log gives them, before 1970 included."""
    log = _Log(10)
    log.broker.trim("t", 0, 2)

    assert (2, 10, 7, 5) == tuple(log.offsets(text) for text in ("earliest", "end", "7", "0:5"))
    assert 4 == log.offsets("1970-01-01T00:16:45Z")
    assert 7 == log.offsets("@-2s", now_ms=1_010_000)
    assert 10 == log.offsets("2200-01-01")
    assert 2 == log.offsets("@-400d", now_ms=1_010_000)
    assert 2 == log.offsets("1901-01-01")


def test_a_range_ends_at_a_gap() -> None:
    """Offsets without records at the end of a range do not keep a scan waiting; at the log's end, see integration."""
    log = _Log(3)
    log.broker.skip_offsets("t", 0, 4)
    log.append(2)
    half = Progress(0, 1, 6, 0)
    assert [1, 2] == [r.offset() for _, r in scan(log.broker.reader("t"), log.inspector, [half])]

    assert (6, 3, True) == (half.covered().end, half.covered().missing, half.covered().finished)


def test_a_range_ends_without_asking_for_more() -> None:
    """The first record beyond a range ends it, wherever it stands: a log that grows for ever has no end to wait for."""
    log = _Log(2)
    log.broker.skip_offsets("t", 0, 4)
    log.append(1500)
    found = scan(log.broker.reader("t"), log.inspector, [Progress(0, 0, 4, 0)])
    next(found)
    log.broker.fail("away")

    assert [1] == [record.offset() for _, record in found]


def test_retention_before_the_first_record_moves_the_beginning() -> None:
    """What was taken between fixing the range and reading it is said, and is not counted as read."""
    log = _Log(10)
    progress = Progress(0, 2, 10, 0)
    log.broker.trim("t", 0, 6)
    assert [6, 7, 8, 9] == [r.offset() for _, r in scan(log.broker.reader("t"), log.inspector, [progress])]

    covered = progress.covered()
    assert (6, 10, 0, 6) == (covered.begin, covered.end, covered.missing, covered.low)
    assert "retention took [2, 6)" in covered.note


def test_retention_of_the_whole_range_ends_it() -> None:
    """A range that is gone altogether ends at once, covering nothing."""
    log = _Log(10)
    progress = Progress(0, 2, 5, 0)
    log.broker.trim("t", 0, 8)
    assert [] == list(scan(log.broker.reader("t"), log.inspector, [progress]))

    covered = progress.covered()
    assert (5, 5, 0, True) == (covered.begin, covered.end, covered.records, covered.finished)
    assert "retention took [2, 5)" in covered.note


def test_retention_in_the_middle_is_a_hole() -> None:
    """What is taken behind the reader's back is counted as missing, and said."""
    log = _Log(2500)
    progress = Progress(0, 0, 2500, 0)
    seen = 0
    for _, record in scan(log.broker.reader("t"), log.inspector, [progress]):
        seen += 1
        if record.offset() == 0:
            log.broker.trim("t", 0, 2000)

    covered = progress.covered()
    assert (1500, 0, 2500, 1000, 1) == (seen, covered.begin, covered.end, covered.missing, progress.cuts)
    assert "retention took [1000, 2000)" in covered.note


def test_a_log_that_lost_records_is_said_to_have() -> None:
    """An end that moved down ends the scan there, unfinished."""
    log = _Log(3)
    progress = Progress(0, 0, 5, 0)
    assert 3 == len(list(scan(log.broker.reader("t"), log.inspector, [progress])))

    covered = progress.covered()
    assert (3, False) == (covered.end, covered.finished)
    assert "acknowledged records were lost" in covered.note


def test_kafka_going_away_ends_a_scan() -> None:
    """An outage is an error, not an end."""
    log = _Log(1500)
    found = scan(log.broker.reader("t"), log.inspector, [Progress(0, 0, 1500, 0)])
    next(found)
    log.broker.fail("away")

    with pytest.raises(TopicUnavailable, match="away"):
        list(found)


# -- one comparison ---------------------------------------------------------------------------------------------

NOW: Final = 1_000_000
MARK: Final = Mark(offset=12, reason="r", place="p", keep_until_ms=NEVER)


def _best(offset: int, rank: int = 3, value: bytes | None = b"v", expires: int = NEVER) -> Best:
    return Best(rank, offset, 500, expires, value)


def _summary(best: Best | None, last: int, floor: int = NONE, keep: int = NEVER) -> Summary:
    return Summary(floor, best, 10, last, keep)


@pytest.mark.parametrize(
    ("expected", "stored", "outcome"),
    [
        (_summary(_best(12), 14), _summary(_best(12), 14), Outcome.MATCHED),
        (_summary(_best(12), 14), _summary(_best(12, value=b"w"), 14), Outcome.DIFFERING),
        (_summary(_best(12), 14), _summary(_best(12, rank=4), 14), Outcome.DIFFERING),
        (_summary(_best(12), 14), _summary(_best(13), 14), Outcome.DIFFERING),
        (_summary(_best(12), 14), _summary(_best(12), 13), Outcome.DIFFERING),
        (_summary(_best(12), 14), None, Outcome.MISSING),
        (_summary(_best(12, expires=NOW), 14), None, Outcome.EXPIRED),
        (_summary(None, 14, floor=14, keep=NOW), None, Outcome.EXPIRED),
        (_summary(None, 14, floor=14), None, Outcome.MISSING),
        (_summary(None, 14, floor=14), _summary(None, 14, floor=14), Outcome.MATCHED),
        (_summary(None, 14, floor=14), _summary(_best(12), 14, floor=14), Outcome.DIFFERING),
        (_summary(_best(12), 14), _summary(None, 14, floor=14), Outcome.DIFFERING),
        (_summary(_best(12), 14), _summary(_best(9, rank=4), 14), Outcome.OLDER),
        (_summary(_best(12), 14), _summary(_best(9, rank=2), 14), Outcome.DIFFERING),
        (_summary(_best(14), 14, floor=11), _summary(_best(9, rank=4), 14), Outcome.DIFFERING),
    ],
)
def test_what_a_comparison_says(expected: Summary, stored: Summary | None, outcome: Outcome) -> None:
    """Every kind of agreement and disagreement, where the log was folded from offset 10 on."""
    assert outcome is outcome_of(expected, Found(stored, inline=True, mark=None, now_ms=NOW), 10)


def test_a_value_left_in_the_log_is_compared_by_place() -> None:
    """Where the view keeps the header alone, the bytes are nobody's difference."""
    found = Found(_summary(_best(12, value=None), 12), inline=False, mark=None, now_ms=NOW)

    assert Outcome.MATCHED is outcome_of(_summary(_best(12), 12), found, 10)


def test_a_former_dead_letter_is_skipped() -> None:
    """A record that can be read now, and could not be when it was folded, is not the view's fault; others are."""
    found = Found(None, inline=False, mark=MARK, now_ms=NOW)

    assert Outcome.DEAD_LETTERED is outcome_of(_summary(_best(12), 14), found, 10)
    assert Outcome.MISSING is outcome_of(_summary(_best(13), 14), found, 10)
