"""``streamresults init``: create the three topics as the guarantees need them; what exists is compared, not changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from streamresults.cli.options import Invocation, common_options, duration, pass_invocation
from streamresults.cli.output import Column, emit_rows
from streamresults.deadline import Deadline
from streamresults.topic.contract import differences, least_retention, mend, wanted_topics

if TYPE_CHECKING:
    from streamresults.topic.contract import Difference
    from streamresults.topic.records import TopicSettings

#: Seconds for creating the topics and electing their leaders.
_CREATE: Final = 30.0
_PARTITIONS: Final = 12
_COLUMNS: Final = (
    Column("topic", "TOPIC"),
    Column("did", "WHAT"),
    Column("partitions", "PARTITIONS", right=True),
    Column("replication", "REPLICATION", right=True),
    Column("settings", "SETTINGS"),
)


@click.command("init")
@click.option("--partitions", type=click.IntRange(1, 4096), default=_PARTITIONS, show_default=True, metavar="N")
@click.option("--replication", type=click.IntRange(1, 9), metavar="N", help="[default: 3 where there are 3 brokers]")
@click.option("--retention", type=duration, metavar="DURATION", help="[default: the longest expiry and one day]")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@common_options(hidden=True)
@pass_invocation
def command(
    invocation: Invocation, *, partitions: int, replication: int | None, retention: float | None, dry_run: bool
) -> int:
    """
    Create the topic, its schemas topic and its dead-letter topic.

    A topic that exists is left as it is; what differs from the contract is said, with the command that mends it.
    """
    with invocation.wiring() as wiring:
        least = least_retention(wiring.settings)
        if retention is not None and retention < least:
            msg = f"results may be kept for the longest expiry, so retain them for {least:g} s at least."
            raise click.BadParameter(msg, param_hint="--retention")
        broker = wiring.broker()
        cluster = broker.cluster(Deadline(_CREATE))
        wanted = wanted_topics(
            wiring.settings,
            cluster.brokers,
            partitions=partitions,
            replication=replication,
            retention=retention or least,
        )
        found = differences(broker, cluster, wanted)
        created = dict.fromkeys(wanted, False)
        if not dry_run:
            created = broker.create_topics(wanted, Deadline(_CREATE))
    rows = [
        _row(name, settings, exists=name in cluster.topics and not created[name], dry_run=dry_run)
        for name, settings in wanted.items()
    ]
    emit_rows(rows, _COLUMNS, invocation.output)
    _tell(found)
    return 0


def _row(name: str, settings: TopicSettings, *, exists: bool, dry_run: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"topic": name, "did": "exists, left as it is" if exists else "created"}
    if exists:
        return row
    if dry_run:
        row["did"] = "would be created"
    row["partitions"], row["replication"] = settings.partitions, settings.replication
    row["settings"] = " ".join(f"{key}={value}" for key, value in settings.config.items())
    return row


def _tell(found: list[Difference]) -> None:
    for difference in found:
        click.echo(f"differs: {difference}. To mend: {mend(difference)}", err=True)
