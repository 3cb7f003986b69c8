"""What is known of one task at one moment: an immutable value that says what it is based on."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from streamresults.client.metadata import Metadata
from streamresults.client.provenance import Basis
from streamresults.errors import (
    DeadLettered,
    NoResult,
    NotYetCovered,
    RecordError,
    RemoteTaskError,
    ServiceUnavailable,
    UnknownTask,
)
from streamresults.events import states
from streamresults.events.event import Position
from streamresults.events.heads import read_group
from streamresults.events.payloads import check_accepted, check_plain
from streamresults.events.remote_frames import Raisable
from streamresults.events.revive import revive
from streamresults.events.states import RANK_READY, RANK_SUCCESS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from streamresults.client.provenance import Decoding, Provenance
    from streamresults.events.event import Event, Payload, Prefix
    from streamresults.events.fold import Best
    from streamresults.store.base import Mark


#: Stands for a value that was not decoded yet: ``None`` is a value.
_UNREAD: Final = object()


class Result(Metadata):
    """
    What is known of one task; nothing here blocks, except that a schema never seen is looked up once, and that a result
    which was too large for the log is fetched from the payload store.

    Every property that decodes may raise the typed errors of its bytes; each decodes once, however often it is read.
    Whether the task has ended, and whether it succeeded, is known from the fold and needs no decoding.
    """

    __slots__ = (
        "__weakref__",
        "_behind",
        "_best",
        "_encoded",
        "_event",
        "_exception",
        "_prefix",
        "_provenance",
        "_result",
        "mark",
        "task_id",
    )

    def __init__(self, task_id: str, provenance: Provenance, best: Best | None, mark: Mark | None = None) -> None:
        """
        Take what is known.

        Args:
            best: The event that stands for the task, with its value; ``None`` when none is known.
            mark: Set when a record of this task could not be read, whatever else is known of it.
        """
        self.task_id: Final = task_id
        self.mark: Final = mark
        self._provenance: Final = provenance
        self._best: Final = best
        # Filled in when they are first asked for. Two threads may both decode, and find the same.
        self._prefix: Prefix | None = None
        self._encoded: Payload | None = None
        self._event: Event | None = None
        self._result: object = _UNREAD
        self._exception: Raisable | None = None

    def among_homes(self, *, mark: Mark | None, as_of: float | None, uncovered: str) -> Self:
        """Return the same, as what stands for a task that has several homes; the arguments speak of all of them."""
        basis = Basis.PARTIAL if uncovered else self.basis
        provenance = self._provenance._replace(basis=basis, as_of=as_of, uncovered=uncovered)
        return type(self)(self.task_id, provenance, self._best, mark)

    def __repr__(self) -> str:
        return f"<Result {self.task_id!r} {self.state} {self.basis}>"

    # -- where it comes from ----------------------------------------------------------------------------------------

    @property
    def basis(self) -> Basis:
        """What the answer is based on."""
        return self._provenance.basis

    @property
    def as_of(self) -> float | None:
        """Seconds since the view was last written to when it was read; ``None`` when it was not read."""
        return self._provenance.as_of

    @property
    def uncovered(self) -> str:
        """What the view does not cover, in words with the way to mend it; empty when it covers everything."""
        return self._provenance.uncovered

    @property
    def position(self) -> Position | None:
        """Where the event stands in the log; ``None`` when no record of the task is known."""
        best, provenance = self._best, self._provenance
        return None if best is None else Position(provenance.topic_id, provenance.partition, best.offset)

    @property
    def appended_ms(self) -> int:
        """The broker's clock when the event was appended, in milliseconds since 1970; 0 unknown."""
        return 0 if self._best is None else self._best.appended_ms

    # -- what its bytes say -----------------------------------------------------------------------------------------

    @property
    def found(self) -> bool:
        """Whether any event of the task is known."""
        return self._best is not None

    @property
    def has_schema(self) -> bool:
        """Whether the schema of its event is known to this process."""
        best = self._best
        return best is None or best.value is None or self._decoding.codec.is_known(best.value)

    def find_schema(self) -> None:
        """Look its schema up where it is not known; one that is not found is no error until something is read."""
        if self._best is not None and self._best.value is not None:
            with suppress(RecordError, ServiceUnavailable):
                self._decoding.codec.require(self._best.value)

    @property
    def at_hand(self) -> bool:
        """Whether reading it asks no service: its schema is known, and its payload is not kept outside of the log."""
        if self._best is None or self._best.value is None:
            return True
        if self._encoded is not None:
            return self._encoded.reference is None
        try:
            return self.has_schema and self._read_encoded().reference is None
        except RecordError:
            return True  # what is broken is found to be so without asking anybody

    @property
    def _decoding(self) -> Decoding:
        return self._provenance.decoding

    def _read_encoded(self) -> Payload:
        if self._encoded is None:
            payload, self._behind = self._provenance.decoding.codec.decode_payload(self._bytes())
            self._encoded = payload  # last: who finds it finds what is behind it too
            return payload
        return self._encoded

    def _bytes(self) -> bytes:
        best = self._best
        if best is None or best.value is None:
            raise self._missing()
        return best.value

    def place_among(self, groups: Mapping[bytes, str]) -> tuple[str, int] | None:
        """
        Return the id of the group that its event names, and its index there; ``None`` where it is none of these.

        Args:
            groups: Their ids, by the bytes of these.
        """
        value = self._bytes()
        if self._encoded is None:
            self._read_encoded()
        found = read_group(value, self._behind) if self._behind >= 0 else None
        if found is None:
            if not any(name in value for name in groups):
                return None  # decoding a whole event takes many times as long as looking for a name in it
            found = self.event.group_id.encode(), self.event.group_index
        group_id = groups.get(found[0])
        return (group_id, found[1]) if group_id is not None and found[1] >= 0 else None

    @property
    def prefix(self) -> Prefix:
        """The fields that every version of the schema begins with."""
        if self._prefix is None:
            value = self._bytes()
            try:
                self._prefix, payload, self._behind = self._decoding.codec.decode_head(value)
            except (RecordError, ServiceUnavailable):
                return self._decoding.codec.decode_prefix(value)
            self._encoded = payload  # one decoding serves state and result
        return self._prefix

    @property
    def event(self) -> Event:
        """The whole event."""
        if self._event is None:
            self._event = self._decoding.codec.decode(self._bytes())
        return self._event

    @property
    def state(self) -> str:
        """The task's state; ``UNKNOWN`` when no event of it is known."""
        if self._best is None:
            return states.UNKNOWN
        return states.SUCCESS if self._best.rank == RANK_SUCCESS else self.prefix.state

    @property
    def ready(self) -> bool:
        """Whether nothing more will come."""
        return self._best is not None and self._best.rank >= RANK_READY

    @property
    def successful(self) -> bool:
        """Whether the task ended with SUCCESS."""
        return self._best is not None and self._best.rank == RANK_SUCCESS

    @property
    def result(self) -> object:
        """
        The decoded payload, ``None`` when there is none; of a failed task its exception.

        Raises:
            ContentTypeRefused, PayloadEncrypted, PayloadNotDecodable, PayloadTooLarge, PayloadMissing,
                PayloadStoreUnavailable: See their names.
        """
        if self._result is _UNREAD:
            self._result = self.exception if self.state in states.EXCEPTION else self._payload()
        return self._result

    @property
    def exception(self) -> BaseException | None:
        """
        The exception of a state that carries one: the real class if it is allowed, else a RemoteTaskError.

        It has the remote frames: who raises it shows them behind the local ones.
        """
        found = self._raisable()
        return None if found is None else found.exception

    def _raisable(self) -> Raisable | None:
        if self._exception is None and self.state in states.EXCEPTION:
            event = self.event
            revived = revive(
                event.exception,
                event.traceback,
                self._decoding.allowlist,
                self._decoding.serializers,
                accept=self._decoding.accept,
                limits=self._decoding.limits,
            )
            self._exception = Raisable(revived, event.exception, self._decoding.limits)
        return self._exception

    @property
    def traceback(self) -> str:
        """The formatted remote traceback; empty for none."""
        return self.event.traceback if self.found else ""

    def value(self) -> object:
        """
        Return the result of a task that succeeded, or raise why there is none.

        Raises:
            BaseException: What the task raised, if its class is allowed, else RemoteTaskError.
            NoResult: It ended without a result.
            DeadLettered: A record of it could not be read, and no result stands.
            NotYetCovered: It was not found, and the view does not cover the whole log.
            UnknownTask: It was not found; authoritative when the lookup was fresh.
        """
        best = self._best
        if best is not None and best.rank == RANK_SUCCESS:  # what most are, by the shortest way
            if self._result is _UNREAD:
                self._result = self._payload()
            return self._result
        if self.ready:
            return self._outcome()
        if self.mark is not None:
            msg = (
                f"task {self.task_id!r}: a record of it could not be read ({self.mark.reason}). "
                f"Its bytes are at {self.mark.place}"
            )
            raise DeadLettered(
                msg,
                task_id=self.task_id,
                reason=self.mark.reason,
                place=self.mark.place,
            )
        if not self.found:
            raise self._missing()
        msg = f"task {self.task_id!r} is {self.state}: not ready"
        raise NoResult(msg, task_id=self.task_id, state=self.state)

    def value_or_exception(self) -> object:
        """Do :meth:`value`, and return the exception of a task that failed or was revoked instead of raising it."""
        if self.ready and self.state in states.PROPAGATE:
            return self.exception
        return self.value()

    def _outcome(self) -> object:
        state = self.state
        if state in states.PROPAGATE:
            found = self._raisable()
            raise RemoteTaskError("unknown") if found is None else found.afresh()
        payload = self._read_encoded()
        if state != states.SUCCESS and payload.body is None and payload.reference is None:
            msg = f"task {self.task_id!r} ended as {state}, without a result"
            raise NoResult(msg, task_id=self.task_id, state=state)
        return self.result

    def encoded(self) -> tuple[str, bytes | None]:
        """
        Return the payload's content type and its bytes as their serializer made them; no bytes without a payload.

        For whoever decodes by rules of his own: the content type has not been checked.

        Raises:
            PayloadEncrypted, PayloadNotDecodable, PayloadTooLarge, PayloadMissing, PayloadStoreUnavailable: See their
                names.
        """
        payload = self._read_encoded() if self._event is None else self._event.payload
        check_plain(payload)
        return payload.content_type, self._decoding.bodies.body(payload)

    def _payload(self) -> object:
        payload = self._encoded or self._read_encoded()
        body, content_type = payload.body, payload.content_type
        if body is None and payload.reference is None:
            return None
        decoding = self._provenance.decoding
        if payload.key_id:
            check_plain(payload)
        if content_type not in decoding.accept:  # before anything is fetched or decompressed for it
            check_accepted(content_type, decoding.accept)
        if payload.content_encoding or payload.reference is not None:
            body = decoding.bodies.body(payload)
        return None if body is None else decoding.serializers.decode(content_type, body)

    def _missing(self) -> UnknownTask | NotYetCovered:
        if self.basis is Basis.FULL:
            age = "" if self.as_of is None else f" The view was last written {self.as_of:.1f} s before it was read"
            msg = f"no record of task {self.task_id!r} is in the view, which covers the whole log.{age}"
            return UnknownTask(msg, task_id=self.task_id)
        msg = f"task {self.task_id!r} was not found, and it may exist: {self.uncovered}"
        return NotYetCovered(msg, task_id=self.task_id)
