"""What the topics must be like, and what a compactor refuses to fold."""

from __future__ import annotations

import pytest

from streamresults.deadline import Deadline
from streamresults.errors import ConfigurationError
from streamresults.settings import Settings
from streamresults.store.memory import MemoryStore
from streamresults.topic.contract import config_differences, differences, least_retention, obstacles, wanted_topics
from streamresults.topic.memory import MemoryBroker
from streamresults.topic.records import TopicSettings
from streamresults.wiring import Wiring

SETTINGS = Settings()


def wanted(brokers: int = 1) -> dict[str, TopicSettings]:
    """Return the topics as init makes them."""
    return wanted_topics(SETTINGS, brokers, partitions=12, replication=None, retention=least_retention(SETTINGS))


@pytest.mark.parametrize(("brokers", "replicas", "in_sync"), [(1, 1, "1"), (2, 1, "1"), (3, 3, "2"), (5, 3, "2")])
def test_three_brokers_keep_three_replicas(brokers: int, replicas: int, in_sync: str) -> None:
    """Where there are three brokers, one may be lost without losing an acknowledged record."""
    results = wanted(brokers)["results"]

    assert (replicas, in_sync) == (results.replication, results.config["min.insync.replicas"])


def test_results_outlive_their_expiry_by_a_day() -> None:
    """The topic retains the longest expiry and a day more."""
    assert int((SETTINGS.longest_expiry + 86_400) * 1000) == int(wanted()["results"].config["retention.ms"])


@pytest.mark.parametrize(
    ("setting", "value"),
    [("cleanup.policy", "compact"), ("message.timestamp.type", "CreateTime"), ("retention.ms", "1000")],
)
def test_a_compactor_refuses_a_topic_that_breaks_a_promise(setting: str, value: str) -> None:
    """The error names the setting and the command that mends it; nothing is folded."""
    topics = wanted()
    topics["results"].config[setting] = value
    broker = MemoryBroker()
    broker.create_topics(topics, Deadline(1))
    with (
        Wiring(SETTINGS, broker=broker, store=MemoryStore()) as wiring,
        pytest.raises(ConfigurationError, match=rf"{setting} {value}.*kafka-configs"),
    ):
        wiring.compactor()


def test_a_setting_that_only_costs_comfort_is_no_obstacle() -> None:
    """A compactor runs where doctor would warn."""
    config = {**wanted()["results"].config, "max.message.bytes": "1000", "min.insync.replicas": "0"}

    assert [] == obstacles(SETTINGS, config)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("retention.ms", "-1"), ("retention.ms", "99999999999"), ("max.message.bytes", "99999999")],
)
def test_more_than_wanted_serves(setting: str, value: str) -> None:
    """Longer retention and larger records are no difference."""
    config = wanted()["results"].config

    assert [] == config_differences("results", {**config, setting: value}, config)


def test_differences_are_found_where_they_are() -> None:
    """Partitions and settings of the topics that exist are compared, one by one."""
    broker = MemoryBroker()
    topics = wanted()
    broker.create_topics({"results": TopicSettings(partitions=3, config={"cleanup.policy": "compact"})}, Deadline(1))
    found = differences(broker, broker.cluster(Deadline(1)), topics)

    assert {("results", "partitions", "12", "3"), ("results", "cleanup.policy", "delete", "compact")} == set(found)
