"""What the brokers and their Java run with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ports import HOST

if TYPE_CHECKING:
    from collections.abc import Sequence

Profile = Literal["test", "bench"]

# Smaller: a broker under load dies of OutOfMemoryError. Larger: three of them do not fit beside a test run in 4 GB.
_HEAP_MB: dict[Profile, int] = {"test": 384, "bench": 1024}

# "test" starts in half the time; a benchmark under it would measure the small compiler, not Kafka.
_JVM: dict[Profile, list[str]] = {
    "test": ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"],
    "bench": ["-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"],
}

_SETTINGS = {
    "process.roles": "broker,controller",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "auto.create.topics.enable": "false",
    "unclean.leader.election.enable": "false",
    "controlled.shutdown.enable": "true",
    # The groups' and the transactions' own topics: each partition costs time at the start and memory afterwards.
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "log.segment.bytes": str(16 * 1024 * 1024),
    # The default of 3 s would be added to the first join of every consumer group in every test.
    "group.initial.rebalance.delay.ms": "0",
    # Lower bounds: a test of a lost consumer chooses how soon it is missed. The defaults are 6 s and 45 s.
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.heartbeat.interval.ms": "1000",
    # How soon a killed broker is missed and, after a kill, let in again. Default 9 s. Below 2 s a busy machine
    # loses brokers that are only slow; the heartbeats must fit several times into it.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}


def java_options(profile: Profile) -> list[str]:
    """Return the options of java for one broker."""
    return [f"-Xmx{_HEAP_MB[profile]}m", *_JVM[profile]]


def cluster_settings(controllers: Sequence[int]) -> dict[str, str]:
    """Return what is the same for all brokers, given the port of each one's controller."""
    return {**_SETTINGS, **_replication(len(controllers)), **_quorum(controllers)}


def broker_settings(node: int, port: int, controller: int) -> dict[str, str]:
    """Return what is one broker's own."""
    return {
        "node.id": str(node),
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
    }


def _quorum(controllers: Sequence[int]) -> dict[str, str]:
    voters = ",".join(f"{node}@{HOST}:{port}" for node, port in enumerate(controllers, start=1))
    return {"controller.quorum.voters": voters}


def _replication(brokers: int) -> dict[str, str]:
    copies, in_sync = ("3", "2") if brokers > 1 else ("1", "1")
    return {
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
    }
