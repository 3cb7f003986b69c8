"""
What streamresults.topic.base answers about topics, and how it makes them, asked of every implementation.

We test these aspects: watermarks and ends; descriptions that tell topics apart, follow growth and notice a topic that
was made again; a missing topic; creating twice, and the settings as asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from streamresults.deadline import Deadline
from streamresults.errors import TopicMissing, TopicUnavailable
from streamresults.topic.records import NO_TOPIC_ID, TopicSettings
from tests.contract.topic_desk import PARTITIONS, SOON, append
from tests.waiting import eventually

if TYPE_CHECKING:
    from streamresults.topic.base import Broker, TopicWriter
    from tests.contract.topic_harness import Harness


def test_watermarks_and_ends(harness: Harness, writer: TopicWriter, topic: str) -> None:
    """Low moves with retention, high with appends."""
    for number in range(3):
        append(writer, f"k{number}", partition=1)
    harness.trim(topic, 1, 2)
    inspector = harness.broker.inspector(topic)

    assert inspector.watermarks([0, 1], Deadline(SOON)) == {0: (0, 0), 1: (2, 3)}
    assert inspector.ends([0, 1], Deadline(SOON)) == {0: 0, 1: 3}
    assert inspector.ends([], Deadline(SOON)) == {}

    inspector.close()


def test_description_tells_topics_apart(harness: Harness) -> None:
    """Same cluster, other topic, other id; the same each time."""
    one, two = harness.topic(2), harness.topic(3)
    first, second = harness.broker.inspector(one), harness.broker.inspector(two)
    described, other = first.describe(Deadline(SOON)), second.describe(Deadline(SOON))

    assert described == first.describe(Deadline(SOON))
    assert (one, 2, 3) == (described.topic, described.partitions, other.partitions)
    assert described.cluster_id == other.cluster_id != ""
    assert described.topic_id != other.topic_id
    assert described.topic_id != NO_TOPIC_ID

    first.close()
    second.close()


def test_description_follows_growth_and_tells_a_topic_that_was_made_again(harness: Harness, topic: str) -> None:
    """The same id while partitions are added; another one for another topic of the same name."""
    inspector = harness.broker.inspector(topic)
    first = inspector.describe(Deadline(SOON))
    harness.add_partitions(topic, PARTITIONS + 3)
    eventually(lambda: inspector.describe(Deadline(SOON)).partitions == PARTITIONS + 3, SOON, "the brokers know")
    grown = inspector.describe(Deadline(SOON))
    harness.delete(topic)
    with pytest.raises(TopicMissing):
        eventually(lambda: inspector.describe(Deadline(SOON)) is None, SOON)
    harness.create_again(topic, 2)
    again = inspector.describe(Deadline(SOON))
    inspector.close()

    assert (first.topic_id, first.cluster_id) == (grown.topic_id, grown.cluster_id)
    assert first.topic_id != again.topic_id != NO_TOPIC_ID
    assert again.partitions == 2


def test_creating_is_idempotent_and_keeps_settings(harness: Harness) -> None:
    """A second call changes nothing; the settings are as asked."""
    topic = harness.topic(2, {"retention.ms": "86400000"})
    again = harness.broker.create_topics({topic: TopicSettings(partitions=9)}, Deadline(SOON))
    inspector = harness.broker.inspector(topic)
    config = inspector.topic_config(Deadline(SOON))

    assert {topic: False} == again
    assert inspector.describe(Deadline(SOON)).partitions == 2
    assert config is not None
    assert (config["retention.ms"], config["message.timestamp.type"]) == ("86400000", "LogAppendTime")

    inspector.close()


def test_missing_topic_is_said(broker: Broker) -> None:
    """Warming and asking name the topic and what to do."""
    writer, inspector = broker.writer("nobody-made-this"), broker.inspector("nobody-made-this")
    with pytest.raises(TopicUnavailable, match=r"'nobody-made-this' does not exist.*streamresults init"):
        writer.warm(Deadline(SOON))
    for question in (inspector.describe, lambda deadline: inspector.ends([0], deadline)):
        with pytest.raises(TopicUnavailable, match=r"'nobody-made-this' does not exist.*streamresults init"):
            question(Deadline(SOON))
    writer.close(Deadline(SOON))
    inspector.close()
