"""What every family of rows needs: a Kafka and a Redis of its own, topics, and streamresults configured for them."""

from __future__ import annotations

import logging
import sys
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import redis

from benchmarks.reference import workload
from streamresults.deadline import Deadline
from streamresults.settings import Settings
from streamresults.topic.records import TopicSettings
from streamresults.wiring import Wiring

if TYPE_CHECKING:
    from streamresults.events.event import Event
    from streamresults.publisher import Publisher

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "deploy" / "local"))

from kafka_server import KafkaCluster  # noqa: E402 -- found by the line above
from redis_cluster import RedisCluster  # noqa: E402
from redis_server import RedisServer  # noqa: E402

__all__ = ["PARTITIONS", "ROOT", "Bench", "RedisCluster", "event"]

# Without any handler Python prints warnings to standard error by itself.
logging.getLogger("streamresults").addHandler(logging.NullHandler())

#: Partitions of every topic that does not need more.
PARTITIONS: Final = 12


class Bench:
    """The services of one run, both started with it and ended with it."""

    def __init__(self) -> None:
        self.cluster: Final = KafkaCluster(profile="bench")
        self.redis: Final = RedisServer()
        self._owned = ExitStack()

    def __enter__(self) -> Self:
        self._owned.enter_context(self.cluster)
        self._owned.callback(self.redis.close)
        self.redis.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._owned.close()

    @property
    def bootstrap(self) -> str:
        """Where Kafka is."""
        return self.cluster.bootstrap

    def topic(self, partitions: int = PARTITIONS) -> Settings:
        """Create a topic with its companions; return what streamresults is told of it."""
        name = f"bench-{uuid.uuid4().hex[:12]}"
        settings = Settings(kafka_bootstrap=self.bootstrap, redis_url=self.redis.url, topic=name, namespace=name)
        retention = int((settings.longest_expiry + 86_400) * 1000)
        by_log = {"message.timestamp.type": "LogAppendTime", "retention.ms": str(retention)}
        topics = {
            settings.topic: TopicSettings(partitions=partitions, config=by_log),
            settings.schemas_topic: TopicSettings(partitions=1, config={"cleanup.policy": "compact"}),
            settings.dead_letter_topic: TopicSettings(partitions=1),
        }
        with Wiring(settings) as wiring:
            wiring.broker().create_topics(topics, Deadline(30))
        return settings

    def flush(self) -> None:
        """Empty Redis."""
        client = redis.Redis.from_url(self.redis.url)
        client.flushall()
        client.close()

    def versions(self) -> dict[str, str]:
        """Return the versions of what runs."""
        client = redis.Redis.from_url(self.redis.url)
        found = str(client.info("server").get("redis_version", "?"))
        client.close()
        return {"redis": found, "kafka": _kafka_version()}


def event(publisher: Publisher, task_id: str, number: int) -> Event:
    """Return the event that every row publishes: the reference encodes the same one."""
    return event_of(publisher, task_id, workload.values(number))


def event_of(publisher: Publisher, task_id: str, values: workload.Values) -> Event:
    """Return the same of values that are there already."""
    return publisher.event(
        task_id,
        "SUCCESS",
        result=values.result,
        args=values.args,
        kwargs=values.kwargs,
        attempt=2,
        started_at_us=1_763_799_999_000_000,
        runtime=0.25,
        **workload.METADATA,
    )


def _kafka_version() -> str:
    import programs  # noqa: PLC0415 -- found once this module has extended the path

    found = sorted(Path(programs.kafka_jars()).glob("kafka_*.jar"))
    return found[0].stem.rpartition("-")[2] if found else "?"
