"""The settings of the three topics that the guarantees rest on: init creates them, compactor and doctor check them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from streamresults.deadline import ANSWER, Deadline
from streamresults.topic.records import BATCH_BYTES, TopicSettings

if TYPE_CHECKING:
    from streamresults.settings import Settings
    from streamresults.topic.base import Broker
    from streamresults.topic.records import ClusterDescription

_DAY: Final = 86_400.0
#: Brokers from which on a topic survives the loss of one.
_ENOUGH_BROKERS: Final = 3
#: Replicas that must hold a record before it is acknowledged.
_IN_SYNC: Final = 2
#: What a dead letter may be larger than its original: the headers that say why.
_HEADER_BYTES: Final = 65_536
#: Without these a promise does not hold, so a compactor refuses to run: compaction destroys history, a worker's clock
#: would decide about expiry, and results would be gone before they expire.
_INDISPENSABLE: Final = frozenset({"cleanup.policy", "message.timestamp.type", "retention.ms"})


def least_retention(settings: Settings) -> float:
    """Return the seconds that the topics must retain: a result must outlive its expiry, and be replayable after it."""
    return settings.longest_expiry + _DAY


def wanted_topics(
    settings: Settings, brokers: int, *, partitions: int, replication: int | None, retention: float
) -> dict[str, TopicSettings]:
    """Return how the three topics are to be."""
    replicas = replication or (_ENOUGH_BROKERS if brokers >= _ENOUGH_BROKERS else 1)
    safe = {
        "min.insync.replicas": str(min(_IN_SYNC, max(1, replicas - 1))),
        "unclean.leader.election.enable": "false",
    }
    log = {
        **safe,
        "cleanup.policy": "delete",
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(int(retention * 1000)),
    }
    results = {**log, "max.message.bytes": str(BATCH_BYTES)}
    letters = {**log, "max.message.bytes": str(BATCH_BYTES + _HEADER_BYTES)}
    return {
        settings.topic: TopicSettings(partitions=partitions, replication=replicas, config=results),
        settings.schemas_topic: TopicSettings(
            partitions=1, replication=replicas, config={**safe, "cleanup.policy": "compact"}
        ),
        settings.dead_letter_topic: TopicSettings(partitions=1, replication=replicas, config=letters),
    }


class Difference(NamedTuple):
    """One setting of a topic that is not as it should be."""

    topic: str
    setting: str
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.setting} {self.found}, wanted {self.wanted}"


def differences(broker: Broker, cluster: ClusterDescription, wanted: dict[str, TopicSettings]) -> list[Difference]:
    """
    Compare the topics that exist with how they should be.

    Raises:
        TopicUnavailable: The brokers did not answer.
    """
    found: list[Difference] = []
    for name, settings in wanted.items():
        if name not in cluster.topics:
            continue
        partitions, replicas = cluster.topics[name]
        if partitions != settings.partitions:
            found.append(Difference(name, "partitions", str(settings.partitions), str(partitions)))
        if replicas < settings.replication:
            found.append(Difference(name, "replication", str(settings.replication), str(replicas)))
        inspector = broker.inspector(name)
        try:
            config = inspector.topic_config(Deadline(ANSWER))
        finally:
            inspector.close()
        found += config_differences(name, config or {}, settings.config)
    return found


def config_differences(topic: str, config: dict[str, str], wanted: dict[str, str]) -> list[Difference]:
    """Compare a topic's settings, as far as the broker tells them, with how they should be."""
    return [
        Difference(topic, key, value, config[key])
        for key, value in wanted.items()
        if key in config and not _fits(key, config[key], value)
    ]


def obstacles(settings: Settings, config: dict[str, str]) -> list[Difference]:
    """Return what of the result topic's settings breaks a promise, so that no compactor may run on it."""
    topics = wanted_topics(settings, 1, partitions=1, replication=1, retention=least_retention(settings))
    found = config_differences(settings.topic, config, topics[settings.topic].config)
    return [difference for difference in found if difference.setting in _INDISPENSABLE]


def _fits(key: str, has: str, wanted: str) -> bool:
    """Tell whether a setting serves: more retention and larger records than wanted do."""
    if key == "retention.ms" and has == "-1":
        return True
    if key in {"retention.ms", "max.message.bytes", "min.insync.replicas"}:
        return int(has) >= int(wanted)
    return has == wanted


def mend(difference: Difference) -> str:
    """Return the command that changes a setting, in Kafka's own tools."""
    if difference.setting == "partitions":
        return (
            f"kafka-topics.sh --bootstrap-server HOST:PORT --alter --topic {difference.topic} --partitions N adds "
            "some, under way; there is no way to fewer"
        )
    if difference.setting == "replication":
        return "kafka-reassign-partitions.sh adds replicas"
    return (
        f"kafka-configs.sh --bootstrap-server HOST:PORT --alter --topic {difference.topic} "
        f"--add-config {difference.setting}={difference.wanted}"
    )
