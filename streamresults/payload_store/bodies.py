"""How a payload's body travels: as it is, compressed, or kept outside of the log; there and back. It opens nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from streamresults.errors import PayloadStoreNotConfigured, PayloadTooLarge
from streamresults.events.compression import DEFAULT_LIMITS, PayloadLimits, compress, decompress
from streamresults.payload_store.base import fetch, keep

if TYPE_CHECKING:
    from streamresults.events.event import Payload
    from streamresults.payload_store.base import PayloadStore


class PackingOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How payloads leave a publisher; sizes are bytes."""

    #: ``zstd``, ``gzip`` or nothing.
    compression: str = ""
    #: Smaller bodies are not compressed.
    compress_above: int = 4096
    #: Bodies that are larger, compressed or not, are kept in the payload store.
    store_above: int = 524_288
    limits: PayloadLimits = DEFAULT_LIMITS


class Packing:
    """
    The publisher's half.

    Args:
        store: ``None`` where no payload store is configured.
    """

    def __init__(self, store: PayloadStore | None, options: PackingOptions = PackingOptions()) -> None:  # noqa: B008 -- frozen
        self._store: Final = store
        self._options: Final = options
        least = [options.limits.size]
        least += [options.compress_above] if options.compression else []
        least += [options.store_above] if store is not None else []
        #: Bodies up to this many bytes travel as they are.
        self.above: Final = min(least)

        #: Whether any body is compressed, kept elsewhere or refused; what is refused by default fits into no record.
        self.active: Final = store is not None or bool(options.compression) or options.limits.size < DEFAULT_LIMITS.size

    @property
    def has_store(self) -> bool:
        """Whether a body can be kept outside of the log."""
        return self._store is not None

    def pack(self, payload: Payload, *, outside: bool = False) -> Payload:
        """
        Return a payload as it travels; blocks while it is written to the payload store.

        Args:
            outside: Keep it outside of the log whatever its size.

        Raises:
            PayloadTooLarge: Readers with the same limits would refuse it; nothing was kept.
            PayloadStoreUnavailable: It could not be kept.
        """
        body = payload.body
        if body is None or payload.reference is not None:
            return payload
        options = self._options
        if len(body) > options.limits.size:
            msg = f"a payload of {len(body)} bytes is above payload_max, {options.limits.size}: no reader takes it"
            raise PayloadTooLarge(msg, limit=options.limits.size)
        if options.compression and not payload.content_encoding and len(body) > options.compress_above:
            smaller = compress(options.compression, body, options.limits)
            if smaller is not None:
                body = smaller
                payload = msgspec.structs.replace(payload, body=body, content_encoding=options.compression)
        if self._store is None or not (outside or len(body) > options.store_above):
            return payload
        return msgspec.structs.replace(payload, body=None, reference=keep(self._store, body))


class Unpacking:
    """
    The reader's half.

    Args:
        store: ``None`` where no payload store is configured.
    """

    def __init__(self, store: PayloadStore | None = None, limits: PayloadLimits = DEFAULT_LIMITS) -> None:
        self._store: Final = store
        self._limits: Final = limits

    def body(self, payload: Payload) -> bytes | None:
        """
        Return a payload's body as its publisher encoded it, ``None`` without one; blocks while it is fetched.

        Raises:
            PayloadTooLarge, PayloadNotDecodable, PayloadMissing, PayloadStoreUnavailable: See their names.
            PayloadStoreNotConfigured: It rests in a payload store, and none is configured here.
        """
        body = payload.body
        if payload.reference is not None:
            if self._store is None:
                uri = payload.reference.uri
                msg = (
                    f"the result rests at {uri[:200]!r}, and no payload store is configured here: set payload_store, "
                    "or STREAMRESULTS_PAYLOAD_STORE, to what its publisher has"
                )
                raise PayloadStoreNotConfigured(msg, uri=uri)
            body = fetch(self._store, payload.reference, self._limits)
        if body is None or not payload.content_encoding:
            return body  # no larger than its record, which has a limit of its own
        return decompress(payload.content_encoding, body, self._limits)
