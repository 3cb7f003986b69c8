"""
What may be expected of a place for payloads that are too large for the log, whichever implementation stands behind it.

An object is named by the SHA-256 of its bytes. So nothing is ever overwritten by something else, storing twice is
storing once, and a reader opens the object of that name in *its own* store: never a place that a record names.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from streamresults.errors import PayloadNotDecodable, PayloadTooLarge
from streamresults.events.event import Reference

if TYPE_CHECKING:
    from streamresults.events.compression import PayloadLimits


class PayloadStore(ABC):
    """
    Keeps objects under their SHA-256. Thread-safe, and safe to be used in a forked child. Every call may block.

    It keeps no list of who refers to what: objects leave it by their age, by the store's own means. ``put`` makes an
    object as young as a new one, so whatever is younger than the longest expiry must stay.
    """

    @abstractmethod
    def put(self, sha256: bytes, body: bytes) -> str:
        """
        Keep an object, also when it is there already; it is durable and whole, or this raises.

        Returns:
            Its URI, for people and tools; readers do not follow it.

        Raises:
            PayloadStoreUnavailable: It could not be kept; nobody ever sees half of it.
        """

    @abstractmethod
    def get(self, reference: Reference) -> bytes:
        """
        Return an object's bytes, at most one more than the reference says; unchecked.

        Raises:
            PayloadMissing: There is no such object.
            PayloadStoreUnavailable: The store did not answer, or refused.
        """


def object_name(sha256: bytes) -> str:
    """Return an object's place below the store's root: a folder for each first byte keeps folders small."""
    name = sha256.hex()
    return f"{name[:2]}/{name}"


def keep(store: PayloadStore, body: bytes) -> Reference:
    """
    Keep a body and return what the event says of it.

    Raises:
        PayloadStoreUnavailable: It could not be kept.
    """
    sha256 = hashlib.sha256(body).digest()
    return Reference(uri=store.put(sha256, body), sha256=sha256, size=len(body))


def fetch(store: PayloadStore, reference: Reference, limits: PayloadLimits) -> bytes:
    """
    Return the body that an event refers to, verified.

    Raises:
        PayloadTooLarge: It is larger than this process takes; nothing was fetched.
        PayloadNotDecodable: The reference is no reference, or the bytes are not those that were kept.
        PayloadMissing, PayloadStoreUnavailable: See :meth:`PayloadStore.get`.
    """
    if len(reference.sha256) != hashlib.sha256().digest_size or reference.size < 0:
        msg = f"the reference to a payload at {reference.uri[:200]!r} is none: its SHA-256 or size is impossible"
        raise PayloadNotDecodable(msg)
    if reference.size > limits.size:
        msg = f"a payload of {reference.size} bytes is larger than the {limits.size} that are taken: raise payload_max"
        raise PayloadTooLarge(msg, limit=limits.size)
    body = store.get(reference)
    if len(body) != reference.size or hashlib.sha256(body).digest() != reference.sha256:
        msg = f"the payload at {reference.uri[:200]!r} is not what was kept there: it is damaged or was replaced"
        raise PayloadNotDecodable(msg)
    return body
