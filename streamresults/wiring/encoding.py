"""What turns values into bytes and back, of one configuration: codec, serializers, allowlist, payload store, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamresults.errors import ConfigurationError
from streamresults.wiring.connections import Connections

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.client.provenance import Decoding
    from streamresults.events.allowlist import ExceptionAllowlist
    from streamresults.events.codec import Codec
    from streamresults.events.compression import PayloadLimits
    from streamresults.events.limits import Limits
    from streamresults.events.payloads import SerializerRegistry
    from streamresults.payload_store.base import PayloadStore
    from streamresults.payload_store.bodies import Packing


class Encoding(Connections):
    """What the flows of one configuration encode and decode with."""

    _codec: Codec | None = None
    _allowlist: ExceptionAllowlist | None = None

    def codec(self) -> Codec:
        """Return the codec, which finds schemas of other releases in the schemas topic."""
        if self._codec is None:
            from streamresults.events.codec import Codec

            resolve: Callable[[bytes], str | None] | None = None
            if self.has_topic:
                from streamresults.topic.schemas import SchemaTopic

                schemas = SchemaTopic(self.broker(), self.settings.schemas_topic)
                self._owned.callback(schemas.close)
                resolve = schemas.find
            self._codec = Codec(resolve, record_max=self.settings.record_max)
        return self._codec

    def decoding(self) -> Decoding:
        """
        Return what turns bytes into values.

        Raises:
            ConfigurationError: ``accept`` names a serializer that there is not.
        """
        from streamresults.client.provenance import Decoding
        from streamresults.payload_store.bodies import Unpacking

        registry = self._registry()
        accept = registry.content_types(self.settings.accept)
        bodies = Unpacking(self.payload_store(), self._payload_limits())
        return Decoding(self.codec(), registry, accept, self.allowlist(), self.limits(), bodies)

    def _registry(self) -> SerializerRegistry:
        """Return the serializers of this process; pickle is one of them only where a setting names it."""
        from streamresults.events.payloads import default_registry

        depth = self.settings.payload_depth_max
        registry = default_registry(depth)
        if {"pickle", "application/x-python-serialize"} & {self.settings.serializer, *self.settings.accept}:
            from streamresults.events.pickled import PickleSerializer

            registry.register(PickleSerializer(self.allowlist(), depth))
        return registry

    def limits(self) -> Limits:
        """Return how much of an exception travels."""
        from streamresults.events.limits import Limits

        return Limits(**{name: getattr(self.settings, f"exception_{name}_max") for name in Limits.__struct_fields__})

    # -- exceptions --------------------------------------------------------------------------------------------------

    def allowlist(self) -> ExceptionAllowlist:
        """
        Return which exceptions may be rebuilt; the same one whoever asks, as it counts.

        Raises:
            ConfigurationError: An entry cannot hold; the message names it.
        """
        if self._allowlist is None:
            from streamresults.events.allow_file import entries_of
            from streamresults.events.allowlist import ExceptionAllowlist

            self._allowlist = ExceptionAllowlist(
                [*self.settings.allow, *entries_of(self.settings.allow_file)],
                name_max=self.settings.exception_name_max,
            )
        return self._allowlist

    @property
    def decisions(self) -> dict[tuple[str, str], int]:
        """How often each type of exception had each outcome, in all that this wiring opened."""
        return {} if self._allowlist is None else self._allowlist.decisions.counts

    # -- payloads ----------------------------------------------------------------------------------------------------

    def payload_store(self) -> PayloadStore | None:
        """
        Return where large payloads rest, ``None`` when that is not configured.

        Raises:
            ConfigurationError: What reaches it is not installed.
        """
        place = self.settings.payload_store
        if not place:
            return None
        scheme, separator, path = place.partition("://")
        if not separator or scheme == "file":
            from streamresults.payload_store.directory import DirectoryStore

            return DirectoryStore(path if separator else place)
        try:
            from streamresults.payload_store.remote import RemoteStore
        except ImportError as exc:
            msg = f"the payload store {place!r} needs fsspec: pip install 'streamresults[fsspec]'"
            raise ConfigurationError(msg) from exc
        return RemoteStore(place)

    def _payload_limits(self) -> PayloadLimits:
        from streamresults.events.compression import PayloadLimits

        return PayloadLimits(size=self.settings.payload_max, ratio=self.settings.payload_ratio)

    def _packing(self) -> Packing:
        from streamresults.events.compression import check_encoding
        from streamresults.payload_store.bodies import Packing, PackingOptions

        settings = self.settings
        check_encoding(settings.compression)
        options = PackingOptions(
            compression=settings.compression,
            compress_above=settings.compress_above,
            store_above=settings.payload_store_above,
            limits=self._payload_limits(),
        )
        return Packing(self.payload_store(), options)
