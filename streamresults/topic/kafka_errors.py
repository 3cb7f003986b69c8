"""What each of librdkafka's errors means to us, in one table. Opens no connection and decides no retry."""

from __future__ import annotations

from typing import Final

from confluent_kafka import KafkaError, KafkaException

from streamresults.errors import (
    AppendFailed,
    ConfigurationError,
    RecordTooLarge,
    StreamResultsError,
    TopicMissing,
    TopicUnavailable,
)

#: The record is larger than the producer or the topic takes.
TOO_LARGE: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})

#: After these the brokers certainly do not hold the record. Anything else leaves it open: the request may have been
#: served and its answer lost. _MSG_TIMED_OUT is left open although a record that never left would also say so.
NOT_WRITTEN: Final = TOO_LARGE | frozenset(
    {
        KafkaError._PURGE_QUEUE,  # noqa: SLF001 - librdkafka's own errors begin with an underscore
        KafkaError._QUEUE_FULL,  # noqa: SLF001
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_REQUIRED_ACKS,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.POLICY_VIOLATION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
        KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
    }
)

#: The offset asked for is no longer in the log, or not yet.
OUT_OF_RANGE: Final = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})  # noqa: SLF001

#: The topic, or this partition of it, is not there.
MISSING: Final = frozenset(
    {
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
        KafkaError.INCONSISTENT_TOPIC_ID,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)

#: Waiting does not help: what was asked for is not allowed.
FORBIDDEN: Final = frozenset(
    {
        KafkaError._AUTHENTICATION,  # noqa: SLF001
        KafkaError._SSL,  # noqa: SLF001
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
    }
)

#: The handle is of no use any more.
FATAL: Final = frozenset({KafkaError._FATAL, KafkaError._FENCED})  # noqa: SLF001

#: A record that librdkafka let go of because it was told to, or because its producer is of no use any more.
PURGED: Final = frozenset({KafkaError._PURGE_INFLIGHT, KafkaError._PURGE_QUEUE})  # noqa: SLF001

#: What a broker says that does not know a request: it is older than the request, or the embedded one.
UNSUPPORTED: Final = frozenset(
    {
        KafkaError._NOT_IMPLEMENTED,  # noqa: SLF001
        KafkaError._UNSUPPORTED_FEATURE,  # noqa: SLF001
        KafkaError.UNSUPPORTED_ASSIGNOR,
        KafkaError.UNSUPPORTED_VERSION,
    }
)

#: A commit is refused like this when the group moves on meanwhile. Nothing depends on a commit, so it is no error.
COMMIT_REFUSED: Final = frozenset(
    {
        KafkaError._ASSIGNMENT_LOST,  # noqa: SLF001
        KafkaError._NO_OFFSET,  # noqa: SLF001
        KafkaError._STATE,  # noqa: SLF001
        KafkaError._WAIT_COORD,  # noqa: SLF001
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.NOT_COORDINATOR,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.UNKNOWN_MEMBER_ID,
    }
)

#: A setting is wrong; librdkafka says which.
MISCONFIGURED: Final = frozenset({KafkaError._INVALID_ARG, KafkaError._NOT_CONFIGURED})  # noqa: SLF001


def error_of(raised: KafkaException) -> KafkaError:
    """Return the error inside librdkafka's exception."""
    inside = raised.args[0] if raised.args else None
    return inside if isinstance(inside, KafkaError) else KafkaError(KafkaError.UNKNOWN, str(raised))


def describe(error: KafkaError) -> str:
    """Return librdkafka's own words on one line, with the error's name to search for."""
    return f"{' '.join(error.str().split())} [{error.name()}]"


def is_fatal(error: KafkaError) -> bool:
    """Tell whether the handle that this comes from is of no use any more."""
    return error.fatal() or error.code() in FATAL


def given_up(error: KafkaError, topic: str, *, task_id: str) -> AppendFailed:
    """Return what is handed to the callback of a record that was not acknowledged when its producer was given up."""
    msg = (
        f"topic {topic!r} did not acknowledge the record of task {task_id!r}: its producer was given up after a fatal "
        f"error, and the next record opens another one: {describe(error)}"
    )
    return AppendFailed(msg, written=None)


def translate(error: KafkaError, doing: str, *, topic: str = "") -> StreamResultsError:
    """
    Return what to raise for an error of librdkafka.

    Args:
        error: What librdkafka says.
        doing: What was tried, to begin the sentence with: ``cannot read topic 'results'``.
        topic: Named when it is missing; empty where none is concerned.
    """
    code = error.code()
    if code in MISCONFIGURED:
        return ConfigurationError(f"{doing}: {describe(error)}")
    if code in MISSING and topic:
        return TopicMissing(f"{doing}: topic {topic!r} does not exist; create it: streamresults init")
    if code in FORBIDDEN:
        return TopicUnavailable(f"{doing}: not allowed: {describe(error)}")
    return TopicUnavailable(f"{doing}: {describe(error)}")


def append_failure(error: KafkaError, topic: str, *, task_id: str, size: int, limit: int) -> StreamResultsError:
    """
    Return what is handed to a record's callback, or raised by ``produce``, for an error of librdkafka.

    Args:
        error: What librdkafka says.
        topic: Where the record was to go.
        task_id: The record's key.
        size: Bytes of key and value.
        limit: Bytes that were allowed; 0 when only the broker knows.
    """
    code = error.code()
    if code in TOO_LARGE:
        allowed = f"the writer takes {limit}" if limit else f"topic {topic!r} takes less (max.message.bytes)"
        return RecordTooLarge(
            f"a record of {size} bytes is too large: {allowed}", task_id=task_id, size=size, limit=limit
        )
    if code in NOT_WRITTEN:
        return AppendFailed(f"topic {topic!r} did not take a record: {describe(error)}", written=False)
    return AppendFailed(f"topic {topic!r} did not acknowledge a record: {describe(error)}", written=None)
