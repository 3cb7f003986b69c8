"""``streamresults tail``: follow the topic as it grows. It joins no group and commits nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from streamresults.cli.facts import FORGOTTEN, USUAL_LINE, event_facts, event_form, event_line
from streamresults.cli.options import Invocation, common_options, pass_invocation, word
from streamresults.cli.output import emit
from streamresults.cli.text import moment, printable
from streamresults.deadline import ANSWER, Deadline
from streamresults.errors import RecordError
from streamresults.topic.refused import RefusedRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.client.provenance import Decoding
    from streamresults.events.codec import Codec
    from streamresults.topic.base import TopicReader
    from streamresults.topic.records import Record, Watermarks
    from streamresults.wiring import Wiring

#: Seconds of one poll: how long Ctrl-C may take.
_POLL: Final = 0.5


@click.command("tail")
@click.option("--state", type=word, metavar="STATE", help="Only events of this state.")
@click.option("--task", type=word, metavar="NAME", help="Only events of tasks of this name.")
@click.option("--group", type=word, metavar="ID", help="Only events of tasks of this group, saved or not.")
@click.option("--from", "begin", type=click.Choice(["end", "earliest"]), default="end", show_default=True)
@click.option(
    "-f", "--format", "form", type=event_form, metavar="FORMAT", help=f"One line of each event. [default: {USUAL_LINE}]"
)
@click.option("--exit", "until_end", is_flag=True, help="Stop at the end that the topic has now.")
@common_options(hidden=True)
@pass_invocation
def command(
    invocation: Invocation,
    *,
    state: str | None,
    task: str | None,
    group: str | None,
    begin: str,
    form: str | None,
    until_end: bool,
) -> int:
    r"""
    Follow the topic.

    FORMAT: %i id, %n name, %s state, %r result or error, %p partition, %o offset, %T time, %% percent, \t, \n.
    """
    with invocation.wiring() as wiring:
        decoding = wiring.decoding()
        for record in _records(wiring, earliest=begin == "earliest", until_end=until_end):
            facts = _facts(record, wiring.codec(), decoding, group)
            if facts is None or (state or facts["state"]) != facts["state"] or (task or facts["name"]) != facts["name"]:
                continue
            if form is None and invocation.output != "table":
                emit(facts)
            else:
                click.echo(event_line(form or USUAL_LINE, facts))
    return 0


def _records(wiring: Wiring, *, earliest: bool, until_end: bool) -> Iterator[Record]:
    inspector = wiring.inspector()
    try:
        partitions = list(range(inspector.describe(Deadline(ANSWER)).partitions))
        marks = inspector.watermarks(partitions, Deadline(ANSWER))
    finally:
        inspector.close()
    reader = wiring.broker().reader(wiring.settings.topic, bulk=earliest)
    try:
        reader.assign({p: mark.low if earliest else mark.high for p, mark in marks.items()})
        left = {p: mark for p, mark in marks.items() if earliest and mark.high > mark.low}
        yield from _until(reader, left) if until_end else _for_ever(reader)
    finally:
        reader.close()


def _for_ever(reader: TopicReader) -> Iterator[Record]:
    while True:
        polled = reader.poll(_POLL)
        yield from polled.records
        if polled.out_of_range:
            click.echo(f"records were deleted before they were read: {dict(polled.out_of_range)}", err=True)


def _until(reader: TopicReader, left: dict[int, Watermarks]) -> Iterator[Record]:
    """Read up to the given ends: a record at the end or beyond, or the end itself, says that a partition is done."""
    while left:
        polled = reader.poll(_POLL)
        for record in polled.records:
            partition, offset = record.partition() or 0, record.offset() or 0
            if partition in left and offset < left[partition].high:
                yield record
            if partition in left and offset >= left[partition].high - 1:
                del left[partition]
        for partition, end in polled.ends.items():
            if partition in left and end >= left[partition].high:
                del left[partition]
        for partition in polled.out_of_range:
            left.pop(partition, None)


def _facts(record: Record, codec: Codec, decoding: Decoding, group: str | None) -> dict[str, Any] | None:
    """
    Return what a record says; ``None``, and a line on stderr, when it cannot be read.

    Args:
        group: ``None`` also for what is no event of a task of this group.
    """
    key, value = record.key(), record.value()
    place = {"partition": record.partition(), "offset": record.offset(), "appended_at": moment(record.timestamp()[1])}
    if isinstance(record, RefusedRecord):
        _say_unreadable(place, record.error)
        return None
    if value is None and group is not None:
        return None  # a tombstone does not say
    if value is None:
        task_id = key.decode(errors="replace") if isinstance(key, bytes) else ""
        return {"task_id": task_id, "state": FORGOTTEN, "name": None, "result": None, "error": None, **place}
    try:
        event = codec.decode(value if isinstance(value, bytes) else b"")
        if group is not None and (event.kind != "task" or event.group_id != group):
            return None
        return {**event_facts(event, decoding), **place}
    except RecordError as exc:
        _say_unreadable(place, exc)
        return None


def _say_unreadable(place: dict[str, Any], error: RecordError) -> None:
    where = f"partition {place['partition']} offset {place['offset']}"
    click.echo(printable(f"unreadable record at {where}: {type(error).__name__}: {error}"), err=True)
