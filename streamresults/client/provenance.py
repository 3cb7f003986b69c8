"""Where an answer comes from: what it is based on, and what turns its bytes into values."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from streamresults.events.limits import LIMITS
from streamresults.payload_store.bodies import Unpacking

if TYPE_CHECKING:
    from streamresults.events.allowlist import ExceptionAllowlist
    from streamresults.events.codec import Codec
    from streamresults.events.limits import Limits
    from streamresults.events.payloads import SerializerRegistry


class Basis(StrEnum):
    """What an answer is based on."""

    #: The view, which covered everything that can still be read from the log.
    FULL = "full"
    #: The view, which did not cover everything: a better event may exist.
    PARTIAL = "partial"
    #: The topic itself: the event was read there while somebody waited for it.
    TOPIC = "topic"


class Decoding(NamedTuple):
    """All that is needed to turn bytes into values; shared by every result of a client."""

    codec: Codec
    serializers: SerializerRegistry
    accept: frozenset[str]
    allowlist: ExceptionAllowlist
    limits: Limits = LIMITS
    #: Finds bodies that were compressed, or kept outside of the log.
    bodies: Unpacking = Unpacking()


class Provenance(NamedTuple):
    """What the answers of one look at a partition have in common; one for a thousand of them."""

    decoding: Decoding
    basis: Basis
    topic_id: str
    partition: int
    #: Seconds since the view was last written to when it was read; ``None`` when it was not read.
    as_of: float | None = None
    #: What the view does not cover, in words with the way to mend it; empty when it covers everything.
    uncovered: str = ""
