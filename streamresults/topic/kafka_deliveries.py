"""Hands the fate of each record that was produced to its callback, and counts it; also where that is interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

from streamresults.errors import AppendFailed
from streamresults.topic.kafka_errors import PURGED, append_failure, given_up, is_fatal
from streamresults.topic.records import Acknowledgement

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FunctionType

    from confluent_kafka import KafkaError, Message

    OnAck = Callable[[Acknowledgement], None]


def delivery(under_way: dict[int, OnAck], ended_by: Callable[[], KafkaError | None]) -> FunctionType:
    """
    Return what hands a record's fate to its callback and then lets go of that; it runs for each record, so it is fast.

    Args:
        under_way: The callbacks, by the numbers of their records.
        ended_by: The fatal error of a producer that is given up just now, if there is one.
    """
    kind, new = Acknowledgement, tuple.__new__

    def deliver(number: int, error: KafkaError | None, message: Message) -> None:
        try:
            on_ack = under_way[number]
            if error is None:
                on_ack(new(kind, (None, message.partition(), message.offset())))
            else:
                on_ack(_failure(error, message, ended_by()))
        finally:
            del under_way[number]

    return deliver  # type: ignore[return-value]  # a function defined here is one


def _failure(error: KafkaError, message: Message, fatal: KafkaError | None) -> Acknowledgement:
    key, value, partition = message.key() or b"", message.value() or b"", message.partition()
    if (fatal is not None and error.code() in PURGED) or is_fatal(error):
        ended = given_up(fatal or error, message.topic() or "", task_id=text(key))
        return Acknowledgement(ended, -1 if partition is None else partition, -1)
    failure = append_failure(error, message.topic() or "", task_id=text(key), size=len(key) + len(value), limit=0)
    return Acknowledgement(failure, -1 if partition is None else partition, -1)


class Interrupted(NamedTuple):
    """A delivery that an exception has ended, as its traceback shows it."""

    on_ack: OnAck
    error: KafkaError | None
    message: Message

    @classmethod
    def by(cls, exc: BaseException, deliver: FunctionType) -> Self | None:
        """Return the delivery that an exception has ended, ``None`` where it came up elsewhere, or before its begin."""
        trace = exc.__traceback__
        while trace is not None and trace.tb_frame.f_code is not deliver.__code__:
            trace = trace.tb_next
        known = {} if trace is None else trace.tb_frame.f_locals
        return cls(known["on_ack"], known["error"], known["message"]) if "on_ack" in known else None

    def again(self) -> bool:
        """Hand the record's fate to its callback once more; tell whether it has taken it."""
        error, message = self.error, self.message
        try:
            if error is None:
                self.on_ack(Acknowledgement(None, message.partition() or 0, message.offset() or 0))
            else:
                self.on_ack(_failure(error, message, None))
        except BaseException:  # noqa: BLE001 -- the first one is what is logged
            return False
        return True


def lost_acknowledgement(topic: str) -> Acknowledgement:
    """Return what is handed to the callback of a record that was spoken of while nobody could listen."""
    msg = (
        f"nobody knows whether topic {topic!r} holds the record: a signal interrupted the thread that was told of it, "
        "and the brokers' answer is lost"
    )
    return Acknowledgement(AppendFailed(msg, written=None), -1, -1)


def ignore(_acknowledgement: Acknowledgement) -> None:
    """Serve as the callback of a record that nobody waits for."""


def text(key: bytes) -> str:
    """Return a record's key as text, whatever it is."""
    return key.decode("utf-8", "replace")
