"""The registry of serializers: what turns a result into bytes and back. It never looks into a value or its bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from streamresults.errors import ConfigurationError, ContentTypeRefused, PayloadEncrypted, PayloadNotDecodable
from streamresults.events.forms import DEPTH_MAX
from streamresults.events.json_serializer import JsonSerializer
from streamresults.events.msgpack_serializer import MsgpackSerializer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamresults.events.event import Payload


class Serializer(Protocol):
    """
    Turns one value into bytes and back.

    ``decode(encode(value))`` equals ``value``, or ``encode`` raises: nothing is lost in silence. Both are safe to
    call from several threads at once.
    """

    @property
    def name(self) -> str:
        """What settings call it, such as ``json``."""

    @property
    def content_type(self) -> str:
        """The media type that travels with the bytes."""

    def encode(self, value: object, *, path: str = "result") -> bytes:
        """
        Return the bytes that stand for ``value``.

        Args:
            value: What to encode.
            path: What to call ``value`` when an error points inside it.

        Raises:
            PayloadNotEncodable: Something inside has no form here. No other error is raised.
        """

    def decode(self, data: bytes) -> object:
        """
        Return the value that ``data`` stands for, running no code that the bytes name.

        Raises:
            PayloadNotDecodable: The bytes are not what the content type says. No other error is raised.
        """


class SerializerRegistry:
    """
    The serializers that one process knows, by name and by content type.

    Args:
        serializers: Registered in this order.

    Raises:
        ConfigurationError: Two of them share a name or a content type.
    """

    def __init__(self, serializers: Iterable[Serializer] = ()) -> None:
        self._by_name: dict[str, Serializer] = {}
        self._by_content_type: dict[str, Serializer] = {}
        for serializer in serializers:
            self.register(serializer)

    def register(self, serializer: Serializer) -> None:
        """
        Add a serializer; none is ever replaced, so that no plugin takes over a content type unseen.

        Raises:
            ConfigurationError: Its name or its content type is taken.
        """
        if serializer.name in self._by_name:
            message = f"a serializer named {serializer.name!r} is registered already"
            raise ConfigurationError(message)
        if serializer.content_type in self._by_content_type:
            message = f"a serializer for {serializer.content_type!r} is registered already"
            raise ConfigurationError(message)
        self._by_name[serializer.name] = serializer
        self._by_content_type[serializer.content_type] = serializer

    def by_name(self, name: str) -> Serializer:
        """
        Return the serializer that settings call ``name``.

        Raises:
            ConfigurationError: There is none; the message names those there are.
        """
        try:
            return self._by_name[name]
        except KeyError:
            message = f"no serializer is named {name!r}; registered: {', '.join(sorted(self._by_name)) or 'none'}"
            raise ConfigurationError(message) from None

    def by_content_type(self, content_type: str) -> Serializer:
        """
        Return the serializer for ``content_type``, compared exactly.

        Raises:
            ContentTypeRefused: There is none.
        """
        try:
            return self._by_content_type[content_type]
        except KeyError:
            message = f"no serializer is registered for content type {content_type[:100]!r}"
            raise ContentTypeRefused(message, content_type=content_type) from None

    def content_types(self, names: Iterable[str]) -> frozenset[str]:
        """
        Turn the names or content types of a setting into an accept list for :meth:`decode`.

        Raises:
            ConfigurationError: One of them is not registered.
        """
        return frozenset(name if name in self._by_content_type else self.by_name(name).content_type for name in names)

    def decode(self, content_type: str, data: bytes, *, accept: frozenset[str] | None = None) -> object:
        """
        Decode a payload, after its content type has been accepted.

        Args:
            content_type: What the record says the bytes are.
            data: The bytes.
            accept: The content types that may be decoded; ``None`` for every registered one.

        Raises:
            ContentTypeRefused: Not on the accept list, or unknown; the bytes were not looked at.
            PayloadNotDecodable: The bytes are not what the content type says.
        """
        if accept is not None:
            check_accepted(content_type, accept)
        serializer = self._by_content_type.get(content_type) or self.by_content_type(content_type)
        try:
            return serializer.decode(data)
        except PayloadNotDecodable:
            raise
        except Exception as exc:
            # A registered serializer of somebody else's: whatever it raises, only this payload is bad.
            message = f"not {content_type}: {type(exc).__name__}"
            raise PayloadNotDecodable(message) from exc


def check_accepted(content_type: str, accept: frozenset[str] | None) -> None:
    """
    Check a content type against an accept list, before anything is done with the bytes.

    Raises:
        ContentTypeRefused: Not on the list.
    """
    if accept is not None and content_type not in accept:
        message = f"content type {content_type[:100]!r} is not accepted; accepted: {', '.join(sorted(accept))}"
        raise ContentTypeRefused(message, content_type=content_type)


def check_plain(payload: Payload) -> None:
    """
    Make sure that a payload is not encrypted, before anything is done with the bytes: ciphertext may be valid JSON.

    Raises:
        PayloadEncrypted: It names a key.
    """
    if payload.key_id:
        message = f"the payload is encrypted with key {payload.key_id[:100]!r}, and this release decrypts nothing"
        raise PayloadEncrypted(message, key_id=payload.key_id)


def default_registry(depth: int = DEPTH_MAX) -> SerializerRegistry:
    """Return a new registry of the serializers that come with streamresults: json and msgpack, nesting so deep."""
    return SerializerRegistry((JsonSerializer(depth), MsgpackSerializer(depth)))
