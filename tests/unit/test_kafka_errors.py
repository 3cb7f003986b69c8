"""Every error of librdkafka is translated into one of ours, one line that says what to do."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from streamresults.deadline import Deadline
from streamresults.errors import AppendFailed, ConfigurationError, RecordTooLarge, StreamResultsError, TopicUnavailable
from streamresults.topic import kafka_errors
from streamresults.topic.kafka_handles import LastError, retry

CODES = {
    name: code
    for name in dir(KafkaError)
    if name.lstrip("_").isupper() and isinstance(code := getattr(KafkaError, name), int)
}


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(CODES))
def test_every_error_of_librdkafka_is_translated_into_one_line(name: str) -> None:
    """None comes through as it is, and none is several lines long."""
    error = KafkaError(CODES[name], "first line\nsecond line")
    translated = kafka_errors.translate(error, "cannot read", topic="results")
    failed = kafka_errors.append_failure(error, "results", task_id="id", size=1, limit=0)

    assert isinstance(translated, ConfigurationError | TopicUnavailable)
    assert isinstance(failed, RecordTooLarge | AppendFailed)
    assert str(translated).startswith("cannot read: ")
    assert "\n" not in f"{translated}{failed}"
    assert failed.written in {False, None}


def test_definite_refusals_are_told_from_unknown_outcomes() -> None:
    """What may have reached the log is never called unwritten."""

    def written(name: str) -> bool | None:
        failed = kafka_errors.append_failure(KafkaError(CODES[name]), "results", task_id="id", size=1, limit=0)
        assert isinstance(failed, RecordTooLarge | AppendFailed)
        return failed.written

    definite = ("_PURGE_QUEUE", "MSG_SIZE_TOO_LARGE", "TOPIC_AUTHORIZATION_FAILED", "INVALID_RECORD", "_UNKNOWN_TOPIC")
    unknown = ("_PURGE_INFLIGHT", "_MSG_TIMED_OUT", "REQUEST_TIMED_OUT", "NOT_ENOUGH_REPLICAS_AFTER_APPEND", "_FATAL")

    assert [False] * len(definite) == [written(name) for name in definite]
    assert [None] * len(unknown) == [written(name) for name in unknown]


def test_exception_without_an_error_inside_is_still_understood() -> None:
    """Whatever librdkafka's binding raises."""
    assert kafka_errors.error_of(KafkaException("odd")).code() == KafkaError.UNKNOWN


def test_a_process_that_was_suspended_asks_again_or_says_that_the_brokers_did_not_answer() -> None:
    """The time of its future is over when it wakes up: an outage like another, which a compactor survives."""
    answers: list[Exception | str] = [TimeoutError(), "answered"]

    def attempt(_: float) -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert retry(Deadline(10), "asking", attempt, fatal=frozenset(), last=LastError()) == "answered"
    answers.append(TimeoutError())
    with pytest.raises(TopicUnavailable, match="asking within 0 s"):
        retry(Deadline(0), "asking", attempt, fatal=frozenset(), last=LastError())


def test_missing_topic_says_what_to_do() -> None:
    """One sentence to act upon."""
    error = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)

    assert str(kafka_errors.translate(error, "cannot read", topic="results")) == (
        "cannot read: topic 'results' does not exist; create it: streamresults init"
    )


# --- the embedded broker -----------------------------------------------------------------------------------------


def test_errors_are_all_ours() -> None:
    """The root of the tree catches them."""
    assert issubclass(AppendFailed, StreamResultsError)
