"""What doctor says of signatures: what this process does, and what the newest records of the topic are like."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from streamresults.cli.text import printable
from streamresults.deadline import ANSWER, Deadline
from streamresults.errors import StreamResultsError
from streamresults.events.signatures import SIGNATURE, key_id_of
from streamresults.replay.scan import Progress, scan
from streamresults.topic.headers import read_headers
from streamresults.topic.refused import RefusedRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.events.codec import Codec
    from streamresults.events.signatures import Keyring
    from streamresults.topic.records import Record
    from streamresults.wiring import Wiring

#: Newest records of each partition that are looked at. More take longer, fewer miss a worker that publishes seldom.
_NEWEST: Final = 20
#: Workers that are named.
_WORKERS_MAX: Final = 5

Verdict = Literal["ok", "warn", "fail"]


class Seen(NamedTuple):
    """What the newest records are like."""

    records: int
    #: By the id of the key, how many name it; right or wrong.
    key_ids: Counter[str]
    #: By the reason, how many are refused here.
    refused: Counter[str]
    #: Who published what is not signed, as far as that says so itself.
    workers: Counter[str]


def examine(wiring: Wiring) -> tuple[Verdict, str, str]:
    """
    Return a verdict, what there is to say, and what mends it.

    Raises:
        TopicUnavailable: Kafka did not answer.
    """
    keyring, seen = wiring.keyring(), _seen(wiring)
    if keyring is None:
        if not seen.key_ids:
            return "ok", "off: records are neither signed nor checked", ""
        detail = (
            f"off here, and {seen.key_ids.total()} of the newest {seen.records} records are signed, with "
            f"{', '.join(sorted(seen.key_ids))}: whoever checks refuses what this process writes"
        )
        return "warn", detail, "set signing_keys and signing_key_id"
    here = _here(keyring)
    if not seen.refused:
        return "ok", f"{here}; all of the newest {seen.records} records are signed as they have to be", ""
    reasons = ", ".join(f"{why} {count}" for why, count in sorted(seen.refused.items()))
    detail = f"{here}; of the newest {seen.records} records {seen.refused.total()} are refused: {reasons}"
    if seen.workers:
        detail += f"; those without a signature say they are of {_named(seen.workers)}"
    return "warn", detail, "give these workers signing_keys and signing_key_id, or find out who writes to the topic"


def _here(keyring: Keyring) -> str:
    signs = f"signs with {keyring.sign_with}" if keyring.sign_with else "checks alone, and can publish nothing"
    retired = "".join(
        f", {key_id} up to {at:%Y-%m-%dT%H:%M:%S%z}" for key_id, at in sorted(keyring.rules.retired.items())
    )
    accepted = [key_id for key_id in keyring.key_ids if key_id not in keyring.rules.retired]
    return f"{signs}; accepts {', '.join(accepted)}{retired}"


def _named(workers: Counter[str]) -> str:
    named = ", ".join(printable(name[:80]) for name, _ in workers.most_common(_WORKERS_MAX))
    return f"{named} and others" if len(workers) > _WORKERS_MAX else named


def _seen(wiring: Wiring) -> Seen:
    seen = Seen(0, Counter(), Counter(), Counter())
    records = 0
    codec = wiring.codec()
    for record in _newest(wiring):
        records += 1
        original = record
        if isinstance(record, RefusedRecord):
            seen.refused[record.error.why] += 1
            original = record.original
            if record.error.why == "unsigned":
                seen.workers[_worker(original, codec)] += 1
        if key_id := _key_id(original):
            seen.key_ids[key_id] += 1
    return seen._replace(records=records)


def _newest(wiring: Wiring) -> Iterator[Record]:
    inspector = wiring.inspector()
    reader = wiring.broker().reader(wiring.settings.topic)
    try:
        partitions = list(range(inspector.describe(Deadline(ANSWER)).partitions))
        marks = inspector.watermarks(partitions, Deadline(ANSWER))
        ranges = [Progress(p, max(low, high - _NEWEST), high, low) for p, (low, high) in marks.items()]
        for _, record in scan(reader, inspector, ranges):
            yield record
    finally:
        reader.close()
        inspector.close()


def _worker(record: Record, codec: Codec) -> str:
    value = record.value()
    try:
        return codec.decode(value if isinstance(value, bytes) else b"").worker or "nobody"
    except StreamResultsError:
        return "nobody"


def _key_id(record: Record) -> str:
    return key_id_of(dict(read_headers(record) or ()).get(SIGNATURE))
