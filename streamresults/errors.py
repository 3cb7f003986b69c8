"""
Every error that streamresults raises on purpose; nothing else lives here.

StreamResultsError
├── ConfigurationError (ValueError)          a setting is missing, wrong or contradicts another
├── ServiceUnavailable (ConnectionError)     a service did not answer within the time it was given
│   ├── TopicUnavailable                     Kafka
│   │   ├── TopicMissing                     Kafka answers, and there is no such topic
│   │   ├── RecordGone                       Kafka answers, and retention has taken the record
│   │   └── AppendFailed                     a record was not acknowledged
│   ├── StoreUnavailable                     Redis
│   │   └── StoreOutOfMemory                 Redis answers, but refuses writes
│   └── PayloadStoreUnavailable              where large payloads rest
├── StoreRefused                             Redis answers, but something else uses its keys, or it is too old
├── TopicMismatch                            the topic or the view is not the one that was meant
│   └── TopicRecreated                       the topic was deleted and made again meanwhile
├── PublishError                             an event did not reach the log
│   ├── PublishFailed                        refused, or not acknowledged in time
│   │   ├── RecordTooLarge                   larger than the topic takes
│   │   ├── RetriesExhausted                 tried again as often as was allowed
│   │   └── Spooled                          not lost: kept on disk until Kafka is back
│   ├── BatchFailed                          some events of a batch
│   └── PublisherClosed                      published after close()
├── PayloadError (ValueError)                a value and its bytes
│   ├── PayloadNotEncodable                  names the path inside the value
│   ├── PayloadNotDecodable
│   ├── PayloadTooLarge                      more bytes than a reader takes
│   ├── PayloadMissing (LookupError)         the payload store does not hold it
│   ├── PayloadStoreNotConfigured (ConfigurationError)   it rests in a payload store, and this process has none
│   ├── ContentTypeRefused                   not on the accept list; nothing was decoded
│   └── PayloadEncrypted                     encrypted with a key; nothing was decoded
├── RecordError (ValueError)                 the bytes of a record cannot be an event
│   ├── BadMagic
│   ├── UnknownFingerprint
│   ├── TruncatedRecord
│   ├── TrailingBytes
│   ├── MalformedRecord
│   ├── KeyMismatch
│   └── SignatureRefused                     not signed, or not as it has to be
├── WaitError                                a wait or a lookup ended without a result
│   ├── WaitTimeout (TimeoutError)
│   ├── UnknownTask (LookupError)
│   ├── NotYetCovered (LookupError)
│   ├── NotAuthoritative (LookupError)
│   ├── WaitRefused (RuntimeError)
│   ├── NoResult
│   ├── DeadLettered
│   └── ClientClosed
├── TaskRevoked                              recorded for a task that was revoked; raised as a RemoteTaskError
├── RemoteTaskError                          the task failed with an exception that is not rebuilt here
├── SecurityError                            a record names something that is not an exception class
└── VerificationMismatch                     the view and the log disagree
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class StreamResultsError(Exception):
    """
    Root of the tree: catches everything that streamresults raises on purpose.

    All of them pickle and copy with every attribute, so that they can be handed on to another process. As with every
    exception of Python's, traceback, cause and context stay behind.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # The constructors want their keywords, which Python would not give them.
        return _rebuilt, (type(self), self.args), self.__dict__


def _rebuilt(cls: type[StreamResultsError], args: tuple[Any, ...]) -> StreamResultsError:
    """Return an error without its constructor; its attributes are set behind it."""
    exc = cls.__new__(cls, *args)
    exc.args = args  # OSError takes none of a class that has a constructor of its own
    return exc


class ConfigurationError(StreamResultsError, ValueError):
    """Raised when a setting is missing, malformed or contradicts another one."""


class ServiceUnavailable(StreamResultsError, ConnectionError):
    """Raised when a service did not answer within the time it was given."""


class TopicUnavailable(ServiceUnavailable):
    """Raised when Kafka cannot be reached, or does not let this process use the topic."""


class TopicMissing(TopicUnavailable):
    """Raised when Kafka answers that there is no such topic: nobody has created it."""


class RecordGone(TopicUnavailable):
    """Raised when the log does not hold a record any more, as retention has taken it: asking again does not help."""


class AppendFailed(TopicUnavailable):
    """
    Handed to the callback of a record that was not acknowledged; raised when it is refused at once.

    Whoever publishes, forgets or waits gets an error that names the task instead.

    Attributes:
        written: ``False`` when the brokers certainly do not hold the record, ``None`` when nobody can know.
    """

    def __init__(self, message: str, *, written: bool | None) -> None:
        super().__init__(message)
        self.written = written


class StoreUnavailable(ServiceUnavailable):
    """Raised when Redis cannot be reached, is loading, or is a read-only replica."""


class StoreOutOfMemory(StoreUnavailable):
    """Raised when Redis refuses a write because ``maxmemory`` is reached."""


class PayloadStoreUnavailable(ServiceUnavailable):
    """Raised when the payload store cannot be reached, or does not let this process use it."""


class StoreRefused(StreamResultsError):
    """Raised when Redis refuses a command as wrong: trying again does not help, somebody has to look."""


class TopicMismatch(StreamResultsError):
    """Raised when a position or a view belongs to another topic, cluster or format than the one in use."""


class TopicRecreated(TopicMismatch):
    """
    Raised when the topic was deleted and made again while something went on: what was known of the old one is void.

    Attributes:
        old_id: The id of the topic that is gone.
        new_id: The id of the one that has its name now.
    """

    def __init__(self, message: str, *, old_id: str, new_id: str) -> None:
        super().__init__(message)
        self.old_id = old_id
        self.new_id = new_id


class PublishError(StreamResultsError):
    """Base of the errors that say an event did not reach the log."""


class PublishFailed(PublishError):
    """
    Raised when an event was refused, or was not acknowledged before its deadline.

    Attributes:
        task_id: Whose event it was.
        event_id: 32 hexadecimal digits; publishing again with the same id is recognisable as a retry.
        written: ``False`` when the brokers certainly do not hold the event, ``None`` when nobody can know.
    """

    def __init__(self, message: str, *, task_id: str, event_id: str = "", written: bool | None = None) -> None:
        super().__init__(message)
        self.task_id = task_id
        self.event_id = event_id
        self.written = written


class RecordTooLarge(PublishFailed):
    """
    Raised when an encoded event is larger than the topic takes; nothing was sent.

    Attributes:
        size: Bytes of the encoded record.
        limit: Bytes that the producer or the topic takes.
    """

    def __init__(self, message: str, *, task_id: str, event_id: str = "", size: int, limit: int) -> None:
        super().__init__(message, task_id=task_id, event_id=event_id, written=False)
        self.size = size
        self.limit = limit


class RetriesExhausted(PublishFailed):
    """
    Raised when an event was published again and again, until no retry or no time was left.

    Attributes:
        state: The state that the event carries.
        retries: How often it was tried again.
        last: The last attempt's error, also the ``__cause__``.
    """

    def __init__(self, message: str, *, last: PublishFailed, state: str, retries: int) -> None:
        super().__init__(message, task_id=last.task_id, event_id=last.event_id, written=last.written)
        self.state = state
        self.retries = retries
        self.last = last


class Spooled(PublishFailed):
    """Raised where a position was asked for: the event rests in the spool, and is published when Kafka is back."""


class BatchFailed(PublishError):
    """
    Raised when some events of a batch did not reach the log.

    Attributes:
        positions: One for each event, in order; ``None`` for those that failed, were spooled or are only queued.
        failures: What became of the others, by their place in the batch.
    """

    def __init__(
        self,
        message: str,
        *,
        positions: Sequence[tuple[str, int, int] | None],
        failures: Mapping[int, StreamResultsError],
    ) -> None:
        super().__init__(message)
        self.positions = list(positions)
        self.failures = dict(failures)


class PublisherClosed(PublishError):
    """Raised when something is published through a publisher that has been closed."""


class PayloadError(StreamResultsError, ValueError):
    """Base of the errors about a value and the bytes that stand for it."""


class PayloadNotEncodable(PayloadError):
    """
    Raised before anything is sent when a value holds something its serializer has no form for.

    Attributes:
        path: Where inside the value, such as ``result['a'][3]``.
        kind: The qualified name of the offending type.
    """

    def __init__(self, message: str, *, path: str, kind: str) -> None:
        super().__init__(message)
        self.path = path
        self.kind = kind


class PayloadNotDecodable(PayloadError):
    """Raised when the bytes of a payload are not what their content type says."""


class PayloadTooLarge(PayloadError):
    """
    Raised when a payload has, or would be decompressed to, more bytes than this process takes.

    Attributes:
        limit: Bytes that it takes of this payload.
    """

    def __init__(self, message: str, *, limit: int) -> None:
        super().__init__(message)
        self.limit = limit


class PayloadMissing(PayloadError, LookupError):
    """
    Raised when a payload was kept outside of the log and is not there any more.

    Attributes:
        uri: Where its publisher left it.
    """

    def __init__(self, message: str, *, uri: str) -> None:
        super().__init__(message)
        self.uri = uri


class PayloadStoreNotConfigured(PayloadError, ConfigurationError):
    """
    Raised when a payload was kept outside of the log, and this process is not told where: set ``payload_store``.

    Attributes:
        uri: Where its publisher left it; nothing was asked for it.
    """

    def __init__(self, message: str, *, uri: str) -> None:
        super().__init__(message)
        self.uri = uri


class ContentTypeRefused(PayloadError):
    """
    Raised when a payload's content type is not accepted; its bytes were not looked at.

    Attributes:
        content_type: What the record says.
    """

    def __init__(self, message: str, *, content_type: str) -> None:
        super().__init__(message)
        self.content_type = content_type


class PayloadEncrypted(PayloadError):
    """
    Raised when a payload says that it is encrypted: no release decrypts yet, and its bytes were not looked at.

    Attributes:
        key_id: The key that it names.
    """

    def __init__(self, message: str, *, key_id: str) -> None:
        super().__init__(message)
        self.key_id = key_id


class RecordError(StreamResultsError, ValueError):
    """Base of the errors that say why the bytes of a record cannot be an event."""


class BadMagic(RecordError):
    """Raised when a record does not begin with Avro's single-object marker, C3 01."""


class UnknownFingerprint(RecordError):
    """
    Raised when a record's schema is neither built in nor found in the schemas topic.

    Attributes:
        fingerprint: 16 hexadecimal digits, in the byte order of the wire.
    """

    def __init__(self, message: str, *, fingerprint: str) -> None:
        super().__init__(message)
        self.fingerprint = fingerprint


class TruncatedRecord(RecordError):
    """Raised when a record ends before its schema does."""


class TrailingBytes(RecordError):
    """Raised when bytes are left over after the last field of a record."""


class MalformedRecord(RecordError):
    """Raised when a record has the right schema and impossible contents."""


class KeyMismatch(RecordError):
    """Raised when the record's key is not the task id inside the record."""


class SignatureRefused(RecordError):
    """
    Raised when a record is not signed, or not as this process demands: nobody knows who wrote it.

    Attributes:
        why: ``unsigned``, ``malformed``, ``unknown_key``, ``wrong``, ``retired_key`` or ``out_of_window``.
    """

    def __init__(self, message: str, *, why: str) -> None:
        super().__init__(message)
        self.why = why


class WaitError(StreamResultsError):
    """
    Base of the errors that end a wait or a lookup without a result.

    Attributes:
        task_id: The task that was asked for.
    """

    def __init__(self, message: str, *, task_id: str) -> None:
        super().__init__(message)
        self.task_id = task_id


class WaitTimeout(WaitError, TimeoutError):
    """
    Raised when the deadline of a wait has passed; it is ours, never a remote task's own TimeoutError.

    Attributes:
        state: The state seen last, ``"UNKNOWN"`` when no record of the task was seen.
    """

    def __init__(self, message: str, *, task_id: str, state: str) -> None:
        super().__init__(message, task_id=task_id)
        self.state = state


class UnknownTask(WaitError, LookupError):
    """Raised when the log, as far as the view has folded it, holds no such task; certain after a fresh lookup."""


class NotYetCovered(WaitError, LookupError):
    """Raised when a task was not found in a view that does not cover the whole log yet: it may exist."""


class NotAuthoritative(WaitError, LookupError):
    """Raised when a task was not found and this process cannot ask the log, which alone knows that there is none."""


class WaitRefused(WaitError, RuntimeError):
    """Raised when a running task is about to wait for another one, which can block every worker there is."""


class NoResult(WaitError):
    """
    Raised at once when a task ended in a state that has no result.

    Attributes:
        state: ``REJECTED``, ``IGNORED`` or a custom state that was published as terminal.
    """

    def __init__(self, message: str, *, task_id: str, state: str) -> None:
        super().__init__(message, task_id=task_id)
        self.state = state


class DeadLettered(WaitError):
    """
    Raised when a record of this task could not be read and no result stands.

    Attributes:
        reason: Why it could not be read.
        place: Where the original bytes are, such as ``results.dlq[3]@41``.
    """

    def __init__(self, message: str, *, task_id: str, reason: str, place: str) -> None:
        super().__init__(message, task_id=task_id)
        self.reason = reason
        self.place = place


class ClientClosed(WaitError):
    """Raised in every waiter when the client they wait through is closed."""


class TaskRevoked(StreamResultsError):
    """Recorded as the exception of a task that was revoked: a wait raises it as a :class:`RemoteTaskError`."""


class RemoteTaskError(StreamResultsError):
    """
    Raised for a failed task whose exception is not rebuilt here; it carries every recorded field.

    Attributes:
        type_name: ``module:QualifiedName`` of the remote exception, ``""`` when the record does not say.
        bases: The same of every class along its method resolution order, nearest first, itself included.
        message: What ``str()`` gave on the worker.
        remote_traceback: The formatted traceback of the worker, ``""`` when there is none.
        record: The whole recorded exception, ``None`` when there is none.
    """

    def __init__(
        self,
        message: str,
        *,
        type_name: str = "",
        bases: Sequence[str] = (),
        remote_traceback: str = "",
        record: Any = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.type_name = type_name
        self.bases = tuple(bases)
        self.remote_traceback = remote_traceback
        self.record = record

    def is_type(self, name: str) -> bool:
        """
        Tell whether the remote exception is ``module:QualifiedName`` or derives from it, by name alone.

        Nothing is imported: the names along the method resolution order travelled with the record.
        """
        return name == self.type_name or name in self.bases

    def __str__(self) -> str:
        headline = f"{self.type_name}: {self.message}" if self.type_name else self.message
        return f"{headline}\n\n{self.remote_traceback}".rstrip() if self.remote_traceback else headline


class SecurityError(StreamResultsError):
    """Raised as a task's outcome when its record names something loaded here that is not an exception class."""


class VerificationMismatch(StreamResultsError):
    """Raised when the view does not equal the fold of the log within what it says it covers."""
