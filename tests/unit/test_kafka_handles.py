"""What every handle of librdkafka is asked; of a Kafka that is not there."""

from __future__ import annotations

import threading

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streamresults.topic.kafka_handles import list_topics


@pytest.fixture
def handle() -> AdminClient:
    """Give a client of brokers that are nowhere."""
    return AdminClient({"bootstrap.servers": "127.0.0.1:1", "log_level": 0})


def test_an_error_arrives_in_the_main_thread(handle: AdminClient) -> None:
    """Though another one asks there."""
    with pytest.raises(KafkaException):
        list_topics(handle, 0.1)


def test_it_is_asked_where_no_thread_can_be_started(handle: AdminClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the interpreter ends, which is when publishers are flushed."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(KafkaException):
        list_topics(handle, 0.1)
